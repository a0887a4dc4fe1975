//! The ready-made worker: the gin-server beside this program.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Config;
use crate::error_text::without_code;

/// A gin-server that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GinServerError {
    /// The path of this program is not known.
    #[error("gin-server: {}", without_code(.0))]
    OwnPath(std::io::Error),
    /// It is not there.
    #[error("there is no gin-server in {}; give a command", .0.display())]
    Missing(PathBuf),
    /// It cannot be run.
    #[error("error: {}: {}", program.display(), without_code(error))]
    NotRun {
        /// The program.
        program: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// It refuses the configuration; the text is its own.
    #[error("{0}")]
    Refused(String),
}

/// The path of gin-server.
///
/// # Errors
/// If it is not beside this program.
pub fn find() -> Result<PathBuf, GinServerError> {
    let own = std::env::current_exe().map_err(GinServerError::OwnPath)?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let program = directory.join("gin-server");
    if program.as_os_str().as_bytes().is_empty() || !program.exists() {
        return Err(GinServerError::Missing(directory.to_owned()));
    }
    Ok(program)
}

/// Asks gin-server, if that is what runs, whether it accepts its part of the configuration.
///
/// # Errors
/// The answer of gin-server, or why it could not be asked.
pub fn check(config: &Config) -> Result<(), GinServerError> {
    let (None, Some(file)) = (&config.worker.command, &config.file) else { return Ok(()) };
    let program = find()?;
    let mut command = Command::new(&program);
    command.arg("-t").arg("-c").arg(&file.path);
    // Relative paths are meant from where the worker runs. If that is not there, it is told elsewhere.
    if let Some(directory) = config.worker.directory.as_deref().filter(|directory| directory.is_dir()) {
        command.current_dir(directory);
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(GinServerError::Refused(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) => Err(GinServerError::NotRun { program, error }),
    }
}

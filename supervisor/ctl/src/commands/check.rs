//! What needs no supervisor that runs: a configuration is checked, and made units of.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gin_shared::check::Checked;
use gin_shared::exit;
use gin_shared::runtime_dir::is_instance_name;

use crate::cli::Unit;
use crate::failure::Failure;
use crate::render::unit;

/// Where configurations are looked for.
pub(super) const DIRECTORY: &str = "/etc/gin";

/// `gin-supervisor -t`, with its words and its exit code.
pub(super) fn check(file: &Path) -> Result<u8, Failure> {
    let output = run(&supervisor(), file, None)?;
    crate::show!("{}", String::from_utf8_lossy(&output.stdout));
    let told = String::from_utf8_lossy(&output.stderr);
    if !told.is_empty() {
        crate::complain!("{}", told.trim_end());
    }
    Ok(output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED))
}

/// Prints the units.
pub(super) fn unit(asked: &Unit) -> Result<u8, Failure> {
    if !is_instance_name(&asked.name) {
        let text = format!("\"{}\" cannot name an instance; use letters, digits and . _ - @, 64 at most", asked.name);
        return Err(Failure::new(exit::USAGE, text));
    }
    let file = match &asked.config {
        Some(file) => std::path::absolute(file).unwrap_or_else(|_| file.clone()),
        None => find(&asked.name)?,
    };
    let Units { service, socket, warnings } = units(&asked.name, &file, &file)?;
    for warning in warnings {
        crate::complain!("warning: {warning}");
    }
    super::text(&match (asked.only_service, asked.only_socket) {
        (true, _) => service,
        (_, true) => socket,
        (false, false) => format!("{service}\n{socket}"),
    })
}

/// The units for a configuration.
pub(super) struct Units {
    pub(super) service: String,
    pub(super) socket: String,
    pub(super) warnings: Vec<String>,
}

/// Makes the units of an instance for the configuration that lies at `file` now, and will lie at `place`.
///
/// # Errors
/// If gin-supervisor cannot be run, or refuses the configuration.
pub(super) fn units(name: &str, file: &Path, place: &Path) -> Result<Units, Failure> {
    let program = supervisor();
    let output = run(&program, file, Some(name))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(exit::USAGE, told.trim_start_matches("error: ").trim_end().to_owned()));
    }
    let checked: Checked = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::new(exit::FAILED, format!("{} is of another version: {error}", program.display())))?;
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("gin-ctl"));
    let plan = unit::Plan { name, file: place, supervisor: &program, ctl: &own, checked: &checked };
    Ok(Units { service: unit::service(&plan), socket: unit::socket(&plan), warnings: checked.warnings })
}

fn find(name: &str) -> Result<PathBuf, Failure> {
    let files = ["toml", "yaml", "yml", "json"].map(|ending| PathBuf::from(format!("{DIRECTORY}/{name}.{ending}")));
    files.into_iter().find(|file| file.exists()).ok_or_else(|| {
        let text =
            format!("there is no {DIRECTORY}/{name}.toml (nor .yaml, .yml, .json); say where it is with --config FILE");
        Failure::new(exit::USAGE, text)
    })
}

/// For an instance of a name, it answers in JSON.
fn run(program: &Path, file: &Path, instance: Option<&str>) -> Result<Output, Failure> {
    let mut command = Command::new(program);
    command.arg("--config-check").arg("--config").arg(file);
    if let Some(instance) = instance {
        command.args(["--json", "--instance", instance]);
    }
    let failed = |error: std::io::Error| Failure::new(exit::FAILED, format!("{}: {error}", program.display()));
    command.output().map_err(failed)
}

/// The one beside this program, else the one in PATH.
fn supervisor() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("gin-supervisor")));
    beside.filter(|program| program.exists()).unwrap_or_else(|| PathBuf::from("gin-supervisor"))
}

//! The instance's runtime directory: made safe, or refused.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use gin_shared::directory::{Directory, Doubt, Why};
use gin_shared::generation::{Generation, WorkerId};
use gin_shared::runtime_dir::{STOPPING, Surroundings};
use nix::errno::Errno;
use nix::unistd::Uid;

use super::fault;

/// Makes the directory of the instance `name`, or checks the one that is there.
///
/// # Errors
/// If it cannot be made, is not a directory of ours, or others can write to it.
pub fn prepare(name: &str, surroundings: &Surroundings) -> io::Result<PathBuf> {
    let mut first = None;
    for directory in surroundings.directories(name) {
        match try_prepare(&directory, surroundings) {
            Ok(()) => return Ok(directory),
            // Nothing can be written there, or it is somebody else's; what is ours but not safe is refused.
            Err(error) if is_out_of_reach(&error) => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    let error = first.unwrap_or_else(|| io::Error::other("no runtime directory"));
    let text =
        format!("{error}; name a directory that can be written with RUNTIME_DIRECTORY, or mount a tmpfs at /run");
    Err(io::Error::new(error.kind(), text))
}

fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem)
}

fn try_prepare(directory: &Path, surroundings: &Surroundings) -> io::Result<()> {
    if surroundings.runtime_directory.is_none()
        && let Some(parent) = directory.parent()
    {
        make(parent, surroundings.uid)?;
    }
    let made = make(directory, surroundings.uid)?;
    // It may be there, and not to be written to.
    let probe = format!(".{}", std::process::id());
    let written = made
        .create(OsStr::new(&probe), 0o600)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write to {}: {error}", directory.display())));
    let _ = made.remove(OsStr::new(&probe));
    written.map(drop)
}

/// The path of a worker's file in the runtime directory; `what` is its extension: `notify`, `channel` or `private`.
#[must_use]
pub fn worker_file(runtime: &Path, id: WorkerId, what: &str) -> PathBuf {
    runtime.join(format!("{id}.{what}"))
}

/// The path of the configuration that the workers of a generation read.
#[must_use]
pub fn generation_file(runtime: &Path, generation: Generation, extension: &str) -> PathBuf {
    runtime.join(format!("generation-{generation}.{extension}"))
}

/// Removes the files of workers and generations that are not there any more: a master that was killed could not.
pub fn sweep(runtime: &Path, is_worker: impl Fn(&str) -> bool, is_generation: impl Fn(&str) -> bool) {
    let Ok(directory) = Directory::open(runtime) else { return };
    for name in directory.names().unwrap_or_default() {
        let Some(text) = name.to_str() else { continue };
        let worker = ["notify", "channel", "private"].iter().find_map(|end| text.strip_suffix(end)?.strip_suffix('.'));
        let generation = text.strip_prefix("generation-").and_then(|rest| rest.split('.').next());
        if text == STOPPING
            || worker.is_some_and(|id| !is_worker(id))
            || generation.is_some_and(|id| !is_generation(id))
        {
            let _ = directory.remove(&name);
        }
    }
}

/// Removes a file of the runtime directory. Gone already is as good.
pub fn remove_file(path: &Path) {
    if let Ok((directory, name)) = Directory::of_file(path) {
        let _ = directory.remove(&name);
    }
}

/// Root's directory can be entered by all, so that a worker of another user reaches its notify socket; what lies in it is
/// protected by its own mode.
fn make(path: &Path, uid: Uid) -> io::Result<Directory> {
    let mode = if uid.is_root() { 0o755 } else { 0o700 };
    let failed = |error: Errno| Doubt { path: path.to_owned(), why: Why::Io(error.into()) };
    fault::at("runtime.mkdir")
        .map_err(failed)
        .and_then(|()| Directory::make(path, mode))
        .and_then(Directory::ours)
        .map_err(|doubt| io::Error::new(kind(&doubt, path), told(&doubt)))
}

fn told(doubt: &Doubt) -> String {
    match &doubt.why {
        Why::Io(_) => format!("cannot make {doubt}"),
        Why::Owner(_) | Why::Link | Why::NotADirectory | Why::Mode(_) => doubt.to_string(),
    }
}

/// A directory that is somebody else's is as good as one that we may not write to.
fn kind(doubt: &Doubt, path: &Path) -> io::ErrorKind {
    match &doubt.why {
        Why::Io(error) => error.kind(),
        Why::Owner(_) => io::ErrorKind::PermissionDenied,
        // Of a directory above it, which nobody here can help: an emptyDir of Kubernetes at /tmp, say.
        Why::Link | Why::NotADirectory | Why::Mode(_) if doubt.path != path => io::ErrorKind::PermissionDenied,
        Why::Link | Why::NotADirectory | Why::Mode(_) => io::ErrorKind::Other,
    }
}

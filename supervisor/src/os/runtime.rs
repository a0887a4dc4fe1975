//! The instance's runtime directory: made safe, or refused.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gin_shared::generation::{Generation, WorkerId};
use gin_shared::runtime_dir::{STOPPING, Surroundings};
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
            // Nothing can be written there; what is there but not safe is refused.
            Err(error) if is_read_only(&error) => {
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

fn is_read_only(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem)
}

fn try_prepare(directory: &Path, surroundings: &Surroundings) -> io::Result<()> {
    if surroundings.runtime_directory.is_none()
        && let Some(parent) = directory.parent()
    {
        make(parent, surroundings.uid)?;
    }
    make(directory, surroundings.uid)?;
    // It may be there, and not to be written to.
    let probe = directory.join(format!(".{}", std::process::id()));
    let written = fs::write(&probe, "")
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write to {}: {error}", directory.display())));
    let _ = fs::remove_file(&probe);
    written
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
    for entry in fs::read_dir(runtime).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let worker = ["notify", "channel", "private"].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix('.'));
        let generation = name.strip_prefix("generation-").and_then(|rest| rest.split('.').next());
        if name == STOPPING
            || worker.is_some_and(|id| !is_worker(id))
            || generation.is_some_and(|id| !is_generation(id))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Root's directory can be entered by all, so that a worker of another user reaches its notify socket; what lies in it is
/// protected by its own mode.
fn make(path: &Path, uid: Uid) -> io::Result<()> {
    let mode = if uid.is_root() { 0o755 } else { 0o700 };
    match fault::at("runtime.mkdir").map_err(io::Error::from).and_then(|()| DirBuilder::new().mode(mode).create(path)) {
        // The umask may have taken some of it.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display()))),
    }
    let metadata = fs::symlink_metadata(path)?;
    let refuse = |why: String| Err(io::Error::other(format!("{} is not safe: {why}", path.display())));
    if !metadata.is_dir() {
        refuse("it is not a directory".to_owned())
    } else if metadata.uid() != uid.as_raw() && metadata.uid() != 0 {
        refuse(format!("it belongs to uid {}", metadata.uid()))
    } else if metadata.mode() & 0o022 != 0 {
        refuse(format!("its mode is {:04o}", metadata.mode() & 0o7777))
    } else {
        Ok(())
    }
}

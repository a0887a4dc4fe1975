//! The state that a dead master has left: in its file, or in the service manager's store.

use std::fs::File;
use std::path::Path;

use gin_shared::directory::Directory;
use gin_shared::process::ProcessId;
use gin_shared::runtime_dir::{Surroundings, instance_name};
use gin_shared::state::{self, Slot, boot_id};

use crate::cli::Cli;
use crate::config::Config;
use crate::descriptor_name::PREFIX;
use crate::machine::snapshot;
use crate::os::adopt_error::AdoptError;
use crate::os::state_file;
use crate::os::succession::Descriptors;
use crate::state::{State, WorkerRecord};

/// The state of a dead master.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) state: State<'static>,
    /// The file in the runtime directory, if the state is of it.
    pub(super) file: Option<(File, Slot)>,
}

/// Reads the state: from the service manager's store, or from the file; the newer one counts.
pub(super) fn find(runtime: &Path, stored: &Descriptors) -> Result<Option<Found>, AdoptError> {
    let path = runtime.join(state::FILE);
    let prefix = format!("{PREFIX}state/");
    let kept = stored.names().find(|name| name.starts_with(&prefix)).and_then(|name| stored.copy(name)).map(File::from);
    let read = |file: File| state_file::latest(&file).map(|slot| (file, slot));
    let place = |error: AdoptError| error.at(&path.display());
    let there = match state_file::open(&path) {
        Ok(None) => None,
        Ok(Some(file)) => Some(read(file).map_err(place)),
        Err(error) => Some(Err(place(error))),
    };
    let kept = kept.map(|file| read(file).map_err(|error| error.at(&"the state kept by the service manager")));
    let (slot, file) = match (there, kept) {
        (Some(Ok((file, there))), Some(Ok((_, kept)))) if there.sequence >= kept.sequence => (there, Some(file)),
        (_, Some(Ok((_, kept)))) => (kept, None),
        (Some(Ok((file, slot))), _) => (slot, Some(file)),
        (Some(Err(error)), _) | (None, Some(Err(error))) => return Err(error),
        (None, None) => return Ok(None),
    };
    let state = snapshot::read(&slot.bytes, &boot_id());
    let state = state.map_err(|error| place(AdoptError::lasting(error.to_string())))?;
    Ok(Some(Found { state, file: file.map(|file| (file, slot)) }))
}

/// See [`super::configuration_of_the_dead`].
pub(super) fn configuration_of_the_dead(cli: &Cli) -> Option<Config> {
    let instance = cli.instance.clone().unwrap_or_else(|| instance_name(cli.config.as_deref()));
    let directories = Surroundings::from_env().directories(&instance);
    let mut believed = directories.iter().filter(|runtime| Directory::open(runtime).and_then(Directory::ours).is_ok());
    let found = believed.find_map(|runtime| find(runtime, &Descriptors::default()).ok().flatten())?;
    let lives = |worker: &WorkerRecord| ProcessId::of(worker.process.pid) == Some(worker.process);
    if !found.state.workers.iter().any(lives) || ProcessId::of(found.state.master.pid) == Some(found.state.master) {
        return None;
    }
    Config::reload(cli, found.state.config?.into_owned()).ok()
}

//! Taking over in place: this process was the master before, under another program.

use std::io;
use std::path::{Path, PathBuf};

use gin_shared::config::Problem;
use gin_shared::state::boot_id;

use super::Succession;
use crate::cli::Cli;
use crate::config::Config;
use crate::descriptor_name::{self, MEMORY, METRICS};
use crate::machine::snapshot::{self, SnapshotError};
use crate::os::child;
use crate::os::shared_memory::SharedMemory;
use crate::os::succession::{self, Descriptors};
use crate::state::State;

/// A state that the program before this one left, and that cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum InPlaceError {
    /// A descriptor is not open, or a process cannot be opened.
    #[error("upgrade in place: {0}")]
    System(#[from] io::Error),
    /// The state cannot be read.
    #[error("upgrade in place: {0}")]
    State(#[from] SnapshotError),
}

/// A state file that this program cannot go on with.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file cannot be read.
    #[error("the state in {}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The state cannot be read.
    #[error("the state in {}: {error}", path.display())]
    State {
        /// Its path.
        path: PathBuf,
        /// The fault of the descriptor.
        error: SnapshotError,
    },
    /// This program cannot use the configuration in force.
    #[error("the configuration in force: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<Problem>),
}

/// The state that the program before this one has left in this process, if there was one.
///
/// # Errors
/// If there should be a state and is none; nothing can be done about it here.
pub fn inherited() -> Result<Option<(State<'static>, Descriptors)>, InPlaceError> {
    let Some(bytes) = succession::inherited()? else { return Ok(None) };
    let state: State<'static> = snapshot::read(&bytes, &boot_id())?;
    let descriptors = succession::adopt(&state.descriptors)?;
    Ok(Some((state, descriptors)))
}

/// Checks whether this program can go on with the state in a file, for a master that asks before it executes this program.
///
/// # Errors
/// See [`CheckError`].
pub fn check(cli: &Cli, path: &Path) -> Result<(), CheckError> {
    let place = || path.to_owned();
    let bytes = std::fs::read(path).map_err(|error| CheckError::File { path: place(), error })?;
    let state = snapshot::read::<State<'static>>(&bytes, &boot_id());
    let state = state.map_err(|error| CheckError::State { path: place(), error })?;
    if let Some(file) = state.config {
        Config::reload(cli, file.into_owned()).map_err(CheckError::Config)?;
    }
    Ok(())
}

/// Takes over the workers and sockets of that state.
///
/// # Errors
/// The errors of `pidfd_open(2)`.
pub fn take_up(state: State<'static>, mut descriptors: Descriptors) -> Result<Succession, InPlaceError> {
    let mut alive = Vec::new();
    for worker in &state.workers {
        let kept = descriptors.take(&descriptor_name::pidfd(worker.id));
        if let Some(fd) = child::open_left(worker.process, kept)? {
            alive.push((worker.clone(), fd));
        }
    }
    let sockets = state.sockets.iter().filter_map(|socket| Some((socket.inode, descriptors.take(&socket.name())?)));
    let sockets = sockets.collect();
    let memory = descriptors.take(MEMORY).map(SharedMemory::resume).transpose()?;
    let metrics = descriptors.take(METRICS).map(SharedMemory::resume).transpose()?;
    let tls = state.tls.and_then(|inode| descriptors.take(&descriptor_name::tls(inode)));
    let tls = tls.map(SharedMemory::resume).transpose()?;
    Ok(Succession { state, alive, sockets, memory, metrics, tls, descriptors, in_place: true })
}

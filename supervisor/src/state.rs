//! Everything that a successor of this master needs to know: one that is executed in its place, or that finds its workers
//! after its death.
//!
//! Descriptors travel beside it, by name: over an execve, or in the service manager's store. Each is listed here with what
//! it takes to do without it. A field that was added later has a default; unknown ones are passed over.

pub mod text;

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::PathBuf;

use gin_shared::generation::{Generation, WorkerId};
use gin_shared::listen::Address;
use gin_shared::state::ProcessId;
use serde::{Deserialize, Serialize};

use crate::config::ConfigFile;
use crate::driver::frozen::Frozen;
use crate::driver::operations::Saved;
use crate::machine::Machine;
use crate::machine::moment::Moment;
use crate::os::listener::ListenerSpec;

/// Before the names of all descriptors of ours in the service manager's store: no listener's name has a slash.
pub const PREFIX: &str = "gin/";

/// The state, as it is read.
#[derive(Debug, Deserialize)]
pub struct State {
    /// The instance's name.
    pub instance: String,
    /// The version of the program that wrote it.
    #[serde(default)]
    pub version: String,
    /// The process that wrote it.
    pub master: ProcessId,
    /// When that was started.
    #[serde(default)]
    pub started: Option<Moment>,
    /// The soft RLIMIT_NOFILE that it was started with, and that workers get.
    #[serde(default)]
    pub nofile: Option<u64>,
    /// Where its sockets and PID file are.
    pub paths: Paths,
    /// The configuration in force.
    #[serde(default)]
    pub config: Option<ConfigFile>,
    /// What a service manager passed, where the configuration says nothing of listeners.
    #[serde(default)]
    pub passed: Option<Vec<ListenerSpec>>,
    /// The lifecycle.
    pub machine: Machine,
    /// What was asked for.
    #[serde(default)]
    pub operations: Saved,
    /// What the generations run: those that have workers, and those that can be brought back.
    pub generations: Vec<Frozen>,
    /// The sockets that clients connect to.
    pub sockets: Vec<Socket>,
    /// The processes that there are.
    pub workers: Vec<LeftWorker>,
    /// The inode of the memory that workers share.
    #[serde(default)]
    pub memory: Option<u64>,
    /// The operator's commands that run.
    #[serde(default)]
    pub commands: Vec<ProcessId>,
    /// Over an execve: where the descriptors are.
    #[serde(default)]
    pub descriptors: BTreeMap<String, RawFd>,
}

/// The same as it is written.
#[derive(Debug, Serialize)]
pub struct Written<'a> {
    /// See [`State`]; so are all others.
    pub instance: &'a str,
    /// .
    pub version: &'a str,
    /// .
    pub master: ProcessId,
    /// .
    pub started: Moment,
    /// .
    pub nofile: u64,
    /// .
    pub paths: &'a Paths,
    /// .
    pub config: Option<&'a ConfigFile>,
    /// .
    pub passed: Option<&'a Vec<ListenerSpec>>,
    /// .
    pub machine: &'a Machine,
    /// .
    pub operations: Saved,
    /// .
    pub generations: Vec<&'a Frozen>,
    /// .
    pub sockets: Vec<Socket>,
    /// .
    pub workers: Vec<LeftWorker>,
    /// .
    pub memory: Option<u64>,
    /// .
    pub commands: Vec<ProcessId>,
    /// .
    pub descriptors: BTreeMap<String, RawFd>,
}

/// Where a master's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// The runtime directory.
    #[serde(with = "text")]
    pub runtime: PathBuf,
    /// The PID file.
    #[serde(with = "text")]
    pub pid_file: PathBuf,
    /// May act.
    #[serde(with = "text")]
    pub control: PathBuf,
    /// May look.
    #[serde(with = "text")]
    pub status: PathBuf,
}

/// A socket that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Names it in the whole system, for as long as anybody has it open.
    pub inode: u64,
    /// Where it was asked to listen.
    pub asked: Address,
    /// Where it listens.
    pub address: Address,
    /// How many may wait.
    #[serde(default)]
    pub backlog: u32,
    /// Whether the service manager passed it, and so passes it again.
    #[serde(default)]
    pub passed: bool,
    /// A Unix socket's file that was made for it: device and inode.
    #[serde(default)]
    pub file: Option<(u64, u64)>,
}

impl Socket {
    /// Its descriptor's name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{PREFIX}listener/{}", self.inode)
    }
}

/// A worker that has a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftWorker {
    /// Who it is.
    pub id: WorkerId,
    /// Its process.
    pub process: ProcessId,
    /// What asks it to finish, by number: for `gin-ctl`, when there is no master.
    pub stop_signal: i32,
    /// How long it may take to, in milliseconds.
    #[serde(default)]
    pub drain_timeout_ms: u64,
    /// Whether it has a channel.
    #[serde(default)]
    pub channel: bool,
    /// The version that it speaks there, once it has said so: a successor need not wait for it.
    #[serde(default)]
    pub channel_version: Option<u32>,
    /// Whether it has a listener of its own.
    #[serde(default)]
    pub private: bool,
    /// Whether it was told to end already.
    #[serde(default)]
    pub told: bool,
    /// What it last said by STATUS=.
    #[serde(default)]
    pub said: Option<String>,
    /// Where its words begin in the file that stderr is: device, inode, offset.
    #[serde(default)]
    pub words: Option<(u64, u64, u64)>,
}

/// The name of a worker's pidfd.
#[must_use]
pub fn pidfd_name(id: WorkerId) -> String {
    format!("{PREFIX}pidfd/{id}")
}

/// The name of the socket at which a worker is heard.
#[must_use]
pub fn notify_name(id: WorkerId) -> String {
    format!("{PREFIX}notify/{id}")
}

/// The name of the state itself.
#[must_use]
pub fn state_name(inode: u64) -> String {
    format!("{PREFIX}state/{inode}")
}

/// The name of an open executable.
#[must_use]
pub fn executable_name((device, inode): (u64, u64)) -> String {
    format!("{PREFIX}executable/{device}-{inode}")
}

/// The name of the memory that workers share.
pub const MEMORY: &str = "gin/memory";

/// Where the files of a worker are in the runtime directory.
#[must_use]
pub fn worker_file(runtime: &std::path::Path, id: WorkerId, what: &str) -> PathBuf {
    runtime.join(format!("{id}.{what}"))
}

/// The generation whose configuration lies in a file of this name, if it is one.
#[must_use]
pub fn config_file(runtime: &std::path::Path, generation: Generation, extension: &str) -> PathBuf {
    runtime.join(format!("generation-{generation}.{extension}"))
}

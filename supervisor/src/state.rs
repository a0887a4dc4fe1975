//! Everything that a successor of this master needs to know: one that is executed in its place, or that finds its workers
//! after its death.
//!
//! Descriptors travel beside it, by name: over an execve, or in the service manager's store. Each is listed here with what
//! it takes to do without it. A field that was added later has a default; unknown ones are passed over.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::PathBuf;

use gin_shared::generation::WorkerId;
use gin_shared::state::ProcessId;
use serde::{Deserialize, Serialize};

use crate::config::ConfigFile;
use crate::driver::frozen::Frozen;
use crate::inbox::operations::OperationsRecord;
use crate::machine::Machine;
use crate::moment::Moment;
use crate::os::listener::ListenerSpec;
use crate::os_text;
use crate::socket_record::SocketRecord;

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
    pub operations: OperationsRecord,
    /// What the generations run: those that have workers, and those that can be brought back.
    pub generations: Vec<Frozen>,
    /// The sockets that clients connect to.
    pub sockets: Vec<SocketRecord>,
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
    pub operations: OperationsRecord,
    /// .
    pub generations: Vec<&'a Frozen>,
    /// .
    pub sockets: Vec<SocketRecord>,
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
    #[serde(with = "os_text")]
    pub runtime: PathBuf,
    /// The PID file.
    #[serde(with = "os_text")]
    pub pid_file: PathBuf,
    /// May act.
    #[serde(with = "os_text")]
    pub control: PathBuf,
    /// May look.
    #[serde(with = "os_text")]
    pub status: PathBuf,
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

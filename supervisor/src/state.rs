//! Everything that a successor of this master has to know: the program that is executed in its place, or the master that
//! finds its workers after its death.
//!
//! Descriptors travel beside the state, by name ([`crate::descriptor_name`]): over an execve, or in the service manager's
//! store. Each is listed here with what it takes to go on without it.
//!
//! The format is JSON. A field that was added later has a default, and unknown fields are passed over: a build reads what
//! an older or newer one wrote. The types are read and written alike; borrowed when they are written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use gin_shared::channel::Fates;
use gin_shared::generation::{Generation, WorkerId};
use gin_shared::process::ProcessId;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigFile, WorkerConfig};
use crate::inbox::operations::OperationsRecord;
use crate::machine::Machine;
use crate::moment::Moment;
use crate::os::listener::ListenerSpec;
use crate::os_text;
use crate::samples::MeterRecord;
use crate::socket_record::SocketRecord;

/// The state of a master.
#[derive(Debug, Serialize, Deserialize)]
pub struct State<'a> {
    /// The instance's name.
    pub instance: Cow<'a, str>,
    /// The version of the program that wrote it.
    #[serde(default)]
    pub version: Cow<'a, str>,
    /// The process that wrote it.
    pub master: ProcessId,
    /// The moment when that process was started.
    #[serde(default)]
    pub started: Option<Moment>,
    /// The moment when the first master of the instance was started, as far as it is known: each master after it adopted.
    #[serde(default)]
    pub first_started: Option<Moment>,
    /// The soft RLIMIT_NOFILE that the master was started with, and that workers get.
    #[serde(default)]
    pub nofile: Option<u64>,
    /// The filter of core dumps that the master was started with, and that workers without keys get.
    #[serde(default)]
    pub core_filter: Option<u32>,
    /// The places of the master's files.
    pub paths: Cow<'a, Paths>,
    /// The configuration in force.
    #[serde(default)]
    pub config: Option<Cow<'a, ConfigFile>>,
    /// The listeners that a service manager passed, if the configuration names none.
    #[serde(default)]
    pub passed: Option<Cow<'a, [ListenerSpec]>>,
    /// The lifecycle.
    pub machine: Cow<'a, Machine>,
    /// The operations: those that are open, and the last that ended.
    #[serde(default)]
    pub operations: OperationsRecord,
    /// The generations: those that have workers, and those that a rollback can bring back.
    pub generations: Vec<GenerationRecord<'a>>,
    /// The sockets that clients connect to.
    pub sockets: Vec<SocketRecord>,
    /// The workers that have a process.
    pub workers: Vec<WorkerRecord>,
    /// The inode of the memory that workers share.
    #[serde(default)]
    pub memory: Option<u64>,
    /// The inode of the memory in which workers count their metrics.
    #[serde(default)]
    pub metrics: Option<u64>,
    /// The inode of the memory with certificates and keys.
    #[serde(default)]
    pub tls: Option<u64>,
    /// The course of the connections of workers that drained, and are gone.
    #[serde(default)]
    pub connections: Fates,
    /// The part of the metrics that a later master goes on with.
    #[serde(default)]
    pub meter: MeterRecord,
    /// The operator's commands that run.
    #[serde(default)]
    pub commands: Vec<ProcessId>,
    /// The numbers of the descriptors, over an execve.
    #[serde(default)]
    pub descriptors: BTreeMap<String, RawFd>,
}

/// The places of a master's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// The runtime directory.
    #[serde(with = "os_text")]
    pub runtime: PathBuf,
    /// The PID file.
    #[serde(with = "os_text")]
    pub pid_file: PathBuf,
    /// The socket whose callers may act.
    #[serde(with = "os_text")]
    pub control: PathBuf,
    /// The socket whose callers may only look.
    #[serde(with = "os_text")]
    pub status: PathBuf,
}

/// A generation as it was frozen.
#[derive(Debug, Serialize, Deserialize)]
pub struct GenerationRecord<'a> {
    /// The generation.
    pub id: Generation,
    /// Its configuration.
    pub config: Cow<'a, WorkerConfig>,
    /// The text of the sections that are not the master's.
    #[serde(default)]
    pub others: Cow<'a, str>,
    /// The name of its release.
    pub release: Option<String>,
    /// The directory where it runs, links resolved.
    #[serde(with = "os_text::option")]
    pub directory: Option<PathBuf>,
    /// Its listeners.
    pub listeners: Vec<ListenerRecord>,
    /// The worker's program.
    pub program: ProgramRecord,
    /// The operator's commands.
    pub commands: Commands<ProgramRecord>,
    /// User and group of the workers' sockets, if they are not the master's.
    pub owner: Option<(u32, u32)>,
    /// The workers' environment.
    #[serde(with = "os_text::pairs")]
    pub environment: Cow<'a, [(OsString, OsString)]>,
    /// The file with the configuration that its workers read.
    pub snapshot: Option<SnapshotRecord>,
}

/// A listener of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRecord {
    /// The listener as it was configured.
    pub spec: ListenerSpec,
    /// The inode of its socket, while that is open.
    #[serde(default)]
    pub inode: Option<u64>,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRecord {
    /// The program's path, its directory part resolved.
    #[serde(with = "os_text")]
    pub path: PathBuf,
    /// The arguments, the program's name first.
    #[serde(with = "os_text::list")]
    pub argv: Vec<OsString>,
    /// Device and inode: identify the program, whatever lies at its path.
    pub identity: (u64, u64),
    /// Size and time of the last change: a removed file may have left its inode to another.
    #[serde(default)]
    pub stamp: Option<(i64, i64, i64)>,
}

/// The operator's commands. `P` is a program, or its record.
#[derive(Debug, Serialize, Deserialize)]
pub struct Commands<P> {
    /// Checks whether a worker is ready.
    pub check: Option<P>,
    /// Warms up each ready worker.
    pub warm_up: Option<P>,
    /// Runs before the first worker of a generation.
    pub before_restart: Option<P>,
    /// Runs when a generation serves.
    pub after_restart: Option<P>,
    /// Runs when a generation has failed.
    pub on_failure: Option<P>,
}

impl<P> Commands<P> {
    /// The commands that are configured.
    pub fn iter(&self) -> impl Iterator<Item = &P> {
        let Self { check, warm_up, before_restart, after_restart, on_failure } = self;
        [check, warm_up, before_restart, after_restart, on_failure].into_iter().flatten()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut P> {
        let Self { check, warm_up, before_restart, after_restart, on_failure } = self;
        [check, warm_up, before_restart, after_restart, on_failure].into_iter().flatten()
    }

    /// Makes the same set of other programs.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn try_map<Q, E>(&self, make: impl Fn(&P) -> Result<Q, E>) -> Result<Commands<Q>, E> {
        let make = |program: &Option<P>| program.as_ref().map(&make).transpose();
        Ok(Commands {
            check: make(&self.check)?,
            warm_up: make(&self.warm_up)?,
            before_restart: make(&self.before_restart)?,
            after_restart: make(&self.after_restart)?,
            on_failure: make(&self.on_failure)?,
        })
    }
}

/// The file with the configuration that the workers of a generation read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Its path.
    #[serde(with = "os_text")]
    pub path: PathBuf,
}

/// A worker that has a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// The worker.
    pub id: WorkerId,
    /// Its process.
    pub process: ProcessId,
    /// The number of the signal that asks it to finish: for `gin-ctl`, when there is no master.
    pub stop_signal: i32,
    /// The time that it has to finish, in milliseconds.
    #[serde(default)]
    pub drain_timeout_ms: u64,
    /// True if it has a channel.
    #[serde(default)]
    pub channel: bool,
    /// The version that it speaks there, once it has said so: a successor need not wait for that.
    #[serde(default)]
    pub channel_version: Option<u32>,
    /// True if it has a private listener.
    #[serde(default)]
    pub private: bool,
    /// True if it was told to finish.
    #[serde(default, rename = "told")]
    pub drain_sent: bool,
    /// Its last STATUS=.
    #[serde(default)]
    pub said: Option<String>,
    /// The beginning of its output in the file that stderr is: device, inode, offset.
    #[serde(default)]
    pub words: Option<(u64, u64, u64)>,
    /// The course of its connections since it drains.
    #[serde(default)]
    pub connections: Option<Fates>,
}

//! The master's upgrade in place: another program is asked whether it can take over, and then executed in this process. PID,
//! children, listeners, sockets and locks stay; signals are blocked across it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gin_shared::check::Checked;
use gin_shared::exit;
use gin_shared::inherit::NOTIFY_SOCKET;
use nix::unistd::Pid;

use super::Driver;
use crate::error_text::without_code;
use crate::exit_status::Exit;
use crate::inbox::{CONNECTIONS, Message, SCRAPERS};
use crate::machine::event::Event;
use crate::machine::failure::Failure;
use crate::os::child::Child;
use crate::os::{closer, fault, memfd, succession};
use crate::store::numbers;
use crate::task;
use crate::view::View;
use crate::workers::owned_children::Purpose;

/// Time for the new program to say whether it can take over.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// Interval between two looks whether an operator's command has ended: it is not to be cut off from its master.
const COMMANDS_INTERVAL: Duration = Duration::from_millis(50);
/// Time for what holds up an execve to end (descriptors that are closed, disks that are asked), and the interval between two looks whether
/// it has.
const CLOSING: Duration = Duration::from_secs(1);
const CLOSING_INTERVAL: Duration = Duration::from_millis(10);
/// The longest output of the new program that is read, in bytes.
const OUTPUT_MAX: u64 = 64 * 1024;

/// A failed step of an upgrade in place.
#[derive(Debug, thiserror::Error)]
enum ReexecError {
    #[error("{}: not found in PATH", .0.display())]
    NotInPath(PathBuf),
    #[error("{}: there is no such program any more", .0.display())]
    Gone(PathBuf),
    #[error("{} was replaced after it was checked; try again", .0.display())]
    Replaced(PathBuf),
    #[error("{}: {}", program.display(), without_code(error))]
    System { program: PathBuf, error: io::Error },
    #[error(
        "a worker has sent descriptors that take long to close (SO_LINGER, FUSE), and the new program would wait for them; end that worker"
    )]
    Unclosed,
    #[error(
        "a disk that the instance uses does not answer (NFS, FUSE), and the new program would wait for it; mend or unmount that disk"
    )]
    Unanswered,
    #[error(transparent)]
    Path(io::Error),
    #[error(transparent)]
    State(#[from] serde_json::Error),
}

/// The program that is to become the master.
#[derive(Debug, Default)]
pub(super) struct Successor {
    /// The file that was checked.
    checked: Option<FileIdentity>,
    /// The program's name and version.
    name: Option<String>,
    /// True if it is to take over as soon as the inbox is empty.
    is_due: bool,
    /// The end of the wait for what holds up an execve.
    waits_until: Option<Instant>,
}

impl Successor {
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    pub(super) fn set_due(&mut self) {
        self.is_due = true;
    }
}

/// A file and its last change: device, inode, and the change time, which nobody can set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64, i64, i64);

impl FileIdentity {
    fn of(program: &Path) -> Option<Self> {
        let file = std::fs::metadata(program).ok()?;
        Some(Self(file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
    }
}

// The check.
impl Driver {
    /// Asks the program at our own path, which may be another one by now, whether it can read this state and configuration.
    pub(super) fn check_reexec(&mut self) {
        match self.start_check() {
            Ok((child, [out, err])) => {
                let (pid, children, inbox) = (child.pid(), self.workers.children().clone(), self.handle.inbox.clone());
                children.insert(pid, Purpose::Command);
                task::spawn(async move {
                    let in_time = tokio::time::timeout(CHECK_TIMEOUT, child.exited()).await.is_ok();
                    // Whatever it has started ends, too.
                    let _ = child.kill_group();
                    let _ = child.exited().await;
                    let exit = child.reap();
                    children.remove(pid);
                    let result = judge(in_time, exit, &read(out), &read(err));
                    let _ = inbox.send(Message::ReexecChecked(result)).await;
                });
            }
            Err(error) => {
                self.pending.push_back(Event::ReexecChecked(Err(Failure::Prepare(error.to_string()))));
            }
        }
    }

    fn start_check(&mut self) -> Result<(Child, [File; 2]), ReexecError> {
        let program = program()?;
        self.successor.checked = FileIdentity::of(&program);
        let failed = |error| ReexecError::System { program: program.clone(), error };
        let state = self.state_file_for_check().map_err(failed)?;
        // Files, for a pipe ends only when every process has closed it.
        let output = || memfd::empty("gin-check").map_err(failed);
        let (out, err) = (output()?, output()?);
        let process = Command::new(&program)
            .args(["--config-check", "--json", "--state", "/dev/stdin"])
            .args(std::env::args_os().skip(1))
            .env_remove(NOTIFY_SOCKET)
            .env_remove(succession::GIN_STATE_FD)
            .stdin(Stdio::from(state))
            .stdout(Stdio::from(out.try_clone().map_err(failed)?))
            .stderr(Stdio::from(err.try_clone().map_err(failed)?))
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap_or_default());
        let child = Child::open(pid).map_err(failed)?;
        Ok((child, [out, err]))
    }

    fn state_file_for_check(&self) -> io::Result<File> {
        let bytes = self.store.bytes(self.view(), &self.reporter.operations, BTreeMap::new())?;
        fault::at("reexec.check")?;
        memfd::with("gin-state", &bytes)
    }

    /// Handles the answer of the new program.
    pub(super) fn handle_reexec_checked(&mut self, result: Result<String, Failure>) -> Event {
        match result {
            Ok(version) => {
                let name = format!("gin-supervisor {version}");
                tracing::info!("{name} can take over");
                self.reporter.operations.checked(&self.machine.reexec_operations(), &version);
                self.successor.name = Some(name);
                Event::ReexecChecked(Ok(()))
            }
            Err(why) => {
                tracing::error!("the supervisor was not upgraded, and goes on as it is: {why}");
                Event::ReexecChecked(Err(why))
            }
        }
    }
}

// The takeover.
impl Driver {
    /// Makes callers leave, and lets none in, until it is decided. Callers that follow something come back and hear the rest.
    pub(super) fn pause_for_reexec(&self) {
        let (handle, children) = (self.handle.clone(), self.workers.children().clone());
        task::spawn(async move {
            while children.has_commands() {
                tokio::time::sleep(COMMANDS_INTERVAL).await;
            }
            handle.paused.send_replace(true);
            let [control, status] = handle.connections.each_ref().map(Arc::clone);
            let scrapers = handle.scrapers.acquire_many(SCRAPERS);
            let _all =
                (control.acquire_many(CONNECTIONS).await, status.acquire_many(CONNECTIONS).await, scrapers.await);
            let _ = handle.inbox.send(Message::Paused).await;
        });
    }

    /// Executes the new program, once the inbox is empty and nothing is on its way.
    pub(super) async fn try_reexec(&mut self) {
        // A task that has read something and could not tell it for lack of room tells it now.
        for _ in 0..2 {
            while let Ok(message) = self.incoming.inbox.try_recv() {
                let event = self.handle_message(message);
                self.pending.extend(event);
            }
            tokio::task::yield_now().await;
        }
        if !self.pending.is_empty() {
            return;
        }
        if self.held_up().is_some()
            && Instant::now() < *self.successor.waits_until.get_or_insert(Instant::now() + CLOSING)
        {
            return tokio::time::sleep(CLOSING_INTERVAL).await;
        }
        (self.successor.is_due, self.successor.waits_until) = (false, None);
        let outcome = self.machine.is_quiet().then(|| {
            tracing::info!("executing {}", self.successor.name.as_deref().unwrap_or("the new program"));
            self.reexec().to_string()
        });
        self.handle.paused.send_replace(false);
        if let Some(why) = &outcome {
            tracing::error!("the supervisor was not upgraded, and goes on as it is: {why}");
        }
        self.pending.push_back(Event::ReexecFailed(outcome));
    }

    /// Becomes the new program; returns only if that failed.
    fn reexec(&mut self) -> ReexecError {
        let program = match program() {
            Ok(program) => program,
            Err(error) => return error,
        };
        if FileIdentity::of(&program) != self.successor.checked {
            return ReexecError::Replaced(program);
        }
        if let Some(why) = self.held_up() {
            return why;
        }
        self.reporter.service_manager.pause();
        self.reporter.hand_on_traces();
        crate::telemetry::flush();
        let error = self.execute(program);
        self.reporter.service_manager.resume();
        error
    }

    /// The reason why a thread cannot end, which an execve waits for.
    fn held_up(&self) -> Option<ReexecError> {
        if !closer::is_done() {
            return Some(ReexecError::Unclosed);
        }
        self.store.meter().waits_for_disk().then_some(ReexecError::Unanswered)
    }

    fn execute(&self, program: PathBuf) -> ReexecError {
        let view: View<'_> = self.view();
        let descriptors = self.store.all_descriptors(view);
        let fds: Vec<BorrowedFd<'_>> = descriptors.iter().map(|(_, fd)| *fd).collect();
        match self.store.bytes(view, &self.reporter.operations, numbers(&descriptors)) {
            Ok(state) => {
                let argv: Vec<OsString> = std::env::args_os().collect();
                let error = succession::execute(&program, &argv, &state, &fds);
                ReexecError::System { program, error }
            }
            Err(error) => error.into(),
        }
    }
}

/// The program to execute: the path as it was called, so that a link in it leads to the new program.
fn program() -> Result<PathBuf, ReexecError> {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let path = if called.components().count() > 1 {
        std::path::absolute(&called).map_err(ReexecError::Path)?
    } else {
        // By PATH, as the shell found it.
        let directories = std::env::var_os("PATH").unwrap_or_default();
        let mut there = std::env::split_paths(&directories).map(|directory| directory.join(&called));
        there.find(|path| path.is_file()).ok_or(ReexecError::NotInPath(called))?
    };
    if path.exists() { Ok(path) } else { Err(ReexecError::Gone(path)) }
}

/// The output of the new program.
fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.take(OUTPUT_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The version of the new program, if it can take over.
fn judge(in_time: bool, exit: Exit, out: &str, err: &str) -> Result<String, Failure> {
    if !in_time {
        let seconds = CHECK_TIMEOUT.as_secs();
        let text = format!("the new program did not say within {seconds} s whether it can take over");
        return Err(Failure::Prepare(text));
    }
    let said = err.trim().lines().collect::<Vec<_>>().join("; ");
    if exit != Exit::Code(0) {
        let said = if said.is_empty() { format!("it {exit}") } else { said };
        let text = format!("the new program cannot take over: {}", said.trim_start_matches("error: "));
        let usage = exit == Exit::Code(i32::from(exit::USAGE));
        return Err(if usage { Failure::Config(text) } else { Failure::Prepare(text) });
    }
    match serde_json::from_str::<Checked>(out) {
        Ok(checked) if checked.state => Ok(checked.version),
        Ok(_) | Err(_) => Err(Failure::Prepare("the new program is no gin-supervisor that can take over".to_owned())),
    }
}

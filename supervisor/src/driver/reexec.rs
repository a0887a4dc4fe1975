//! The master's upgrade in place: another program is asked whether it can take over, and then executed in this process. PID,
//! children, listeners, sockets and locks stay; signals are blocked across it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gin_shared::check::Checked;
use gin_shared::inherit::NOTIFY_SOCKET;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;

use super::Driver;
use super::command::Claim;
use super::keep::numbers;
use super::perform::Performer;
use crate::exit_status::Exit;
use crate::inbox::{CONNECTIONS, Message};
use crate::machine::Machine;
use crate::machine::event::Event;
use crate::machine::failure::Failure;
use crate::os::pidfd::Child;
use crate::os::{fault, succession};

/// How long the new program may take to say whether it can take over.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether an operator's command has ended: it is not to be cut off from its master.
const PAUSE: Duration = Duration::from_millis(50);

impl Performer {
    /// Asks the program at our own path, which may be another one by now, whether it can read this state and configuration.
    pub(super) fn check_reexec(&mut self, machine: &Machine, events: &mut VecDeque<Event>) {
        match self.start_check(machine) {
            Ok((child, [out, err])) => {
                let pid = child.pid();
                self.claims.borrow_mut().insert(pid, Claim::Command);
                let (claims, inbox) = (std::rc::Rc::clone(&self.claims), self.handle.inbox.clone());
                super::task::spawn(async move {
                    let in_time = tokio::time::timeout(PATIENCE, child.exited()).await.is_ok();
                    // And what it has started.
                    let _ = child.kill_group();
                    let _ = child.exited().await;
                    let exit = child.reap();
                    claims.borrow_mut().remove(&pid);
                    let said = |mut file: File| {
                        let mut bytes = Vec::new();
                        let _ = file.rewind().and_then(|()| file.take(64 * 1024).read_to_end(&mut bytes));
                        String::from_utf8_lossy(&bytes).into_owned()
                    };
                    let (out, err) = (said(out), said(err));
                    let _ = inbox.send(Message::ReexecChecked(judge(in_time, exit, &out, &err))).await;
                });
            }
            Err(error) => events.push_back(Event::ReexecChecked(Err(Failure::Prepare(error)))),
        }
    }

    fn start_check(&mut self, machine: &Machine) -> Result<(Child, [File; 2]), String> {
        let program = program()?;
        self.checked = identity(&program);
        let failed =
            |error: std::io::Error| format!("{}: {}", program.display(), crate::error_text::without_code(&error));
        let state = || -> std::io::Result<File> {
            let bytes = self.written(machine, std::collections::BTreeMap::new())?;
            fault::at("reexec.check")?;
            let mut file = File::from(memfd_create("gin-state", MFdFlags::MFD_CLOEXEC)?);
            file.write_all(&bytes)?;
            file.rewind()?;
            Ok(file)
        };
        // Files, for a pipe ends only when everybody has closed it.
        let output = || Ok(File::from(memfd_create("gin-check", MFdFlags::MFD_CLOEXEC)?));
        let output = || output().map_err(|error: std::io::Error| failed(error));
        let (out, err) = (output()?, output()?);
        let process = Command::new(&program)
            .args(["--config-check", "--json", "--state", "/dev/stdin"])
            .args(std::env::args_os().skip(1))
            .env_remove(NOTIFY_SOCKET)
            .env_remove(succession::GIN_STATE_FD)
            .stdin(Stdio::from(state().map_err(failed)?))
            .stdout(Stdio::from(out.try_clone().map_err(failed)?))
            .stderr(Stdio::from(err.try_clone().map_err(failed)?))
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap_or_default());
        let child = Child::open(pid).map_err(failed)?;
        Ok((child, [out, err]))
    }

    /// Callers are to leave, and none is let in, until it is decided. Who followed something comes back and hears the rest.
    pub(super) fn pause_for_reexec(&self) {
        let (handle, claims) = (self.handle.clone(), std::rc::Rc::clone(&self.claims));
        super::task::spawn(async move {
            while claims.borrow().values().any(|claim| *claim == Claim::Command) {
                tokio::time::sleep(PAUSE).await;
            }
            handle.paused.send_replace(true);
            let [control, status] = handle.connections.each_ref().map(Arc::clone);
            let _all = (control.acquire_many(CONNECTIONS).await, status.acquire_many(CONNECTIONS).await);
            let _ = handle.inbox.send(Message::Paused).await;
        });
    }

    /// Becomes the new program; returns only if that failed.
    fn reexec(&mut self, machine: &Machine) -> String {
        let program = match program() {
            Ok(program) => program,
            Err(error) => return error,
        };
        if identity(&program) != self.checked {
            return format!("{} was replaced after it was checked; try again", program.display());
        }
        self.service_manager.rest();
        crate::telemetry::flush();
        let descriptors = self.all_descriptors();
        let fds: Vec<BorrowedFd<'_>> = descriptors.iter().map(|(_, fd)| *fd).collect();
        let error = match self.written(machine, numbers(&descriptors)) {
            Ok(state) => {
                let argv: Vec<OsString> = std::env::args_os().collect();
                let error = succession::execute(&program, &argv, &state, &fds);
                format!("{}: {}", program.display(), crate::error_text::without_code(&error))
            }
            Err(error) => error.to_string(),
        };
        self.service_manager.wake();
        error
    }
}

impl Driver {
    /// Once the inbox is empty, and nothing is on its way, the new program takes over.
    pub(super) async fn try_reexec(&mut self) {
        // Who has read something and could not tell it for lack of room has it told now.
        for _ in 0..2 {
            while let Ok(message) = self.inbox.try_recv() {
                let event = self.message(message);
                self.pending.extend(event);
            }
            tokio::task::yield_now().await;
        }
        if !self.pending.is_empty() {
            return;
        }
        self.pausing = false;
        let outcome = if self.machine.is_quiet() {
            tracing::info!("executing {}", self.performer.successor.as_deref().unwrap_or("the new program"));
            Some(self.performer.reexec(&self.machine))
        } else {
            None
        };
        self.handle.paused.send_replace(false);
        if let Some(why) = &outcome {
            tracing::error!("the supervisor was not upgraded, and goes on as it is: {why}");
        }
        self.pending.push_back(Event::ReexecFailed(outcome));
    }

    /// The new program has said whether it can take over.
    pub(super) fn reexec_checked(&mut self, result: Result<String, Failure>) -> Event {
        match result {
            Ok(version) => {
                let name = format!("gin-supervisor {version}");
                tracing::info!("{name} can take over");
                self.handle.operations.checked(&self.machine.reexec_operations(), &version);
                self.performer.successor = Some(name);
                Event::ReexecChecked(Ok(()))
            }
            Err(why) => {
                tracing::error!("the supervisor was not upgraded, and goes on as it is: {why}");
                Event::ReexecChecked(Err(why))
            }
        }
    }
}

/// What to execute: the program as it was called, so that a link in its path leads to the new one.
fn program() -> Result<PathBuf, String> {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let path = if called.components().count() > 1 {
        std::path::absolute(&called).map_err(|error| error.to_string())?
    } else {
        // By PATH, as the shell found it.
        let directories = std::env::var_os("PATH").unwrap_or_default();
        let mut there = std::env::split_paths(&directories).map(|directory| directory.join(&called));
        there.find(|path| path.is_file()).ok_or_else(|| format!("{}: not found in PATH", called.display()))?
    };
    if path.exists() { Ok(path) } else { Err(format!("{}: there is no such program any more", path.display())) }
}

/// Which file it is, and when it was changed: its bytes, or anything about it, which nobody can set back.
fn identity(program: &Path) -> Option<(u64, u64, i64, i64)> {
    let file = std::fs::metadata(program).ok()?;
    Some((file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
}

fn judge(in_time: bool, exit: Exit, out: &str, err: &str) -> Result<String, Failure> {
    if !in_time {
        let text = format!("the new program did not say within {} s whether it can take over", PATIENCE.as_secs());
        return Err(Failure::Prepare(text));
    }
    let said = err.trim().lines().collect::<Vec<_>>().join("; ");
    if exit != Exit::Code(0) {
        let said = if said.is_empty() { format!("it {exit}") } else { said };
        let text = format!("the new program cannot take over: {}", said.trim_start_matches("error: "));
        let usage = exit == Exit::Code(i32::from(gin_shared::exit::USAGE));
        return Err(if usage { Failure::Config(text) } else { Failure::Prepare(text) });
    }
    match serde_json::from_str::<Checked>(out) {
        Ok(checked) if checked.state => Ok(checked.version),
        Ok(_) | Err(_) => Err(Failure::Prepare("the new program is no gin-supervisor that can take over".to_owned())),
    }
}

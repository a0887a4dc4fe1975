//! A worker's last lines out of the journal, where the supervisor could not quote them itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long the journal may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many lines.
const LINES: &str = "5";

/// Empty if there is no journal, or it may not be read.
#[must_use]
pub fn last_lines(pid: Option<i32>) -> Vec<String> {
    let Some(pid) = pid else { return Vec::new() };
    // Only where the journal runs is there anything to ask.
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        return Vec::new();
    }
    // What was written last may not be filed yet.
    let _ = output(&["--sync"]);
    let found = output(&["--quiet", "--boot", "--output=cat", "--lines", LINES, &format!("_PID={pid}")]);
    let printable = |line: &str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(240).collect();
    found.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).map(printable).collect()
}

fn output(args: &[&str]) -> Option<String> {
    let mut command = Command::new("journalctl");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().ok()?;
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok()?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let patience = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap_or(1), tv_nsec: 0 };
    if poll(&mut ended, Some(&patience)) != Ok(1) {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

//! A worker's last lines out of the journal, where the supervisor could not quote them itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use gin_shared::plain_text::plain;
use gin_shared::process::Pidfd;
use gin_shared::status::Upgrade;

/// How long the journal may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many lines.
const LINES: &str = "5";

/// Adds the last lines of the worker that an upgrade has failed by, if the supervisor could not read them.
pub fn complete(upgrade: &mut Upgrade) {
    if upgrade.reason.is_some() && !upgrade.cancelled && upgrade.said.is_empty() {
        // Its number may be another's by now.
        upgrade.said = lines_until(upgrade.pid, Some(upgrade.at_ms / 1000 + 1));
    }
}

/// Empty if there is no journal, or it may not be read.
#[must_use]
pub fn last_lines(pid: Option<i32>) -> Vec<String> {
    lines_until(pid, None)
}

/// The same up to a moment, in seconds since 1970.
fn lines_until(pid: Option<i32>, until: Option<u64>) -> Vec<String> {
    let Some(pid) = pid else { return Vec::new() };
    // Only where the journal runs is there anything to ask.
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        return Vec::new();
    }
    // What was written last may not be filed yet.
    let _ = output(&["--sync"]);
    let until = until.map(|seconds| format!("--until=@{seconds}"));
    let mut args = vec!["--quiet", "--boot", "--output=cat", "--lines", LINES];
    args.extend(until.as_deref());
    let of = format!("_PID={pid}");
    args.push(&of);
    let found = output(&args);
    let printable = |line: &str| plain(&line.replace('\t', " ")).chars().take(240).collect();
    found.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).map(printable).collect()
}

fn output(args: &[&str]) -> Option<String> {
    let mut command = Command::new("journalctl");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().ok()?;
    let process = Pidfd::open(i32::try_from(child.id()).ok()?).ok()??;
    if !process.has_ended(PATIENCE) {
        process.kill();
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

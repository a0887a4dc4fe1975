//! A worker's last lines out of the journal, where the supervisor could not quote them itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use gin_shared::plain_text::is_plain;
use gin_shared::process::Pidfd;

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
    let printable = |line: &str| line.chars().map(|c| if is_plain(c) { c } else { ' ' }).take(240).collect();
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

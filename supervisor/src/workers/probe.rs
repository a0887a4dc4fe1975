//! The probe: asks one worker over its private listener whether it is fit to serve.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;

use crate::config::Probe;
use crate::machine::failure::ProbeError;
use crate::private_client::{self, AskError};
use crate::task::within;

/// The most of a body that is looked at, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// The most of its first line that is quoted, in characters.
const WIDTH: usize = 160;

/// An answer that is not the expected one, or none.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("no answer within {}", humantime::format_duration(*.0))]
    NotInTime(Duration),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{status}{quoted}")]
    Status { status: StatusCode, quoted: String },
    #[error("{status}, but its body has no \"{part}\"{quoted}")]
    Body { status: StatusCode, part: String, quoted: String },
}

/// Asks until the probe has succeeded, or failed, as many times in a row as it is configured. The caller limits the time.
///
/// # Errors
/// The last answer, if it was wrong, or why there was none.
pub async fn probe(socket: &Path, probe: &Probe) -> Result<String, ProbeError> {
    let (mut successes, mut failures) = (0, 0);
    let request = format!("GET {}", probe.path);
    loop {
        let answer = within(probe.timeout, ask(socket, probe)).await;
        match answer.unwrap_or(Err(Unfit::NotInTime(probe.timeout))) {
            Ok(status) => {
                (successes, failures) = (successes + 1, 0);
                if successes >= probe.successes {
                    return Ok(format!("{request} {} {}", status.as_u16(), times(successes)));
                }
            }
            Err(unfit) => {
                (successes, failures) = (0, failures + 1);
                if failures >= probe.failures {
                    return Err(ProbeError::Answer { request, answer: unfit.to_string() });
                }
            }
        }
        tokio::time::sleep(probe.interval).await;
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

async fn ask(socket: &Path, probe: &Probe) -> Result<StatusCode, Unfit> {
    let (head, body) = private_client::get(socket, &probe.path, BODY_MAX).await?;
    judge(probe, head.status, &String::from_utf8_lossy(&body))
}

fn judge(probe: &Probe, status: StatusCode, body: &str) -> Result<StatusCode, Unfit> {
    let first = body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let first: String = first.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WIDTH).collect();
    let quoted = if first.is_empty() { String::new() } else { format!(": {}", first.trim()) };
    if status.as_u16() != probe.status {
        return Err(Unfit::Status { status, quoted });
    }
    match &probe.body {
        Some(part) if !body.contains(part) => Err(Unfit::Body { status, part: part.clone(), quoted }),
        _ => Ok(status),
    }
}

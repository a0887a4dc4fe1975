//! Asks one worker over its private listener whether it is fit to serve.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::config::Probe;
use crate::machine::failure::ProbeError;

/// The most of a body that is looked at, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// The most of its first line that is quoted, in characters.
const WIDTH: usize = 160;

/// Asks until it has succeeded, or failed, so many times in a row. The caller sets the end.
///
/// # Errors
/// What was wrong at the last time: the status and the first line, or why there was none.
pub async fn probe(socket: &Path, probe: &Probe) -> Result<String, ProbeError> {
    let (mut successes, mut failures) = (0, 0);
    let asked = format!("GET {}", probe.path);
    loop {
        let answer = tokio::time::timeout(probe.timeout, ask(socket, probe)).await;
        let said = match answer {
            Ok(Ok(status)) => {
                (successes, failures) = (successes + 1, 0);
                format!("{asked} {} {}", status.as_u16(), times(successes))
            }
            Ok(Err(said)) => {
                (successes, failures) = (0, failures + 1);
                said
            }
            Err(_) => {
                (successes, failures) = (0, failures + 1);
                format!("no answer within {}", humantime::format_duration(probe.timeout))
            }
        };
        if successes >= probe.successes {
            return Ok(said);
        }
        if failures >= probe.failures {
            return Err(ProbeError::Answer { request: asked, answer: said });
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

async fn ask(socket: &Path, probe: &Probe) -> Result<StatusCode, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| words(&error))?;
    let http = |error: hyper::Error| format!("no HTTP response: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(16 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(http)?;
    let exchange = async {
        let request = Request::get(&probe.path).header("host", "gin").header("user-agent", "gin-supervisor");
        let request = request.header("connection", "close").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(|error| format!("{status}, but its body cannot be read: {error}"))?.to_bytes();
        judge(probe, status, &String::from_utf8_lossy(&body))
    };
    let connection = async {
        // What goes wrong with it, the exchange tells.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! { answer = exchange => answer, () = connection => Err("closed".to_owned()) }
}

fn judge(probe: &Probe, status: StatusCode, body: &str) -> Result<StatusCode, String> {
    let first = body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let first: String = first.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WIDTH).collect();
    let quoted = if first.is_empty() { String::new() } else { format!(": {}", first.trim()) };
    if status.as_u16() != probe.status {
        return Err(format!("{status}{quoted}"));
    }
    match &probe.body {
        Some(part) if !body.contains(part) => Err(format!("{status}, but its body has no \"{part}\"{quoted}")),
        _ => Ok(status),
    }
}

fn words(error: &io::Error) -> String {
    crate::error_text::without_code(error)
}

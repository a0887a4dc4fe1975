//! A client of HTTP/2 in a load: one to four requests at once, each of another kind.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use tokio::runtime::Runtime;

use super::{Report, pid_of};
use crate::{Address, Failure, Http2, Response, WINDOW};

/// A client, with its connection if it has one.
pub(super) struct Streams {
    runtime: Arc<Runtime>,
    kept: Option<Http2>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { runtime: Http2::thread(), kept: None }
    }

    /// Sends requests, and takes their answers. Returns the PIDs of those that answered.
    pub(super) fn exchange(
        &mut self,
        address: &Address,
        report: &mut Report,
        random: u64,
    ) -> Result<Vec<u64>, Failure> {
        let exchanged = self.ask(address, report, random);
        if exchanged.is_err() {
            self.kept = None;
        }
        exchanged
    }

    fn ask(&mut self, address: &Address, report: &mut Report, random: u64) -> Result<Vec<u64>, Failure> {
        let client = match &mut self.kept {
            Some(client) => client,
            None => {
                report.connects += 1;
                self.kept.insert(Http2::open(address, WINDOW, &self.runtime)?)
            }
        };
        let count = 1 + random / 8192 % 4;
        let lengths: Vec<usize> = (0..count).map(|number| length(random.rotate_right(5 * number as u32))).collect();
        let answers = client.exchange(lengths.iter().map(|length| request(*length)).collect());
        let (mut pids, mut is_told) = (Vec::new(), false);
        for (answer, length) in answers.into_iter().zip(lengths) {
            match answer {
                // It was not processed, and its client knows it (RFC 9113, section 6.8).
                Err(Failure::GoingAway) => is_told = true,
                answer => pids.push(answered(&answer?, length)?),
            }
        }
        if is_told {
            report.closed_with_notice += 1;
            self.kept = None;
        }
        Ok(pids)
    }
}

/// Length of a body: none, a short one, or one that is larger than a window.
fn length(random: u64) -> usize {
    match random % 32 {
        0 => 100_000,
        1..12 => (random / 32 % 3000) as usize,
        _ => 0,
    }
}

/// An upload of so many bytes, or a GET.
fn request(length: usize) -> Request<Bytes> {
    let request = if length == 0 { Request::get("http://x/") } else { Request::post("http://x/upload") };
    request.body(vec![b'x'; length].into()).unwrap()
}

/// The PID of the worker that answered. If there was a body, it has had all of it.
fn answered(answer: &Response, length: usize) -> Result<u64, Failure> {
    let pid = pid_of(answer)?;
    let had = answer.json()["length"].as_u64().unwrap_or_default();
    if had == length as u64 { Ok(pid) } else { Err(Failure::Other(format!("of {length} bytes came {had}"))) }
}

//! Clients that speak HTTP/2, with a few requests at once.

use bytes::Bytes;
use harness::{Failure, Response};
use http::Request;

use super::{Conversation, Kind, Then};
use crate::chaos::schedule::Random;

/// A connection of HTTP/2. Nothing happens on it between two exchanges.
pub struct Http2 {
    client: harness::Http2,
    kind: Kind,
}

/// What an answer has besides its status.
enum Expected {
    Anything,
    /// The number of bytes that the worker has read.
    Upload(usize),
    /// So many bytes.
    Download(usize),
}

fn get(path: &str) -> Request<Bytes> {
    Request::get(format!("http://x{path}")).body(Bytes::new()).expect("it is a request")
}

fn upload(length: usize) -> Request<Bytes> {
    Request::post("http://x/upload").body(vec![b'x'; length].into()).expect("it is a request")
}

/// What an answer says of the connection.
fn then(answer: Result<Response, Failure>, expected: &Expected) -> Result<Then, Failure> {
    let answer = match answer {
        // The request was not processed, and the client knows it (RFC 9113, section 6.8).
        Err(Failure::GoingAway) => return Ok(Then::Announced),
        answer => answer?,
    };
    match (answer.status, expected) {
        (200, Expected::Upload(length)) if answer.json()["length"] != *length => {
            Err(Failure::Other(format!("of {length} bytes came {}", answer.json()["length"])))
        }
        (200, Expected::Download(length)) if answer.body.len() != *length => Err(Failure::Truncated),
        (200, _) => Ok(Then::On),
        (status, _) => Err(Failure::Status(status)),
    }
}

impl Http2 {
    pub fn new(client: harness::Http2, kind: Kind) -> Self {
        Self { client, kind }
    }

    /// The requests of an exchange.
    fn requests(&self, random: &mut Random) -> Vec<(Request<Bytes>, Expected)> {
        let who = || (get("/"), Expected::Anything);
        match self.kind {
            Kind::Http2Idle => vec![who()],
            Kind::Http2Bodies => {
                // More than a window, or less.
                let length = 1 + random.below(200_000);
                let download = (get("/download?mb=1&ms=100"), Expected::Download(1 << 20));
                vec![(upload(length), Expected::Upload(length)), download, who()]
            }
            _ => vec![who(), who(), who()],
        }
    }
}

impl Conversation for Http2 {
    fn exchange(&mut self, random: &mut Random) -> Result<Then, Failure> {
        let (requests, expected): (Vec<_>, Vec<_>) = self.requests(random).into_iter().unzip();
        let answers = self.client.exchange(requests).into_iter().zip(&expected);
        let all = answers.map(|(answer, expected)| then(answer, expected)).collect::<Result<Vec<Then>, Failure>>()?;
        Ok(if all.contains(&Then::Announced) { Then::Announced } else { Then::On })
    }
}

//! The ways in which a receiver answers.

use std::time::Duration;

use bytes::Bytes;
use gin_shared::protobuf::Writer;

/// Behaviour of a receiver, from one request to the next order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes all spans.
    #[default]
    Takes,
    /// It reads a request, and answers nothing.
    Hangs,
    /// It reads a request, and closes the connection.
    DiesInTheMiddle,
    /// It refuses with this status of HTTP. Over gRPC with the code that means the same.
    Answers(u16),
    /// The same, and says when to come again: by `Retry-After` in whole seconds; over gRPC with code 8 and `RetryInfo`.
    RetryAfter(u16, Duration),
    /// It takes a request, but for so many of its spans.
    Rejects(u64),
}

/// Answer to one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Hang,
    Die,
    Taken { rejected: u64 },
    Refused { status: u16, after: Option<Duration> },
}

impl Behaviour {
    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Takes => Verdict::Taken { rejected: 0 },
            Self::Hangs => Verdict::Hang,
            Self::DiesInTheMiddle => Verdict::Die,
            Self::Answers(status) => Verdict::Refused { status, after: None },
            Self::RetryAfter(status, after) => Verdict::Refused { status, after: Some(after) },
            Self::Rejects(rejected) => Verdict::Taken { rejected },
        }
    }
}

/// `ExportTraceServiceResponse`, of either protocol.
pub(super) fn response(rejected: u64) -> Bytes {
    let mut response = Writer::new();
    if rejected > 0 {
        response.message(1, |partial| {
            partial.number(1, rejected);
            partial.text(2, "the test does not take them");
        });
    }
    response.into_vec().into()
}

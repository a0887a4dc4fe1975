//! The outcome of a run under load: counts, and the first things that went wrong.

use std::fmt;
use std::time::Instant;

/// Failures that an [`Outcome`] names.
const NAMED: usize = 10;

/// The outcome of [`UnderLoad`](crate::testing::UnderLoad).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Requests that got the status that they expect.
    pub answered: u64,
    /// Messages over WebSockets that were answered.
    pub messages: u64,
    /// Connections that clients made for requests: as many as there are clients, if none was closed.
    pub connected: u64,
    /// Connections that were closed under a client, between two requests.
    pub closed: u64,
    /// Requests and messages without an answer, or with another one than was expected, and connections that could not be made.
    pub failed: u64,
    /// The first ten failures of all clients, in the order of time.
    pub failures: Vec<Failure>,
    /// The supervisor's answers to the restarts.
    pub restarts: Vec<String>,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The request, or the message: `POST /users {"name":"Ann"}`. Headers are left out, as they may carry secrets.
    pub request: String,
    /// The answer's status and the beginning of its body, or why there was none.
    pub answer: String,
    at: Instant,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.answer)
    }
}

impl Outcome {
    /// Asserts that every request and every message was answered as expected, and no connection was closed.
    ///
    /// # Panics
    /// If something failed: with the first failures. If a connection was closed, or nobody was served.
    #[track_caller]
    pub fn assert_nobody_noticed(&self) {
        assert!(self.failed == 0, "{}", self.told());
        assert!(self.closed == 0, "{} connections were closed between two requests", self.closed);
        assert!(self.answered + self.messages > 0, "nothing was answered");
    }

    fn told(&self) -> String {
        let named: Vec<String> = self.failures.iter().map(|failure| format!("\n  {failure}")).collect();
        let all = self.failed + self.answered + self.messages;
        format!("{} of {all} requests and messages failed; the first failures:{}", self.failed, named.concat())
    }

    /// Counts a failure.
    pub(super) fn fail(&mut self, request: impl fmt::Display, answer: impl fmt::Display) {
        self.failed += 1;
        if self.failures.len() < NAMED {
            let (request, answer) = (request.to_string(), answer.to_string());
            self.failures.push(Failure { request, answer, at: Instant::now() });
        }
    }

    /// Adds what another client has seen.
    pub(super) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.messages += other.messages;
        self.connected += other.connected;
        self.closed += other.closed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.at);
        self.failures.truncate(NAMED);
        self.restarts.extend(other.restarts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failures_are_named_and_all_are_counted() {
        let (mut one, mut other) = (Outcome::default(), Outcome::default());
        one.fail("GET /first", "404 Not Found");
        for number in 0..NAMED * 2 {
            other.fail(format!("GET /{number}"), "503 Service Unavailable: full");
        }
        one.fail("GET /last", "404 Not Found");
        one.answered = 5;
        one.add(other);
        assert_eq!((one.failed, one.failures.len()), (22, NAMED));
        let told = one.told();
        let head = "22 of 27 requests and messages failed; the first failures:\n  GET /first: 404 Not Found\n";
        assert!(told.starts_with(head), "{told}");
        assert!(told.contains("GET /0: 503 Service Unavailable: full") && !told.contains("/last"), "{told}");
    }

    #[test]
    #[should_panic(expected = "GET /: 401 Unauthorized")]
    fn a_failure_is_noticed() {
        let mut outcome = Outcome { answered: 1, ..Outcome::default() };
        outcome.fail("GET /", "401 Unauthorized");
        outcome.assert_nobody_noticed();
    }

    #[test]
    #[should_panic(expected = "nothing was answered")]
    fn silence_is_noticed() {
        Outcome::default().assert_nobody_noticed();
    }
}

//! The control API: HTTP/1.1 and JSON over the Unix sockets `control` (may act) and `status` (may look).
//!
//! `GET /v1/workers/{generation}/{slot}/info|metrics|routes|health|livez|readyz` asks one worker; `GET|POST /v1/log-level` is a
//! [`LogLevel`]. `GET /v1/metrics` is for Prometheus: the supervisor's numbers and the sums of all workers, or with `?by=worker` those of each
//! worker that lives.
//!
//! `GET /v1/certificates` lists the certificates that workers use, each as `CertificateStatus` of [`status`](crate::status).
//!
//! `POST /v1/restart|reload|rollback|cancel|scale|stop|upgrade-supervisor|migrate` answers 202 with an [`Accepted`]; `GET /v1/operations/{id}` streams a
//! [`NumberedStep`] a line until the operation has ended. A refusal is an [`ErrorBody`]. The body of `migrate` is a
//! [`migration::Order`](crate::migration::Order).
//!
//! Version 1 is the first. Fields are only ever added; readers ignore what they do not know.

use serde::{Deserialize, Serialize};

use crate::channel::Fates;
use crate::generation::Generation;

/// Names one operation. Never used twice by one master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub u64);

impl std::fmt::Display for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Body of `POST /v1/restart`, `/v1/reload` and `/v1/upgrade-supervisor`; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartRequest {
    /// Answer busy rather than wait for an upgrade that is under way.
    pub no_queue: bool,
}

/// Body of `POST /v1/rollback`; may be empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RollbackRequest {
    /// The generation to bring back, instead of the last good one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Generation>,
    /// Bring the last good one back even though an upgrade has failed since, so that a better one serves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Body of `POST /v1/cancel`; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CancelRequest {
    /// Only this operation; else the upgrade under way and those that wait.
    pub operation: Option<OperationId>,
    /// What the caller of the cancelled operation is told.
    pub because: Option<String>,
}

/// Body of `POST /v1/scale`: one of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScaleRequest {
    /// The number of workers that there shall be, 1 to [`WORKERS_MAX`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// Number of workers more than when everything under way is done; fewer, if it is negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<i32>,
}

/// The most workers that one instance runs.
pub const WORKERS_MAX: u32 = 1024;

/// Body of `POST /v1/stop`; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StopRequest {
    /// Do not wait for requests in flight.
    pub fast: bool,
}

/// Body of `POST /v1/log-level`, and the answer to it and to `GET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// trace, debug, info, warn or error.
    pub level: String,
    /// How many workers were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
}

/// Body of a 202.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// What to ask for at `/v1/operations/{id}`.
    pub operation: OperationId,
}

/// Body of a 4xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong and what to do.
    pub error: String,
    /// The exit code that says the same.
    pub exit: u8,
}

/// What an upgrade has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Every worker's program runs.
    Started,
    /// Every worker is ready.
    Ready,
    /// Every worker is warmed up.
    WarmedUp,
    /// Every worker has passed its probe.
    Probed,
    /// Every worker accepts.
    Serving,
    /// It served beside the old one for the soak time.
    Soaked,
    /// It is the one that serves.
    Current,
}

impl Phase {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::WarmedUp => "warmed up",
            Self::Probed => "probed",
            Self::Serving => "serving",
            Self::Soaked => "soaked",
            Self::Current => "current",
        }
    }
}

/// A line of an operation's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberedStep {
    /// Rises from step to step, also from one master to the next: a caller that comes back knows what it has seen. A step
    /// of a version before this field has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The step.
    #[serde(flatten)]
    pub step: Step,
}

/// A step of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It waits for another upgrade, or for an old generation to drain.
    Waiting {
        /// For what.
        text: String,
    },
    /// A generation was made for it.
    Generation {
        /// Which.
        generation: Generation,
        /// Its name, where it has one.
        release: Option<String>,
        /// Where that lies.
        directory: Option<String>,
        /// The generation that served when it was made.
        #[serde(default)]
        replaces: Option<Generation>,
    },
    /// The generation has reached something.
    Phase {
        /// What.
        phase: Phase,
        /// How many workers.
        workers: u32,
        /// Since the phase before, in milliseconds.
        took_ms: f64,
    },
    /// A worker's probe was answered so.
    Probe {
        /// Whose.
        slot: u32,
        /// What.
        text: String,
    },
    /// Rolling: the generation serves in one slot more.
    Replaced {
        /// In how many by now.
        slots: u32,
        /// Of how many.
        workers: u32,
        /// Since the slot before, in milliseconds.
        took_ms: f64,
    },
    /// Something to know, which stops nothing.
    Warning {
        /// What.
        text: String,
    },
    /// A program was found fit to become the master.
    Checked {
        /// Its version.
        version: String,
    },
    /// A command around the restart was run.
    Hook {
        /// Which.
        name: String,
        /// What came of it.
        outcome: String,
        /// How long it took, in milliseconds.
        took_ms: f64,
    },
    /// The output of the program that was run for it.
    Output {
        /// Its lines.
        lines: Vec<String>,
    },
    /// It failed in this phase; an `ended` follows.
    Failed {
        /// What was not reached.
        phase: Phase,
        /// Why.
        reason: String,
        /// The worker's last lines, where they can be had.
        said: Vec<String>,
        /// Its PID, to find more.
        pid: Option<i32>,
    },
    /// The operation is over.
    Ended(Outcome),
    /// The generations before the one it made are gone. Only sent when asked for with `?drained=true`.
    Drained {
        /// What became of the connections of the last of them; of workers of ours alone.
        #[serde(default)]
        connections: Option<Fates>,
    },
    /// Something that a later version says.
    #[serde(other)]
    Other,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The exit code that tells it: see [`crate::exit`].
    pub exit: u8,
    /// In a sentence.
    pub text: String,
    /// From accepting to now, in milliseconds.
    pub took_ms: f64,
}

/// A line of `/v1/events`: the log's transitions, as they happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// In a sentence.
    pub text: String,
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NumberedStep {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_step_with_a_number_a_version_without_numbers_and_a_later_step_are_all_read() {
        let waiting = Step::Waiting { text: "for another".to_owned() };
        let numbered = NumberedStep { number: Some(7), step: waiting.clone() };
        let text = serde_json::to_string(&numbered).unwrap();
        assert_eq!(text, r#"{"number":7,"step":"waiting","text":"for another"}"#);
        assert_eq!(read(&text), numbered);
        // As an older gin-ctl reads it.
        assert_eq!(serde_json::from_str::<Step>(&text).unwrap(), waiting);
        assert_eq!(read(r#"{"step":"waiting","text":"for another"}"#), NumberedStep { number: None, step: waiting });
        assert_eq!(read(r#"{"number":8,"step":"danced","with":1}"#).step, Step::Other);
        let ended = Step::Ended(Outcome { exit: 0, text: "stopped".to_owned(), took_ms: 1.5 });
        let ended = NumberedStep { number: Some(9), step: ended };
        assert_eq!(read(&serde_json::to_string(&ended).unwrap()), ended);
    }
}

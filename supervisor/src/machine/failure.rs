//! Failures: reasons why a worker, and with it a candidate, is not fit to serve. One variant, one message.

use std::fmt;
use std::time::Duration;

use gin_shared::control::Phase;
use serde::{Deserialize, Serialize};

use super::plan::Readiness;
use crate::exit_status::Exit;

/// An operator's command that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It did not end in time.
    #[error("it did not end within {}", humantime::format_duration(*.0))]
    NotInTime(Duration),
    /// It could not be started: the text names the step.
    #[error("{0}")]
    NotStarted(String),
    /// It ended in another way than with status 0.
    #[error("it {0}")]
    Failed(Exit),
}

/// A probe that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The worker has no private listener.
    #[error(
        "the worker has no private listener to be asked on, as it is not built on gin-worker; set private_listener = true if \
         it serves every socket that it is passed, or use ready = {{ exec = [...] }} or warm_up"
    )]
    NoListener,
    /// The last answer was not the expected one.
    #[error("{request}: {answer}")]
    Answer {
        /// The request: "GET /readyz".
        request: String,
        /// The answer, or why there was none.
        answer: String,
    },
}

/// A reason to replace a worker that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// It was silent for longer than `watchdog`, or said itself that it hangs.
    Hangs(Duration),
    /// Its processes hold more memory than `limits.memory_restart`.
    Memory(u64),
    /// It is older than `limits.max_age`.
    Age(Duration),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hangs(silence) => {
                write!(f, "it hangs: no WATCHDOG=1 within watchdog = {}", humantime::format_duration(*silence))
            }
            Self::Memory(bytes) => write!(f, "it holds {} MiB, more than limits.memory_restart", bytes >> 20),
            Self::Age(age) => write!(f, "it has reached limits.max_age after {} s", age.as_secs()),
        }
    }
}

/// A failure of a worker or of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The configuration cannot be used.
    Config(String),
    /// A program, directory or listener of the configuration cannot be used.
    Prepare(String),
    /// No process could be made.
    Spawn(String),
    /// The program could not be started, or stops by itself: the text names the step.
    Exec(String),
    /// It ended when it should not.
    Exited {
        /// The slot.
        slot: u32,
        /// The process.
        pid: Option<i32>,
        /// The exit status.
        exit: Exit,
        /// The time since its program had started.
        after: Duration,
    },
    /// It was not ready in time.
    NotReady {
        /// The process.
        pid: Option<i32>,
        /// The sign that was awaited.
        ready: Readiness,
        /// The time that it had.
        timeout: Duration,
        /// The text of the last check.
        check: Option<String>,
    },
    /// The warm-up failed, or did not end in time.
    WarmUp {
        /// The process.
        pid: Option<i32>,
        /// The reason.
        said: String,
    },
    /// The probe failed.
    Probe {
        /// The process.
        pid: Option<i32>,
        /// The answer.
        said: String,
    },
    /// It hangs.
    Hangs {
        /// The process.
        pid: Option<i32>,
        /// The time for which it was silent.
        silence: Duration,
    },
    /// It was told to accept and did not say that it does.
    NotAccepting {
        /// The process.
        pid: Option<i32>,
        /// The time that it had.
        timeout: Duration,
    },
    /// Somebody called it off.
    Cancelled(String),
}

impl Failure {
    /// The phase that was not reached, where the failure itself says it.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::NotReady { .. } => Some(Phase::Ready),
            Self::WarmUp { .. } => Some(Phase::WarmedUp),
            Self::Probe { .. } => Some(Phase::Probed),
            Self::NotAccepting { .. } => Some(Phase::Serving),
            Self::Hangs { .. } => Some(Phase::Soaked),
            Self::Config(_)
            | Self::Prepare(_)
            | Self::Spawn(_)
            | Self::Exec(_)
            | Self::Exited { .. }
            | Self::Cancelled(_) => None,
        }
    }

    /// True if nothing was wrong: somebody called it off.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled(_))
    }

    /// The process to look for in logs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Exited { pid, .. }
            | Self::NotReady { pid, .. }
            | Self::WarmUp { pid, .. }
            | Self::Probe { pid, .. }
            | Self::Hangs { pid, .. }
            | Self::NotAccepting { pid, .. } => *pid,
            Self::Config(_) | Self::Prepare(_) | Self::Spawn(_) | Self::Exec(_) | Self::Cancelled(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) | Self::Prepare(text) | Self::Exec(text) => f.write_str(text),
            Self::Spawn(text) => write!(f, "cannot start a process: {text}"),
            Self::Exited { slot, pid, exit, after } => {
                write!(f, "slot {slot}")?;
                if let Some(pid) = pid {
                    write!(f, " (pid {pid})")?;
                }
                write!(f, " {exit} after {:.2} s", after.as_secs_f64())
            }
            Self::NotReady { ready, timeout, check, .. } => {
                let timeout = humantime::format_duration(*timeout);
                match (ready, check) {
                    (Readiness::After(_), _) => {
                        write!(f, "it did not run for long enough within ready_timeout = {timeout}")
                    }
                    (Readiness::Notify, _) => write!(
                        f,
                        "no READY=1 within ready_timeout = {timeout}; if the program does not speak sd_notify, set ready = \
                         {{ after = \"2s\" }}"
                    ),
                    (Readiness::Check, Some(said)) => {
                        write!(f, "the ready check did not pass within ready_timeout = {timeout}: {said}")
                    }
                    (Readiness::Check, None) => {
                        write!(f, "the ready check did not end within ready_timeout = {timeout}")
                    }
                }
            }
            Self::WarmUp { said, .. } => write!(f, "the warm-up failed: {said}"),
            Self::Probe { said, .. } => write!(f, "the probe failed: {said}"),
            Self::Hangs { silence, .. } => Unfit::Hangs(*silence).fmt(f),
            Self::NotAccepting { timeout, .. } => write!(
                f,
                "told to accept, it did not within {}; \"channel\" is for workers built on gin-worker",
                humantime::format_duration(*timeout)
            ),
            Self::Cancelled(because) => f.write_str(because),
        }
    }
}

//! The start of the parts, one after the other: before READY.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Part, Parts};
use crate::StartError;
use crate::traces::Phase;

/// Times of a start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Longest time for all parts together to open.
    pub(super) patience: Duration,
    /// Between two tries.
    pub(super) retry: Duration,
    /// Between two messages that the start goes on.
    pub(super) extend: Duration,
    /// Between two lines in the log.
    pub(super) tell: Duration,
}

/// Margin of a start that waited in vain: the reason must be told before the supervisor ends the worker.
const MARGIN_MAX: Duration = Duration::from_secs(3);
/// A message that the start goes on is good for so many times the time between two of them.
const EXTENSION: u32 = 5;

impl Pace {
    /// For a supervisor that waits so long for a worker to be ready.
    pub(crate) fn within(ready_timeout: Duration) -> Self {
        Self {
            patience: ready_timeout.saturating_sub(MARGIN_MAX.min(ready_timeout / 10)),
            retry: Duration::from_millis(500),
            extend: Duration::from_secs(1),
            tell: Duration::from_secs(5),
        }
    }
}

impl Parts {
    /// Opens and prepares each part. `extend` is told for how long the start goes on at least, again and again until it is over.
    /// Each part has a span within the start's, and another one for its preparation.
    ///
    /// # Errors
    /// If a part that is needed cannot be opened in time, or a part cannot be prepared.
    pub(crate) async fn open(
        &self,
        pace: Pace,
        extend: &(dyn Fn(Duration) + Sync),
        within: &Phase,
    ) -> Result<(), StartError> {
        let mut deadline = Instant::now() + pace.patience;
        for part in &self.0.all {
            let start = Start { part: &**part, pace, deadline, last: Mutex::new(None), within };
            let prepared = tokio::select! {
                prepared = start.open() => prepared?,
                never = start.tell(extend) => match never {},
            };
            // A long migration leaves the next part as much time as a short one.
            deadline += prepared;
        }
        Ok(())
    }
}

/// The start of one part.
struct Start<'a> {
    part: &'a dyn Part,
    pace: Pace,
    deadline: Instant,
    /// Why the last try has failed, while there is no later one.
    last: Mutex<Option<String>>,
    within: &'a Phase,
}

impl Start<'_> {
    /// Gives the time that it took to prepare the part.
    async fn open(&self) -> Result<Duration, StartError> {
        let name = self.part.name();
        let opening = self.within.step(&format!("open {name}"));
        let opened = self.try_to_open().await;
        match &opened {
            Ok(()) => opening.end(),
            Err(why) => opening.fail(why),
        }
        match opened {
            Ok(()) => {}
            Err(why) if self.part.is_needed() => {
                let waited = self.pace.patience;
                let why = format!("{why}; the worker has waited {waited:?} for it (supervisor.ready_timeout)");
                return Err(StartError::Part { name, why });
            }
            Err(why) => {
                tracing::warn!("the {name} is away: {why}; the worker starts without it");
                return Ok(Duration::ZERO);
            }
        }
        self.remember(None);
        let began = Instant::now();
        let preparing = self.within.step(&format!("prepare {name}"));
        if let Err(error) = self.part.prepare().await {
            let why = error.in_a_line();
            preparing.fail(&why);
            return Err(StartError::Part { name, why });
        }
        preparing.end();
        Ok(began.elapsed())
    }

    /// # Errors
    /// Why the last try has failed.
    async fn try_to_open(&self) -> Result<(), String> {
        loop {
            let why = match timeout_at(self.deadline, self.part.open()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.in_a_line(),
                Err(_) => self.remembered().unwrap_or_else(|| "it does not answer".to_owned()),
            };
            if !self.part.is_needed() || Instant::now() + self.pace.retry >= self.deadline {
                return Err(why);
            }
            self.remember(Some(why));
            tokio::time::sleep(self.pace.retry).await;
        }
    }

    /// Extends the time of the start, and tells what it waits for.
    async fn tell(&self, extend: &(dyn Fn(Duration) + Sync)) -> Infallible {
        let began = Instant::now();
        let mut told = began;
        let mut ticks = tokio::time::interval(self.pace.extend);
        loop {
            ticks.tick().await;
            extend(self.pace.extend * EXTENSION);
            if told.elapsed() < self.pace.tell {
                continue;
            }
            told = Instant::now();
            let (name, seconds) = (self.part.name(), began.elapsed().as_secs());
            match self.remembered() {
                Some(why) => tracing::warn!("waiting for the {name} for {seconds} s: {why}"),
                None => tracing::info!("the {name} is being opened and prepared for {seconds} s"),
            }
        }
    }

    fn remember(&self, why: Option<String>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn remembered(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! Sends the spans that wait.

use std::fmt;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gin_shared::trace_endpoint::Endpoint;
use http::HeaderMap;
use tokio::time::{Instant, sleep, sleep_until};

use crate::batch::{Batch, Envelope};
use crate::client::Client;
use crate::connection::Connect;
use crate::machine::{Answer, Change, Machine, State};
use crate::resource::Resource;
use crate::sink::{Counts, Outcome, Sink};
use crate::waiting::Next;

/// Name of the library that makes the spans.
const SCOPE: &str = "gin";

/// Longest time of the last try, once the process is about to end.
const LAST_TRY: Duration = Duration::from_millis(500);

/// Shortest time between two warnings of one kind: of refused spans, of a receiver that is away.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// Settings of an exporter.
pub struct Settings {
    /// The receiver.
    pub endpoint: Endpoint,
    /// Headers of each export. They may be secrets.
    pub headers: HeaderMap,
    /// Time of one export.
    pub timeout: Duration,
    /// Longest wait of a span before it is sent, while the receiver is well.
    pub interval: Duration,
    /// Bytes of the spans that wait, and of those that are being sent.
    pub memory: usize,
    /// Attributes of the process whose spans these are.
    pub resource: Resource,
    /// Version of the library that makes the spans.
    pub scope_version: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The sender of the spans of one [`Sink`]. If it is dropped, the spans that wait are lost.
#[derive(Debug)]
pub struct Exporter {
    sink: Sink,
    envelope: Envelope,
    client: Client,
    machine: Machine,
    timeout: Duration,
    memory: usize,
    /// The batch that is sent again.
    kept: Option<Batch>,
    /// Number of the spans without room when the receiver went away.
    dropped_before: u64,
    /// Time of the last warning of refused spans.
    warned: Option<Instant>,
    /// Time of the last warning that the receiver is away.
    warned_away: Option<Instant>,
    /// True if the log says that the receiver is away.
    is_told_away: bool,
}

/// Makes an exporter, and the sink of its spans.
#[must_use]
pub fn exporter(settings: Settings, connect: Arc<dyn Connect>, counts: Arc<dyn Counts>) -> (Sink, Exporter) {
    let Settings { endpoint, headers, timeout, interval, memory, resource, scope_version } = settings;
    let sink = Sink::new(endpoint.to_string(), interval, memory, counts);
    let envelope = Envelope::new(&resource, SCOPE, &scope_version);
    let client = Client::new(endpoint, headers, timeout, connect);
    let exporter = Exporter {
        sink: sink.clone(),
        envelope,
        client,
        machine: Machine::new(),
        timeout,
        memory,
        kept: None,
        dropped_before: 0,
        warned: None,
        warned_away: None,
        is_told_away: false,
    };
    (sink, exporter)
}

impl Exporter {
    /// Sends spans until [`Sink::flush`].
    pub async fn run(mut self) {
        while let Some(batch) = self.next().await {
            if let Some(answer) = self.answer(&batch).await {
                self.handle(batch, answer);
            }
        }
    }

    /// Waits for a batch. None after the end.
    async fn next(&mut self) -> Option<Batch> {
        loop {
            if self.sink.is_settled() {
                return None;
            }
            if self.sink.is_closed() {
                self.machine.flush();
            }
            let now = Instant::now();
            let at = match self.machine.state() {
                State::Closed => return None,
                State::Waiting { until, .. } if until > now => Some(until),
                State::Waiting { .. } | State::Well | State::Ending | State::LastTry => {
                    if let Some(batch) = self.kept.take() {
                        return Some(batch);
                    }
                    match self.sink.take(now) {
                        Next::Chunk(chunk) => return Some(self.envelope.batch(chunk)),
                        Next::At(at) => Some(at),
                        Next::Nothing => None,
                        Next::End => {
                            self.machine.end();
                            return None;
                        }
                    }
                }
            };
            self.wait(at).await;
        }
    }

    /// Waits until this time, or until there is something to look at.
    async fn wait(&mut self, until: Option<Instant>) {
        let time = async {
            match until {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.sink.woken() => {}
            () = time => {}
            () = self.client.idle() => {}
        }
    }

    /// Sends a batch and waits for its answer. None if its spans were given up meanwhile.
    async fn answer(&mut self, batch: &Batch) -> Option<Answer> {
        let Self { sink, client, machine, timeout, .. } = self;
        let mut limit = if machine.state() == State::LastTry { LAST_TRY.min(*timeout) } else { *timeout };
        let mut end = pin!(sleep(limit));
        let mut exchange = pin!(client.export(batch));
        loop {
            tokio::select! {
                biased;
                answer = &mut exchange => return Some(answer),
                () = &mut end => return Some(Answer::away(format!("no answer within {limit:?}"))),
                () = sink.woken() => {
                    if sink.is_settled() {
                        return None;
                    }
                    if sink.is_closed() && machine.flush() {
                        limit = LAST_TRY;
                        let last = Instant::now() + LAST_TRY;
                        let earlier = end.deadline().min(last);
                        end.as_mut().reset(earlier);
                    }
                }
            }
        }
    }

    /// Handles an answer: the batch is finished, or kept for another try.
    fn handle(&mut self, batch: Batch, answer: Answer) {
        let change = self.machine.answered(&answer, Instant::now(), random());
        let count = batch.count;
        let why = match answer {
            Answer::Taken { rejected, message } => {
                let rejected = rejected.min(count);
                self.finish(batch, &[(Outcome::Sent, count - rejected), (Outcome::Refused, rejected)]);
                if rejected > 0 {
                    self.warn_refused(rejected, &message);
                }
                String::new()
            }
            Answer::Refused { why } => {
                self.finish(batch, &[(Outcome::Refused, count)]);
                self.warn_refused(count, &why);
                why
            }
            Answer::Away { why, .. } => {
                self.kept = Some(batch);
                why
            }
        };
        self.tell(change, &why);
    }

    fn finish(&self, batch: Batch, outcomes: &[(Outcome, u64)]) {
        let capacity = batch.capacity;
        self.sink.finish(batch.into_buffer(), capacity, outcomes);
    }

    fn tell(&mut self, change: Change, why: &str) {
        match change {
            Change::Same if self.kept.is_some() => self.warn_away(why),
            Change::Same => {}
            Change::Away => {
                self.dropped_before = self.sink.dropped();
                self.warn_away(why);
            }
            Change::Back => self.tell_back(),
            Change::GivenUp => {
                self.sink.give_up(&format!("{}: {why}", self.sink.receiver()));
            }
        }
    }

    /// Warns that the receiver is away, once for each time. One that comes and goes is told once a minute.
    fn warn_away(&mut self, why: &str) {
        let now = Instant::now();
        if self.is_told_away || self.warned_away.is_some_and(|warned| now - warned < WARNING_PAUSE) {
            return;
        }
        (self.is_told_away, self.warned_away) = (true, Some(now));
        let (receiver, memory) = (self.sink.receiver(), size(self.memory));
        tracing::warn!(
            target: "gin_otlp",
            "traces cannot be sent to {receiver}: {why}; they wait ({memory} at most), what has no room is dropped"
        );
    }

    /// Tells that the receiver is back, if the log says that it was away.
    fn tell_back(&mut self) {
        if std::mem::take(&mut self.is_told_away) {
            let (receiver, dropped) = (self.sink.receiver(), self.sink.dropped() - self.dropped_before);
            tracing::info!(target: "gin_otlp", "traces are sent to {receiver} again; {dropped} spans had no room meanwhile");
        }
    }

    /// Warns of spans that the receiver has not taken, once a minute.
    fn warn_refused(&mut self, spans: u64, why: &str) {
        let now = Instant::now();
        if self.warned.is_none_or(|warned| now - warned >= WARNING_PAUSE) {
            self.warned = Some(now);
            tracing::warn!(target: "gin_otlp", "{} refuses spans ({spans} of them now): {why}", self.sink.receiver());
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.sink.give_up("their exporter has ended");
    }
}

/// A number between 0 and 1 that differs from one try to the next.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// A size as the configuration has it.
fn size(bytes: usize) -> String {
    let units = [(1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests;

//! A command that takes its time: asks, follows the steps, and exits as the operation did.

mod steps;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use gin_shared::control::{Accepted, CancelRequest, OperationId};
use gin_shared::exit;
use gin_shared::generation::Generation;
use gin_shared::process::{Pidfd, is_readable};
use gin_shared::status::{Drained, Role, Status};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::Client;
use crate::failure::Failure;
use crate::instance::{Instance, find};
use crate::render::progress::Progress;
use steps::Steps;

/// Time for a supervisor to hear that an operation is called off, and again to tell how it ended.
const CALL_OFF: Duration = Duration::from_secs(5);
/// What is awaited is shown anew after this.
const REFRESH: Duration = Duration::from_millis(100);
/// Time for the last steps of a supervisor that has ended to be read.
const LAST_STEPS: Duration = Duration::from_millis(200);
/// How long somebody at a terminal waits to see what becomes of connections.
const DRAIN_SEEN: Duration = Duration::from_millis(500);

/// How long to wait, and for what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    /// Not at all.
    pub(super) no_wait: bool,
    /// Until the old generations are gone.
    pub(super) until_drained: bool,
    /// Then the wait ends; what does not serve yet is called off.
    pub(super) timeout: Option<Duration>,
}

/// The end of a caller's patience.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// The time that the caller gave.
    timeout: Duration,
    /// The moment when it is over.
    at: Instant,
    /// True if the operation was called off, and its end is awaited for a moment more.
    called_off: bool,
}

impl Limit {
    fn of(timeout: Duration) -> Self {
        Self { timeout, at: Instant::now() + timeout, called_off: false }
    }

    /// The failure of a command whose time is over.
    fn failure(self, why: &str) -> Failure {
        Failure::new(exit::TIMED_OUT, format!("not done within {}; {why}", humantime::format_duration(self.timeout)))
    }
}

/// Waits until a limit is reached; for ever without one.
async fn reached(limit: Option<Limit>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit.at).await,
        None => std::future::pending().await,
    }
}

/// Waits for the orderly end of a supervisor's process, which takes its sockets along. One that died is succeeded, and followed.
async fn orderly_end(process: Option<oneshot::Receiver<()>>, client: &Client) {
    let Some(process) = process else { return std::future::pending().await };
    if process.await.is_err() || !client.is_removed() {
        return std::future::pending().await;
    }
    // What it said last may not have been read yet.
    tokio::time::sleep(LAST_STEPS).await;
}

/// The end of a process. A thread waits for it, for as long as this command runs.
fn end_of(pidfd: OwnedFd) -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        while !is_readable(&pidfd, Duration::from_secs(3600)) {}
        let _ = ended.send(());
    });
    end
}

/// An operation on one instance.
#[derive(Debug)]
pub(super) struct Operation {
    client: Client,
    progress: Progress,
    /// The end of the supervisor's process, if it is the operation's.
    process: Option<oneshot::Receiver<()>>,
}

impl Operation {
    /// One not asked for yet.
    pub(super) fn new(socket: Option<&Path>, instance: Option<&str>, json: bool) -> Result<Self, Failure> {
        Ok(Self::of(&find(socket, instance)?, json))
    }

    /// The same on an instance that was found.
    pub(super) fn of(instance: &Instance, json: bool) -> Self {
        Self { client: Client::new(instance), progress: Progress::new(&instance.name, json), process: None }
    }

    /// The same; it has ended when this process has, which is the supervisor's.
    pub(super) fn ending_with(self, process: Option<&Pidfd>) -> Self {
        let copy = process.and_then(|process| process.as_fd().try_clone_to_owned().ok());
        Self { process: copy.map(end_of), ..self }
    }

    /// Asks for it and follows it; gives its exit code.
    pub(super) async fn run(mut self, path: &str, request: &impl Serialize, patience: Patience) -> Result<u8, Failure> {
        let limit = patience.timeout.map(Limit::of);
        let asked = self.client.post(path, request);
        let Accepted { operation } = match limit {
            Some(limit) => tokio::time::timeout_at(limit.at, asked).await.map_err(|_| {
                limit
                    .failure("the supervisor did not answer in time, and may carry it out all the same: gin-ctl status")
            })??,
            None => asked.await?,
        };
        if patience.no_wait {
            crate::say!("operation {operation} accepted");
            return Ok(exit::DONE);
        }
        let mut steps = Steps::new(&format!("/v1/operations/{operation}"), patience.until_drained);
        let outcome = self.follow(operation, &mut steps, limit).await;
        self.progress.clear();
        let code = outcome?;
        if let (exit::DONE, false, true, Some(replaced)) =
            (code, patience.until_drained, self.progress.is_live(), steps.replaced())
        {
            self.tell_drain(replaced).await;
        }
        Ok(code)
    }

    /// For a person: what becomes of the connections of the generation that was replaced, as soon as that is known.
    async fn tell_drain(&self, replaced: Generation) {
        let until = Instant::now() + DRAIN_SEEN;
        while Instant::now() < until {
            let Ok(status) = self.client.get::<Status>("/v1/status").await else { return };
            let leaving = status.generations.iter().find(|run| run.generation == replaced && run.role == Role::Leaving);
            match (leaving.map(|run| run.connections), status.drained) {
                (Some(Some(fates)), _) => return crate::say!("Generation {replaced} drains ({fates})."),
                (Some(None), _) => tokio::time::sleep(REFRESH).await,
                (None, Some(Drained { generation, connections })) if generation == replaced => {
                    return crate::say!("Generation {replaced} is gone ({connections}).");
                }
                // Nothing is known of it, or a later one has gone since.
                (None, _) => return,
            }
        }
    }

    async fn follow(
        &mut self,
        operation: OperationId,
        steps: &mut Steps,
        mut limit: Option<Limit>,
    ) -> Result<u8, Failure> {
        let client = self.client.clone();
        let process = self.process.take();
        let mut ended = std::pin::pin!(orderly_end(process, &client));
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                told = steps.next(&client) => match told? {
                    Some(told) => self.progress.step(&told.step, &told.line),
                    None => return steps.code().ok_or_else(Failure::gone),
                },
                _ = tokio::signal::ctrl_c() => return Ok(self.detach(operation)),
                () = &mut ended => return steps.code().ok_or_else(Failure::gone),
                () = reached(limit) => limit = self.time_is_over(operation, steps, limit).await?,
                _ = refresh.tick(), if self.progress.is_live() && steps.code().is_none() => self.progress.wait(),
            }
        }
    }

    /// The caller's time is over: what is not done is called off, once. Gives the time until which its end is awaited.
    async fn time_is_over(
        &self,
        operation: OperationId,
        steps: &Steps,
        limit: Option<Limit>,
    ) -> Result<Option<Limit>, Failure> {
        let Some(limit) = limit else { return Ok(None) };
        if steps.code().is_some() {
            return Err(
                limit.failure("the operation is done, and old generations still drain: gin-ctl status shows them")
            );
        }
        if limit.called_off {
            return Err(
                limit.failure("it was called off, and nothing was heard of its end: gin-ctl status tells what serves")
            );
        }
        let because = format!("not done within {}", humantime::format_duration(limit.timeout));
        let request = CancelRequest { operation: Some(operation), because: Some(because) };
        let asked = self.client.post::<Accepted>("/v1/cancel", &request);
        let why = match tokio::time::timeout(CALL_OFF, asked).await {
            // The outcome comes with the steps. If it was done meanwhile, it is done.
            Ok(Ok(_)) => return Ok(Some(Limit { at: Instant::now() + CALL_OFF, called_off: true, ..limit })),
            Ok(Err(failure)) => failure.text,
            Err(_) => "the supervisor does not answer".to_owned(),
        };
        Err(limit.failure(&format!("it could not be called off, and may go on: {why}")))
    }

    fn detach(&self, operation: OperationId) -> u8 {
        crate::complain!(
            "\nDetached: operation {operation} goes on without you; gin-ctl status shows it, gin-ctl cancel calls it off."
        );
        exit::TIMED_OUT
    }
}

//! A command that takes its time: asks, follows the steps, and exits as the operation did.

use std::path::Path;
use std::time::Duration;

use gin_shared::control::{Accepted, CancelRequest, OperationId, Step};
use gin_shared::exit;
use gin_shared::status::{Drained, Role, Status};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::{Client, Lines, plainly};
use crate::failure::Failure;
use crate::instance::{Instance, find};
use crate::render::progress::Progress;

/// How long a supervisor may be gone: another program takes its place, or a service manager starts it again.
const ABSENCE: Duration = Duration::from_secs(10);
/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(50);
/// What is awaited is shown anew after this.
const REFRESH: Duration = Duration::from_millis(100);
/// How long somebody at a terminal waits to see what becomes of connections.
const DRAIN_SEEN: Duration = Duration::from_millis(500);

/// How long to wait, and for what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    /// Not at all.
    pub(super) no_wait: bool,
    /// Until the old generations are gone.
    pub(super) until_drained: bool,
    /// Then it is called off.
    pub(super) timeout: Option<Duration>,
}

/// An operation on one instance.
#[derive(Debug)]
pub(super) struct Operation {
    client: Client,
    progress: Progress,
}

impl Operation {
    /// One not asked for yet.
    pub(super) fn new(socket: Option<&Path>, instance: Option<&str>, json: bool) -> Result<Self, Failure> {
        Ok(Self::of(&find(socket, instance)?, json))
    }

    /// The same on an instance that was found.
    pub(super) fn of(instance: &Instance, json: bool) -> Self {
        Self { client: Client::new(instance), progress: Progress::new(&instance.name, json) }
    }

    /// Asks for it and follows it; gives its exit code.
    pub(super) async fn run(mut self, path: &str, request: &impl Serialize, patience: Patience) -> Result<u8, Failure> {
        let deadline = patience.timeout.map(|timeout| Instant::now() + timeout);
        let asked = self.client.post(path, request);
        let Accepted { operation } = match deadline {
            Some(at) => tokio::time::timeout_at(at, asked).await.map_err(|_| {
                let text = "the supervisor did not answer in time; it may carry it out all the same: gin-ctl status";
                Failure::new(exit::TIMED_OUT, text)
            })??,
            None => asked.await?,
        };
        if patience.no_wait {
            crate::say!("operation {operation} accepted");
            return Ok(exit::DONE);
        }
        let until = if patience.until_drained { "?drained=true" } else { "" };
        let path = format!("/v1/operations/{operation}{until}");
        let mut steps = Steps::new(path);
        let code = self.follow(operation, &mut steps, deadline, patience.timeout).await?;
        if code == exit::DONE && !patience.until_drained && self.progress.is_live() {
            self.tell_drain().await;
        }
        Ok(code)
    }

    /// For a person: what becomes of the connections of the generation before, as soon as that is known.
    async fn tell_drain(&self) {
        let until = Instant::now() + DRAIN_SEEN;
        while Instant::now() < until {
            let Ok(status) = self.client.get::<Status>("/v1/status").await else { return };
            let mut leaving = status.generations.iter().filter(|generation| generation.role == Role::Leaving);
            let Some(last) = leaving.next() else {
                if let Some(Drained { generation, connections }) = status.drained {
                    crate::say!("Generation {generation} is gone ({connections}).");
                }
                return;
            };
            match last.connections {
                Some(fates) => {
                    crate::say!("Generation {} drains ({fates}).", last.generation);
                    return;
                }
                None => tokio::time::sleep(REFRESH).await,
            }
        }
    }

    async fn follow(
        &mut self,
        operation: OperationId,
        steps: &mut Steps,
        mut deadline: Option<Instant>,
        timeout: Option<Duration>,
    ) -> Result<u8, Failure> {
        let (mut code, client) = (None, self.client.clone());
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let late = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                line = steps.next(&client, code.is_some()) => match line? {
                    Some(line) => code = self.step(&line)?.or(code),
                    None => return code.ok_or_else(Failure::gone),
                },
                _ = tokio::signal::ctrl_c() => return Ok(self.detach(operation)),
                () = late, if code.is_none() => {
                    deadline = None;
                    let because = format!("not done within {}", humantime::format_duration(timeout.unwrap_or_default()));
                    let request = CancelRequest { operation: Some(operation), because: Some(because) };
                    // The outcome comes by the stream; if it was done meanwhile, it is done.
                    let _: Accepted = self.client.post("/v1/cancel", &request).await?;
                }
                _ = refresh.tick(), if self.progress.is_live() && code.is_none() => self.progress.wait(),
            }
        }
    }

    fn step(&mut self, line: &str) -> Result<Option<u8>, Failure> {
        let step: Step = plainly(line.as_bytes())
            .map_err(|e| Failure::new(exit::FAILED, format!("the supervisor speaks another version: {e}")))?;
        self.progress.step(&step, line);
        Ok(match step {
            Step::Ended(outcome) => Some(outcome.exit),
            Step::Waiting { .. }
            | Step::Generation { .. }
            | Step::Phase { .. }
            | Step::Probe { .. }
            | Step::Replaced { .. }
            | Step::Hook { .. }
            | Step::Failed { .. }
            | Step::Warning { .. }
            | Step::Checked { .. }
            | Step::Other
            | Step::Drained { .. } => None,
        })
    }

    fn detach(&self, operation: OperationId) -> u8 {
        crate::complain!(
            "\nDetached: operation {operation} goes on without you; gin-ctl status shows it, gin-ctl cancel calls it off."
        );
        exit::TIMED_OUT
    }
}

/// The steps of one operation, from one supervisor and from the next.
#[derive(Debug)]
struct Steps {
    path: String,
    lines: Option<Lines>,
    seen: usize,
    /// Of those before, so many are told again.
    skip: usize,
    lost: Option<Instant>,
}

impl Steps {
    fn new(path: String) -> Self {
        Self { path, lines: None, seen: 0, skip: 0, lost: None }
    }

    /// The next one that was not seen yet; `None` if there will be no more. May be dropped and called again.
    async fn next(&mut self, client: &Client, over: bool) -> Result<Option<String>, Failure> {
        loop {
            if let Some(lines) = &mut self.lines {
                match lines.next().await {
                    Some(_) if self.skip > 0 => self.skip -= 1,
                    Some(line) => {
                        (self.seen, self.lost) = (self.seen + 1, None);
                        return Ok(Some(line));
                    }
                    None if over => return Ok(None),
                    None => self.lines = None,
                }
                continue;
            }
            let lost = *self.lost.get_or_insert_with(Instant::now);
            match client.stream(&self.path).await {
                Ok(response) => (self.lines, self.skip) = (Some(Lines::new(response)), self.seen),
                // It knows nothing of it: it is another one.
                Err(failure) if failure.exit == exit::USAGE => return Err(Failure::gone()),
                Err(failure) if failure.exit != exit::NO_SUPERVISOR => return Err(failure),
                Err(_) if lost.elapsed() < ABSENCE => {}
                Err(_) => return Err(Failure::gone()),
            }
            // A stream that ends at once is tried again, too, but not at once.
            tokio::time::sleep(RETRY).await;
        }
    }
}

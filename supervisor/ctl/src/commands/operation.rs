//! A command that takes its time: asks, follows the steps, and exits as the operation did.

use std::path::Path;
use std::time::Duration;

use gin_shared::control::{Accepted, CancelRequest, OperationId, Step};
use gin_shared::exit;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::{Client, Failure, Lines};
use crate::instance::find;
use crate::render::progress::Progress;

/// What is awaited is shown anew after this.
const REFRESH: Duration = Duration::from_millis(100);

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
        let instance = find(socket, instance)?;
        Ok(Self { client: Client::new(&instance), progress: Progress::new(&instance.name, json) })
    }

    /// Asks for it and follows it; gives its exit code.
    pub(super) async fn run(mut self, path: &str, request: &impl Serialize, patience: Patience) -> Result<u8, Failure> {
        let deadline = patience.timeout.map(|timeout| Instant::now() + timeout);
        let Accepted { operation } = self.client.post(path, request).await?;
        if patience.no_wait {
            crate::say!("operation {operation} accepted");
            return Ok(exit::DONE);
        }
        let until = if patience.until_drained { "?drained=true" } else { "" };
        let mut lines = Lines::new(self.client.stream(&format!("/v1/operations/{operation}{until}")).await?);
        self.follow(operation, &mut lines, deadline, patience.timeout).await
    }

    async fn follow(
        &mut self,
        operation: OperationId,
        lines: &mut Lines,
        mut deadline: Option<Instant>,
        timeout: Option<Duration>,
    ) -> Result<u8, Failure> {
        let mut code = None;
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
                line = lines.next() => match line {
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
        let step: Step = serde_json::from_str(line)
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
            | Step::Drained => None,
        })
    }

    fn detach(&self, operation: OperationId) -> u8 {
        crate::complain!(
            "\nDetached: operation {operation} goes on without you; gin-ctl status shows it, gin-ctl cancel calls it off."
        );
        exit::TIMED_OUT
    }
}

//! The drain: from the request to the end of the last connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gin_shared::channel::{DrainReason, Fates};
use tokio::task::JoinSet;

use super::at_terminal;
use super::channel::Why;
use super::orders::{DrainRequest, Orders};
use super::service_manager;
use super::stop_signals::{Impatience, StopSignal, StopSignals};
use crate::Config;
use crate::connections::Hub;
use crate::graceful::{Hook, Phase, millis_since};
use crate::traces::{self, Tracer};

/// Time for connections to notice that they are cut.
const CUT: Duration = Duration::from_secs(1);
/// Time that a drain may take beyond its own deadlines, when it asks the supervisor for time.
const MARGIN: Duration = Duration::from_secs(5);

/// A worker that is about to drain.
pub(super) struct Drain<'a> {
    pub(super) config: &'a Config,
    pub(super) hub: &'a Arc<Hub>,
    pub(super) hooks: &'a [Hook],
    /// Time that background tasks may take after the last connection.
    pub(super) background: Duration,
    /// The maker of spans, if requests are traced.
    pub(super) tracer: Option<&'static Tracer>,
}

impl Drain<'_> {
    /// Stops accepting, and lets what is open go to other workers or come to its end.
    pub(super) async fn finish(
        self,
        request: DrainRequest,
        mut accepting: JoinSet<()>,
        orders: &mut Orders,
        stop: &mut StopSignals,
    ) {
        let (mut timeouts, life) = (self.config.timeouts, self.hub.life());
        let signals = u32::from(matches!(request, DrainRequest::BySignal(_)));
        let (Why { reason, at_terminal, trace }, takers) = match request {
            DrainRequest::ByMaster(why, takers) => (why, takers),
            DrainRequest::BySignal(signal) => {
                let at_terminal = signal == StopSignal::CtrlC;
                (Why { reason: DrainReason::Stop, at_terminal, trace: None }, Vec::new())
            }
        };
        let _span = traces::draining(trace);
        life.set_reason(reason);
        if at_terminal {
            timeouts.lame_duck = Duration::ZERO;
            self.hub.hurry();
        }
        if reason == DrainReason::Stop && !self.config.features.graceful_shutdown {
            (timeouts.shutdown, timeouts.lame_duck) = (Duration::ZERO, Duration::ZERO);
        }
        let lame_duck = if reason == DrainReason::Stop { timeouts.lame_duck } else { Duration::ZERO };
        let hooks = self.hooks.iter().map(|hook| hook.timeout).sum::<Duration>();
        service_manager::say_stopping(lame_duck + timeouts.shutdown + self.background + hooks + MARGIN);
        tracing::info!(?reason, connections = life.connections(), takers = takers.len(), "draining");
        let mut impatience = Impatience { stop, signals };
        if !lame_duck.is_zero() {
            life.reach(Phase::LameDuck);
            tokio::select! { () = tokio::time::sleep(lame_duck) => {}, () = impatience.grows() => {} }
        }
        let began = Instant::now();
        life.count_fates();
        // The takers first, then the news that there is something to take.
        self.hub.hand_over(takers);
        self.hub.begin_drain();
        if let Some(tracer) = self.tracer {
            tracer.sink().hurry();
        }
        // A connection may be between the kernel and its task: all are counted only when no one accepts any more.
        while accepting.join_next().await.is_some() {}
        let in_time = tokio::select! {
            () = life.all_closed() => true,
            () = tokio::time::sleep(timeouts.shutdown) => false,
            () = impatience.grows() => false,
            never = orders.while_draining(self.hub) => match never {},
            never = at_terminal::tell(self.hub), if at_terminal => match never {},
        };
        if !in_time {
            life.reach(Phase::Cut);
            // Connections hear of it at once. An upgraded connection is its handler's, and ends with the process.
            let _ = tokio::time::timeout(CUT, life.all_closed()).await;
            life.settle();
        }
        let took_ms = millis_since(began);
        let Fates { handed_over, finished, closed, cut, .. } = life.fates();
        tracing::info!(handed_over, finished, closed, cut, took_ms, "drained");
    }
}

//! The life of a worker: take the listeners, open the parts, say READY, wait for `go`, accept, drain, run the hooks.
//!
//! [`Worker::run`] is that life on one page. What a connection is, and who has it, is the business of `connections`; what it is
//! answered was settled by the builder (`server`). `graceful` has the table of phases.
//!
//! ```text
//! drain -> orders -> channel -> descriptor_limit;  orders -> stop_signals;  drain -> at_terminal
//! announce, entrances, private, changes, drain_report, memory, service_manager, test_run
//! ```

mod announce;
mod at_terminal;
mod changes;
mod channel;
mod descriptor_limit;
mod drain;
mod drain_report;
mod entrances;
mod memory;
mod orders;
mod private;
mod service_manager;
mod stop_signals;
#[cfg(feature = "testing")]
mod test_run;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use gin_shared::inherit::{Inheritance, Inherited, TRACEPARENT};
use gin_shared::trace_context::TraceContext;
use tokio::task::JoinSet;

use crate::connections::{Entrances, Hub, Listener, accept::accept, is_stream};
#[cfg(feature = "profile")]
use crate::debug::{self, Debug};
use crate::graceful::{Background, Hook, Life, Phase, run_hooks};
use crate::live::Settings;
use crate::parts::{self, Pace, Parts};
use crate::system::{self, About};
use crate::traces::{self, Exporter, Tracer};
use crate::websocket::KnownSessions;
use crate::{Config, StartError};
use channel::Channel;
use drain::Drain;
use orders::{DrainRequest, Orders};
use stop_signals::{Impatience, StopSignals};
#[cfg(feature = "testing")]
pub(crate) use test_run::TestRun;

/// Longest time for the spans of a start that has failed.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Everything that is served, and how.
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) router: Router,
    pub(crate) about: Arc<About>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) background: Vec<Background>,
    pub(crate) life: Life,
    pub(crate) websockets: KnownSessions,
    pub(crate) parts: Parts,
    /// Sends the spans of the server.
    pub(crate) exporter: Option<Exporter>,
    /// Makes them.
    pub(crate) tracer: Option<&'static Tracer>,
    /// Endpoints under `/debug/`, if there are any.
    #[cfg(feature = "profile")]
    pub(crate) debug: Option<Arc<Debug>>,
}

impl Worker {
    /// Serves until it is told to stop, drains, and runs the hooks.
    ///
    /// # Errors
    /// If it cannot start; see [`StartError`].
    pub(crate) async fn run(mut self, inherited: Inheritance) -> Result<(), StartError> {
        let mut stop = StopSignals::new().map_err(StartError::Signals)?;
        descriptor_limit::raise();
        let _watch = changes::follow(&self.config, &self.settings)?;
        if let Some(limit) = self.config.limits.memory {
            tokio::spawn(memory::watch(limit));
        }
        let is_alone = inherited.channel.is_none() && inherited.private.is_none();
        let mut listeners = self.listeners(inherited.listeners, is_alone)?;
        if let Some(unix) = listeners.iter().find(|listener| listener.is_unix()) {
            self.settings.load().accepts_on(&unix.address)?;
        }
        let entrances::Opened { entrances, source } = entrances::open(&mut listeners, &self.config, inherited.tls)?;
        if let Some(fd) = inherited.private {
            private::serve(fd, &self.config, self.private(), &self.router)?;
        }
        self.send_spans();
        let start = traces::starting(told_parent());
        let (orders, mut ordered) = Orders::channel();
        let serve = |fd| Channel::serve(fd, orders, source.clone());
        let channel = inherited.channel.map(serve).transpose().map_err(StartError::Inherit)?;
        let opened = open_parts(&self.parts, &self.config, &start, &mut ordered, &mut stop).await;
        let stopped_at_start = match opened {
            Ok(stopped) => stopped,
            Err(error) => {
                start.fail(&error.to_string());
                self.send_last_spans().await;
                return Err(error);
            }
        };
        let watching = stopped_at_start.is_none().then(|| self.parts.watch(parts::LOOK));
        let stopped_early = match stopped_at_start {
            Some(request) => Some(request),
            None => {
                let ready = start.step("ready");
                service_manager::say_ready();
                ready.end();
                let _waiting = start.step("wait for go");
                if channel.is_some() { ordered.wait_for_go(&mut stop).await } else { None }
            }
        };
        // Each listener holds a slot while it waits for a connection.
        let places = self.config.limits.connections as usize + listeners.len().saturating_sub(1);
        let places = descriptor_limit::room(places).max(listeners.len());
        let hub = self.hub(entrances, places)?;
        if let Some(channel) = &channel {
            hub.set_neighbours(Arc::new(channel.clone()));
        }
        let background = Background::start(std::mem::take(&mut self.background), &self.life);
        let mut accepting = JoinSet::new();
        let request = if let Some(request) = stopped_early {
            start.cancel();
            request
        } else {
            self.life.reach(Phase::Serving);
            for listener in listeners {
                announce::announce(&listener);
                accepting.spawn(accept(listener, Arc::clone(&hub)));
            }
            if let Some(channel) = &channel {
                channel.say_serving();
            }
            start.end();
            ordered.wait_for_drain(&mut stop, &hub).await
        };

        let report = channel.map(|channel| tokio::spawn(drain_report::send(channel, self.life.clone())));
        let (hooks, background_max) = (&self.hooks[..], background.patience());
        let drain = Drain { config: &self.config, hub: &hub, hooks, background: background_max, tracer: self.tracer };
        // The orders are kept until the end: without them the channel would close, and the hooks' log could not be reopened.
        drain.finish(request, accepting, &mut ordered, &mut stop).await;
        if let Some(report) = report {
            report.abort();
            let _ = report.await;
        }
        background.finish().await;
        // A part that was closed is away, and not to be looked at.
        drop(watching);
        run_hooks(self.hooks).await;
        tracing::info!("gone");
        Ok(())
    }

    /// Begins to send the spans of the server, if it has any.
    fn send_spans(&mut self) {
        if let (Some(tracer), Some(exporter)) = (self.tracer, self.exporter.take()) {
            tracer.spawn(exporter, &self.config.monitoring.namespace);
        }
    }

    /// Sends the spans of a start that has failed. The reason is told after that, and must be before the supervisor's patience ends: a part
    /// is waited for until a tenth of it is left.
    async fn send_last_spans(&self) {
        if let Some(tracer) = self.tracer {
            let _lost = tracer.sink().flush(LAST_SPANS.min(self.config.ready_timeout() / 20)).await;
        }
    }

    /// Endpoints of the private listener.
    fn private(&self) -> Router {
        let router = system::private(&self.about);
        #[cfg(feature = "profile")]
        if let Some(debug) = &self.debug {
            return router.merge(debug::private(&self.about, debug));
        }
        router
    }

    /// The inherited listeners. A worker that is alone and inherits none binds its own.
    fn listeners(&self, inherited: Vec<Inherited>, is_alone: bool) -> Result<Vec<Listener>, StartError> {
        let listeners = if inherited.is_empty() && is_alone {
            vec![Listener::bind(&self.config.server)?]
        } else {
            let streams = inherited.into_iter().filter(is_stream);
            streams.map(Listener::adopt).collect::<Result<Vec<_>, _>>().map_err(StartError::Inherit)?
        };
        for listener in &listeners {
            listener.keep_alive(self.config.timeouts.tcp_keepalive);
        }
        Ok(listeners)
    }

    /// Starts the hub of this worker's connections.
    fn hub(&mut self, entrances: Entrances, places: usize) -> Result<Arc<Hub>, StartError> {
        let (router, sessions) = (std::mem::take(&mut self.router), std::mem::take(&mut self.websockets));
        Hub::start_behind(entrances, &self.config, self.life.clone(), router, Arc::new(sessions), places)
            .map_err(StartError::Inherit)
    }

    /// Starts the hub alone: without a listener, a master or hooks.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn hub_for_test(mut self) -> Result<Arc<Hub>, StartError> {
        let hub = self.hub(Entrances::none(), self.config.limits.connections as usize)?;
        self.life.reach(Phase::Serving);
        Ok(hub)
    }
}

/// The span that a supervisor has started this worker in.
fn told_parent() -> Option<TraceContext> {
    std::env::var(TRACEPARENT).ok().and_then(|text| TraceContext::parse(text.as_bytes()))
}

/// Opens the parts, and extends the time of the start meanwhile. Returns a request to drain if that comes first, once nothing runs that
/// would remain half done; a second signal does not wait for that.
///
/// # Errors
/// If a part cannot be opened in time.
async fn open_parts(
    parts: &Parts,
    config: &Config,
    start: &traces::Phase,
    ordered: &mut Orders,
    stop: &mut StopSignals,
) -> Result<Option<DrainRequest>, StartError> {
    let mut opening = pin!(parts.open(Pace::within(config.ready_timeout()), &service_manager::extend, start));
    let request = tokio::select! {
        biased;
        opened = opening.as_mut() => return opened.map(|()| None),
        request = ordered.wait_at_start(stop) => request,
    };
    let signals = u32::from(matches!(request, DrainRequest::BySignal(_)));
    let mut impatience = Impatience { stop, signals };
    tokio::select! {
        biased;
        // However it ends, nobody needs it any more.
        _ = opening.as_mut() => {}
        () = parts.leave() => {}
        () = impatience.grows() => {}
    }
    Ok(Some(request))
}

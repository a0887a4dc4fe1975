//! A worker for a test of an application: on a port of this machine, without a supervisor, signals or a log of its own.
//!
//! It lives as [`Worker::run`] has it: background tasks beside the requests, a drain, the end of the tasks, the shutdown hooks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gin_shared::channel::DrainReason;
use tokio::task::JoinHandle;

use super::Worker;
use crate::connections::{Hub, Listener, accept::accept};
use crate::graceful::{Background, Hook, Life, Phase, Running, run_hooks};
use crate::parts::{LOOK, Pace, Watching};
use crate::traces::Tracer;
use crate::traces::starting;
use crate::{StartError, config};

/// Time for connections to notice that they are cut.
const CUT: Duration = Duration::from_secs(1);

/// A worker that serves for a test. It ends when its [`Life`] reaches the drain.
#[derive(Debug)]
pub(crate) struct TestRun {
    pub(crate) address: SocketAddr,
    hub: Arc<Hub>,
    end: JoinHandle<Vec<String>>,
}

impl TestRun {
    /// Drains, and waits until the background tasks have ended and the shutdown hooks have run. Returns what went wrong, a sentence for
    /// each task and hook.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.hub.life().set_reason(DrainReason::Stop);
        self.hub.begin_drain();
        self.end.await.unwrap_or_else(|error| vec![format!("the server's end: {error}")])
    }
}

/// The rest of a test's worker, from the request to drain.
struct Ending {
    life: Life,
    accepting: JoinHandle<()>,
    shutdown: Duration,
    background: Running,
    watching: Watching,
    hooks: Vec<Hook>,
    tracer: Option<&'static Tracer>,
}

impl Ending {
    async fn run(self) -> Vec<String> {
        let Self { life, accepting, shutdown, background, watching, hooks, tracer } = self;
        life.draining().await;
        if let Some(tracer) = tracer {
            tracer.sink().hurry();
        }
        // It returns when the drain begins: all connections are counted then.
        let _ = accepting.await;
        tokio::select! {
            () = life.all_closed() => {}
            () = life.reached(Phase::Cut) => {}
            () = tokio::time::sleep(shutdown) => {}
        }
        life.reach(Phase::Cut);
        // An upgraded connection may outlast it: it is its handler's.
        let _ = tokio::time::timeout(CUT, life.all_closed()).await;
        let mut failures = background.finish().await;
        drop(watching);
        failures.extend(run_hooks(hooks).await);
        failures
    }
}

impl Worker {
    /// Opens its parts, and serves on 127.0.0.1, on a port that is free, until its life reaches the drain.
    ///
    /// # Errors
    /// If a part cannot be opened in time, or the port or the hub cannot be had.
    pub(crate) async fn serve_for_test(mut self) -> Result<TestRun, StartError> {
        let own = config::Server { host: "127.0.0.1".to_owned(), port: 0, ..self.config.server.clone() };
        let listener = Listener::bind(&own)?;
        let address =
            listener.address.parse::<SocketAddr>().map_err(|error| StartError::Inherit(io::Error::other(error)))?;
        self.send_spans();
        self.parts.open(Pace::within(self.config.ready_timeout()), &|_| {}, &starting(None)).await?;
        let watching = self.parts.watch(LOOK);
        // A test has no other clients that would come back all at once.
        self.config.timeouts.idle_grace = Duration::ZERO;
        let is_graceful = self.config.features.graceful_shutdown;
        let shutdown = if is_graceful { self.config.timeouts.shutdown } else { Duration::ZERO };
        let (life, hooks, tracer) = (self.life.clone(), std::mem::take(&mut self.hooks), self.tracer);
        let background = std::mem::take(&mut self.background);
        let hub = self.hub_for_test()?;
        let background = Background::start(background, &life);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&hub)));
        let end = tokio::spawn(Ending { life, accepting, shutdown, background, watching, hooks, tracer }.run());
        Ok(TestRun { address, hub, end })
    }
}

//! From the first descriptor to the last: what a worker does, in order.

mod accept;
mod activity;
mod channel;
mod connection;
mod io;
mod listeners;
mod private;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use gin_shared::channel::DrainReason;
use gin_shared::inherit;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::graceful::{Hook, Life, Phase, run_hooks};
use crate::{Config, Error};
use channel::{Channel, Order};
use connection::Shared;
use listeners::Listener;

/// How long connections have to notice that they are cut.
const CUT: Duration = Duration::from_secs(1);
/// What a drain may take beyond its own deadlines, when it asks the supervisor for time.
const MARGIN: Duration = Duration::from_secs(5);

/// A router, and how it is served.
#[derive(Debug)]
pub struct Server {
    config: Config,
    router: Router,
    hooks: Vec<Hook>,
    life: Life,
}

impl Server {
    /// One that has not started.
    #[must_use]
    pub fn new(config: &Config, router: Router) -> Self {
        Self { config: config.clone(), router, hooks: Vec::new(), life: Life::default() }
    }

    /// Runs `hook` when all connections are closed: hooks run one after the other, in the order of these calls, each for
    /// `timeout` at most. A hook that fails, panics or takes too long is logged and the next one runs.
    #[must_use]
    pub fn on_shutdown<F, R>(mut self, name: &str, timeout: Duration, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.hooks.push(Hook::new(name, timeout, hook));
        self
    }

    /// Where it stands: to be asked by handlers and background tasks.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life.clone()
    }

    /// Tells it all by `life`, which a handler of the router has already.
    #[must_use]
    pub fn with_life(mut self, life: Life) -> Self {
        self.life = life;
        self
    }

    /// Serves until it is told to stop, drains, and runs the hooks.
    ///
    /// # Errors
    /// If it cannot start; see [`Error`].
    pub async fn run(self) -> Result<(), Error> {
        let mut stop = StopSignals::new().map_err(Error::Signals)?;
        raise_descriptor_limit();
        let inherited = inherit::take().map_err(Error::Inherit)?;
        let alone = inherited.channel.is_none() && inherited.private.is_none();
        let listeners = if inherited.listeners.is_empty() && alone {
            vec![Listener::bind(&self.config.server)?]
        } else {
            let streams = inherited.listeners.into_iter().filter(listeners::is_stream);
            streams.map(Listener::adopt).collect::<Result<_, _>>().map_err(Error::Inherit)?
        };
        let (orders, mut ordered) = mpsc::channel(4);
        if let Some(fd) = inherited.private {
            private::serve(fd, &self.config, &self.life, &self.router)?;
        }
        let channel = inherited.channel.map(|fd| Channel::serve(fd, orders)).transpose().map_err(Error::Inherit)?;
        notify(&[NotifyState::Ready]);
        if let Some(interval) = sd_notify::watchdog_enabled() {
            tokio::spawn(say_alive(interval / 2));
        }

        let mut drain = None;
        if channel.is_some() {
            drain = wait_for_go(&mut ordered, &mut stop).await;
        }
        let mut accepting = JoinSet::new();
        let shared = Arc::new(Shared::new(self.config.timeouts, self.life.clone(), self.router));
        if drain.is_none() {
            self.life.reach(Phase::Serving);
            // Each listener holds a slot while it waits for a connection.
            let slots = self.config.limits.connections as usize + listeners.len().saturating_sub(1);
            let slots = Arc::new(Semaphore::new(slots));
            for listener in listeners {
                tracing::info!(name = listener.name, address = listener.address, "accepting on {}", listener.address);
                accepting.spawn(accept::accept(listener, Arc::clone(&shared), Arc::clone(&slots)));
            }
            if let Some(channel) = &channel {
                channel.say_serving();
            }
            drain = Some(wait_for_drain(&mut ordered, &mut stop).await);
        }
        let asked = drain.unwrap_or(Asked::BySignal);
        finish(&self.config, &self.life, &self.hooks, asked, accepting, &mut stop).await;
        run_hooks(self.hooks).await;
        tracing::info!("gone");
        Ok(())
    }
}

/// As long as tasks run, this one says so.
async fn say_alive(interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// A connection is a descriptor, and the usual soft limit of 1024 is there for programs that use select(2). The hard limit
/// is the administrator's word, and `limits.nofile` sets both.
fn raise_descriptor_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("RLIMIT_NOFILE: {}", error.desc());
    }
}

/// How a drain was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Over the channel.
    ByMaster(DrainReason),
    /// By SIGTERM or its like: a stop.
    BySignal,
}

/// SIGTERM, SIGINT and SIGQUIT ask for a stop.
struct StopSignals([Signal; 3]);

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        let taken = |kind| signal(kind);
        Ok(Self([taken(SignalKind::terminate())?, taken(SignalKind::interrupt())?, taken(SignalKind::quit())?]))
    }

    async fn next(&mut self) {
        let [term, int, quit] = &mut self.0;
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {}, _ = quit.recv() => {} }
    }
}

/// `None`: go. Some: it is over before it began.
async fn wait_for_go(ordered: &mut mpsc::Receiver<Order>, stop: &mut StopSignals) -> Option<Asked> {
    tokio::select! {
        order = ordered.recv() => match order {
            Some(Order::Go) => None,
            Some(Order::Drain(reason)) => Some(Asked::ByMaster(reason)),
            None => Some(Asked::BySignal),
        },
        () = stop.next() => Some(Asked::BySignal),
    }
}

async fn wait_for_drain(ordered: &mut mpsc::Receiver<Order>, stop: &mut StopSignals) -> Asked {
    loop {
        tokio::select! {
            order = ordered.recv() => match order {
                Some(Order::Drain(reason)) => return Asked::ByMaster(reason),
                Some(Order::Go) => {}
                None => { stop.next().await; return Asked::BySignal }
            },
            () = stop.next() => return Asked::BySignal,
        }
    }
}

/// Stops accepting, and lets what is open come to its end.
async fn finish(
    config: &Config,
    life: &Life,
    hooks: &[Hook],
    asked: Asked,
    mut accepting: JoinSet<()>,
    stop: &mut StopSignals,
) {
    let timeouts = config.timeouts;
    let reason = match asked {
        Asked::ByMaster(reason) => reason,
        Asked::BySignal => DrainReason::Stop,
    };
    life.set_reason(reason);
    let lame_duck = if reason == DrainReason::Stop { timeouts.lame_duck } else { Duration::ZERO };
    let needed = lame_duck + timeouts.shutdown + hooks.iter().map(|hook| hook.timeout).sum::<Duration>() + MARGIN;
    let micros = u32::try_from(needed.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
    tracing::info!(?reason, connections = life.connections(), "draining");
    let mut impatience = Impatience::new(asked, stop);
    if !lame_duck.is_zero() {
        life.reach(Phase::LameDuck);
        tokio::select! { () = tokio::time::sleep(lame_duck) => {}, () = impatience.grows() => {} }
    }
    let began = Instant::now();
    life.reach(Phase::Draining);
    // A connection may be between the kernel and its task: only when no one accepts any more are all of them counted.
    while accepting.join_next().await.is_some() {}
    let open = life.connections();
    let in_time = tokio::select! {
        () = life.all_closed() => true,
        () = tokio::time::sleep(timeouts.shutdown) => false,
        () = impatience.grows() => false,
    };
    let cut = life.connections();
    if !in_time {
        life.reach(Phase::Cut);
        // They are told at once. An upgraded connection is its handler's, and ends with the process.
        let _ = tokio::time::timeout(CUT, life.all_closed()).await;
    }
    let took_ms = began.elapsed().as_secs_f64() * 1e3;
    tracing::info!(finished = open.saturating_sub(cut), cut, took_ms, "drained");
}

/// Asked twice, a worker stops at once. A service manager's signal to every process of the service, on top of the master's
/// order, is not that.
struct Impatience<'a> {
    stop: &'a mut StopSignals,
    signals: u32,
}

impl<'a> Impatience<'a> {
    fn new(asked: Asked, stop: &'a mut StopSignals) -> Self {
        Self { stop, signals: u32::from(asked == Asked::BySignal) }
    }

    async fn grows(&mut self) {
        while self.signals < 2 {
            self.stop.next().await;
            self.signals += 1;
        }
    }
}

/// Tells the supervisor; there may be none.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("NOTIFY_SOCKET: {error}");
    }
}

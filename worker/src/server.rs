//! From the first descriptor to the last: what a worker does, in order.

mod accept;
mod activity;
mod channel;
mod connection;
mod io;
mod listeners;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use gin_shared::channel::DrainReason;
use gin_shared::inherit;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};

use crate::graceful::{Hook, Life, Phase, run_hooks};
use crate::{Config, Error};
use channel::{Channel, Order};
use connection::Shared;
use listeners::Listener;

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
        let inherited = inherit::take().map_err(Error::Inherit)?;
        let listeners = if inherited.listeners.is_empty() && inherited.channel.is_none() {
            vec![Listener::bind(&self.config.server)?]
        } else {
            inherited.listeners.into_iter().map(Listener::adopt).collect::<Result<_, _>>().map_err(Error::Inherit)?
        };
        let (orders, mut ordered) = mpsc::channel(4);
        let channel = inherited.channel.map(|fd| Channel::serve(fd, orders)).transpose().map_err(Error::Inherit)?;
        notify(&[NotifyState::Ready]);

        let mut reason = None;
        if channel.is_some() {
            reason = wait_for_go(&mut ordered, &mut stop).await;
        }
        let shared = Arc::new(Shared::new(self.config.timeouts, self.life.clone(), self.router));
        if reason.is_none() {
            self.life.reach(Phase::Serving);
            let slots = Arc::new(Semaphore::new(self.config.limits.connections as usize));
            for listener in listeners {
                tracing::info!(name = listener.name, address = listener.address, "accepting on {}", listener.address);
                tokio::spawn(accept::accept(listener, Arc::clone(&shared), Arc::clone(&slots)));
            }
            if let Some(channel) = &channel {
                channel.say_serving();
            }
            reason = Some(wait_for_drain(&mut ordered, &mut stop).await);
        }
        drain(&self.config, &self.life, &self.hooks, reason.unwrap_or(DrainReason::Stop), &mut stop).await;
        run_hooks(self.hooks).await;
        tracing::info!("gone");
        Ok(())
    }
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
async fn wait_for_go(ordered: &mut mpsc::Receiver<Order>, stop: &mut StopSignals) -> Option<DrainReason> {
    tokio::select! {
        order = ordered.recv() => match order {
            Some(Order::Go) => None,
            Some(Order::Drain(reason)) => Some(reason),
            None => Some(DrainReason::Stop),
        },
        () = stop.next() => Some(DrainReason::Stop),
    }
}

async fn wait_for_drain(ordered: &mut mpsc::Receiver<Order>, stop: &mut StopSignals) -> DrainReason {
    loop {
        tokio::select! {
            order = ordered.recv() => match order {
                Some(Order::Drain(reason)) => return reason,
                Some(Order::Go) => {}
                None => { stop.next().await; return DrainReason::Stop }
            },
            () = stop.next() => return DrainReason::Stop,
        }
    }
}

async fn drain(config: &Config, life: &Life, hooks: &[Hook], reason: DrainReason, stop: &mut StopSignals) {
    let timeouts = config.timeouts;
    life.set_reason(reason);
    let lame_duck = if reason == DrainReason::Stop { timeouts.lame_duck } else { Duration::ZERO };
    let needed = lame_duck + timeouts.shutdown + hooks.iter().map(|hook| hook.timeout).sum::<Duration>() + MARGIN;
    let micros = u32::try_from(needed.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
    tracing::info!(?reason, connections = life.connections(), "draining");
    if !lame_duck.is_zero() {
        life.reach(Phase::LameDuck);
        tokio::select! { () = tokio::time::sleep(lame_duck) => {}, () = stop.next() => {} }
    }
    let began = Instant::now();
    let open = life.connections();
    life.reach(Phase::Draining);
    let in_time = tokio::select! {
        () = life.all_closed() => true,
        () = tokio::time::sleep(timeouts.shutdown) => false,
        // Asked twice: at once.
        () = stop.next() => false,
    };
    if !in_time {
        life.reach(Phase::Cut);
        // They are told at once and have nothing more to wait for.
        let _ = tokio::time::timeout(MARGIN, life.all_closed()).await;
    }
    let (cut, took_ms) = (life.cut(), began.elapsed().as_secs_f64() * 1e3);
    tracing::info!(finished = open.saturating_sub(cut), cut, took_ms, "drained");
}

/// Tells the supervisor; there may be none.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("NOTIFY_SOCKET: {error}");
    }
}

//! From the first descriptor to the last: what a worker does, in order.

mod channel;
mod private;

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use gin_shared::channel::{DrainReason, Fates};
use gin_shared::config::watch::Watch;
use gin_shared::inherit::{self, Inheritance};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connections::accept;
use crate::connections::handover::{giver, taker};
use crate::connections::listener::{self, Listener};
use crate::connections::protocol::http1::Shared;
use crate::graceful::{Background, Hook, Life, Phase, run_hooks};
use crate::live::{self, Settings};
use crate::system::{self, About};
use crate::websocket::Kinds;
use crate::{Config, StartError, logging};
use channel::{Channel, Order};

/// How long connections have to notice that they are cut.
const CUT: Duration = Duration::from_secs(1);
/// How often the master is told what becomes of the connections.
const TELL: Duration = Duration::from_millis(200);
/// And after how long first: most is handed over by then.
const TELL_FIRST: Duration = Duration::from_millis(50);
/// What a drain may take beyond its own deadlines, when it asks the supervisor for time.
const MARGIN: Duration = Duration::from_secs(5);

/// What there is to serve, and how.
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) router: Router,
    pub(crate) about: Arc<About>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) background: Vec<Background>,
    pub(crate) life: Life,
    pub(crate) websockets: Kinds,
}

impl Worker {
    /// Serves until it is told to stop, drains, and runs the hooks.
    ///
    /// # Errors
    /// If it cannot start; see [`StartError`].
    pub(crate) async fn run(mut self, inherited: Inheritance) -> Result<(), StartError> {
        let mut stop = StopSignals::new().map_err(StartError::Signals)?;
        raise_descriptor_limit();
        let _watch = self.follow_changes()?;
        let alone = inherited.channel.is_none() && inherited.private.is_none();
        let listeners = if inherited.listeners.is_empty() && alone {
            vec![Listener::bind(&self.config.server)?]
        } else {
            let streams = inherited.listeners.into_iter().filter(listener::is_stream);
            streams.map(Listener::adopt).collect::<Result<_, _>>().map_err(StartError::Inherit)?
        };
        let (orders, mut ordered) = mpsc::channel(4);
        if let Some(fd) = inherited.private {
            private::serve(fd, &self.config, system::private(&self.about), &self.router)?;
        }
        let channel =
            inherited.channel.map(|fd| Channel::serve(fd, orders)).transpose().map_err(StartError::Inherit)?;
        notify(&[NotifyState::Ready]);
        if let Some(interval) = sd_notify::watchdog_enabled() {
            tokio::spawn(say_alive(interval / 2));
        }

        let mut drain = None;
        if channel.is_some() {
            drain = wait_for_go(&mut ordered, &mut stop).await;
        }
        let mut accepting = JoinSet::new();
        // Each listener holds a slot while it waits for a connection.
        let slots = self.config.limits.connections as usize + listeners.len().saturating_sub(1);
        let (timeouts, life) = (self.config.timeouts, self.life.clone());
        let shared = Shared::new(timeouts, life, self.router, self.websockets, slots).map_err(StartError::Inherit)?;
        let background = Background::start(std::mem::take(&mut self.background), &self.life);
        if drain.is_none() {
            self.life.reach(Phase::Serving);
            for listener in listeners {
                tracing::info!(name = listener.name, address = listener.address, "accepting on {}", listener.address);
                accepting.spawn(accept::accept(listener, Arc::clone(&shared)));
            }
            if let Some(channel) = &channel {
                channel.say_serving();
            }
            drain = Some(wait_for_drain(&mut ordered, &mut stop, &shared).await);
        }
        let asked = drain.unwrap_or(Asked::BySignal);
        let telling = channel.map(|channel| tokio::spawn(tell_fates(channel, self.life.clone())));
        // A master's successor may send more takers, and whoever drains may be a taker still.
        let mut drain = Drain {
            config: &self.config,
            shared: &shared,
            hooks: &self.hooks,
            background: background.patience(),
            ordered,
        };
        drain.finish(asked, accepting, &mut stop).await;
        if let Some(telling) = telling {
            telling.abort();
            let _ = telling.await;
        }
        background.finish().await;
        run_hooks(self.hooks).await;
        tracing::info!("gone");
        Ok(())
    }

    /// Serves on a port of this machine, until its life is over; gives the address.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn serve_for_test(self) -> Result<std::net::SocketAddr, StartError> {
        let port = Listener::bind(&crate::config::Server {
            host: "127.0.0.1".to_owned(),
            port: 0,
            ..self.config.server.clone()
        })?;
        let address = port.address.parse().map_err(|error| StartError::Inherit(std::io::Error::other(error)))?;
        let (timeouts, life) = (self.config.timeouts, self.life.clone());
        let slots = self.config.limits.connections as usize;
        let shared = Shared::new(timeouts, life, self.router, self.websockets, slots).map_err(StartError::Inherit)?;
        self.life.reach(Phase::Serving);
        tokio::spawn(accept::accept(port, shared));
        Ok(address)
    }

    /// SIGUSR1 has it go on in new log files. Alone it follows its configuration file, and reads it on SIGHUP; under a supervisor that is
    /// the supervisor's: its generation's settings are frozen.
    fn follow_changes(&self) -> Result<Option<Watch>, StartError> {
        let mut reopen = signal(SignalKind::user_defined1()).map_err(StartError::Signals)?;
        tokio::spawn(async move {
            while reopen.recv().await.is_some() {
                logging::reopen();
            }
        });
        // Under a supervisor it is not meant for this process, and ends it neither.
        let is_meant = inherit::identity().is_none() && self.config.origin.file.is_some();
        let mut read = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let settings = Arc::clone(&self.settings);
        tokio::spawn(async move {
            while read.recv().await.is_some() {
                if is_meant {
                    live::reload_or_tell(&settings);
                }
            }
        });
        Ok(if is_meant { live::watch(&self.settings) } else { None })
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

/// Tells the master now and then what becomes of the connections, and once more at the end.
async fn tell_fates(channel: Channel, life: Life) {
    struct Last(Channel, Life);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.say_drained(self.1.fates());
        }
    }
    let last = Last(channel, life);
    let (mut said, mut pause) = (None, TELL_FIRST);
    loop {
        tokio::time::sleep(std::mem::replace(&mut pause, TELL)).await;
        let fates = last.1.fates();
        if said.replace(fates) != Some(fates) {
            last.0.say_drained(fates);
        }
    }
}

/// How a drain was asked for.
#[derive(Debug)]
enum Asked {
    /// Over the channel, with sockets to workers that take connections.
    ByMaster(DrainReason, Vec<OwnedFd>),
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
    loop {
        tokio::select! {
            order = ordered.recv() => match order {
                Some(Order::Go) => return None,
                // Nothing is taken before it serves.
                Some(Order::Take(_)) => {}
                Some(Order::Drain(reason, takers)) => return Some(Asked::ByMaster(reason, takers)),
                None => return Some(Asked::BySignal),
            },
            () = stop.next() => return Some(Asked::BySignal),
        }
    }
}

async fn wait_for_drain(ordered: &mut mpsc::Receiver<Order>, stop: &mut StopSignals, shared: &Arc<Shared>) -> Asked {
    loop {
        tokio::select! {
            order = ordered.recv() => match order {
                Some(Order::Drain(reason, takers)) => return Asked::ByMaster(reason, takers),
                Some(Order::Take(socket)) => drop(tokio::spawn(taker::take(socket, Arc::clone(shared)))),
                Some(Order::Go) => {}
                None => { stop.next().await; return Asked::BySignal }
            },
            () = stop.next() => return Asked::BySignal,
        }
    }
}

/// Its way from the order to the end of its connections.
struct Drain<'a> {
    config: &'a Config,
    shared: &'a Arc<Shared>,
    hooks: &'a [Hook],
    /// How long background tasks may take after the last connection.
    background: Duration,
    ordered: mpsc::Receiver<Order>,
}

impl Drain<'_> {
    /// Stops accepting, and lets what is open go to other workers or come to its end.
    async fn finish(&mut self, asked: Asked, mut accepting: JoinSet<()>, stop: &mut StopSignals) {
        let (mut timeouts, life) = (self.config.timeouts, &self.shared.life);
        let signals = u32::from(matches!(asked, Asked::BySignal));
        let (reason, takers) = match asked {
            Asked::ByMaster(reason, takers) => (reason, takers),
            Asked::BySignal => (DrainReason::Stop, Vec::new()),
        };
        life.set_reason(reason);
        if reason == DrainReason::Stop && !self.config.features.graceful_shutdown {
            (timeouts.shutdown, timeouts.lame_duck) = (Duration::ZERO, Duration::ZERO);
        }
        let lame_duck = if reason == DrainReason::Stop { timeouts.lame_duck } else { Duration::ZERO };
        let hooks = self.hooks.iter().map(|hook| hook.timeout).sum::<Duration>();
        let needed = lame_duck + timeouts.shutdown + self.background + hooks + MARGIN;
        let micros = u32::try_from(needed.as_micros()).unwrap_or(u32::MAX);
        notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
        tracing::info!(?reason, connections = life.connections(), takers = takers.len(), "draining");
        let mut impatience = Impatience { stop, signals };
        if !lame_duck.is_zero() {
            life.reach(Phase::LameDuck);
            tokio::select! { () = tokio::time::sleep(lame_duck) => {}, () = impatience.grows() => {} }
        }
        let began = Instant::now();
        life.count_fates();
        // First those who take, then the word that there is something to take.
        giver::give(self.shared, takers);
        self.shared.drain();
        // A connection may be between the kernel and its task: only when no one accepts any more are all of them counted.
        while accepting.join_next().await.is_some() {}
        let in_time = tokio::select! {
            () = life.all_closed() => true,
            () = tokio::time::sleep(timeouts.shutdown) => false,
            () = impatience.grows() => false,
            never = listen(&mut self.ordered, self.shared) => match never {},
        };
        let cut = life.connections();
        if !in_time {
            life.tally().cut(cut);
            life.reach(Phase::Cut);
            // They are told at once. An upgraded connection is its handler's, and ends with the process.
            let _ = tokio::time::timeout(CUT, life.all_closed()).await;
        }
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        let Fates { handed_over, finished, closed, cut, .. } = life.fates();
        tracing::info!(handed_over, finished, closed, cut, took_ms, "drained");
    }
}

/// What the master still says to one that drains.
async fn listen(ordered: &mut mpsc::Receiver<Order>, shared: &Arc<Shared>) -> Infallible {
    loop {
        match ordered.recv().await {
            Some(Order::Take(socket)) => drop(tokio::spawn(taker::take(socket, Arc::clone(shared)))),
            // Those that took are to end themselves.
            Some(Order::Drain(_, takers)) => giver::give(shared, takers),
            Some(Order::Go) => {}
            None => std::future::pending().await,
        }
    }
}

/// Asked twice, a worker stops at once. A service manager's signal to every process of the service, on top of the master's
/// order, is not that.
struct Impatience<'a> {
    stop: &'a mut StopSignals,
    signals: u32,
}

impl Impatience<'_> {
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

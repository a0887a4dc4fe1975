//! The hub: every connection that its owner is done with comes here, and goes to the next owner.
//!
//! Protocols return how a connection left, parking and giver hand back what woke up or was not taken, the taker brings what it took.
//! The machine decides; the hub carries the connection: to a protocol, to be parked, to be offered, to be closed. Nobody else has
//! the whole: the parts below see a [`Context`], or the hub as a [`Dispatch`].

mod sharing;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

use axum::Router;
use tokio::sync::watch;

use crate::config::Config;
use crate::connections::activity::Activity;
use crate::connections::bounds::Bounds;
use crate::connections::clients::Clients;
use crate::connections::connection::{
    ActiveConnection, IdleConnection, ListenerFacts, NotIdle, Protection, WebSocketSession,
};
use crate::connections::context::{Context, Dispatch, Entrances};
use crate::connections::drain_state::DrainState;
use crate::connections::handover::recipient::own_process;
use crate::connections::handover::{giver, taker};
use crate::connections::http2::goaway;
use crate::connections::io::Io;
use crate::connections::machine::{Event, HandoverHold, HubEvent, Owner, State, WorkerEvent};
use crate::connections::parking::{self, ParkedConnections};
use crate::connections::protocol::{self, Left};
use crate::connections::relief::{Neighbours, Relief, Step};
use crate::connections::room::{Place, Room};
use crate::graceful::Life;

/// Largest number of connections that are closed at once to make room.
const CLOSED_MAX: usize = 32;

/// Takes up sessions of upgraded connections.
pub(crate) trait Sessions: Send + Sync + fmt::Debug + 'static {
    /// Serves a connection with its session, in a task of its own.
    fn resume(&self, connection: ActiveConnection, session: WebSocketSession, context: &Arc<Context>);
}

/// The connections of one worker.
#[derive(Debug)]
pub(crate) struct Hub {
    context: Arc<Context>,
    room: Room,
    parked: Arc<ParkedConnections>,
    relief: Arc<Relief>,
    sessions: Arc<dyn Sessions>,
    /// Number of workers that serve, as the master has said; 0 if it has not.
    peers: watch::Sender<u32>,
}

impl Hub {
    /// Starts a hub with room for so many connections over cleartext. Its first task runs until the cut.
    pub(crate) fn start(
        config: &Config,
        life: Life,
        router: Router,
        sessions: Arc<dyn Sessions>,
        places: usize,
    ) -> io::Result<Arc<Self>> {
        Self::start_behind(Entrances::none(), config, life, router, sessions, places)
    }

    /// The same for connections of these listeners.
    pub(crate) fn start_behind(
        entrances: Entrances,
        config: &Config,
        life: Life,
        router: Router,
        sessions: Arc<dyn Sessions>,
        places: usize,
    ) -> io::Result<Arc<Self>> {
        let parked = Arc::new(ParkedConnections::new()?);
        // While there are descriptors. A system that has no pidfd hands nothing over, and serves all the same.
        if let Err(error) = own_process() {
            tracing::debug!("no connections can be handed over: {error}");
        }
        let proxies = &config.server.trusted_proxies;
        let clients = config.limits.connections_per_client.map(|most| Clients::new(most, proxies.clone()));
        let room = Room::new(life.clone(), places, clients);
        let bounds = Bounds { timeouts: config.timeouts, limits: config.limits };
        let websocket = config.websocket.clone();
        let hub = Arc::new_cyclic(|hub: &Weak<Self>| {
            let drain = DrainState::new(life, bounds);
            let context = Arc::new(Context::new(drain, router, websocket, entrances, hub.clone()));
            Self { context, room, parked, relief: Arc::default(), sessions, peers: watch::Sender::new(0) }
        });
        tokio::spawn(parking::run(Arc::clone(&hub.parked), Arc::clone(&hub)));
        Ok(hub)
    }

    pub(crate) fn life(&self) -> &Life {
        &self.context.drain.life
    }

    /// Room for connections.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Sets the way to other workers, which may have room when this one has none, or fewer connections.
    pub(crate) fn set_neighbours(self: &Arc<Self>, neighbours: Arc<dyn Neighbours>) {
        self.context.drain.set_neighbours(Arc::clone(&neighbours));
        self.relief.set_neighbours(neighbours);
        tokio::spawn(Arc::clone(self).report_load());
    }

    /// Notes how many workers serve, this one included.
    pub(crate) fn set_peers(&self, workers: u32) {
        self.peers.send_replace(workers);
    }

    /// Number of workers that serve, this one included; 0 if the master has not said it.
    pub(crate) fn peers(&self) -> u32 {
        *self.peers.borrow()
    }

    /// Makes room for a new connection: some of the longest idle ones go to other workers with room, or are closed as at the end of
    /// their time.
    pub(crate) fn make_room(&self) {
        if self.parked.count() == 0 {
            // All are busy: the new one waits.
            return;
        }
        match self.relief.next(Instant::now()) {
            Step::Ask if self.relief.ask(self.life(), self.room.roomy_below()) => {}
            Step::Ask => self.relieved(0),
            Step::Wait => {}
            Step::Close => self.close_longest_idle(),
        }
    }

    /// Hands some of the longest idle connections to workers that may have room, by these sockets to them. Without a socket nobody has
    /// room, and the connections are closed. `lent` is dropped when the handover is over.
    pub(crate) fn relieve(self: &Arc<Self>, sockets: Vec<OwnedFd>, lent: impl Send + 'static) {
        let now = Instant::now();
        let event = Event::Worker(WorkerEvent::NoRoom);
        let next = State::Parked.after(now, event, self.context.drain.surroundings());
        if next.owner() != Owner::Giver {
            return;
        }
        if sockets.is_empty() {
            return self.relieved(0);
        }
        self.relief.gives(now);
        let (hub, connections) = (Arc::clone(self), self.parked.longest_idle(self.room.share()));
        tokio::spawn(async move {
            let given = giver::relieve(Arc::clone(&hub) as Arc<dyn Dispatch>, sockets, connections).await;
            drop(lent);
            tracing::debug!(given, "idle connections handed to other workers: there is no room for new ones");
            hub.relieved(given);
        });
    }

    /// Notes how many connections other workers have taken. If there are none, and still no room, some are closed here.
    fn relieved(&self, given: u64) {
        self.relief.ends(given > 0, Instant::now());
        if given == 0 && self.room.free() == 0 {
            self.close_longest_idle();
        }
    }

    fn close_longest_idle(&self) {
        self.parked.close_longest_idle(self.room.share().min(CLOSED_MAX));
    }

    /// Number of parked connections.
    #[cfg(test)]
    pub(crate) fn parked(&self) -> usize {
        self.parked.count()
    }

    /// Begins the drain: nothing is accepted any more, and all connections hear of it.
    pub(crate) fn begin_drain(&self) {
        self.context.drain.begin();
    }

    /// Has the drain that is about to begin close at once what is idle: a person at a terminal waits for its end.
    pub(crate) fn hurry(&self) {
        self.context.drain.hurry();
    }

    /// Number of requests under way, and of connections without one, in such a drain.
    pub(crate) fn under_way(&self) -> (usize, usize) {
        self.context.drain.under_way()
    }

    /// Hands over what pauses, from now on to the workers at the other ends of these sockets.
    pub(crate) fn hand_over(self: &Arc<Self>, sockets: Vec<OwnedFd>) {
        giver::give(self, sockets);
    }

    /// Takes over connections of a worker that drains, which come over this socket.
    pub(crate) fn take_over(self: &Arc<Self>, socket: OwnedFd) {
        drop(tokio::spawn(taker::take(socket, Arc::clone(self), self.room.clone())));
    }

    /// Serves an active connection, in a task of its own.
    pub(crate) fn serve(self: Arc<Self>, connection: ActiveConnection) {
        drop(tokio::spawn(self.serve_until_it_leaves(connection)));
    }

    async fn serve_until_it_leaves(self: Arc<Self>, connection: ActiveConnection) {
        match protocol::serve(connection, &self.context).await {
            Left::Paused(connection) => match connection.into_idle(None) {
                Ok(connection) => self.arrived(connection),
                // It is tried again when the hold is over, or more has come. No timer of a protocol rings within a hold, so a late head is
                // noticed here.
                Err(NotIdle::Stays(connection, _)) => {
                    if connection.is_late(self.context.drain.bounds_now().timeouts.read, Instant::now()) {
                        tracing::debug!("connection dropped: no complete request head came in time");
                    } else {
                        self.serve(*connection);
                    }
                }
                Err(NotIdle::Lost(error)) => {
                    tracing::warn!("cannot take a connection out of the runtime: {error}; the connection is closed");
                }
            },
            // Its handler brings it back, or closes it.
            Left::Upgraded | Left::Closed => {}
        }
    }

    /// Decides where a connection goes that nobody has.
    fn arrived(self: Arc<Self>, mut connection: IdleConnection) {
        let now = Instant::now();
        let mut event = HubEvent::Arrived;
        loop {
            let state =
                State::Resting.after(now, Event::Hub(event, connection.idle()), self.context.drain.surroundings());
            (connection, event) = match state.owner() {
                Owner::Giver => match self.context.drain.offer(connection) {
                    None => return,
                    Some(back) => (back, HubEvent::QueueClosed),
                },
                Owner::Parking => match self.park(connection, now) {
                    None => return,
                    Some(back) => (back, HubEvent::CannotPark),
                },
                Owner::Protocol(hold) => return self.serve_idle(connection, hold),
                Owner::Closer => return self.close(connection),
                // The machine leaves nothing at the hub.
                Owner::Hub | Owner::Taker | Owner::Nobody => return drop(connection),
            };
        }
    }

    /// Parks a connection. Gives it back if that cannot be done.
    fn park(&self, connection: IdleConnection, now: Instant) -> Option<IdleConnection> {
        let back = self.parked.park(connection, &self.context.drain.bounds_now().timeouts, now);
        // Others may have begun to take just now, after the parked connections were sent to them.
        if back.is_none() && self.context.drain.is_giving() {
            self.parked.look();
        }
        back
    }

    /// Serves an idle connection, which keeps this hold meanwhile.
    fn serve_idle(self: Arc<Self>, mut connection: IdleConnection, hold: HandoverHold) {
        connection.info.hold = hold;
        match connection.into_active(&self.context.tls) {
            Ok((connection, None)) => self.serve(connection),
            Ok((connection, Some(session))) => self.resume(connection, session),
            Err(error) => {
                tracing::warn!("cannot register a connection with the runtime: {error}; the connection is closed");
            }
        }
    }

    /// Closes a connection on which nothing has come in its time. A client of HTTP/2 hears of it first: whatever it has sent since, it may
    /// send again elsewhere.
    fn close(&self, mut connection: IdleConnection) {
        // New connections do not wait until its client has left, too.
        self.room.let_go(&mut connection.place);
        connection.place.tell_end();
        let is_hurried = self.context.drain.is_hurried();
        if is_hurried && connection.kept.http2().is_none() {
            // Nothing is on its way in either direction, and nobody waits for the client's end.
            return;
        }
        let context = Arc::clone(&self.context);
        tokio::spawn(async move {
            let Ok((connection, _)) = connection.into_active(&context.tls) else { return };
            let ActiveConnection { stream, place, progress, ahead, http2, .. } = connection;
            let mut io = Io::new(stream, place, ahead, Arc::new(Activity::resume(&progress)), &context.drain.bounds);
            if let Some(state) = http2 {
                protocol::say_goodbye(&mut io, &goaway(state.last_id), &context).await;
            }
            if !is_hurried {
                protocol::close(io, &context).await;
            }
        });
    }
}

impl Dispatch for Hub {
    fn drain(&self) -> &DrainState {
        &self.context.drain
    }

    fn facts(&self, name: &str, protection: Protection) -> Option<Arc<ListenerFacts>> {
        self.context.facts(name, protection)
    }

    fn admit(&self, place: &mut Place, client: IpAddr) -> bool {
        self.room.admit(place, client)
    }

    fn dispatch(self: Arc<Self>, state: State, connection: IdleConnection) {
        match state.owner() {
            Owner::Protocol(hold) => self.serve_idle(connection, hold),
            // One that is parked or queued comes here only to be parked or queued again: the hub decides anew.
            Owner::Hub | Owner::Parking | Owner::Giver => self.arrived(connection),
            Owner::Closer => self.close(connection),
            Owner::Taker | Owner::Nobody => drop(connection),
        }
    }

    fn resume(self: Arc<Self>, connection: ActiveConnection, session: WebSocketSession) {
        self.sessions.resume(connection, session, &self.context);
    }
}

//! The worker's end of the channel: takes a connection from the master, and after its end from the master's successor.
//!
//! A thread of its own waits for the messages: there is a handful of them in a worker's whole life, and each must get through when every
//! other thread is busy. What an order leads to is not decided here.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gin_shared::channel::{
    DrainReason, Fates, FromMaster, FromWorker, HANDOVER, MATERIAL, MESSAGE_MAX, OTHER_TAKERS, ROOM, SHARES, VERSION,
    decode, encode,
};
use gin_shared::descriptors::{self, Waiting};
use gin_shared::fault;
use gin_shared::inherit::set_nonblocking;
use gin_shared::reserve::Reserve;
use gin_shared::trace_context::TraceContext;
use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{MsgFlags, SockFlag, accept4, getsockopt, send};
use nix::unistd::Uid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::descriptor_limit::RESERVE;
use crate::connections::Neighbours;
use crate::logging;
use crate::tls::Source;

/// Time between two looks whether an order is carried out that descriptors are lent for.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Characters of a reason that the master is told.
const REASON_MAX: usize = 200;

/// A reason to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Why {
    pub(super) reason: DrainReason,
    /// True if a person at a terminal waits for the end.
    pub(super) at_terminal: bool,
    /// The span that the drain belongs to.
    pub(super) trace: Option<TraceContext>,
}

/// Order of the master.
#[derive(Debug)]
pub(super) enum Order {
    /// Accept connections.
    Go,
    /// Take over connections, which come over this socket.
    Take(OwnedFd),
    /// Drain, and hand over connections over these sockets.
    Drain(Why, Vec<OwnedFd>),
    /// Hand over idle connections over these sockets, and serve on.
    Relieve(Vec<OwnedFd>, Lent),
    /// Hand over so many connections over these sockets, and serve on.
    Share(u32, Vec<OwnedFd>, Lent),
    /// So many workers serve.
    Peers(u32),
}

/// The descriptors that were kept for the handover are lent for an order until this is dropped.
#[derive(Debug)]
pub(super) struct Lent(#[cfg_attr(not(test), expect(dead_code, reason = "counted while it lives"))] Arc<()>);

/// The channel, for sending.
#[derive(Debug, Clone)]
pub(super) struct Channel(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    connection: Option<OwnedFd>,
    /// Version of the protocol that the master speaks.
    version: u32,
    serving: bool,
    /// True if the worker has said that it has no room.
    full: bool,
    /// True if the worker has asked for other takers, and was not named any yet.
    lacks_takers: bool,
    /// Number of connections that was told last, or would have been, had there been a master.
    load: Option<u32>,
    /// Certificates of this worker. `None`: no listener speaks TLS.
    certificates: Option<Arc<Source>>,
}

impl Channel {
    /// Begins to listen. Orders go to `orders`, certificates to their source.
    pub(super) fn serve(
        listener: OwnedFd,
        orders: mpsc::Sender<Order>,
        certificates: Option<Arc<Source>>,
    ) -> io::Result<Self> {
        set_nonblocking(&listener, false)?;
        let channel = Self(Arc::new(Mutex::new(State { certificates, ..State::default() })));
        let own = Listening(channel.clone());
        std::thread::Builder::new().name("channel".to_owned()).spawn(move || own.0.listen(&listener, &orders))?;
        Ok(channel)
    }

    /// Tells the master that connections are accepted now. A successor is told when it connects.
    pub(super) fn say_serving(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.serving = true;
        state.say(&FromWorker::Serving);
    }

    /// Tells the master what has become of the connections. Nothing depends on it.
    pub(super) fn say_drained(&self, fates: Fates) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.version >= HANDOVER {
            state.say(&FromWorker::Drained(fates));
        }
    }

    fn listen(&self, listener: &OwnedFd, orders: &mpsc::Sender<Order>) {
        let mut reserve = Reserve::new(RESERVE);
        loop {
            await_with(&mut reserve, listener, &Weak::new());
            match accept(listener) {
                Ok(connection) => self.converse(&connection, orders, &mut reserve),
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(error) => {
                    logs(|| tracing::error!("channel: {}", error.desc()));
                    return;
                }
            }
        }
    }

    fn converse(&self, connection: &OwnedFd, orders: &mpsc::Sender<Order>, reserve: &mut Reserve) {
        if let Err(error) = check_peer(connection).and_then(|()| self.greet(connection)) {
            logs(|| tracing::warn!("channel: {error}"));
            return;
        }
        let mut bytes = vec![0; MESSAGE_MAX];
        let (mut drains, mut lent) = (false, Weak::new());
        loop {
            // The sockets that come with the order to drain are used soon; so is what was kept for them.
            if !drains {
                await_with(reserve, connection, &lent);
            }
            let order = match descriptors::receive(connection, &mut bytes, Waiting::Yes) {
                Ok((0, _)) => break,
                Ok((length, mut fds)) => match decode::<FromMaster>(&bytes[..length]) {
                    Ok(FromMaster::Hello { version }) => {
                        self.0.lock().unwrap_or_else(PoisonError::into_inner).heard_hello(version);
                        continue;
                    }
                    Ok(FromMaster::Go) => Order::Go,
                    Ok(FromMaster::Drain { reason, at_terminal, traceparent }) => {
                        drains = true;
                        self.0.lock().unwrap_or_else(PoisonError::into_inner).lacks_takers &= fds.is_empty();
                        let trace = traceparent.and_then(|text| TraceContext::parse(text.as_bytes()));
                        Order::Drain(Why { reason, at_terminal, trace }, fds)
                    }
                    Ok(FromMaster::Relieve) => Order::Relieve(fds, lend(&mut lent)),
                    Ok(FromMaster::Share { count }) => Order::Share(count, fds, lend(&mut lent)),
                    Ok(FromMaster::Peers { workers }) => Order::Peers(workers),
                    Ok(FromMaster::Material { number }) => {
                        self.receive(number, fds.pop());
                        continue;
                    }
                    // Without its descriptor there is nothing to take: this process may have too many open files.
                    Ok(FromMaster::Take) => match fds.pop() {
                        Some(socket) => Order::Take(socket),
                        None => continue,
                    },
                    Ok(FromMaster::Reopen) => {
                        logs(logging::reopen);
                        continue;
                    }
                    Ok(FromMaster::Log { level }) => {
                        logs(|| match logging::named(&level) {
                            Some(level) => logging::set_level(level),
                            None => tracing::warn!("the supervisor asks for an unknown log level: {level}"),
                        });
                        continue;
                    }
                    Err(error) => {
                        logs(|| tracing::warn!("channel closed: {error}"));
                        break;
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if orders.blocking_send(order).is_err() {
                break;
            }
        }
        self.close();
    }

    /// Goes on with certificates that the master has sent, and answers. A worker that refuses them keeps those that it has. If none have
    /// arrived, the answer has the number of those: the master sends the new ones once more.
    fn receive(&self, number: u64, memory: Option<OwnedFd>) {
        let certificates = self.0.lock().unwrap_or_else(PoisonError::into_inner).certificates.clone();
        let Some(certificates) = certificates else { return };
        let received = match memory {
            Some(memory) => certificates.receive(memory).map_err(|error| (number, error.to_string())),
            None => {
                let why = "they have not arrived: this process has too many open files".to_owned();
                Err((certificates.number(), why))
            }
        };
        let answer = match received {
            Ok(number) => {
                logs(|| tracing::debug!(number, "new certificates"));
                FromWorker::Material { number, refused: None }
            }
            Err((number, error)) => {
                logs(|| tracing::warn!("new certificates are refused, those in use stay: {error}"));
                FromWorker::Material { number, refused: Some(error.chars().take(REASON_MAX).collect()) }
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).say(&answer);
    }

    fn close(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The next master may speak an earlier version.
        (state.connection, state.version) = (None, 0);
    }

    fn greet(&self, connection: &OwnedFd) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.connection = Some(connection.try_clone()?);
        state.say(&FromWorker::Hello { version: VERSION });
        if state.serving {
            state.say(&FromWorker::Serving);
        }
        Ok(())
    }
}

impl Neighbours for Channel {
    fn ask(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_said = state.version >= ROOM && state.say(&FromWorker::Full);
        state.full |= is_said;
        is_said
    }

    fn has_room_again(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.full = false;
        if state.version >= ROOM {
            state.say(&FromWorker::Room);
        }
    }

    fn ask_for_takers(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.lacks_takers = true;
        if state.version >= OTHER_TAKERS {
            state.say(&FromWorker::NoTaker);
        }
    }

    fn say_load(&self, connections: u32, given: Option<u32>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.load = Some(connections);
        if state.version >= SHARES {
            state.say(&FromWorker::Load { connections, given });
        }
    }
}

impl State {
    /// Notes the version of a master, and tells it what its predecessor knew.
    fn heard_hello(&mut self, version: u32) {
        self.version = version;
        if self.full && version >= ROOM {
            self.say(&FromWorker::Full);
        }
        if self.lacks_takers && version >= OTHER_TAKERS {
            self.say(&FromWorker::NoTaker);
        }
        if version >= SHARES
            && let Some(connections) = self.load
        {
            self.say(&FromWorker::Load { connections, given: None });
        }
        if version >= MATERIAL
            && let Some(certificates) = &self.certificates
        {
            // The master sends what is newer.
            self.say(&FromWorker::Material { number: certificates.number(), refused: None });
        }
    }

    /// Sends a message, if there is a master. Returns true if it was sent.
    fn say(&self, message: &FromWorker) -> bool {
        let Some(connection) = &self.connection else { return false };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let sent = send(connection.as_raw_fd(), &encode(message), flags);
        if let Err(error) = sent {
            logs(|| tracing::warn!("channel: {}", error.desc()));
        }
        sent.is_ok()
    }
}

/// The channel in its thread. However that ends, the master sees that nobody listens any more, and tells this worker by signals.
struct Listening(Channel);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Does what logs. The application's subscriber may panic, on a full disk for one; a worker that is deaf to its orders would be worse.
fn logs(what: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _ = fault::at("channel.log");
        what();
    }));
}

/// Waits until something comes. From then on there is room for the descriptors that come with it.
fn await_with(reserve: &mut Reserve, fd: &OwnedFd, lent: &Weak<()>) {
    let mut awaited = [PollFd::new(fd, PollFlags::IN)];
    while !is_back(reserve, lent) {
        if poll(&mut awaited, Some(&LOOK)) != Ok(0) {
            return;
        }
    }
    // An interrupted wait goes on in the call that follows.
    let _ = poll(&mut awaited, None);
    reserve.lend();
}

/// Lends what was kept for a handover to an order.
fn lend(lent: &mut Weak<()>) -> Lent {
    let order = Arc::new(());
    *lent = Arc::downgrade(&order);
    Lent(order)
}

/// Fills the reserve again, unless the order that it was lent for is being carried out. Returns true if it is filled.
fn is_back(reserve: &mut Reserve, lent: &Weak<()>) -> bool {
    let is_carried_out = lent.strong_count() == 0;
    if is_carried_out {
        reserve.fill();
    }
    is_carried_out
}

#[allow(unsafe_code, reason = "nix gives an accepted connection as a number")]
fn accept(listener: &OwnedFd) -> nix::Result<OwnedFd> {
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Refuses everybody but root and this process's user. The socket's file mode says the same.
fn check_peer(connection: &OwnedFd) -> io::Result<()> {
    let uid = Uid::from_raw(getsockopt(connection, PeerCredentials)?.uid());
    if uid.is_root() || uid == Uid::effective() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("uid {uid} is not the master's")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_for_an_order_is_back_when_that_is_carried_out() {
        let mut reserve = Reserve::new(1);
        assert!(!reserve.is_lent());
        reserve.lend();
        let order = Lent(Arc::new(()));
        let lent = Arc::downgrade(&order.0);
        assert!(!is_back(&mut reserve, &lent) && reserve.is_lent());
        drop(order);
        assert!(is_back(&mut reserve, &lent) && !reserve.is_lent());
    }

    #[test]
    fn the_last_report_of_a_drain_is_sent_although_the_drain_ends_before_it_is_polled() {
        use std::io::Read;
        use std::os::unix::net::UnixStream;

        use crate::graceful::Life;

        let (mut master, worker) = UnixStream::pair().unwrap();
        let state = State { connection: Some(worker.into()), version: HANDOVER, ..State::default() };
        let report = super::super::drain_report::send(Channel(Arc::new(Mutex::new(state))), Life::default());
        drop(report);
        let mut said = String::new();
        master.read_to_string(&mut said).unwrap();
        assert_eq!(said.as_bytes(), encode(&FromWorker::Drained(Fates::default())));
    }
}

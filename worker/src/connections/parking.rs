//! Parked connections: each is a raw stream and a few counters, and one epoll watches them all.
//!
//! A connection that hyper holds costs kilobytes for its buffers. One that has been idle for `timeouts.park_after`, or
//! ten times as long over TLS and HTTP/2, is taken out of hyper and parked here, until bytes come or its deadline. It is also from here that idle connections are handed to
//! another worker: nothing has to be stopped for it. Parking knows no protocol and no other worker: the machine says which state
//! follows, and the hub takes the connection.

mod entries;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::config::Timeouts;
use crate::connections::connection::IdleConnection;
use crate::connections::context::Dispatch;
use crate::connections::drain_state::{DrainState, age_end};
use crate::connections::machine::{ClientEvent, Event, Owner, State, Surroundings, WorkerEvent, parked_until};
use crate::graceful::Phase;
use entries::{Entries, Parked};

/// Number of connections that are woken before other tasks have their turn.
const BATCH: usize = 256;
/// Number of batches of packed connections whose old places are freed at once.
const BATCHES: usize = 16;

/// The parked connections of a worker.
#[derive(Debug)]
pub(crate) struct ParkedConnections {
    epoll: AsyncFd<Watch>,
    entries: Mutex<Entries>,
    /// Number of the longest idle connections that are to be closed before their time.
    closes: AtomicUsize,
    /// Wakes [`run`]: the first deadline is another one, others take, or room is to be made.
    changed: Notify,
}

/// The one epoll.
#[derive(Debug)]
struct Watch(Epoll);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl ParkedConnections {
    #[allow(unsafe_code, reason = "tokio cannot know that the descriptor stays open; this type keeps it")]
    pub(crate) fn new() -> io::Result<Self> {
        let watch = Watch(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // SAFETY: `Watch` owns its descriptor and never exchanges it, and the AsyncFd deregisters it before it drops it.
        let epoll = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?;
        let entries = Mutex::new(Entries::new(Instant::now()));
        Ok(Self { epoll, entries, closes: AtomicUsize::new(0), changed: Notify::new() })
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parks a connection. Gives it back if that cannot be done.
    pub(crate) fn park(&self, connection: IdleConnection, timeouts: &Timeouts, now: Instant) -> Option<IdleConnection> {
        let mut entries = self.entries();
        let deadline = entries.deadline(deadline(&connection, timeouts, entries.grace_from));
        let was_many = entries.quiet().is_some();
        let entry = entries.all.vacant_entry();
        let key = entry.key();
        let event =
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, u64::try_from(key).unwrap_or(u64::MAX));
        if let Err(error) = self.epoll.get_ref().0.add(&connection.raw, event) {
            tracing::debug!("a connection cannot be parked: {error}");
            return Some(connection);
        }
        connection.place.note_parked(true);
        entry.insert(Parked { connection, deadline });
        let is_first = entries.deadlines.first().is_none_or(|(first, _)| deadline < *first);
        entries.deadlines.insert((deadline, key));
        entries.count_changes(1, now);
        let is_many = !was_many && entries.quiet().is_some();
        drop(entries);
        if is_first || is_many {
            self.changed.notify_one();
        }
        None
    }

    /// Has [`run`] close so many of the longest idle connections.
    pub(crate) fn close_longest_idle(&self, count: usize) {
        self.closes.store(count, Ordering::Release);
        self.changed.notify_one();
    }

    /// Takes out so many of the longest idle connections, or all: those whose deadline is next.
    pub(crate) fn longest_idle(&self, count: usize) -> Vec<IdleConnection> {
        let mut entries = self.entries();
        let taken = entries.pop_while(|taken, _| taken < count);
        entries.count_changes(taken.len(), Instant::now());
        drop(entries);
        taken.iter().for_each(|connection| self.forget(connection));
        taken
    }

    /// Number of parked connections.
    pub(crate) fn count(&self) -> usize {
        self.entries().all.len()
    }

    /// Has [`run`] look whether others take what is parked.
    pub(crate) fn look(&self) {
        self.changed.notify_one();
    }

    /// Takes out all connections.
    fn clear(&self) -> Vec<IdleConnection> {
        let mut entries = self.entries();
        entries.deadlines.clear();
        let all: Vec<IdleConnection> = entries.all.drain().map(|parked| parked.connection).collect();
        drop(entries);
        for connection in &all {
            self.forget(connection);
        }
        all
    }

    /// Ends the watching. The descriptor may be open elsewhere, too, so closing ours would not.
    fn forget(&self, connection: &IdleConnection) {
        connection.place.note_parked(false);
        if let Err(error) = self.epoll.get_ref().0.delete(&connection.raw) {
            tracing::error!("epoll_ctl: {error}");
        }
    }

    fn take(&self, key: usize, now: Instant) -> Option<IdleConnection> {
        let mut entries = self.entries();
        let Parked { connection, deadline } = entries.all.try_remove(key)?;
        entries.deadlines.remove(&(deadline, key));
        entries.count_changes(1, now);
        drop(entries);
        self.forget(&connection);
        Some(connection)
    }

    /// Takes out the connections whose client has sent something or left. If the hub has just taken one of them out, another may
    /// have been parked under its key: that is served, has nothing to read, and is parked again.
    fn woken(&self) -> Vec<(ClientEvent, IdleConnection)> {
        let mut events = vec![EpollEvent::empty(); BATCH];
        let count = match self.epoll.get_ref().0.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => {
                tracing::error!("epoll_wait: {error}");
                0
            }
        };
        let now = Instant::now();
        let take = |event: &EpollEvent| {
            let left = event.events().intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP);
            let what = if left { ClientEvent::Left } else { ClientEvent::Readable };
            Some((what, self.take(usize::try_from(event.data()).ok()?, now)?))
        };
        events[..count].iter().filter_map(take).collect()
    }

    /// Takes out the connections whose deadline has come. Returns the next deadline, too.
    fn late(&self, now: Instant) -> (Vec<IdleConnection>, Option<Instant>) {
        let mut entries = self.entries();
        let late = entries.pop_while(|_, deadline| deadline <= now);
        entries.count_changes(late.len(), now);
        let next = entries.first_deadline();
        drop(entries);
        late.iter().for_each(|connection| self.forget(connection));
        (late, next)
    }

    /// Trims the heap. What is kept of a connection was allocated between the buffers of its handshake, and holds a page that is
    /// free otherwise; so do the nodes of the deadlines. So these are moved first: this thread's allocations stand together. The old places
    /// are freed behind many batches, or the allocator would give them out again: it keeps a few of each size for this thread.
    ///
    /// One batch is freed between two trims. A trim joins what is free with the end of a thread's heap, and leaves that end alone: glibc
    /// gives it back in the next `free` there.
    fn trim(&self) {
        let (mut old, mut first) = (Vec::new(), 0);
        loop {
            // The lock is held for one batch.
            let packed = self.entries().pack(first);
            let Some((batch, next)) = packed else { break };
            first = next;
            if !batch.is_empty() {
                old.push(batch);
            }
            if old.len() > BATCHES {
                old.truncate(1);
            }
        }
        let rest = old.pop();
        let deadlines = self.entries().pack_deadlines();
        drop((old, deadlines));
        crate::heap::trim();
        drop(rest);
        crate::heap::trim();
    }

    /// Sets the deadlines for a drain. Without takers the clients have a time of grace for one more request, in whose answer they are told.
    fn drain(&self, drain: &DrainState) {
        let (mut entries, began) = (self.entries(), Instant::now());
        if drain.is_giving() {
            // A connection that comes back has its grace then.
            entries.grace_from = None;
            return;
        }
        entries.grace_from = Some(began);
        let timeouts = drain.bounds_now().timeouts;
        entries.set_deadlines(|connection| deadline(connection, &timeouts, Some(began)));
        drop(entries);
        self.changed.notify_one();
    }
}

fn deadline(connection: &IdleConnection, timeouts: &Timeouts, grace_from: Option<Instant>) -> Instant {
    let at = parked_until(connection.progress.doing, connection.progress.since, timeouts, grace_from);
    // A client of HTTP/2 can be told at any time that its connection is old. One of HTTP/1.1 hears it in its next answer.
    let age_end = connection.kept.http2().and_then(|_| age_end(connection.info.opened, timeouts));
    age_end.map_or(at, |end| at.min(end))
}

/// Watches the parked connections, for as long as the worker lives.
pub(crate) async fn run<H: Dispatch>(parked: Arc<ParkedConnections>, hub: Arc<H>) {
    let drain = hub.drain();
    let mut giving = drain.queue().subscribe();
    let (mut is_draining, mut next) = (false, None);
    loop {
        let mut woken = None;
        let alarm = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            biased;
            () = drain.life.reached(Phase::Cut) => return moved(&hub, parked.clear(), WorkerEvent::Cut),
            () = drain.life.draining(), if !is_draining => {
                is_draining = true;
                parked.drain(drain);
            }
            // Takers may come, or be lost, at any time.
            Ok(()) = giving.changed(), if is_draining => parked.drain(drain),
            ready = parked.epoll.readable() => {
                let Ok(mut ready) = ready else { return };
                let mut all = parked.woken();
                if all.len() < BATCH {
                    ready.clear_ready();
                    // Some may have come before that was noted.
                    all.extend(parked.woken());
                }
                woken = Some(all);
            }
            () = parked.changed.notified() => {}
            () = tokio::time::sleep_until(alarm.into()), if next.is_some() => {}
        }
        let now = Instant::now();
        let around = if is_draining { drain.surroundings() } else { Surroundings::SERVING };
        if let Some(woken) = woken {
            for (event, connection) in woken {
                Arc::clone(&hub).dispatch(State::Parked.after(now, Event::Client(event), around), connection);
            }
            tokio::task::yield_now().await;
        }
        if is_draining && drain.is_giving() {
            moved(&hub, parked.clear(), WorkerEvent::Changed);
        }
        let for_room = parked.longest_idle(parked.closes.swap(0, Ordering::AcqRel));
        let (late, first) = parked.late(now);
        let mut quiet = parked.entries().quiet();
        if quiet.is_some_and(|quiet| quiet <= now) {
            quiet = None;
            parked.entries().changes = None;
            let parked = Arc::clone(&parked);
            tokio::task::spawn_blocking(move || parked.trim());
        }
        next = [first, quiet].into_iter().flatten().min();
        let all = late.into_iter().map(|late| (late, false)).chain(for_room.into_iter().map(|idle| (idle, true)));
        for (connection, is_for_room) in all {
            // Bytes may have come in this very moment.
            let event = Event::Deadline { has_bytes: connection.has_bytes() };
            let next = State::Parked.after(now, event, around);
            drain.life.count_closed_for_room(usize::from(is_for_room && next.owner() == Owner::Closer));
            Arc::clone(&hub).dispatch(next, connection);
        }
    }
}

/// Gives all connections to the hub after an event of the worker. If takers have gone meanwhile, the connections are parked again.
fn moved<H: Dispatch>(hub: &Arc<H>, all: Vec<IdleConnection>, event: WorkerEvent) {
    let state = State::Parked.after(Instant::now(), Event::Worker(event), hub.drain().surroundings());
    for connection in all {
        Arc::clone(hub).dispatch(state, connection);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use bytes::Bytes;
    use gin_shared::handover::Doing;

    use super::*;
    use crate::connections::connection::{ConnectionInfo, Kept, KeptParts, ListenerFacts, Opening, WebSocketSession};
    use crate::connections::machine::HandoverHold;
    use crate::connections::progress::Progress;
    use crate::connections::room::Room;
    use crate::connections::transport::RawStream;
    use crate::graceful::Life;

    /// An idle connection with this name for its session, and its client.
    fn idle(name: &str, since: Instant) -> (IdleConnection, UnixStream) {
        let (raw, client) = UnixStream::pair().unwrap();
        let place = Room::new(Life::default(), 1, None).take_over().unwrap();
        let info = ConnectionInfo {
            listener: Arc::new(ListenerFacts::named("http")),
            opened: since,
            peer: None,
            tls: None,
            stage: Opening::Done,
            is_taken_over: false,
            hold: HandoverHold::None,
        };
        let progress = Progress { doing: Doing::Idle, since, requests: 1 };
        let session = WebSocketSession { name: name.into(), state: Bytes::copy_from_slice(name.as_bytes()) };
        let kept = Kept::of(KeptParts { session: Some(Box::new(session)), ..KeptParts::default() });
        let ahead = Bytes::copy_from_slice(name.as_bytes());
        (IdleConnection { raw: RawStream::Unix(raw), place, info, progress, ahead, kept }, client)
    }

    #[tokio::test]
    async fn connections_that_were_packed_are_parked_as_before() {
        let (parked, timeouts, now) = (ParkedConnections::new().unwrap(), Timeouts::default(), Instant::now());
        let mut clients = Vec::new();
        for number in 0..20 {
            // The last one is the first to be late.
            let since = now.checked_sub(Duration::from_millis(number)).unwrap();
            let (connection, client) = idle(&number.to_string(), since);
            assert!(parked.park(connection, &timeouts, now).is_none());
            clients.push(client);
        }
        drop(parked.take(7, now));
        let (old, next) = parked.entries().pack(0).unwrap();
        assert_eq!(old.len(), 19);
        assert!(parked.entries().pack(next).is_none());
        drop(old);
        parked.trim();
        let names = parked.longest_idle(usize::MAX).into_iter().map(|connection| {
            let session = connection.kept.session().unwrap();
            assert!(session.state == *session.name.as_bytes() && connection.ahead == session.state);
            session.name.to_string()
        });
        let expected: Vec<String> =
            (0..20).rev().filter(|number| *number != 7).map(|number| number.to_string()).collect();
        assert_eq!(names.collect::<Vec<String>>(), expected);
    }

    #[tokio::test]
    async fn connections_that_are_taken_out_count_as_changes() {
        let (parked, timeouts, now) = (ParkedConnections::new().unwrap(), Timeouts::default(), Instant::now());
        let mut clients = Vec::new();
        for number in 0..3 {
            let (connection, client) = idle("chat", now);
            assert!(parked.park(connection, &timeouts, now).is_none());
            clients.push(client);
            assert_eq!(parked.entries().changes, Some((number + 1, now)));
        }
        drop(parked.take(0, now));
        assert_eq!(parked.longest_idle(1).len(), 1);
        let late = now + timeouts.idle;
        assert_eq!(parked.late(late).0.len(), 1);
        assert_eq!(parked.entries().changes, Some((6, late)));
    }
}

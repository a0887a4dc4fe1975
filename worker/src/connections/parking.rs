//! Where idle connections wait: each is a bare descriptor and a few counters, and one epoll watches them all.
//!
//! A connection that hyper holds costs kilobytes for its buffers. One that has been idle for `timeouts.park_after` is taken
//! back and parked here, until bytes come or its time is over. It is also from here that idle connections are handed to
//! another worker: nothing has to be stopped for it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::config::Timeouts;
use crate::connections::connection::Resting;
use crate::connections::protocol::http1::Shared;
use crate::graceful::Phase;
use gin_shared::handover::Doing;

/// How many are woken before others have their turn.
const BATCH: usize = 256;
/// When so many have been parked, and then none for a while, what they needed before goes back to the system.
const MANY: usize = 1000;
const QUIET: Duration = Duration::from_millis(500);

/// The parked connections of a worker.
#[derive(Debug)]
pub(crate) struct Lot {
    epoll: AsyncFd<Watch>,
    places: Mutex<Places>,
    /// An earlier deadline has come.
    sooner: Notify,
}

/// The one epoll.
#[derive(Debug)]
struct Watch(Epoll);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

#[derive(Debug, Default)]
struct Places {
    all: Slab<Parked>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Since when the worker drains, and nobody takes what it has.
    draining: Option<Instant>,
    /// How many were parked since memory was given back, and when the last one.
    parked: Option<(usize, Instant)>,
}

#[derive(Debug)]
struct Parked {
    connection: Resting,
    deadline: Instant,
}

impl Lot {
    #[allow(unsafe_code, reason = "tokio cannot know that the descriptor stays open; this type keeps it")]
    pub(crate) fn new() -> io::Result<Self> {
        let watch = Watch(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // SAFETY: `Watch` owns its descriptor and never exchanges it, and the AsyncFd deregisters it before it drops it.
        let epoll = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?;
        Ok(Self { epoll, places: Mutex::default(), sooner: Notify::new() })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parks one. Gives it back if that cannot be done.
    pub(crate) fn park(&self, connection: Resting, timeouts: &Timeouts) -> Option<Resting> {
        let mut places = self.places();
        let deadline = deadline(&connection, timeouts, places.draining);
        let entry = places.all.vacant_entry();
        let key = entry.key();
        let event =
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, u64::try_from(key).unwrap_or(u64::MAX));
        if let Err(error) = self.epoll.get_ref().0.add(&connection.bare, event) {
            tracing::debug!("a connection cannot be parked: {error}");
            return Some(connection);
        }
        entry.insert(Parked { connection, deadline });
        let is_first = places.deadlines.first().is_none_or(|(first, _)| deadline < *first);
        places.deadlines.insert((deadline, key));
        let parked = places.parked.map_or(1, |(count, _)| count + 1);
        places.parked = Some((parked, Instant::now()));
        drop(places);
        if is_first || parked == MANY {
            self.sooner.notify_one();
        }
        None
    }

    /// Has [`keep`] look whether others take what is parked.
    pub(crate) fn look(&self) {
        self.sooner.notify_one();
    }

    /// Takes all of them out.
    fn clear(&self) -> Vec<Resting> {
        let mut places = self.places();
        places.deadlines.clear();
        let all: Vec<Resting> = places.all.drain().map(|parked| parked.connection).collect();
        drop(places);
        for connection in &all {
            self.forget(connection);
        }
        all
    }

    /// Its descriptor may be open elsewhere, too: closing ours would not end the watching.
    fn forget(&self, connection: &Resting) {
        if let Err(error) = self.epoll.get_ref().0.delete(&connection.bare) {
            tracing::error!("epoll_ctl: {error}");
        }
    }

    fn take(&self, key: usize) -> Option<Resting> {
        let mut places = self.places();
        let Parked { connection, deadline } = places.all.try_remove(key)?;
        places.deadlines.remove(&(deadline, key));
        drop(places);
        self.forget(&connection);
        Some(connection)
    }

    /// Those for whom bytes have come, or whose client has left.
    fn woken(&self) -> Vec<Resting> {
        let mut events = vec![EpollEvent::empty(); BATCH];
        let count = match self.epoll.get_ref().0.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => {
                tracing::error!("epoll_wait: {error}");
                0
            }
        };
        events[..count].iter().filter_map(|event| self.take(usize::try_from(event.data()).ok()?)).collect()
    }

    /// Those whose time is over, and when the next one's is.
    fn late(&self, now: Instant) -> (Vec<Resting>, Option<Instant>) {
        let mut late = Vec::new();
        loop {
            let first = self.places().deadlines.first().copied();
            match first {
                Some((deadline, key)) if deadline <= now => late.extend(self.take(key)),
                next => return (late, next.map(|(deadline, _)| deadline)),
            }
        }
    }

    /// When memory is to be given back.
    fn quiet(&self) -> Option<Instant> {
        let (count, last) = self.places().parked?;
        (count >= MANY).then_some(last + QUIET)
    }

    /// In a drain without anybody who takes them, from now on, they wait for one more request, to be told in its answer.
    fn drain(&self, shared: &Shared) {
        let (mut places, began) = (self.places(), Instant::now());
        if shared.is_giving() {
            // What comes back has its grace then.
            places.draining = None;
            return;
        }
        places.draining = Some(began);
        let Places { all, deadlines, .. } = &mut *places;
        deadlines.clear();
        for (key, parked) in all.iter_mut() {
            parked.deadline = deadline(&parked.connection, &shared.timeouts, Some(began));
            deadlines.insert((parked.deadline, key));
        }
        drop(places);
        self.sooner.notify_one();
    }
}

fn deadline(connection: &Resting, timeouts: &Timeouts, draining: Option<Instant>) -> Instant {
    let patience = match connection.rest.doing {
        Doing::Fresh | Doing::Head => timeouts.read,
        Doing::Idle => timeouts.idle,
    };
    let at = connection.rest.since + patience;
    draining.map_or(at, |began| at.min(began.max(connection.rest.since) + timeouts.idle_grace))
}

/// Wakes those that are to be served, and ends those whose time is over, for as long as the worker lives.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let lot = &shared.lot;
    let mut giving = shared.giving.subscribe();
    let (mut drains, mut next) = (false, None);
    loop {
        let alarm = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            biased;
            () = shared.life.reached(Phase::Cut) => {
                drop(lot.clear());
                return;
            }
            () = shared.life.draining(), if !drains => {
                drains = true;
                lot.drain(&shared);
            }
            // Sockets to workers that take may come, or be lost, at any time.
            Ok(()) = giving.changed(), if drains => lot.drain(&shared),
            ready = lot.epoll.readable() => {
                let Ok(mut ready) = ready else { return };
                let woken = lot.woken();
                if woken.len() < BATCH {
                    ready.clear_ready();
                    // Some may have come before that was noted.
                    lot.woken().into_iter().for_each(|connection| shared.serve(connection));
                }
                woken.into_iter().for_each(|connection| shared.serve(connection));
                tokio::task::yield_now().await;
            }
            () = lot.sooner.notified() => {}
            () = tokio::time::sleep_until(alarm.into()), if next.is_some() => {}
        }
        if drains && shared.is_giving() {
            lot.clear().into_iter().for_each(|connection| shared.rest(connection));
        }
        let now = Instant::now();
        let (late, first) = lot.late(now);
        let mut quiet = lot.quiet();
        if quiet.is_some_and(|quiet| quiet <= now) {
            quiet = None;
            lot.places().parked = None;
            tokio::task::spawn_blocking(give_back);
        }
        next = [first, quiet].into_iter().flatten().min();
        for connection in late {
            // Bytes may have come in this very moment.
            if connection.has_bytes() {
                shared.serve(connection);
            } else {
                tokio::spawn(shared.clone().close(connection));
            }
        }
    }
}

/// Gives back what the allocator has of the system's memory and does not need: glibc keeps it otherwise.
#[allow(unsafe_code, reason = "a call into the C library")]
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes no pointer and may be called by any thread at any time.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

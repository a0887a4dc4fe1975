//! The worker's drain as its connections see it: whether it has begun, and whether other workers take connections.

mod sharing;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Timeouts;
use crate::connections::activity::Activity;
use crate::connections::bounds::Bounds;
use crate::connections::connection::IdleConnection;
use crate::connections::handover::queue::HandoverQueue;
use crate::connections::machine::{Drain, Surroundings};
use crate::connections::relief::Neighbours;
use crate::graceful::{Life, Phase};
use sharing::Sharing;

/// State of a worker's drain, with the bounds that hold for every connection.
#[derive(Debug)]
pub(crate) struct DrainState {
    pub(crate) life: Life,
    pub(crate) bounds: Bounds,
    /// The queue to the giver, while others take.
    queue: watch::Sender<Option<HandoverQueue>>,
    began: OnceLock<Instant>,
    /// True if a person waits for the end: what is idle is closed at once.
    is_hurried: AtomicBool,
    /// The part of the connections that goes to other workers while this one serves on.
    sharing: Sharing,
    /// Connections that were served when they heard of such a drain.
    served: Mutex<Vec<Weak<Activity>>>,
    neighbours: OnceLock<Arc<dyn Neighbours>>,
}

/// Place of a connection among the others: what happens to all of them is spread in time by it. Clients that are told to come back
/// should not do so all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread(u8);

impl Spread {
    /// The next place. 256 in a row are all places, and neighbours are far from one another.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        Self(NEXT.fetch_add(159, Ordering::Relaxed))
    }

    /// The place of a connection that was opened at this moment: the same at each look.
    fn since(opened: Instant) -> Self {
        let mut hasher = DefaultHasher::new();
        opened.hash(&mut hasher);
        let [place, ..] = hasher.finish().to_le_bytes();
        Self(place)
    }

    /// The part of a time that lies before this place.
    pub(crate) fn of(self, time: Duration) -> Duration {
        time / 256 * u32::from(self.0)
    }
}

/// The moment from which a connection is old: `timeouts.max_connection_age` after it was opened, a tenth more or less. It is the same at
/// each look. `None`: it never is.
pub(crate) fn age_end(opened: Instant, timeouts: &Timeouts) -> Option<Instant> {
    let age = timeouts.max_connection_age;
    if age.is_zero() {
        return None;
    }
    opened.checked_add(age / 10 * 9)?.checked_add(Spread::since(opened).of(age / 5))
}

impl DrainState {
    pub(crate) fn new(life: Life, bounds: Bounds) -> Self {
        Self {
            life,
            bounds,
            queue: watch::Sender::new(None),
            began: OnceLock::new(),
            is_hurried: AtomicBool::new(false),
            sharing: Sharing::default(),
            served: Mutex::default(),
            neighbours: OnceLock::new(),
        }
    }

    /// Sets the way to the other workers. A worker without a master has none.
    pub(crate) fn set_neighbours(&self, neighbours: Arc<dyn Neighbours>) {
        let _ = self.neighbours.set(neighbours);
    }

    /// Asks for other workers that take connections: those that were named do not.
    pub(crate) fn ask_for_takers(&self) {
        if let Some(neighbours) = self.neighbours.get() {
            neighbours.ask_for_takers();
        }
    }

    /// True if other workers take what can be handed over.
    pub(crate) fn is_giving(&self) -> bool {
        self.queue.borrow().is_some()
    }

    /// The worker around a connection, for the machine.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let phase = self.life.phase();
        let drain = match phase {
            Phase::Waiting | Phase::Serving | Phase::LameDuck => Drain::No,
            Phase::Draining => Drain::Draining,
            Phase::Cut => Drain::Cut,
        };
        Surroundings { drain, has_takers: self.is_giving(), shares: self.shares() }
    }

    /// Has the drain that is about to begin close at once what is idle.
    pub(crate) fn hurry(&self) {
        self.is_hurried.store(true, Ordering::Release);
    }

    /// True if a person waits for the end of the drain.
    pub(crate) fn is_hurried(&self) -> bool {
        self.is_hurried.load(Ordering::Acquire)
    }

    /// The bounds as they hold now: in a drain for whose end a person waits, a connection that is idle is parked and closed at once.
    pub(crate) fn bounds_now(&self) -> Bounds {
        let mut bounds = self.bounds;
        if self.is_hurried() {
            (bounds.timeouts.park_after, bounds.timeouts.idle_grace) = (Duration::ZERO, Duration::ZERO);
        }
        bounds
    }

    /// Notes a connection that is served, and has heard of the drain: a person may be told what it is busy with.
    pub(crate) fn note_served(&self, activity: &Arc<Activity>) {
        if self.is_hurried() {
            self.served.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(activity));
        }
    }

    /// Number of requests under way, and of connections without one. For a drain for whose end a person waits.
    pub(crate) fn under_way(&self) -> (usize, usize) {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = served.iter().filter_map(Weak::upgrade).map(|activity| activity.under_way());
        let busy: Vec<usize> = requests.filter(|requests| *requests > 0).collect();
        (busy.iter().sum(), self.life.connections().saturating_sub(busy.len()))
    }

    /// Begins the drain: all connections hear of it.
    pub(crate) fn begin(&self) {
        self.began.get_or_init(Instant::now);
        self.life.reach(Phase::Draining);
    }

    /// The moment from which on an answer says that it is the connection's last. A connection that never pauses cannot be handed over:
    /// while others take, it is told when three quarters of the time are over, or up to an eighth later. `None` without a drain.
    pub(crate) fn last_call(&self, spread: Spread) -> Option<Instant> {
        let began = *self.began.get()?;
        began.checked_add(if self.is_giving() { self.late(spread) } else { Duration::ZERO })
    }

    /// The same for a client that is told by itself, and not in an answer: of HTTP/2, or of a WebSocket without a session. Without takers
    /// it is told at once, or up to `timeouts.idle_grace` later.
    pub(crate) fn goodbye(&self, spread: Spread) -> Option<Instant> {
        let began = *self.began.get()?;
        let is_late = self.is_giving();
        began.checked_add(if is_late { self.late(spread) } else { spread.of(self.bounds_now().timeouts.idle_grace) })
    }

    /// Time of a drain after which connections are told that cannot be handed over.
    fn late(&self, spread: Spread) -> Duration {
        let shutdown = self.bounds.timeouts.shutdown;
        shutdown / 4 * 3 + spread.of(shutdown / 8)
    }

    /// True while this worker gives a part of its connections to others, and serves on.
    pub(crate) fn shares(&self) -> bool {
        self.sharing.is_open()
    }

    /// Queues a connection for other workers. Gives it back if nobody takes.
    pub(crate) fn offer(&self, connection: IdleConnection) -> Option<IdleConnection> {
        let unsent = match self.queue.borrow().as_ref() {
            None => return self.sharing.offer(connection),
            Some(queue) => queue.offer(connection)?,
        };
        self.queue.send_if_modified(|queue| queue.take_if(|queue| queue.is_closed()).is_some());
        Some(unsent)
    }

    /// The queue, for the giver, which opens and closes it.
    pub(crate) fn queue(&self) -> &watch::Sender<Option<HandoverQueue>> {
        &self.queue
    }

    /// A part of `timeouts.idle_grace`, by chance: clients that are closed come back, and should not do so all at once.
    pub(crate) fn spread_grace(&self) -> Duration {
        use std::hash::{BuildHasher, RandomState};
        let random = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
        self.bounds_now().timeouts.idle_grace.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::handover::queue::queue;

    #[test]
    fn the_last_call_comes_late_and_spread_while_others_take() {
        let drain = DrainState::new(Life::default(), Bounds::default());
        let (first, last) = (Spread(0), Spread(255));
        assert_eq!(drain.last_call(first), None);
        drain.begin();
        let began = *drain.began.get().unwrap();
        assert_eq!(drain.last_call(last), Some(began), "nobody takes");
        let (open, _end) = queue();
        drain.queue().send_replace(Some(open));
        let shutdown = drain.bounds.timeouts.shutdown;
        assert_eq!(drain.last_call(first), Some(began + shutdown / 4 * 3));
        let latest = drain.last_call(last).unwrap();
        assert!(latest > began + shutdown / 4 * 3 && latest < began + shutdown / 8 * 7);
    }

    #[test]
    fn clients_that_are_told_by_themselves_are_told_over_the_grace_if_nobody_takes() {
        let drain = DrainState::new(Life::default(), Bounds::default());
        let (first, last) = (Spread(0), Spread(255));
        assert_eq!(drain.goodbye(first), None);
        drain.begin();
        let began = *drain.began.get().unwrap();
        let grace = drain.bounds.timeouts.idle_grace;
        assert_eq!(drain.goodbye(first), Some(began));
        assert!(drain.goodbye(last).is_some_and(|at| at > began + grace / 2 && at < began + grace));
        let (open, _end) = queue();
        drain.queue().send_replace(Some(open));
        assert_eq!(drain.goodbye(last), drain.last_call(last));
        drain.queue().send_replace(None);
        drain.hurry();
        assert_eq!(drain.goodbye(last), Some(began), "a person waits");
    }

    #[test]
    fn connections_are_old_at_different_moments() {
        let (opened, mut timeouts) = (Instant::now(), Timeouts::default());
        assert_eq!(age_end(opened, &timeouts), None);
        timeouts.max_connection_age = Duration::from_secs(1000);
        let opened: Vec<Instant> = (0..256).map(|ms| opened + Duration::from_millis(ms)).collect();
        let ages: Vec<Duration> = opened.iter().map(|opened| age_end(*opened, &timeouts).unwrap() - *opened).collect();
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(900) && *most < Duration::from_secs(1100));
        assert!(*most - *least > Duration::from_secs(150), "{least:?} to {most:?}");
        assert_eq!(age_end(opened[7], &timeouts), age_end(opened[7], &timeouts));
    }

    #[test]
    fn a_place_is_a_part_of_a_time() {
        let parts = [Spread(0), Spread(3), Spread(255)].map(|spread| spread.of(Duration::from_secs(256)));
        assert_eq!(parts, [0, 3, 255].map(Duration::from_secs));
    }
}

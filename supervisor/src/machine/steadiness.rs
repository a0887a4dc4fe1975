//! Crash loops: workers that serve between two crashes, and do not serve steadily.
//!
//! A slot remembers how many workers failed in a row ([`SlotRun::failures`]). The second failure makes its next worker
//! wait ([`backoff::delay`]): from then on the slot is in a crash loop, through every wait and every start, until a worker
//! has served for [`backoff::STABLE`]. A master that comes later goes on with that: all of it is in the state.

use super::fleet::Fleet;
use super::generation::{Occupant, Run, Stage};
use super::slot::SlotRun;
use super::worker::Worker;
use super::{Machine, backoff};
use crate::moment::Moment;

impl Machine {
    /// True if a slot is in a crash loop.
    #[must_use]
    pub fn has_crash_loop(&self, now: Moment) -> bool {
        self.wanted_slots().any(|slot| slot.is_in_crash_loop(now))
    }

    /// The number of slots that wait before their next worker.
    #[must_use]
    pub fn in_backoff(&self) -> usize {
        self.wanted_slots().filter(|slot| slot.is_in_backoff()).count()
    }

    /// True if no worker serves but those between two crashes. A service that is on its way up is down, too: a first generation may fail,
    /// and be tried again, for ever.
    #[must_use]
    pub fn is_down(&self, now: Moment) -> bool {
        match self.fleet {
            Fleet::Idle | Fleet::Booting(_) | Fleet::Serving(_) | Fleet::Upgrading { .. } => {
                !self.runs().flat_map(|run| &run.slots).any(|slot| slot.serves_steadily(now))
            }
            Fleet::Stopping { .. } | Fleet::Stopped => false,
        }
    }

    /// The slots of generations that are to serve on.
    fn wanted_slots(&self) -> impl Iterator<Item = &SlotRun> {
        let serving_on = self.runs().filter(|run: &&Run| run.stage != Stage::Leaving);
        serving_on.flat_map(|run| &run.slots).filter(|slot| slot.is_wanted())
    }
}

impl SlotRun {
    fn is_in_backoff(&self) -> bool {
        [&self.occupant, &self.successor].into_iter().any(|occupant| matches!(occupant, Occupant::Backoff(_)))
    }

    /// True if its newest worker waits for its turn after a failure, or has not served for long enough to forget that.
    fn is_in_crash_loop(&self, now: Moment) -> bool {
        if self.is_in_backoff() {
            return true;
        }
        match &self.successor {
            // Its first failure makes it wait: one before it serves still.
            Occupant::Worker(successor) => loops(self.failures + 1, successor, now),
            Occupant::Backoff(_) | Occupant::Vacant => {
                self.worker().is_some_and(|worker| loops(self.failures, worker, now))
            }
        }
    }

    /// True if its worker serves, and not only until its next crash.
    fn serves_steadily(&self, now: Moment) -> bool {
        self.worker().is_some_and(|worker| worker.is_serving() && !loops(self.failures, worker, now))
    }
}

/// True if a worker that has come after so many failures may be the next one.
fn loops(failures: u32, worker: &Worker, now: Moment) -> bool {
    !backoff::delay(failures, 0).is_zero() && !worker.is_stable(now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gin_shared::generation::{Generation, Slot, WorkerId};

    use super::super::event::{Event, Queue, StopBy, WorkerEvent};
    use super::super::plan::{Plan, Readiness, Strategy};
    use super::*;
    use crate::exit_status::Exit;

    fn plan() -> Plan {
        Plan {
            release: None,
            workers: 1,
            ready: Readiness::Notify,
            ready_timeout: Duration::from_secs(30),
            warms_up: false,
            probes: false,
            strategy: Strategy::Surge,
            soak: Duration::ZERO,
            drain_timeout: Duration::from_secs(60),
            channel: false,
            watchdog: None,
            max_age: None,
        }
    }

    /// A master with one slot, and the times that it sees.
    struct Lone {
        machine: Machine,
        now: Moment,
    }

    impl Lone {
        /// Its first worker serves steadily.
        fn new() -> Self {
            let mut lone = Self { machine: Machine::new(4), now: Moment(1_000_000_000_000) };
            lone.handle(Event::Restart { operation: None, asked_by: "start".into(), queue: Queue::Wait });
            lone.handle(Event::Prepared { generation: Generation(1), plan: Ok(plan()) });
            lone.serves(0);
            lone.handle(Event::Time(lone.now));
            lone.passes(backoff::STABLE);
            assert!(lone.machine.current().is_some());
            lone
        }

        fn handle(&mut self, event: Event) {
            let _ = self.machine.handle(self.now, event);
        }

        fn tell(&mut self, attempt: u32, what: WorkerEvent) {
            let worker = WorkerId { generation: Generation(1), slot: Slot(0), attempt };
            self.handle(Event::Worker { worker, what });
        }

        fn serves(&mut self, attempt: u32) {
            for what in [WorkerEvent::Spawned { pid: 1 }, WorkerEvent::Executed, WorkerEvent::Ready] {
                self.tell(attempt, what);
            }
        }

        fn crashes(&mut self, attempt: u32) {
            self.tell(attempt, WorkerEvent::Exited { exit: Exit::Code(3), jitter: 0 });
        }

        fn passes(&mut self, time: Duration) {
            self.now = self.now + time;
        }

        /// Crash loop, down, slots in backoff.
        fn told(&self) -> (bool, bool, usize) {
            (self.machine.has_crash_loop(self.now), self.machine.is_down(self.now), self.machine.in_backoff())
        }
    }

    #[test]
    fn one_crash_of_a_worker_that_served_is_no_loop() {
        let mut lone = Lone::new();
        assert_eq!(lone.told(), (false, false, 0));
        lone.crashes(0);
        // Nobody serves until the next one does, which is ordered at once.
        assert_eq!(lone.told(), (false, true, 0));
        lone.serves(1);
        assert_eq!(lone.told(), (false, false, 0));
        assert_eq!(lone.machine.counts.respawns, 1);
    }

    #[test]
    fn a_service_is_down_until_its_first_generation_serves_and_not_while_it_is_stopped() {
        let mut machine = Machine::new(4);
        let now = Moment(1_000_000_000_000);
        assert!(machine.is_down(now), "the next try waits");
        let restart = Event::Restart { operation: None, asked_by: "start".into(), queue: Queue::Wait };
        let _ = machine.handle(now, restart);
        assert!(machine.is_down(now), "it is on its way");
        let mut lone = Lone::new();
        lone.handle(Event::Stop { operation: None, by: StopBy::Signal });
        assert!(!lone.machine.is_down(lone.now));
    }

    #[test]
    fn a_crash_loop_is_seen_at_every_moment_until_a_worker_has_served_for_long_enough() {
        let mut lone = Lone::new();
        lone.crashes(0);
        lone.serves(1);
        for attempt in 1..5 {
            lone.crashes(attempt);
            assert_eq!(lone.told(), (true, true, 1), "waits after crash {attempt}");
            lone.now = lone.machine.deadline().unwrap();
            lone.handle(Event::Time(lone.now));
            assert_eq!(lone.told(), (true, true, 0), "starts after crash {attempt}");
            lone.serves(attempt + 1);
            assert_eq!(lone.told(), (true, true, 0), "serves after crash {attempt}");
        }
        assert_eq!(lone.machine.counts.respawns, 5);
        lone.passes(backoff::STABLE - Duration::from_millis(1));
        assert_eq!(lone.told(), (true, true, 0));
        lone.passes(Duration::from_millis(1));
        assert_eq!(lone.told(), (false, false, 0));
    }
}

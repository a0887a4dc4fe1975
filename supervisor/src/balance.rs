//! Shares of the load: which worker gives how many of its connections to which others.
//!
//! A decision without I/O or clock. It is made anew with each report of a worker, and when a pause ends. Workers whose loads differ by little are left alone, and
//! so is one that gives or takes: its load is about to change, and a report says how. For how long: `pause`.

mod pause;

use std::time::Duration;

use gin_shared::generation::WorkerId;

use crate::moment::Moment;
pub use pause::Pause;

/// Shortest time for which a worker that takes is left alone: its load is about to change.
const PAUSE: Duration = Duration::from_millis(250);
/// Number of connections that one worker gives at once, at most.
const MOVE_MAX: u32 = 256;
/// Number of workers that take from one at once, at most: each costs descriptors on the way.
const TAKERS_MAX: usize = 32;
/// Differences that are left alone: so many connections, and this part of the emptiest worker's.
const SLACK: u32 = 8;
const SLACK_PART: u32 = 8;

/// The load of a worker that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The worker.
    pub worker: WorkerId,
    /// Number of its connections.
    pub connections: u32,
    /// True if it can take more.
    pub has_room: bool,
    /// The end of the time in which it is left alone.
    pub busy_until: Option<Moment>,
}

/// An order to give connections away. The takers get equal parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The worker that gives.
    pub from: WorkerId,
    /// The workers that take.
    pub to: Vec<WorkerId>,
    /// Number of connections, for all takers together.
    pub count: u32,
}

/// A worker with more, or fewer, connections than the mean.
#[derive(Debug, Clone, Copy)]
struct Apart {
    worker: WorkerId,
    by: u32,
}

/// Moves after which the workers that are not left alone have the same load, or come nearer to it. None if they are even enough. No worker
/// is both a giver and a taker.
#[must_use]
pub fn moves(now: Moment, loads: &[Load]) -> Vec<Move> {
    let is_free = |load: &&Load| load.busy_until.is_none_or(|until| until <= now);
    let free: Vec<&Load> = loads.iter().filter(is_free).collect();
    if !is_uneven(&free) {
        return Vec::new();
    }
    let mean = mean(&free);
    let mut takers = apart(free.iter().filter(|load| load.has_room), |load| mean.saturating_sub(load.connections));
    let givers = apart(free.iter(), |load| load.connections.saturating_sub(mean).min(MOVE_MAX));
    givers.into_iter().filter_map(|giver| give(giver, &mut takers)).collect()
}

/// The moment at which to decide again though no worker reports: the end of the next pause, if loads are uneven in it.
#[must_use]
pub fn next(now: Moment, loads: &[Load]) -> Option<Moment> {
    let pauses = loads.iter().filter_map(|load| load.busy_until).filter(|until| *until > now);
    is_uneven(&loads.iter().collect::<Vec<_>>()).then(|| pauses.min()).flatten()
}

fn is_uneven(loads: &[&Load]) -> bool {
    let fullest = loads.iter().map(|load| load.connections).max();
    let emptiest = loads.iter().filter(|load| load.has_room).map(|load| load.connections).min();
    let (Some(fullest), Some(emptiest)) = (fullest, emptiest) else { return false };
    fullest > emptiest && is_apart(emptiest, fullest)
}

/// True if a load differs by more than what is left alone.
fn is_apart(load: u32, other: u32) -> bool {
    load.abs_diff(other) > load / SLACK_PART + SLACK
}

fn mean(loads: &[&Load]) -> u32 {
    let sum: u64 = loads.iter().map(|load| u64::from(load.connections)).sum();
    // There is one at least, and the mean is no more than the largest.
    u32::try_from(sum / loads.len().max(1) as u64).unwrap_or(u32::MAX)
}

/// The workers that are apart from the mean on one side, the farthest first.
fn apart<'a>(loads: impl Iterator<Item = &'a &'a Load>, by: impl Fn(&Load) -> u32) -> Vec<Apart> {
    let mut apart: Vec<Apart> = loads.map(|load| Apart { worker: load.worker, by: by(load) }).collect();
    apart.retain(|apart| apart.by > 0);
    sort(&mut apart);
    apart
}

fn sort(apart: &mut [Apart]) {
    apart.sort_unstable_by_key(|apart| (std::cmp::Reverse(apart.by), apart.worker));
}

/// The move of one giver: to so many of the emptiest takers that most connections find a place, in equal parts.
fn give(giver: Apart, takers: &mut [Apart]) -> Option<Move> {
    let part = |(index, taker): (usize, &Apart)| {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        (number, (giver.by / number).min(taker.by))
    };
    let (number, part) = takers.iter().enumerate().take(TAKERS_MAX).map(part).max_by_key(|(n, part)| n * part)?;
    if part == 0 {
        return None;
    }
    let chosen = &mut takers[..number as usize];
    chosen.iter_mut().for_each(|taker| taker.by -= part);
    let to = chosen.iter().map(|taker| taker.worker).collect();
    sort(takers);
    Some(Move { from: giver.worker, to, count: number * part })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use gin_shared::generation::{Generation, Slot};

    use super::*;

    const NOW: Moment = Moment(1_000_000_000);

    fn worker(slot: u32) -> WorkerId {
        WorkerId { generation: Generation(1), slot: Slot(slot), attempt: 0 }
    }

    fn loads(connections: &[u32]) -> Vec<Load> {
        let load = |(slot, connections): (u32, &u32)| Load {
            worker: worker(slot),
            connections: *connections,
            has_room: true,
            busy_until: None,
        };
        (0..).zip(connections).map(load).collect()
    }

    fn of(loads: &mut [Load], worker: WorkerId) -> &mut u32 {
        &mut loads.iter_mut().find(|load| load.worker == worker).unwrap().connections
    }

    #[test]
    fn an_uneven_load_is_looked_at_again_when_the_next_pause_ends() {
        let mut uneven = loads(&[100, 20, 60]);
        assert_eq!(next(NOW, &uneven), None, "nobody is left alone");
        uneven[0].busy_until = Some(NOW + Duration::from_secs(3));
        uneven[1].busy_until = Some(NOW + PAUSE);
        uneven[2].busy_until = Some(NOW);
        assert_eq!(next(NOW, &uneven), Some(NOW + PAUSE));
        assert_eq!(next(NOW + PAUSE, &uneven), Some(NOW + Duration::from_secs(3)));
        uneven[0].connections = 25;
        uneven[2].connections = 25;
        assert_eq!(next(NOW, &uneven), None, "it is even");
    }

    /// Carries the moves out. Returns false if there are none.
    fn apply(loads: &mut [Load]) -> bool {
        let moves = moves(NOW, loads);
        for Move { from, to, count } in &moves {
            assert!(*count > 0 && *count <= MOVE_MAX && !to.is_empty(), "{moves:?}");
            *of(loads, *from) -= count;
            to.iter().for_each(|taker| *of(loads, *taker) += count / u32::try_from(to.len()).unwrap());
        }
        let givers: HashSet<WorkerId> = moves.iter().map(|one| one.from).collect();
        let takers = moves.iter().flat_map(|one| &one.to);
        assert!(takers.into_iter().all(|taker| !givers.contains(taker)), "{moves:?}");
        !moves.is_empty()
    }

    /// Numbers that look like chance, the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u32) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from((self.0 >> 33) % u64::from(end)).unwrap()
        }
    }

    #[test]
    fn any_loads_are_even_after_a_few_rounds_and_stay_so() {
        let mut numbers = Numbers(20);
        for _ in 0..20_000 {
            let (count, most) = (1 + numbers.below(12), 1 + numbers.below(2000));
            let connections: Vec<u32> = (0..count).map(|_| numbers.below(most)).collect();
            let mut loads = loads(&connections);
            let sum: u32 = connections.iter().sum();
            let surplus = connections.iter().max().unwrap() - sum / count;
            let rounds = (0..).take_while(|_| apply(&mut loads)).count();
            let most = 4 + surplus / MOVE_MAX;
            assert!(rounds <= most as usize, "{rounds} rounds for {connections:?}");
            let left: Vec<u32> = loads.iter().map(|load| load.connections).collect();
            let (fullest, emptiest) = (left.iter().max().unwrap(), left.iter().min().unwrap());
            assert!(fullest * 10 <= emptiest * 12 + 80, "{connections:?} became {left:?}");
            assert_eq!(left.iter().sum::<u32>(), sum);
        }
    }

    #[test]
    fn new_workers_get_their_part() {
        let expected = Move { from: worker(0), to: vec![worker(1), worker(2), worker(3)], count: 150 };
        assert_eq!(moves(NOW, &loads(&[200, 0, 0, 0])), [expected]);
        let mut many = loads(&[10_000, 0]);
        let first = moves(NOW, &many);
        assert_eq!(first, [Move { from: worker(0), to: vec![worker(1)], count: MOVE_MAX }]);
        while apply(&mut many) {}
        let left = many.iter().map(|load| load.connections).collect::<Vec<_>>();
        assert!(left[0] < 5300 && left[0] + left[1] == 10_000, "{left:?}");
    }

    #[test]
    fn small_differences_are_left_alone() {
        for even in [&[][..], &[7], &[0, 8], &[100, 120, 110], &[1000, 1133]] {
            assert!(moves(NOW, &loads(even)).is_empty(), "{even:?}");
        }
        for uneven in [&[0, 9][..], &[100, 121], &[1000, 1134]] {
            assert!(!moves(NOW, &loads(uneven)).is_empty(), "{uneven:?}");
        }
        // 400 connections on 4 workers: what is left alone is within a quarter.
        for emptiest in 0..=100 {
            let fullest = emptiest + emptiest / SLACK_PART + SLACK;
            let is_possible = emptiest + 3 * fullest >= 400;
            assert!(!is_possible || fullest * 4 <= emptiest * 5, "{emptiest} {fullest}");
        }
    }

    #[test]
    fn a_worker_that_has_just_given_or_taken_is_left_alone() {
        let mut loads = loads(&[300, 0, 0]);
        loads[1].busy_until = Some(NOW + PAUSE);
        assert_eq!(moves(NOW, &loads), [Move { from: worker(0), to: vec![worker(2)], count: 150 }]);
        loads[0].busy_until = Some(NOW + PAUSE);
        assert!(moves(NOW, &loads).is_empty());
        assert_eq!(moves(NOW + PAUSE, &loads)[0].count, 200);
    }

    #[test]
    fn a_worker_without_room_gives_and_does_not_take() {
        let mut loads = loads(&[300, 0, 0]);
        loads[1].has_room = false;
        assert_eq!(moves(NOW, &loads)[0].to, [worker(2)]);
        loads[2].has_room = false;
        assert!(moves(NOW, &loads).is_empty());
        (loads[0].has_room, loads[1].has_room) = (false, true);
        assert_eq!(moves(NOW, &loads)[0].from, worker(0));
    }

    #[test]
    fn one_worker_takes_from_several() {
        let moves = moves(NOW, &loads(&[100, 100, 100, 0]));
        assert_eq!(moves.iter().map(|one| one.count).collect::<Vec<_>>(), [25, 25, 25]);
        assert!(moves.iter().all(|one| one.to == [worker(3)]));
    }
}

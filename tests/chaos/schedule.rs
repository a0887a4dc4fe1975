//! The order of operations, drawn from a seed: the same seed gives the same operations and the same pauses.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::operation::{Draw, Operation};

/// The environment variable that repeats a run.
pub const SEED: &str = "GIN_CHAOS_SEED";

/// The operations of a scenario, each with its weight: how often it comes, compared with the others.
pub type Weights = &'static [(usize, Draw)];

/// The seed that was asked for, or another one each time.
pub fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{SEED}={text}: {error}; give the printed number")),
        // Each of these hashers has random keys. Nine digits are easy to copy.
        Err(_) => RandomState::new().build_hasher().finish() % 1_000_000_000,
    }
}

/// A generator of pseudo-random numbers: splitmix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` - 1.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound as u64).expect("it is below a usize")
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A time of whole milliseconds, from `least` to `most`, both in milliseconds.
    pub fn millis(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis((least + self.below(most - least + 1)) as u64)
    }
}

/// The operations of a run, one after the other, without an end.
pub struct Schedule {
    random: Random,
    weights: Weights,
    /// The longest pause between two operations, in milliseconds.
    gap: usize,
}

impl Schedule {
    pub fn new(seed: u64, weights: Weights, gap: usize) -> Self {
        Self { random: Random::new(seed), weights, gap }
    }

    /// The next operation, and the pause before it.
    pub fn draw(&mut self) -> (Duration, Operation) {
        let pause = self.random.millis(0, self.gap);
        let all: usize = self.weights.iter().map(|(weight, _)| *weight).sum();
        let mut left = self.random.below(all);
        for (weight, draw) in self.weights {
            if left < *weight {
                return (pause, draw(&mut self.random));
            }
            left -= *weight;
        }
        unreachable!("the number is below the sum of all weights")
    }
}

#[test]
fn a_seed_repeats_its_operations_and_another_one_has_others() {
    const WEIGHTS: Weights = &[(1, Operation::usr2), (3, Operation::kill_master), (2, Operation::kill_worker)];
    let drawn = |seed| {
        let mut schedule = Schedule::new(seed, WEIGHTS, 200);
        (0..50).map(|_| schedule.draw()).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    let kills = drawn(7).iter().filter(|(_, what)| matches!(what, Operation::KillMaster { .. })).count();
    assert!((10..40).contains(&kills), "{kills} of 50, and half of them are expected");
}

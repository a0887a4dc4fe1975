//! Everything at once, at random: operations, deaths, pauses, full disks and limits, under clients of many kinds. No client
//! is hurt but by the death of the very worker that held its connection.
//!
//! Each test here is a scenario: its settings, and its operations with a weight each. A seed decides what happens in which
//! order. A failure prints the seed and what was done; `GIN_CHAOS_SEED=N` repeats it: the operations and the pauses between
//! them are the same, though not the kernel's scheduling.
//!
//! - `schedule` draws operations from the seed
//! - `operation` says what there is to draw, and performs it
//! - `fleet` has the supervisor, its workers and its commands, and looks at all of it after each round
//! - `clients` are at work meanwhile
//! - `judge` explains each hurt, or fails

mod clients;
mod fleet;
mod judge;
mod operation;
mod schedule;

use std::time::{Duration, Instant};

use harness::{supervisor, times};

use crate::tls::addresses;
use clients::{Clients, Listeners};
use fleet::Fleet;
use judge::judge;
use operation::Operation;
use schedule::{SEED, Schedule, Weights, seed};

/// Time of operations between two looks at the fleet.
const ROUND: Duration = Duration::from_secs(5);

/// The settings of a fleet, and what happens to it.
struct Scenario {
    /// More lines of `[supervisor]`.
    settings: &'static str,
    /// The longest pause between two operations, in milliseconds.
    gap: usize,
    weights: Weights,
}

impl Scenario {
    fn run(&self) {
        let seed = seed();
        println!("{SEED}={seed}");
        let gin = supervisor().workers(2).ours("one", "ok").faulty().https().set(self.settings).start();
        let began = Instant::now();
        let listeners = Listeners { tcp: gin.tcp(), tls: addresses(&gin) };
        let clients = Clients::start(&listeners, began, seed);
        let (mut fleet, mut schedule) = (Fleet::new(gin, began), Schedule::new(seed, self.weights, self.gap));
        for _ in 0..times(2, 60) {
            let round = Instant::now();
            while round.elapsed() < ROUND {
                let (pause, operation) = schedule.draw();
                // The pause is a part of what happens. Nothing waits by it.
                std::thread::sleep(pause);
                fleet.journal.note(format!("{operation:?}"));
                operation.perform(&mut fleet);
                fleet.assert_serves();
            }
            fleet.look();
        }
        let account = clients.finish();
        let explained = judge(&fleet.journal, &account.hurts);
        println!(
            "{} exchanges on {} connections: {} announced closes, {explained} hurts, each explained",
            account.exchanges, account.connects, account.announced
        );
        assert!(account.exchanges > 100, "there was no load");
        fleet.gin.stop();
    }
}

#[test]
fn control() {
    const SCENARIO: Scenario = Scenario {
        settings: "soak = \"0s\"\nstrategy = \"surge\"\nenv = { CHAOS = \"0\" }",
        gap: 200,
        weights: &[
            (3, Operation::usr2),
            (4, Operation::restart),
            (2, Operation::restart_unfit),
            (3, Operation::reload),
            (3, Operation::scale_begun),
            (2, Operation::rollback),
            (2, Operation::cancel),
            (2, Operation::upgrade),
            (1, Operation::pause_master),
            (1, Operation::pause_worker),
            (1, Operation::kill_master),
            (1, Operation::full_disk),
            (1, Operation::few_descriptors),
            (1, Operation::remove_file),
            (1, Operation::second_master),
        ],
    };
    SCENARIO.run();
}

#[test]
fn deaths() {
    const SCENARIO: Scenario = Scenario {
        settings: "soak = \"0s\"",
        gap: 200,
        weights: &[
            (3, Operation::kill_master),
            (3, Operation::kill_worker),
            (3, Operation::end_worker),
            (2, Operation::usr2),
            (2, Operation::restart),
            (1, Operation::scale_awaited),
            (1, Operation::upgrade),
            (1, Operation::pause_worker),
            (1, Operation::second_master),
        ],
    };
    SCENARIO.run();
}

/// A master that stands still reads what came meanwhile before it judges a deadline: no worker is killed for its pause.
#[test]
fn pauses() {
    const SCENARIO: Scenario = Scenario {
        // A worker pings each second. Less would blame it for a busy machine.
        settings: "soak = \"0s\"\nwatchdog = \"2s\"",
        gap: 300,
        weights: &[
            (3, Operation::pause_master_for_long),
            (2, Operation::pause_worker_shortly),
            (1, Operation::hang_worker),
            (2, Operation::restart_begun),
            (1, Operation::usr2),
        ],
    };
    SCENARIO.run();
}

/// Fewer workers are those that serve. All commands are awaited, so that it is known which slots wait.
#[test]
fn backoff() {
    const SCENARIO: Scenario = Scenario {
        settings: "soak = \"0s\"",
        gap: 200,
        weights: &[
            (4, Operation::shrink_in_backoff),
            (1, Operation::restart_awaited),
            (1, Operation::scale_awaited),
            (1, Operation::upgrade_awaited),
            (1, Operation::kill_master),
        ],
    };
    SCENARIO.run();
}

/// Commands that wait for one another when the master dies: each gin-ctl ends.
#[test]
fn lost_operations() {
    const SCENARIO: Scenario = Scenario {
        settings: "soak = \"2s\"",
        gap: 250,
        weights: &[
            (4, Operation::restart_begun),
            (4, Operation::scale_begun),
            (3, Operation::kill_master),
            (1, Operation::upgrade),
            (1, Operation::cancel),
        ],
    };
    SCENARIO.run();
}

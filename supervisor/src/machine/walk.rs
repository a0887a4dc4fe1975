//! All orders in which things can happen, and random ones, with the invariants checked after each step.
//!
//! The world here is what the driver and the kernel could do at most: answer a wish or fail it, let a process get on or
//! die, let time pass to the next deadline; and operators ask for things at any moment.

mod world;

use std::collections::HashSet;

use gin_shared::generation::Slot;
use proptest::prelude::*;

use super::action::WorkerAction;
use super::event::WorkerEvent;
use super::*;
use crate::exit_status::Exit;
use world::{Budget, CALM, Step, Ways, World};

const FOREIGN: Ways = Ways { channel: false, announces: false, gated: false, rolling: false };
const OURS: Ways = Ways { channel: true, ..FOREIGN };
const ANNOUNCED: Ways = Ways { announces: true, ..FOREIGN };
const GATED: Ways = Ways { gated: true, ..FOREIGN };
const ROLLING: Ways = Ways { rolling: true, ..FOREIGN };

/// Looks at every state that can be reached; gives how many there were.
fn walk(start: World) -> usize {
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        for step in world.steps() {
            let mut next = world.clone();
            next.take(&step);
            if seen.insert(next.fingerprint()) {
                next.check_snapshot();
                if seen.len() % 16 == 0 {
                    next.clone().settles();
                }
                open.push(next);
            }
        }
    }
    seen.len()
}

/// The soak run sets this, and has the time for every combination at once.
fn soak() -> bool {
    std::env::var_os("GIN_SOAK").is_some()
}

fn walks(name: &str, slots: u32, ways: Ways, budget: Budget) {
    let states = walk(World::new(slots, ways, budget));
    println!("{name}: {states} states");
    assert!(states > 100, "the walk went nowhere");
}

#[test]
fn every_interleaving_of_one_slot_and_two_upgrades_keeps_the_invariants() {
    let budget = Budget { upgrades: 2, crashes: 1, stops: 1, ..CALM };
    walks("crash and stop", 1, OURS, budget);
    walks("failure and cancel", 1, FOREIGN, Budget { upgrades: 2, failures: 1, cancels: 1, ..CALM });
    walks("lapses", 1, OURS, Budget { upgrades: 2, lapses: 2, ..CALM });
    if soak() {
        walks("trouble and stop", 1, OURS, Budget { failures: 1, stops: 2, ..budget });
        walks("trouble and cancel", 1, OURS, Budget { upgrades: 2, lapses: 1, crashes: 1, cancels: 1, ..CALM });
        walks("two crashes", 1, FOREIGN, Budget { upgrades: 2, crashes: 2, failures: 1, ..CALM });
    }
}

#[test]
fn every_interleaving_with_scaling_keeps_the_invariants() {
    walks("scaling", 1, FOREIGN, Budget { upgrades: 1, crashes: 1, scales: 1, ..CALM });
    // Whatever does not serve goes first, so a slot of a lower number may be missing from then on.
    walks("scaling, gaps", 2, FOREIGN, Budget { crashes: 1, scales: 2, ..CALM });
    walks("scaling, gaps, death", 2, FOREIGN, Budget { crashes: 1, scales: 1, kills: 1, ..CALM });
    walks("scaling, gaps, in place", 2, FOREIGN, Budget { crashes: 1, scales: 1, reexecs: 1, ..CALM });
    if soak() {
        let gaps = Budget { crashes: 1, scales: 1, ..CALM };
        walks("scaling, gaps, upgrade", 2, OURS, Budget { upgrades: 1, ..gaps });
        walks("scaling, gaps, rolling", 2, ROLLING, Budget { upgrades: 1, ..gaps });
        walks("scaling, gaps, rollback", 2, FOREIGN, Budget { upgrades: 1, rollbacks: 1, ..gaps });
    }
}

#[test]
fn every_interleaving_of_two_slots_and_two_upgrades_keeps_the_invariants() {
    walks("calm", 2, FOREIGN, Budget { upgrades: 2, ..CALM });
    walks("crash", 2, FOREIGN, Budget { upgrades: 2, crashes: 1, ..CALM });
    walks("stop", 2, OURS, Budget { upgrades: 2, stops: 1, ..CALM });
    if soak() {
        walks("crash and stop", 2, OURS, Budget { upgrades: 2, crashes: 1, stops: 1, ..CALM });
        walks("crash and cancel", 2, FOREIGN, Budget { upgrades: 2, crashes: 1, cancels: 1, ..CALM });
        walks("lapse", 2, FOREIGN, Budget { upgrades: 2, lapses: 1, ..CALM });
    }
}

#[test]
fn every_interleaving_of_a_gated_candidate_keeps_the_invariants() {
    walks("gated", 1, GATED, Budget { upgrades: 1, failures: 1, crashes: 1, ..CALM });
    walks("gated lapses", 1, GATED, Budget { upgrades: 1, lapses: 1, cancels: 1, ..CALM });
}

#[test]
fn every_interleaving_of_workers_that_may_announce_themselves_keeps_the_invariants() {
    walks("announced", 1, ANNOUNCED, Budget { upgrades: 1, crashes: 1, stops: 1, ..CALM });
    walks("announced, lapse", 1, ANNOUNCED, Budget { upgrades: 1, lapses: 1, ..CALM });
    walks("announced, death", 1, ANNOUNCED, Budget { upgrades: 1, kills: 1, ..CALM });
    walks("announced, rolling", 2, Ways { announces: true, ..ROLLING }, Budget { upgrades: 1, ..CALM });
}

#[test]
fn a_worker_that_has_announced_itself_serves_when_it_says_so_and_any_other_at_once() {
    let mut world = World::new(2, ANNOUNCED, CALM);
    let id = |slot| WorkerId { generation: Generation(1), slot: Slot(slot), attempt: 0 };
    world.take(&Step::Prepared(true));
    world.take(&Step::Worker(id(0), WorkerEvent::Spawned { pid: 1 }));
    world.take(&Step::Worker(id(0), WorkerEvent::Executed));
    world.take(&Step::Worker(id(0), WorkerEvent::Announced));
    world.take(&Step::Worker(id(0), WorkerEvent::Ready));
    serves(&mut world, id(1));
    let states = |world: &World| {
        let runs = world.machine.runs().flat_map(Run::workers);
        runs.map(|worker| (worker.id.slot.0, worker.state.word(), worker.is_serving())).collect::<Vec<_>>()
    };
    assert_eq!(states(&world), [(0, "ready", false), (1, "serving", true)]);
    world.take(&Step::Worker(id(0), WorkerEvent::Accepting));
    assert_eq!(states(&world), [(0, "serving", true), (1, "serving", true)]);
    // From one that serves it is too late: it would wait for a word that has been said.
    let late = Event::Worker { worker: id(1), what: WorkerEvent::Announced };
    assert_eq!(world.machine.handle(world.now, late), []);
    assert!(world.machine.runs().flat_map(Run::workers).all(|worker| worker.announced == (worker.id == id(0))));
}

#[test]
fn every_interleaving_of_a_rolling_upgrade_keeps_the_invariants() {
    walks("rolling", 2, ROLLING, Budget { upgrades: 2, ..CALM });
    walks("rolling crash", 2, ROLLING, Budget { upgrades: 1, crashes: 1, ..CALM });
    walks("rolling failure", 2, ROLLING, Budget { upgrades: 1, failures: 1, cancels: 1, ..CALM });
    walks("rolling stop", 2, ROLLING, Budget { upgrades: 1, stops: 1, crashes: 1, ..CALM });
    walks("rolling unfit", 2, ROLLING, Budget { upgrades: 1, unfits: 1, ..CALM });
    if soak() {
        walks("rolling scale", 2, ROLLING, Budget { upgrades: 2, scales: 1, crashes: 1, ..CALM });
    }
}

#[test]
fn every_interleaving_of_workers_that_are_replaced_keeps_the_invariants() {
    walks("unfit", 2, FOREIGN, Budget { unfits: 2, crashes: 1, ..CALM });
    walks("hangs", 2, GATED, Budget { unfits: 1, crashes: 1, lapses: 1, ..CALM });
    walks("unfit and upgrade", 1, OURS, Budget { unfits: 1, upgrades: 1, crashes: 1, ..CALM });
    walks("unfit and scale", 2, FOREIGN, Budget { unfits: 1, scales: 1, crashes: 1, ..CALM });
    walks("unfit and stop", 2, FOREIGN, Budget { unfits: 1, stops: 1, failures: 1, ..CALM });
}

#[test]
fn every_interleaving_with_an_upgrade_of_the_master_in_place_keeps_the_invariants() {
    walks("in place", 2, OURS, Budget { upgrades: 1, reexecs: 1, ..CALM });
    walks("in place, crash", 1, OURS, Budget { upgrades: 1, reexecs: 1, crashes: 1, failures: 1, ..CALM });
    walks("in place, stop", 1, FOREIGN, Budget { reexecs: 2, crashes: 1, stops: 1, cancels: 1, ..CALM });
}

#[test]
fn every_interleaving_with_a_rollback_keeps_the_invariants() {
    walks("rollback", 1, FOREIGN, Budget { upgrades: 2, rollbacks: 2, ..CALM });
    walks(
        "rollback, trouble",
        1,
        OURS,
        Budget { upgrades: 1, rollbacks: 1, crashes: 1, failures: 1, cancels: 1, ..CALM },
    );
    walks("rollback, rolling", 2, ROLLING, Budget { upgrades: 1, rollbacks: 1, ..CALM });
}

#[test]
fn a_death_of_the_master_between_any_two_steps_keeps_the_invariants() {
    walks("death", 1, OURS, Budget { upgrades: 1, kills: 1, crashes: 1, ..CALM });
    walks("death of two slots", 2, FOREIGN, Budget { upgrades: 1, kills: 1, ..CALM });
    walks("death, gated", 1, GATED, Budget { upgrades: 1, kills: 1, failures: 1, ..CALM });
    walks("death, rolling", 2, ROLLING, Budget { upgrades: 1, kills: 1, ..CALM });
    walks("death, stop", 1, FOREIGN, Budget { upgrades: 1, kills: 1, stops: 1, ..CALM });
    walks(
        "death, in place and rollback",
        1,
        FOREIGN,
        Budget { upgrades: 1, kills: 1, reexecs: 1, rollbacks: 1, ..CALM },
    );
    walks("death, unfit", 2, FOREIGN, Budget { kills: 1, unfits: 1, ..CALM });
    if soak() {
        walks("two deaths", 1, OURS, Budget { upgrades: 2, kills: 2, crashes: 1, ..CALM });
        walks("two deaths, rolling", 2, ROLLING, Budget { upgrades: 1, kills: 2, ..CALM });
        walks("death, scale", 2, FOREIGN, Budget { upgrades: 1, kills: 1, scales: 1, crashes: 1, ..CALM });
    }
}

#[test]
fn every_interleaving_of_a_worker_that_a_stranger_ends_keeps_the_invariants() {
    walks("stranger", 2, FOREIGN, Budget { strangers: 2, crashes: 1, ..CALM });
    walks("stranger, upgrade", 1, OURS, Budget { strangers: 1, upgrades: 1, crashes: 1, ..CALM });
    walks("stranger, unfit", 2, FOREIGN, Budget { strangers: 1, unfits: 1, scales: 1, ..CALM });
    walks("stranger, rolling", 2, ROLLING, Budget { strangers: 1, upgrades: 1, ..CALM });
    walks("stranger, standby", 2, ROLLING, Budget { strangers: 1, upgrades: 1, cancels: 1, ..CALM });
    walks("stranger, death", 1, FOREIGN, Budget { strangers: 1, upgrades: 1, kills: 1, ..CALM });
    walks("stranger, pause, stop", 1, OURS, Budget { strangers: 1, pauses: 1, stops: 1, ..CALM });
    if soak() {
        let standby = Budget { strangers: 1, upgrades: 1, cancels: 1, ..CALM };
        walks("stranger, standby, crash", 2, ROLLING, Budget { crashes: 1, ..standby });
        walks("stranger, standby, death", 2, ROLLING, Budget { cancels: 0, kills: 1, ..standby });
        walks("stranger, standby, stop", 2, ROLLING, Budget { stops: 1, ..standby });
    }
}

#[test]
fn every_interleaving_of_a_worker_without_room_keeps_the_invariants() {
    walks("full, twice", 2, OURS, Budget { fulls: 2, upgrades: 1, crashes: 1, ..CALM });
    walks("full, crash", 2, FOREIGN, Budget { fulls: 2, crashes: 2, upgrades: 1, ..CALM });
    walks("full, rolling", 2, ROLLING, Budget { fulls: 1, upgrades: 1, crashes: 1, ..CALM });
    walks("full, stranger, scale", 2, FOREIGN, Budget { fulls: 1, strangers: 1, scales: 1, ..CALM });
    walks("full, death", 1, OURS, Budget { fulls: 1, upgrades: 1, kills: 1, ..CALM });
}

#[test]
fn every_interleaving_of_a_worker_whose_takers_do_not_take_keeps_the_invariants() {
    walks("silence", 2, OURS, Budget { silences: 2, upgrades: 2, ..CALM });
    walks("silence, stranger", 2, FOREIGN, Budget { silences: 1, strangers: 1, crashes: 1, ..CALM });
    walks("silence, standby", 2, ROLLING, Budget { silences: 1, upgrades: 1, cancels: 1, ..CALM });
    walks("silence, death", 1, OURS, Budget { silences: 1, upgrades: 1, kills: 1, ..CALM });
    walks("silence, stop", 1, OURS, Budget { silences: 1, upgrades: 1, stops: 1, ..CALM });
}

#[test]
fn a_worker_whose_taker_does_not_take_is_named_the_others() {
    let mut world = with_standby(CALM);
    let id = |generation, slot| WorkerId { generation: Generation(generation), slot: Slot(slot), attempt: 0 };
    let silent = Event::Worker { worker: id(1, 0), what: WorkerEvent::NoTaker };
    assert_eq!(world.machine.handle(world.now, silent), [Action::Worker(id(1, 0), WorkerAction::Redirect)]);
    assert_eq!(world.machine.takers(id(1, 0), |other| *other != id(2, 0)), [id(1, 1)]);
    // One that serves has not asked anybody to take its connections.
    let serving = Event::Worker { worker: id(1, 1), what: WorkerEvent::NoTaker };
    assert_eq!(world.machine.handle(world.now, serving), []);
}

#[test]
fn a_worker_without_room_gives_to_its_neighbours_that_serve() {
    let mut world = World::new(2, FOREIGN, Budget { fulls: 2, ..CALM });
    let id = |slot| WorkerId { generation: Generation(1), slot: Slot(slot), attempt: 0 };
    world.take(&Step::Prepared(true));
    for slot in [0, 1] {
        for what in [WorkerEvent::Spawned { pid: 1 }, WorkerEvent::Executed, WorkerEvent::Ready] {
            world.take(&Step::Worker(id(slot), what));
        }
    }
    world.take(&Step::Time);
    let ordered = world.machine.handle(world.now, Event::Worker { worker: id(0), what: WorkerEvent::Full });
    assert_eq!(ordered, [Action::Worker(id(0), WorkerAction::Relieve)]);
    assert_eq!(world.machine.relievers(id(0), |_| true), [id(1)]);
    // The other one has said that it has no room either.
    assert_eq!(world.machine.relievers(id(0), |other| *other != id(1)), []);
}

#[test]
fn a_pause_of_the_master_before_any_event_blames_nobody() {
    walks("pause", 1, OURS, Budget { upgrades: 1, pauses: 2, ..CALM });
    walks("pause, gated", 2, GATED, Budget { upgrades: 1, pauses: 1, ..CALM });
    walks("pause, rolling", 2, ROLLING, Budget { upgrades: 1, pauses: 1, ..CALM });
    walks("pause, scale", 1, FOREIGN, Budget { upgrades: 1, pauses: 1, scales: 1, ..CALM });
    walks("pause, trouble", 1, GATED, Budget { upgrades: 1, pauses: 1, crashes: 1, stops: 1, ..CALM });
    walks("pause, death", 1, OURS, Budget { upgrades: 1, pauses: 1, kills: 1, ..CALM });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if soak() { 20_000 } else { 400 }, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_sequences_keep_the_invariants(
        slots in 1..5u32,
        ways in any::<(bool, bool, bool, bool)>(),
        choices in proptest::collection::vec(any::<prop::sample::Index>(), 1..200),
    ) {
        let budget = Budget {
            upgrades: 6,
            crashes: 8,
            failures: 4,
            cancels: 3,
            scales: 3,
            stops: 2,
            lapses: 20,
            unfits: 5,
            rollbacks: 3,
            reexecs: 3,
            kills: 4,
            pauses: 6,
            strangers: 4,
            fulls: 4,
            silences: 4,
        };
        let ways = Ways { channel: ways.0, announces: ways.1, gated: ways.2, rolling: ways.3 };
        let mut world = World::new(slots, ways, budget);
        for choice in choices {
            let steps = world.steps();
            if steps.is_empty() {
                break;
            }
            world.take(&steps[choice.index(steps.len())].clone());
            world.check_snapshot();
        }
        world.settles();
    }
}

#[test]
fn a_restart_asked_for_five_times_makes_two_generations() {
    let mut world = World::new(1, FOREIGN, Budget { upgrades: 5, ..CALM });
    let calm = |world: &mut World| {
        while let Some(step) = world.steps().into_iter().find(|s| !matches!(s, Step::Restart)) {
            world.take(&step);
        }
    };
    calm(&mut world);
    for _ in 0..5 {
        world.take(&Step::Restart);
    }
    calm(&mut world);
    assert_eq!(world.machine.current().map(|run| run.id), Some(Generation(3)));
    assert_eq!(world.unanswered, []);
}

#[test]
fn a_crash_while_it_soaks_withdraws_the_candidate() {
    let mut world = World::new(1, FOREIGN, Budget { upgrades: 1, crashes: 1, ..CALM });
    let id = |generation| WorkerId { generation: Generation(generation), slot: Slot(0), attempt: 0 };
    let start = |world: &mut World, generation| {
        world.take(&Step::Prepared(true));
        for what in [WorkerEvent::Spawned { pid: 1 }, WorkerEvent::Executed, WorkerEvent::Ready] {
            world.take(&Step::Worker(id(generation), what));
        }
    };
    start(&mut world, 1);
    world.take(&Step::Time);
    world.take(&Step::Restart);
    start(&mut world, 2);
    assert!(matches!(world.machine.fleet, Fleet::Upgrading { .. }));
    world.take(&Step::Worker(id(2), WorkerEvent::Exited { exit: Exit::Code(3), jitter: 0 }));
    assert_eq!(world.machine.current().map(|run| run.id), Some(Generation(1)));
    assert_eq!(world.machine.current().map(Run::serving), Some(1));
    let failure = world.machine.history.iter().next_back().and_then(|r| r.failure.clone()).unwrap();
    assert_eq!(failure.to_string(), "slot 0 (pid 1) exited with status 3 after 0.00 s");
}

#[test]
fn a_soak_is_over_only_when_everything_was_read() {
    let mut world = World::new(1, FOREIGN, Budget { upgrades: 1, ..CALM });
    let id = |generation| WorkerId { generation: Generation(generation), slot: Slot(0), attempt: 0 };
    for generation in [1, 2] {
        world.take(&Step::Prepared(true));
        for what in [WorkerEvent::Spawned { pid: 1 }, WorkerEvent::Executed, WorkerEvent::Ready] {
            world.take(&Step::Worker(id(generation), what));
        }
        if generation == 1 {
            world.take(&Step::Time);
            world.take(&Step::Restart);
        }
    }
    let late = world.now + std::time::Duration::from_secs(60);
    let mut hear = |worker, what| drop(world.machine.handle(late, Event::Worker { worker, what }));
    hear(id(1), WorkerEvent::Alive);
    hear(id(2), WorkerEvent::Exited { exit: Exit::Code(3), jitter: 0 });
    assert_eq!(world.machine.current().map(|run| run.id), Some(Generation(1)));
}

#[test]
fn fewer_workers_are_those_that_serve() {
    let mut world = World::new(2, FOREIGN, Budget { crashes: 2, scales: 2, ..CALM });
    let id = |slot, attempt| WorkerId { generation: Generation(1), slot: Slot(slot), attempt };
    let start = |world: &mut World, id| {
        for what in [WorkerEvent::Spawned { pid: 1 }, WorkerEvent::Executed, WorkerEvent::Ready] {
            world.take(&Step::Worker(id, what));
        }
    };
    let slots =
        |world: &World| world.machine.current().map(|run| run.slots.iter().map(|s| s.slot.0).collect::<Vec<_>>());
    world.take(&Step::Prepared(true));
    start(&mut world, id(0, 0));
    start(&mut world, id(1, 0));
    world.take(&Step::Time);
    let crashed = WorkerEvent::Exited { exit: Exit::Code(3), jitter: 0 };
    world.take(&Step::Worker(id(0, 0), crashed.clone()));
    world.take(&Step::Worker(id(0, 1), WorkerEvent::Spawned { pid: 1 }));
    world.take(&Step::Worker(id(0, 1), crashed));
    // Slot 0 waits for its next try.
    world.take(&Step::Scale(1));
    assert_eq!((slots(&world), world.unanswered.len()), (Some(vec![1]), 0));
    assert_eq!(world.machine.current().map(Run::serving), Some(1));
    // The lowest free number comes back.
    world.take(&Step::Scale(2));
    assert_eq!(slots(&world), Some(vec![0, 1]));
    world.settles();
}

/// A generation of two slots, and a second one that stands by in slot 0: its upgrade was called off half-way.
fn with_standby(budget: Budget) -> World {
    let mut world = World::new(2, ROLLING, Budget { upgrades: 1, cancels: 1, ..budget });
    let id = |generation, slot| WorkerId { generation: Generation(generation), slot: Slot(slot), attempt: 0 };
    world.take(&Step::Prepared(true));
    serves(&mut world, id(1, 0));
    serves(&mut world, id(1, 1));
    world.take(&Step::Time);
    world.take(&Step::Restart);
    world.take(&Step::Prepared(true));
    serves(&mut world, id(2, 0));
    // It has soaked, and the old one's slot 0 drains.
    world.take(&Step::Time);
    world.take(&Step::Cancel);
    assert_eq!(world.machine.leaving.iter().map(|run| run.stage).collect::<Vec<_>>(), [Stage::Standby]);
    world
}

/// A worker without a channel or a gate that was ordered comes to serve.
fn serves(world: &mut World, id: WorkerId) {
    for what in [WorkerEvent::Spawned { pid: 1 }, WorkerEvent::Executed, WorkerEvent::Ready] {
        world.take(&Step::Worker(id, what));
    }
}

#[test]
fn a_generation_that_stands_by_takes_connections() {
    let world = with_standby(CALM);
    let id = |generation| WorkerId { generation: Generation(generation), slot: Slot(0), attempt: 0 };
    assert_eq!(world.machine.takers(id(1), |_| true), [id(2)]);
    world.settles();
}

#[test]
fn a_worker_that_a_stranger_ends_in_a_generation_that_stands_by_is_replaced_at_once() {
    let mut world = with_standby(Budget { strangers: 1, ..CALM });
    let id = |attempt| WorkerId { generation: Generation(2), slot: Slot(0), attempt };
    world.take(&Step::Worker(id(0), WorkerEvent::Stopping));
    let states = world.machine.leaving[0].workers().filter(|w| w.id.slot == Slot(0)).map(|w| (w.id, w.state.word()));
    assert_eq!(states.collect::<Vec<_>>(), [(id(1), "spawning"), (id(0), "draining")]);
    serves(&mut world, id(1));
    assert_eq!(world.machine.leaving[0].serving(), 1);
    assert_eq!(world.machine.takers(id(0), |_| true), [id(1)]);
    world.settles();
}

#[test]
fn a_worker_that_a_stranger_ends_is_replaced_at_once() {
    let mut world = World::new(1, FOREIGN, Budget { strangers: 1, ..CALM });
    let id = |attempt| WorkerId { generation: Generation(1), slot: Slot(0), attempt };
    world.take(&Step::Prepared(true));
    for what in [WorkerEvent::Spawned { pid: 1 }, WorkerEvent::Executed, WorkerEvent::Ready] {
        world.take(&Step::Worker(id(0), what));
    }
    world.take(&Step::Time);
    world.take(&Step::Worker(id(0), WorkerEvent::Stopping));
    let run = world.machine.current().unwrap();
    let states: Vec<_> = run.workers().map(|worker| (worker.id, worker.state.word())).collect();
    assert_eq!(states, [(id(1), "spawning"), (id(0), "draining")]);
    assert!(run.is_degraded());
    for what in [WorkerEvent::Spawned { pid: 2 }, WorkerEvent::Executed, WorkerEvent::Ready] {
        world.take(&Step::Worker(id(1), what));
    }
    assert_eq!(world.machine.takers(id(0), |_| true), [id(1)]);
    world.settles();
}

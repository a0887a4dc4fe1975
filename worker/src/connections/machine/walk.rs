//! All orders in which things can happen to one connection between a worker that drains, or shares its load, and two that take, with the invariants
//! checked after each step.
//!
//! The world here is what client, kernel and workers could do at most: bytes come or the client leaves, a protocol reads, answers or
//! pauses, packets are sent, received and answered, takers come, refuse, fall silent or die, the giver dies or is cut, and time passes
//! to the next deadline. The states are the machine's; who calls it when is as in the hub, parking, giver and taker.

mod actions;
mod fingerprint;
mod invariants;
mod keys;
mod sharing;
mod world;

use std::collections::HashSet;

use world::{Budget, CALM, Step, World};

/// Looks at every state that can be reached. Returns how many there were.
fn walk(start: World) -> usize {
    start.check();
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        for step in world.steps() {
            let mut next = world.clone();
            next.take(&step);
            if seen.insert(next.fingerprint()) {
                if seen.len() % 32 == 0 {
                    next.clone().settles();
                }
                open.push(next);
            }
        }
    }
    seen.len()
}

/// Walks, and holds the number of states against the one that is known: a walk must not shrink unseen.
fn walks(name: &str, is_session: bool, budget: Budget, known: usize) {
    let states = walk(World::new(is_session, budget));
    println!("{name}: {states} states");
    assert!(states >= known, "{name}: {states} states, and there were {known}");
}

/// The same for a connection over TLS.
fn walks_keyed(name: &str, is_session: bool, budget: Budget, known: usize) {
    let states = walk(World::keyed(is_session, budget));
    println!("{name}, keyed: {states} states");
    assert!(states >= known, "{name}, keyed: {states} states, and there were {known}");
}

#[test]
fn every_order_of_a_connection_that_is_parked_woken_and_closed_keeps_the_invariants() {
    walks("alone", false, Budget { requests: 2, departures: 1, ..CALM }, 574);
    walks("cut", false, Budget { requests: 2, departures: 1, cuts: 1, ..CALM }, 638);
}

#[test]
fn every_order_of_a_handover_keeps_the_invariants() {
    walks("one taker", false, Budget { requests: 1, takers: 1, ..CALM }, 992);
    walks("two takers", false, Budget { takers: 2, ..CALM }, 464);
    walks("refusal", false, Budget { requests: 1, takers: 1, refusals: 1, ..CALM }, 2672);
    walks("departure", false, Budget { requests: 1, takers: 1, departures: 1, ..CALM }, 2329);
    walks("refusals", false, Budget { requests: 2, takers: 2, refusals: 2, ..CALM }, 23_953);
    walks("taker drains", false, Budget { requests: 1, takers: 2, drains: 1, ..CALM }, 40_854);
}

#[test]
fn every_order_of_a_handover_of_a_session_keeps_the_invariants() {
    walks("session", true, Budget { requests: 1, takers: 2, ..CALM }, 1166);
    walks("session, death", true, Budget { takers: 2, deaths: 1, ..CALM }, 2509);
    walks("session, trouble", true, Budget { requests: 1, takers: 2, deaths: 1, refusals: 1, ..CALM }, 65_141);
}

#[test]
fn a_death_of_either_side_between_any_two_steps_keeps_the_invariants() {
    walks("death", false, Budget { requests: 1, takers: 1, deaths: 1, ..CALM }, 9008);
    walks("death and successor", false, Budget { takers: 2, deaths: 1, ..CALM }, 4713);
    walks("both die", false, Budget { takers: 1, deaths: 2, ..CALM }, 3709);
    walks("two deaths", false, Budget { requests: 1, takers: 2, deaths: 2, ..CALM }, 88_376);
    walks("death and refusal", false, Budget { requests: 1, takers: 2, deaths: 1, refusals: 1, ..CALM }, 67_056);
}

#[test]
fn a_cut_or_a_silence_between_any_two_steps_keeps_the_invariants() {
    walks("silence", false, Budget { requests: 1, takers: 1, silences: 1, ..CALM }, 5246);
    walks("silence and death", false, Budget { takers: 1, silences: 1, deaths: 1, ..CALM }, 2689);
    walks("cut and death", false, Budget { takers: 1, cuts: 1, deaths: 1, ..CALM }, 2043);
    walks("silences", false, Budget { requests: 1, takers: 2, silences: 2, ..CALM }, 29_150);
    walks("cut and silence", false, Budget { requests: 1, takers: 2, silences: 1, cuts: 1, ..CALM }, 18_604);
}

#[test]
fn every_order_of_a_handover_that_makes_room_keeps_the_invariants() {
    walks("room", false, Budget { requests: 1, reliefs: 1, ..CALM }, 150);
    walks("room, trouble", false, Budget { requests: 1, departures: 1, reliefs: 1, refusals: 1, ..CALM }, 150);
    walks("room, death", false, Budget { requests: 1, reliefs: 1, deaths: 1, ..CALM }, 150);
    walks("room, silence and death", false, Budget { reliefs: 1, silences: 1, deaths: 1, ..CALM }, 150);
    walks("room, then a drain", false, Budget { reliefs: 1, takers: 1, refusals: 1, deaths: 1, ..CALM }, 150);
    walks("room, cut", false, Budget { requests: 1, reliefs: 1, cuts: 1, ..CALM }, 150);
}

#[test]
fn no_two_workers_could_write_under_one_key_whatever_becomes_of_a_handover() {
    let one = Budget { requests: 1, takers: 1, ..CALM };
    walks_keyed("calm", false, one, 1515);
    walks_keyed("refusal", false, Budget { refusals: 1, ..one }, 3927);
    walks_keyed("death", false, Budget { deaths: 1, ..one }, 14_043);
    walks_keyed("silence and death", false, Budget { silences: 1, deaths: 1, ..one }, 29_791);
    walks_keyed("two takers, silence", false, Budget { takers: 2, silences: 1, ..one }, 23_313);
    walks_keyed("cut and death", false, Budget { cuts: 1, deaths: 1, ..one }, 17_301);
    walks_keyed("half a record", false, Budget { halves: 2, ..one }, 2625);
    walks_keyed("room, silence and death", false, Budget { reliefs: 1, silences: 1, deaths: 1, ..CALM }, 1515);
    walks_keyed("session, death", true, Budget { takers: 2, deaths: 1, ..CALM }, 2591);
}

#[test]
fn no_two_workers_could_write_under_one_key_in_doubt() {
    let one = Budget { requests: 1, takers: 1, garbles: 1, ..CALM };
    walks_keyed("garbled", false, one, 2883);
    walks_keyed("garbled and death", false, Budget { deaths: 1, ..one }, 18_543);
    walks_keyed("garbled, then another taker", false, Budget { takers: 2, ..one }, 7825);
    walks_keyed("garbled session", true, Budget { requests: 0, deaths: 1, ..one }, 1175);
    walks_keyed("garbled, for room", false, Budget { takers: 0, reliefs: 1, deaths: 1, ..one }, 8463);
    // Without keys a connection in doubt is restored, and has no worse than two owners.
    walks("garbled", false, one, 6210);
    walks("garbled and death", false, Budget { deaths: 1, ..one }, 23_826);
}

#[test]
fn no_two_workers_could_write_under_one_key_when_one_is_stopped() {
    let one = Budget { requests: 1, takers: 1, stops: 1, ..CALM };
    walks_keyed("stop", false, one, 23_928);
    walks_keyed("stop and death", false, Budget { requests: 0, deaths: 1, ..one }, 11_046);
    walks_keyed("stop, garbled", false, Budget { requests: 0, garbles: 1, ..one }, 2773);
    walks_keyed("stop, two takers", false, Budget { requests: 0, takers: 2, ..one }, 8155);
    walks("stop", false, one, 16_996);
}

#[test]
fn a_connection_that_makes_room_is_with_the_taker_and_the_giver_serves_on() {
    let mut world = World::new(false, Budget { requests: 1, reliefs: 1, ..CALM });
    world.take(&Step::Time);
    for step in [Step::Alarm(0), Step::Relieves(1), Step::Sends(1), Step::Receives(1), Step::Commits(1)] {
        world.take(&step);
    }
    for step in [Step::GiverHears(1), Step::Request, Step::Wakes(1)] {
        world.take(&step);
    }
    assert_eq!((world.owner(), world.workers[0].drain), (Some(1), super::Drain::No));
    world.settles();
}

#[test]
fn a_connection_offered_to_a_silent_taker_is_in_doubt_and_then_goes_to_the_next_one() {
    let mut world = World::new(false, Budget { requests: 1, takers: 2, silences: 1, ..CALM });
    world.take(&Step::Time);
    for step in [Step::Alarm(0), Step::Drains(0), Step::TakerComes(1), Step::Hears(0), Step::Sends(1)] {
        world.take(&step);
    }
    world.take(&Step::TakerComes(2));
    assert!(!world.steps().contains(&Step::Sends(2)), "it may be the first one's");
    for step in [Step::Hears(0), Step::Time, Step::Alarm(0), Step::Sends(2), Step::Receives(2), Step::Commits(2)] {
        world.take(&step);
    }
    for step in [Step::GiverHears(2), Step::Request, Step::Wakes(2)] {
        world.take(&step);
    }
    assert_eq!(world.owner(), Some(2));
    // The first one wakes up, and finds that it comes too late.
    for step in [Step::Receives(1), Step::Commits(1)] {
        world.take(&step);
    }
    assert_eq!(world.owner(), Some(2));
    world.settles();
}

#[test]
fn a_calm_handover_ends_at_the_taker() {
    let mut world = World::new(false, Budget { requests: 1, takers: 1, ..CALM });
    for step in [Step::Alarm(0), Step::Drains(0), Step::TakerComes(1), Step::Hears(0), Step::Sends(1)] {
        if step == Step::Alarm(0) {
            world.take(&Step::Time);
        }
        world.take(&step);
    }
    for step in [Step::Receives(1), Step::Commits(1), Step::GiverHears(1), Step::Request, Step::Wakes(1)] {
        world.take(&step);
    }
    assert_eq!(world.owner(), Some(1));
    world.settles();
}

//! Single steps of the machine, and its deadlines.

use std::time::{Duration, Instant};

use gin_shared::handover::{BYTES_MAX, Doing};

use super::*;

#[test]
fn a_hold_ends_by_an_answered_request_or_by_time() {
    let now = Instant::now();
    let hold = HandoverHold::Since(now);
    assert!(!hold.is_over(false, now) && hold.is_over(true, now) && hold.is_over(false, now + HOLD));
    assert!(HandoverHold::None.is_over(false, now) && !HandoverHold::Always.is_over(true, now + HOLD));
    let later = now + Duration::from_secs(1);
    assert_eq!(hold.next_look(later, now), now + HOLD);
    assert_eq!(hold.next_look(later, now + HOLD), later);
    assert_eq!(HandoverHold::None.next_look(later, now), later);
}

#[test]
fn a_session_that_does_not_fit_into_a_packet_stays() {
    let now = Instant::now();
    assert_eq!(HandoverHold::of_session(BYTES_MAX, 0, now), HandoverHold::None);
    assert_eq!(HandoverHold::of_session(BYTES_MAX, 1, now), HandoverHold::Since(now));
    assert_eq!(HandoverHold::of_session(BYTES_MAX + 1, 0, now), HandoverHold::Always);
}

#[test]
fn the_deadline_of_a_parked_connection_is_the_earliest_that_counts() {
    let (since, timeouts) = (Instant::now(), Timeouts::default());
    let until = |doing, grace_from| parked_until(doing, since, &timeouts, grace_from);
    assert_eq!(until(Doing::Fresh, None), since + timeouts.read);
    assert_eq!(until(Doing::Idle, None), since + timeouts.idle);
    let drained = since + Duration::from_secs(10);
    assert_eq!(until(Doing::Idle, Some(drained)), drained + timeouts.idle_grace);
    // A connection that became idle in the drain has its grace from then on.
    assert_eq!(until(Doing::Idle, since.checked_sub(Duration::from_secs(10))), since + timeouts.idle_grace);
    assert_eq!(until(Doing::Fresh, Some(since + Duration::from_secs(40))), since + timeouts.read);
}

/// Each drain, with and without takers, and with and without a share for others.
fn all_surroundings() -> impl Iterator<Item = Surroundings> {
    let drains = [Drain::No, Drain::Draining, Drain::Cut].into_iter();
    let flags = [(false, false), (true, false), (false, true), (true, true)];
    drains.flat_map(move |drain| flags.map(|(has_takers, shares)| Surroundings { drain, has_takers, shares }))
}

#[test]
fn a_worker_without_room_or_with_too_many_gives_away_what_is_parked_unless_it_drains() {
    let now = Instant::now();
    for event in [WorkerEvent::NoRoom, WorkerEvent::Uneven] {
        let after = |state: State, drain| {
            let around = Surroundings { drain, has_takers: false, shares: false };
            state.after(now, Event::Worker(event), around)
        };
        assert_eq!(after(State::Parked, Drain::No), State::Queued);
        assert_eq!(after(State::Parked, Drain::Draining), State::Parked);
        let active = State::Active(HandoverHold::None);
        for state in [active, State::Resting, State::Queued, State::Offered, State::Received, State::Closing] {
            assert_eq!(after(state, Drain::No), state);
        }
    }
}

#[test]
fn a_connection_leaves_at_a_pause_for_takers_in_a_drain_and_for_a_share_without_one() {
    let now = Instant::now();
    let paused = Event::Protocol(ProtocolEvent::Paused { served: false });
    for around in all_surroundings() {
        let leaves = State::Active(HandoverHold::None).after(now, paused, around) == State::Resting;
        let expected = if around.drain == Drain::No { around.shares } else { around.has_takers };
        assert_eq!(leaves, expected, "{around:?}");
        assert_ne!(State::Active(HandoverHold::Always).after(now, paused, around), State::Resting);
    }
}

#[test]
fn a_connection_that_cannot_be_taken_apart_is_held_and_tried_again() {
    let now = Instant::now();
    let around = Surroundings { drain: Drain::Draining, has_takers: true, shares: false };
    let stuck = State::Active(HandoverHold::None).after(now, Event::Protocol(ProtocolEvent::Stuck), around);
    assert_eq!(stuck, State::Active(HandoverHold::Since(now)));
    let paused = Event::Protocol(ProtocolEvent::Paused { served: false });
    assert_eq!(stuck.after(now, paused, around), stuck);
    assert_eq!(stuck.after(now + HOLD, paused, around), State::Resting);
}

#[test]
fn a_connection_that_no_taker_knows_is_served_here_and_one_in_doubt_by_nobody() {
    let (now, around) = (Instant::now(), Surroundings { drain: Drain::Draining, has_takers: true, shares: false });
    let after = |state: State, event| state.after(now, Event::Giver(event), around);
    assert_eq!(after(State::Queued, GiverEvent::Unfit), State::Active(HandoverHold::Always));
    assert_eq!(after(State::Offered, GiverEvent::TakerLost { in_doubt: false }), State::Queued);
    assert_eq!(after(State::Offered, GiverEvent::TakerLost { in_doubt: true }), State::Closed);
    for in_doubt in [false, true] {
        assert_eq!(after(State::Queued, GiverEvent::TakerLost { in_doubt }), State::Queued);
    }
}

/// Follows a connection through the hub when nothing that the hub tries works out.
fn through_the_hub(idle: Idle, around: Surroundings, now: Instant) -> Vec<State> {
    let (mut event, mut states) = (HubEvent::Arrived, Vec::new());
    loop {
        let state = State::Resting.after(now, Event::Hub(event, idle), around);
        states.push(state);
        event = match state {
            State::Queued => HubEvent::QueueClosed,
            State::Parked => HubEvent::CannotPark,
            State::Accepted(_) | State::Active(_) | State::Resting | State::Offered | State::Received => return states,
            State::HandedOver | State::Closing | State::Closed => return states,
        };
        assert!(states.len() < 4, "the hub comes to no decision: {states:?}");
    }
}

#[test]
fn the_hub_tries_takers_then_parking_and_serves_what_neither_takes() {
    let now = Instant::now();
    let holds = [HandoverHold::None, HandoverHold::Since(now), HandoverHold::Always];
    for (hold, has_read_ahead, is_session) in
        holds.into_iter().flat_map(|hold| [(hold, false, false), (hold, true, false), (hold, false, true)])
    {
        let idle = Idle { hold, has_read_ahead, is_session };
        for around in all_surroundings() {
            let Surroundings { drain, has_takers, shares } = around;
            let mut expected = Vec::new();
            if drain == Drain::Cut {
                expected.push(State::Closed);
            } else {
                let others_take = if drain == Drain::No { shares } else { has_takers };
                expected.extend((others_take && hold == HandoverHold::None).then_some(State::Queued));
                expected.extend((!has_read_ahead && !is_session).then_some(State::Parked));
                // Its hold goes with it, or it would be queued again at its next pause.
                expected.push(State::Active(hold));
            }
            assert_eq!(through_the_hub(idle, around, now), expected, "{idle:?} {around:?}");
        }
    }
}

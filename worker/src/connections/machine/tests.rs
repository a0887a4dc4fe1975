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

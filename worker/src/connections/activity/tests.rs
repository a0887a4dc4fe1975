use futures_util::FutureExt;

use super::*;

#[test]
fn a_connection_is_idle_only_between_requests() {
    let (activity, bounds) = (Activity::resume(&Progress::fresh()), Bounds::default());
    let after = |ms| Instant::now() + Duration::from_millis(ms);
    assert_eq!(activity.due(after(150), &bounds, None), Due::Park);
    activity.read();
    assert_eq!(activity.idle().map(|idle| idle.doing), Some(handover::Doing::Head));
    activity.begin();
    assert_eq!(activity.idle(), None);
    assert!(matches!(activity.due(after(3_000_000), &bounds, None), Due::Wait(_)));
    activity.wrote(&Poll::Pending);
    activity.end();
    assert_eq!(activity.idle(), None, "its last bytes are not written");
    activity.wrote(&Poll::Ready(Ok(1)));
    assert_eq!(activity.idle().map(|idle| (idle.doing, idle.requests)), Some((handover::Doing::Idle, 1)));
    assert!(matches!(activity.due(after(50), &bounds, None), Due::Wait(_)));
    assert_eq!(activity.due(after(150), &bounds, None), Due::Park);
}

#[test]
fn an_answer_counts_once_it_has_ended() {
    let activity = Activity::resume(&Progress { requests: 7, ..Progress::fresh() });
    assert_eq!(activity.answered(), (7, 0));
    activity.begin();
    activity.begin();
    assert_eq!(activity.answered(), (7, 2));
    activity.end();
    assert_eq!(activity.answered(), (8, 1));
    activity.end();
    assert_eq!(activity.answered(), (9, 0));
}

#[test]
fn what_was_not_read_of_a_request_is_not_taken_for_the_next_one() {
    let (activity, bounds) = (Activity::resume(&Progress::fresh()), Bounds::default());
    let first = activity.begin();
    activity.reading(first);
    activity.end();
    let after = |s| Instant::now() + Duration::from_secs(s);
    // Somebody reads on behind the answer.
    activity.read();
    assert_eq!(activity.idle(), None);
    assert!(matches!(activity.due(after(3000), &bounds, Some(Instant::now())), Due::Wait(_)));
    assert!(!activity.is_unread());
    activity.left_unread(first);
    assert!(activity.is_unread() && activity.idle().is_none());
    assert!(matches!(activity.due(after(4), &bounds, Some(Instant::now())), Due::Wait(_)));
    assert_eq!(activity.due(after(6), &bounds, Some(Instant::now())), Due::CloseIdle);
    activity.passed_over();
    assert!(activity.idle().is_some());
    let second = activity.begin();
    activity.reading(second);
    // Whoever reads an earlier one's body late does not speak for this one.
    activity.has_read(first);
    activity.left_unread(first);
    activity.end();
    assert!(activity.idle().is_none() && !activity.is_unread());
    activity.has_read(second);
    assert!(activity.idle().is_some());
    activity.closing();
    assert_eq!(activity.idle(), None);
}

#[test]
fn a_head_that_does_not_end_is_dropped_and_a_slow_handler_is_not() {
    let (activity, bounds, now) = (Activity::resume(&Progress::fresh()), Bounds::default(), Instant::now());
    activity.read();
    let later = now + Duration::from_secs(31);
    assert!(matches!(activity.due(later, &bounds, None), Due::Abort(_)));
    activity.begin();
    assert!(matches!(activity.due(later, &bounds, Some(now)), Due::Wait(_)));
    activity.wrote(&Poll::Pending);
    assert!(matches!(activity.due(later + Duration::from_secs(1), &bounds, None), Due::Abort(_)));
}

#[test]
fn a_connection_whose_stream_holds_bytes_back_is_not_idle() {
    let activity = Activity::resume(&Progress::fresh());
    activity.begin();
    activity.wrote(&Poll::Ready(Ok(7)));
    activity.end();
    // The stream has accepted them, and its flush waits.
    activity.wrote(&Poll::Pending);
    assert!(activity.idle().is_none() && activity.stalled_since().is_some());
    activity.flushed();
    assert!(activity.idle().is_some() && activity.stalled_since().is_none());
}

#[test]
fn a_connection_of_http2_can_be_taken_out_when_no_frame_is_on_its_way() {
    let activity = Activity::resume(&Progress::fresh());
    activity.speak_http2();
    activity.read();
    assert_eq!(activity.idle(), None);
    activity.set_quiet(true);
    activity.read();
    assert_eq!(activity.idle().map(|idle| idle.doing), Some(handover::Doing::Idle));
    activity.begin();
    assert_eq!(activity.idle(), None);
    activity.end();
    activity.set_quiet(false);
    assert_eq!(activity.idle(), None);
}

#[test]
fn connections_that_are_dear_to_wake_are_parked_later_and_closed_at_their_time() {
    let (bounds, now) = (Bounds::default(), Instant::now());
    let after = |activity: &Activity, ms| activity.due(now + Duration::from_millis(ms), &bounds, None);
    let cleartext = Activity::resume(&Progress { doing: handover::Doing::Idle, since: now, requests: 1 });
    assert_eq!(after(&cleartext, 150), Due::Park);
    let tls = Activity::resume(&Progress { doing: handover::Doing::Idle, since: now, requests: 1 });
    tls.speak_tls();
    assert_eq!(after(&tls, 150), Due::Wait(now + Duration::from_secs(1)));
    assert_eq!(after(&tls, 1001), Due::Park);
    // A connection of HTTP/2 that is taken up again is idle for as long as it was.
    let http2 = Activity::resume(&Progress { doing: handover::Doing::Head, since: now, requests: 1 });
    http2.resume_http2();
    assert_eq!(after(&http2, 150), Due::Wait(now + Duration::from_secs(1)));
    assert_eq!(after(&http2, 1001), Due::Park);
    // It does not rest.
    assert_eq!(after(&http2, 60_000), Due::CloseIdle);
    assert_eq!(http2.idle(), None);
    http2.set_quiet(true);
    assert_eq!(http2.idle(), Some(Progress { doing: handover::Doing::Idle, since: now, requests: 1 }));
}

#[test]
fn the_rest_of_a_busy_connection_is_told_once_and_behind_its_last_bytes() {
    let activity = Activity::resume(&Progress::fresh());
    let is_told = || activity.rested().now_or_never().is_some();
    assert!(!activity.awaits_rest());
    activity.begin();
    activity.end();
    assert!(!is_told(), "nobody has asked");
    activity.begin();
    assert!(activity.awaits_rest() && !is_told());
    activity.wrote(&Poll::Pending);
    activity.end();
    assert!(!is_told(), "its last bytes are not written");
    activity.wrote(&Poll::Ready(Ok(1)));
    assert!(is_told() && !is_told());
    // Bytes that the stream holds back, behind an answer that has ended.
    activity.wrote(&Poll::Pending);
    assert!(activity.awaits_rest());
    activity.flushed();
    assert!(is_told() && !activity.awaits_rest());
}

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use axum::extract::Request;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::*;

/// Longer than any poll of a test.
const NEVER: Duration = Duration::from_secs(3600);

fn get(route: &'static str) -> What {
    What::Request { method: Method::GET, route, id: RequestId::given_or_new(&Request::default()) }
}

/// Takes longer than nothing.
fn busy() {
    let began = Instant::now();
    while began.elapsed().is_zero() {}
}

fn breaks() {
    busy();
    panic!("as told")
}

fn names(requests: &Requests) -> Vec<String> {
    requests.alive().iter().map(|alive| alive.what.to_string()).collect()
}

#[test]
fn the_alive_are_told_from_the_oldest_on_until_they_go() {
    let requests = Requests::new(NEVER);
    let first = requests.enter(get("/first"));
    let second = std::thread::scope(|scope| scope.spawn(|| requests.enter(get("/second"))).join().unwrap());
    let task = requests.enter(What::Task { name: Arc::from("mailer") });
    assert_eq!(names(requests), ["GET /first", "GET /second", "task mailer"]);
    assert_eq!(requests.count(), 3);
    drop(first);
    assert_eq!(names(requests), ["GET /second", "task mailer"]);
    drop((second, task));
    assert!(requests.alive().is_empty());
}

#[test]
fn a_poll_blocks_its_thread_if_it_is_longer_than_it_may_be() {
    let patient = Requests::new(NEVER);
    patient.enter(get("/")).within(busy);
    assert_eq!(patient.blocked(), []);
    let strict = Requests::new(Duration::ZERO);
    let (one, other) = (strict.enter(get("/")), strict.enter(get("/")));
    one.within(busy);
    other.within(busy);
    one.within(busy);
    let all = strict.blocked();
    let [blocked] = &*all else { panic!("one route") };
    assert_eq!((&*blocked.name, blocked.count), ("GET /", 3));
    assert!(blocked.longest > Duration::ZERO && blocked.longest < blocked.total);
    assert_eq!((one.alive.polls(), other.alive.polls()), (2, 1));
}

#[test]
fn a_poll_that_goes_on_is_told_and_counts_once_when_it_ends() {
    let requests = Requests::new(Duration::ZERO);
    let watch = requests.enter(get("/hangs"));
    assert!(watch.alive.polled_for().is_none());
    watch.within(|| {
        busy();
        assert!(requests.alive()[0].polled_for().is_some());
        assert_eq!(requests.blocked()[0].count, 1);
    });
    assert!(watch.alive.polled_for().is_none());
    assert_eq!(requests.blocked()[0].count, 1);
}

#[test]
fn a_poll_that_panics_has_ended() {
    let requests = Requests::new(Duration::ZERO);
    let watch = requests.enter(get("/panics"));
    let outcome = catch_unwind(AssertUnwindSafe(|| watch.within(breaks)));
    assert!(outcome.is_err() && watch.alive.polled_for().is_none() && wait_for(1).is_none());
    assert_eq!(requests.blocked()[0].count, 1);
}

#[test]
fn a_request_waits_until_its_last_guard_is_dropped_wherever_that_is() {
    let requests = Requests::new(NEVER);
    let (outer, inner) = (requests.enter(get("/outer")), requests.enter(get("/inner")));
    assert!(wait_for(1).is_none(), "nothing is polled");
    let (query, redis) = outer.within(|| {
        // A router in a router.
        drop(inner.within(|| wait_for(2)));
        (wait_for(3), wait_for(4))
    });
    let waits = |watch: &Watch| (0..8).filter(|kind| watch.alive.waits_for(*kind)).collect::<Vec<_>>();
    assert_eq!((waits(&outer), waits(&inner)), (vec![3, 4], vec![]));
    std::thread::scope(|scope| scope.spawn(move || drop(query)).join().unwrap());
    assert_eq!(waits(&outer), [4]);
    drop(redis);
    assert_eq!(waits(&outer), [0_u8; 0]);
}

#[test]
fn hundreds_of_waits_of_a_kind_are_none_of_another() {
    let requests = Requests::new(NEVER);
    let watch = requests.enter(get("/many"));
    let waits = || (0..KINDS as u8).filter(|kind| watch.alive.waits_for(*kind)).collect::<Vec<_>>();
    for kind in 0..KINDS as u8 {
        let mut many: Vec<_> = watch.within(|| (0..600).map(|_| wait_for(kind)).collect());
        assert_eq!(waits(), [kind]);
        // 256 of them are left, and then one.
        many.truncate(256);
        assert_eq!(waits(), [kind]);
        many.truncate(1);
        assert_eq!(waits(), [kind]);
        drop(many);
        assert_eq!(waits(), [0_u8; 0]);
    }
}

#[test]
fn a_body_is_waited_for_while_it_gives_nothing() {
    let requests = Requests::new(NEVER);
    let watch = requests.enter(get("/upload"));
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"one"))]);
    let body = Body::from_stream(first.chain(stream::pending()));
    let mut pieces = pin!(watch.body(body, 1).into_data_stream());
    assert_eq!(pieces.next().now_or_never().unwrap().unwrap().unwrap(), "one");
    assert!(!watch.alive.waits_for(1));
    assert!(pieces.next().now_or_never().is_none() && watch.alive.waits_for(1));
    let short = watch.body(Body::from("short"), 1);
    assert_eq!(http_body::Body::size_hint(&short).exact(), Some(5));
}

#[test]
fn methods_and_names_that_clients_make_up_take_no_more_room() {
    let requests = Requests::new(Duration::ZERO);
    for number in 0..3 {
        let method = Method::from_bytes(format!("MADEUP{number}").as_bytes()).unwrap();
        let id = RequestId::given_or_new(&Request::default());
        requests.enter(What::Request { method, route: "/", id }).within(busy);
    }
    assert_eq!(requests.blocked()[0].name, "_OTHER /");
    for number in 0..2 * NAMES_MAX {
        requests.enter(What::Task { name: Arc::from(number.to_string()) }).within(busy);
    }
    let blocked = requests.blocked();
    assert_eq!(blocked.len(), NAMES_MAX + 1);
    let others = blocked.iter().find(|blocked| blocked.name == OTHERS).unwrap();
    assert_eq!(others.count as usize, NAMES_MAX + 1);
}

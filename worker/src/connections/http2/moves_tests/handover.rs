//! Connections of HTTP/2 that go from one worker to another.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::task::JoinSet;

use super::raw::{GET_AGAIN, Raw, WHOLE};
use super::*;
use crate::connections::http2::frame::{Kind, flag};

/// Drains one worker, and has the other take its connections.
fn hand_over(from: &Worker, to: &Worker) {
    let (giver, taker) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    to.hub.take_over(taker);
    from.hub.life().count_fates();
    from.hub.hand_over(vec![giver]);
    from.hub.begin_drain();
}

#[tokio::test]
async fn idle_connections_go_over_whether_they_are_parked_or_not() {
    for moves in BOTH {
        let (mut worker, mut clients) = (Worker::start(moves), Vec::new());
        for _ in 0..8 {
            clients.push(Client::connect(&worker, &Builder::new()).await);
        }
        for round in 0..5 {
            for client in &mut clients {
                assert_eq!(client.get(&format!("/size/{round}")).await, round);
            }
            let next = Worker::start(moves);
            hand_over(&worker, &next);
            within(worker.hub.life().all_closed()).await;
            assert_eq!(worker.hub.life().fates().handed_over, 8);
            worker = next;
        }
        for client in &mut clients {
            assert_eq!(client.post("/echo", 100_000).await, b"100000");
        }
        assert_eq!(worker.hub.life().connections(), 8);
    }
}

/// Hands a connection over whose client has lanes, each with one request after the other. `ask` sends one, and checks its answer.
async fn comes_to_its_rest<F>(lanes: usize, ask: fn(Client) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (worker, next) = (Worker::start(false), Worker::start(false));
    let client = Client::connect(&worker, &Builder::new()).await;
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut streams = JoinSet::new();
    for _ in 0..lanes {
        let (client, is_over, answered) = (client.clone(), Arc::clone(&is_over), Arc::clone(&answered));
        streams.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                ask(client.clone()).await;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let more_than = async |count: usize| {
        while answered.load(Ordering::Relaxed) <= count {
            tokio::task::yield_now().await;
        }
    };
    within(more_than(30)).await;
    let began = Instant::now();
    hand_over(&worker, &next);
    within(worker.hub.life().all_closed()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    within(more_than(answered.load(Ordering::Relaxed) + 30)).await;
    is_over.store(true, Ordering::Relaxed);
    streams.join_all().await;
    assert_eq!((worker.hub.life().fates().handed_over, next.hub.life().connections()), (1, 1));
}

#[tokio::test]
async fn a_busy_connection_comes_to_its_rest_and_no_request_fails() {
    comes_to_its_rest(10, |mut client| async move { assert_eq!(client.get("/slow").await, 4) }).await;
}

/// Each refusal is a reset, and the answer to the PING behind it comes behind the next requests.
#[tokio::test]
async fn a_connection_with_uploads_that_are_refused_comes_to_its_rest() {
    comes_to_its_rest(4, |mut client| async move { assert_eq!(client.refused().await, 5) }).await;
}

#[tokio::test]
async fn settings_that_the_client_knows_hold_in_a_worker_with_others() {
    let mut other = config(false);
    (other.limits.streams, other.limits.head) = (3, 16 << 10);
    let (worker, next) = (Worker::start(false), Worker::with(false, &other));
    let mut client = Raw::moved(&worker).await;
    hand_over(&worker, &next);
    within(worker.hub.life().all_closed()).await;
    assert_eq!(client.request(3, GET_AGAIN).await, 10);
    assert_eq!(client.settings, 1, "it has heard of no others");
    // More at once than a new client of this worker may have.
    for stream in (5..25).step_by(2) {
        client.send_frame(Kind::Headers, WHOLE, stream, GET_AGAIN).await;
    }
    let mut ends = 0;
    while ends < 10 {
        let (head, payload) = client.next().await.unwrap();
        assert!(!matches!(head.kind, Kind::Reset | Kind::GoAway), "{head:?} {payload:?}");
        ends += usize::from(matches!(head.kind, Kind::Data | Kind::Headers) && head.has(flag::END_STREAM));
    }
}

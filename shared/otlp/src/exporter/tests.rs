//! An exporter, before a receiver that behaves well, badly, or not at all. The clock is a made-up one.

mod flush;
mod lines;
mod receiver;

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use gin_shared::trace_endpoint::Protocol;
use http::HeaderValue;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use lines::Lines;
use receiver::{Behaviour, Receiver, takes};

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

/// Trailers that ask for a pause of seven seconds.
const FULL: &[(&str, &str)] = &[("grpc-status-details-bin", crate::grpc::tests::FULL)];

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);
const MEMORY: usize = 256 * 1024;

/// Spans by their ends.
#[derive(Debug, Default)]
struct Counted {
    spans: [AtomicU64; 4],
    added: Notify,
}

impl Counts for Counted {
    fn add(&self, outcome: Outcome, spans: u64) {
        self.spans[outcome as usize].fetch_add(spans, Ordering::Relaxed);
        self.added.notify_waiters();
    }
}

impl Counted {
    fn of(&self, outcome: Outcome) -> u64 {
        self.spans[outcome as usize].load(Ordering::Relaxed)
    }

    /// Waits until these many spans have come to an end.
    async fn until(&self, count: u64) {
        loop {
            let added = self.added.notified();
            if self.spans.iter().map(|spans| spans.load(Ordering::Relaxed)).sum::<u64>() >= count {
                return;
            }
            added.await;
        }
    }
}

struct Kit {
    receiver: Receiver,
    counts: Arc<Counted>,
    sink: Sink,
    task: JoinHandle<()>,
}

fn endpoint(protocol: Protocol) -> Endpoint {
    Endpoint::parse("http://receiver:4317", Some(protocol)).expect("a URL").endpoint
}

fn made(protocol: Protocol, script: &[Behaviour]) -> (Receiver, Arc<Counted>, Sink, Exporter) {
    let (receiver, counts) = (Receiver::new(script), Arc::new(Counted::default()));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer token"));
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let mut resource = Resource::default();
    resource.set("service.name", "shop");
    let (interval, timeout, memory) = (INTERVAL, TIMEOUT, MEMORY);
    let scope_version = "1".to_owned();
    let settings =
        Settings { endpoint: endpoint(protocol), headers, timeout, interval, memory, resource, scope_version };
    let connect: Arc<dyn Connect> = Arc::new(receiver.clone());
    let counted: Arc<dyn Counts> = Arc::<Counted>::clone(&counts);
    let (sink, exporter) = exporter(settings, connect, counted);
    (receiver, counts, sink, exporter)
}

fn start(protocol: Protocol, script: &[Behaviour]) -> Kit {
    let (receiver, counts, sink, exporter) = made(protocol, script);
    Kit { receiver, counts, sink, task: tokio::spawn(exporter.run()) }
}

/// A status that says that the receiver is away.
fn is_away(protocol: Protocol) -> Behaviour {
    match protocol {
        Protocol::Http => Behaviour::Answers(503, &[], b""),
        Protocol::Grpc => Behaviour::Answers(14, &[], b""),
    }
}

#[tokio::test(start_paused = true)]
async fn spans_arrive_once_their_interval_is_over() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[takes(protocol)]);
        let began = Instant::now();
        for span in [&b"one"[..], b"two", b"three"] {
            kit.sink.push(span);
        }
        let received = kit.receiver.until(1).await;
        assert_eq!(received[0].spans(), [&b"one"[..], b"two", b"three"]);
        assert_eq!(received[0].at - began, INTERVAL);
        kit.counts.until(3).await;
        assert_eq!(kit.counts.of(Outcome::Sent), 3);
        let header = |name: &str| received[0].headers.get(name).map_or("", |value| value.to_str().expect("text"));
        assert_eq!(header("authorization"), "Bearer token");
        assert!(header("user-agent").starts_with("gin-otlp/"));
        match protocol {
            Protocol::Http => {
                assert_eq!(received[0].head, "POST /v1/traces");
                assert_eq!((header("host"), header("content-type")), ("receiver:4317", "application/x-protobuf"));
            }
            Protocol::Grpc => {
                let path = gin_shared::trace_endpoint::GRPC_PATH;
                assert_eq!(received[0].head, format!("POST http://receiver:4317{path}"));
                assert_eq!((header("te"), header("content-type")), ("trailers", "application/grpc"));
                assert_eq!(header("grpc-timeout"), "10000m");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let kit = start(Protocol::Grpc, &[takes(Protocol::Grpc)]);
    let began = Instant::now();
    for _ in 0..1024 {
        kit.sink.push(b"span");
    }
    let received = kit.receiver.until(2).await;
    assert_eq!(received.iter().map(|request| request.spans().len()).collect::<Vec<_>>(), [512, 512]);
    assert_eq!(Instant::now(), began);
    assert_eq!(kit.receiver.connections(), 1, "the connection is kept");
}

#[tokio::test(start_paused = true)]
async fn a_long_batch_passes_every_window() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[takes(protocol)]);
        let span = vec![7_u8; 150 * 1024];
        kit.sink.push(&span);
        assert_eq!(kit.receiver.until(1).await[0].spans(), [span]);
        kit.counts.until(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_again_byte_for_byte() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[is_away(protocol), Behaviour::Dies, Behaviour::Absent, takes(protocol)]);
        kit.sink.push(b"span");
        // A connection that dies under an answer was kept from the one before: another one is tried at once, and is refused.
        let received = kit.receiver.until(3).await;
        assert!(received.iter().all(|request| request.message == received[0].message));
        let pauses: Vec<u128> = received.windows(2).map(|two| (two[1].at - two[0].at).as_millis()).collect();
        assert!((800..=1200).contains(&pauses[0]) && (1200..=1800).contains(&pauses[1]), "{pauses:?}");
        kit.counts.until(1).await;
        assert_eq!((kit.counts.of(Outcome::Sent), kit.counts.of(Outcome::Refused)), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_has_died_is_replaced_at_once() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[takes(protocol), Behaviour::Dies, takes(protocol)]);
        kit.sink.push(b"first");
        kit.receiver.until(1).await;
        kit.counts.until(1).await;
        kit.sink.push(b"second");
        let received = kit.receiver.until(3).await;
        assert_eq!(received[2].at, received[1].at);
        assert_eq!(received[2].spans(), [b"second"]);
        assert_eq!(kit.receiver.connections(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_is_not_asked_before_the_time_that_it_names() {
    for (protocol, away) in [
        (Protocol::Http, Behaviour::Answers(429, &[("retry-after", "7")], b"")),
        (Protocol::Grpc, Behaviour::Answers(8, FULL, b"")),
    ] {
        let kit = start(protocol, &[away, takes(protocol)]);
        kit.sink.push(b"span");
        let received = kit.receiver.until(2).await;
        assert_eq!((received[1].at - received[0].at).as_secs(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_is_asked_again_after_the_timeout() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[Behaviour::Hangs, takes(protocol)]);
        kit.sink.push(b"span");
        let received = kit.receiver.until(2).await;
        assert!(received[1].at - received[0].at >= TIMEOUT + Duration::from_millis(800));
        assert_eq!(kit.receiver.connections(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_costs_a_push_nothing_and_memory_has_its_bound() {
    let kit = start(Protocol::Grpc, &[Behaviour::Hangs]);
    kit.sink.push(b"first");
    kit.receiver.until(1).await;
    let began = Instant::now();
    for _ in 0..10_000 {
        kit.sink.push(&[7; 300]);
        assert!(kit.sink.waiting().1 <= MEMORY);
    }
    assert_eq!(Instant::now(), began);
    let (waiting, bytes) = kit.sink.waiting();
    assert!(bytes > MEMORY / 2, "{bytes}");
    assert_eq!(waiting + kit.counts.of(Outcome::Dropped), 10_001);
    assert_eq!(kit.receiver.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn spans_that_are_refused_are_counted_and_not_sent_again() {
    let partial: &[u8] = b"\x0a\x06\x08\x02\x12\x02no";
    let cases = [
        (Protocol::Http, Behaviour::Answers(200, &[], partial), (1, 2)),
        (Protocol::Grpc, Behaviour::Answers(0, &[], partial), (1, 2)),
        (Protocol::Http, Behaviour::Answers(400, &[], b""), (0, 3)),
        (Protocol::Http, Behaviour::Answers(307, &[("location", "http://elsewhere/")], b""), (0, 3)),
        (Protocol::Grpc, Behaviour::Answers(3, &[], b""), (0, 3)),
        (Protocol::Grpc, Behaviour::Answers(8, &[], b""), (0, 3)),
        (Protocol::Http, Behaviour::Answers(200, &[], &[0; 65 * 1024]), (0, 3)),
        (Protocol::Grpc, Behaviour::Answers(0, &[], &[0; 65 * 1024]), (0, 3)),
    ];
    for (protocol, behaviour, outcomes) in cases {
        let kit = start(protocol, &[behaviour]);
        for _ in 0..3 {
            kit.sink.push(b"span");
        }
        kit.receiver.until(1).await;
        kit.counts.until(3).await;
        assert_eq!((kit.counts.of(Outcome::Sent), kit.counts.of(Outcome::Refused)), outcomes, "{protocol:?}");
        sleep(Duration::from_secs(120)).await;
        assert_eq!(kit.receiver.received().len(), 1, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_comes_and_goes_is_told_once_a_minute() {
    let lines = Lines::default();
    let _log = tracing::subscriber::set_default(lines.clone());
    let (away, taken) = (is_away(Protocol::Http), takes(Protocol::Http));
    let kit = start(Protocol::Http, &[away, taken, away, taken, away]);
    for round in 1..=2 {
        kit.sink.push(b"span");
        kit.counts.until(round).await;
    }
    kit.sink.push(b"span");
    sleep(Duration::from_secs(50)).await;
    assert_eq!((lines.warnings(), lines.others()), (1, 1), "the first time alone");
    // It stays away, and so is told.
    sleep(Duration::from_secs(60)).await;
    assert_eq!((lines.warnings(), lines.others()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_wakes_while_nothing_waits() {
    for protocol in PROTOCOLS {
        let (receiver, _, sink, exporter) = made(protocol, &[takes(protocol)]);
        let polls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&polls);
        let mut run = Box::pin(exporter.run());
        tokio::spawn(poll_fn(move |context| {
            counted.fetch_add(1, Ordering::Relaxed);
            run.as_mut().poll(context)
        }));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(polls.load(Ordering::Relaxed), 1, "before the first span");
        sink.push(b"span");
        receiver.until(1).await;
        // The connection is closed after half a minute.
        sleep(Duration::from_secs(40)).await;
        let before = polls.load(Ordering::Relaxed);
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(polls.load(Ordering::Relaxed), before, "{protocol:?}");
        sink.push(b"span");
        receiver.until(2).await;
        assert_eq!(receiver.connections(), 2);
    }
}

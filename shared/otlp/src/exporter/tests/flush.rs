//! A flush ends in time, whatever the receiver does, and tells the truth about the spans.

use super::*;
use crate::thread::Thread;

const WITHIN: Duration = Duration::from_secs(2);

/// Waits for a flush. Gives the spans that were lost, and the time that it took.
async fn flush(sink: &Sink) -> (u64, Duration) {
    let began = Instant::now();
    (sink.flush(WITHIN).await, Instant::now() - began)
}

#[tokio::test(start_paused = true)]
async fn all_that_waits_is_sent_at_once() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[takes(protocol)]);
        for _ in 0..600 {
            kit.sink.push(b"span");
        }
        assert_eq!(flush(&kit.sink).await, (0, Duration::ZERO));
        assert_eq!(kit.counts.of(Outcome::Sent), 600);
        kit.sink.push(b"late");
        assert_eq!(kit.counts.of(Outcome::Dropped), 1);
        assert_eq!(flush(&kit.sink).await, (0, Duration::ZERO), "a second one finds nothing");
        kit.task.await.expect("the exporter has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_waits_costs_no_time() {
    let kit = start(Protocol::Grpc, &[Behaviour::Hangs]);
    assert_eq!(flush(&kit.sink).await, (0, Duration::ZERO));
    assert_eq!(kit.receiver.connections(), 0);
    kit.task.await.expect("the exporter has ended");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_costs_the_whole_time() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[Behaviour::Hangs]);
        for _ in 0..600 {
            kit.sink.push(b"span");
        }
        kit.receiver.until(1).await;
        assert_eq!(flush(&kit.sink).await, (600, WITHIN));
        assert_eq!(kit.counts.of(Outcome::Lost), 600);
        assert_eq!(kit.sink.waiting(), (0, 0));
        kit.task.await.expect("the exporter has ended");
        assert_eq!((kit.counts.of(Outcome::Lost), kit.counts.of(Outcome::Sent)), (600, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_away_costs_one_try() {
    let kit = start(Protocol::Grpc, &[Behaviour::Absent]);
    kit.sink.push(b"span");
    kit.receiver.until_connections(1).await;
    tokio::task::yield_now().await;
    assert_eq!(flush(&kit.sink).await, (1, Duration::ZERO));
    assert_eq!(kit.receiver.connections(), 2);
    assert_eq!(kit.counts.of(Outcome::Lost), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_was_away_and_hangs_costs_half_a_second() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[is_away(protocol), Behaviour::Hangs]);
        kit.sink.push(b"span");
        kit.receiver.until(1).await;
        sleep(Duration::from_millis(10)).await;
        assert_eq!(flush(&kit.sink).await, (1, LAST_TRY));
    }
}

/// The try that is under way when the flush begins is the last one.
#[tokio::test(start_paused = true)]
async fn a_try_that_is_under_way_is_cut_short() {
    let kit = start(Protocol::Grpc, &[Behaviour::Absent, Behaviour::Hangs]);
    kit.sink.push(b"span");
    kit.receiver.until(1).await;
    assert_eq!(flush(&kit.sink).await, (1, LAST_TRY));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_comes_back_for_the_last_try_gets_all() {
    for protocol in PROTOCOLS {
        let kit = start(protocol, &[is_away(protocol), takes(protocol)]);
        for _ in 0..600 {
            kit.sink.push(b"span");
        }
        assert_eq!(flush(&kit.sink).await, (0, Duration::ZERO));
        assert_eq!(kit.counts.of(Outcome::Sent), 600);
    }
}

#[tokio::test(start_paused = true)]
async fn haste_shortens_the_interval() {
    let kit = start(Protocol::Grpc, &[takes(Protocol::Grpc)]);
    let began = Instant::now();
    kit.sink.push(b"span");
    kit.sink.hurry();
    assert_eq!(kit.receiver.until(1).await[0].at - began, Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_is_dropped_loses_what_waits() {
    let (_, counts, sink, exporter) = made(Protocol::Grpc, &[takes(Protocol::Grpc)]);
    sink.push(b"span");
    drop(exporter);
    assert_eq!(flush(&sink).await, (1, Duration::ZERO));
    assert_eq!(counts.of(Outcome::Lost), 1);
}

#[test]
fn a_thread_of_its_own_sends_for_a_program_without_a_runtime() {
    for protocol in PROTOCOLS {
        let (receiver, counts, sink, exporter) = made(protocol, &[takes(protocol)]);
        Thread::start("traces", exporter).expect("a thread");
        sink.push(b"span");
        // The bound is never reached: the flush ends with the answer.
        assert_eq!(sink.flush_blocking(Duration::from_secs(60)), 0);
        assert_eq!((counts.of(Outcome::Sent), receiver.received().len()), (1, 1));
        assert_eq!(sink.flush_blocking(Duration::ZERO), 0);
    }
}

#[test]
fn a_thread_waits_no_longer_than_it_says() {
    let (_, counts, sink, _exporter) = made(Protocol::Grpc, &[Behaviour::Hangs]);
    sink.push(b"span");
    assert_eq!(sink.flush_blocking(Duration::from_millis(1)), 1);
    assert_eq!(counts.of(Outcome::Lost), 1);
}

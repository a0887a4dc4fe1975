//! Receivers that are slow, refuse, die and come back: no request and no drain waits for them, and each span is counted once.
//!
//! gin-server makes two spans of a `GET /`: the request's, and its handler's.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gin_shared::trace_endpoint::Protocol;
use harness::{Alone, Behaviour, Collector, Scrape, alone, eventually};

use super::site::{Parent, ask, traced};

/// Spans of a request.
const SPANS: usize = 2;

/// gin-server with these sections, whose metrics clients may read.
fn start(sections: &str) -> Alone {
    alone(&format!("{sections}[server]\npublic = [\"/metrics\"]\n"))
}

/// Asks so many times, each within a trace of its own, from this number on; gives the longest time to an answer.
fn ask_times(server: &Alone, first: u64, count: u64) -> Duration {
    let times = (first..first + count).map(|number| {
        let began = Instant::now();
        assert_eq!(ask(server.address(), "/", &Parent::sampled(number).field()).status, 200);
        began.elapsed()
    });
    times.max().unwrap_or_default()
}

/// The metrics; the request for them makes no spans.
fn metrics(server: &Alone) -> Scrape {
    let answer = Scrape::ask(server.address(), "/metrics", &Parent::unsampled(0).field()).unwrap();
    assert_eq!(answer.status, 200);
    Scrape::from(&answer)
}

/// Spans that were sent, refused, dropped and lost.
fn counted(server: &Alone) -> [usize; 4] {
    let metrics = metrics(server);
    ["sent", "refused", "dropped", "lost"].map(|result| {
        let value = metrics.value("gin_server_trace_spans_total", &[("result", result)]);
        value as usize
    })
}

/// Until the counts satisfy `is_so`: an exporter counts a batch after the receiver has answered, and tells nobody.
fn until_counted(server: &Alone, what: &str, is_so: impl Fn(&[usize; 4]) -> bool) -> [usize; 4] {
    eventually(what, || counted(server), is_so)
}

#[test]
fn headers_arrive_over_both_protocols() {
    for (collector, path, kind) in [
        (Collector::grpc(), gin_shared::trace_endpoint::GRPC_PATH, "application/grpc"),
        (Collector::http(), "/v1/traces", "application/x-protobuf"),
    ] {
        let server = start(&traced(&collector, "headers = { authorization = \"Bearer of-the-test\" }"));
        ask_times(&server, 0, 1);
        let spans = collector.until(SPANS);
        assert!(spans.iter().any(|span| span.name == "GET /"), "{spans:#?}");
        let export = &collector.exports()[0];
        assert_eq!((export.path.as_str(), export.headers["content-type"].as_str()), (path, kind));
        assert_eq!(export.headers["authorization"], "Bearer of-the-test");
        assert!(export.headers["user-agent"].starts_with("gin-otlp/"), "{export:?}");
        until_counted(&server, "all are sent", |counts| *counts == [SPANS, 0, 0, 0]);
    }
}

#[test]
fn one_that_hangs_stops_no_request_and_no_drain() {
    for collector in [Collector::grpc(), Collector::http()] {
        collector.behave(Behaviour::Hangs);
        let mut server = start(&traced(&collector, "timeout = \"60s\""));
        ask_times(&server, 0, 1);
        assert_eq!(collector.until_asked(1).len(), 1);
        let longest = ask_times(&server, 1, 200);
        assert!(longest < Duration::from_secs(5), "a request took {longest:?} while the receiver hangs");
        let began = Instant::now();
        server.stop();
        let told = server.until("spans were not sent");
        assert!(told["message"].as_str().unwrap().contains(&(201 * SPANS).to_string()), "{told}");
        assert!(server.wait().success());
        // 2 s for the spans; the rest is the machine's.
        assert!(began.elapsed() < Duration::from_secs(10), "the drain took {:?}", began.elapsed());
        assert_eq!(collector.spans().len(), 0);
    }
}

#[test]
fn one_that_is_away_makes_a_drain_hardly_longer() {
    let collector = Collector::grpc();
    let sections = traced(&collector, "");
    let _ = collector.stop();
    let mut server = start(&sections);
    ask_times(&server, 0, 10);
    let told = server.until("traces cannot be sent to");
    assert_eq!(told["level"], "warn", "{told}");
    server.stop();
    let _ = server.until("spans were not sent");
    assert!(server.wait().success());
}

#[test]
fn one_that_dies_in_the_middle_gets_the_same_spans_again() {
    for collector in [Collector::grpc(), Collector::http()] {
        collector.behave(Behaviour::DiesInTheMiddle);
        let server = start(&traced(&collector, ""));
        ask_times(&server, 0, 5);
        assert!(collector.until_asked(2).len() >= 2);
        collector.behave(Behaviour::Takes);
        let spans = collector.until(5 * SPANS);
        let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
        assert_eq!((spans.len(), ids.len()), (5 * SPANS, 5 * SPANS), "a span came twice");
        until_counted(&server, "all are sent", |counts| *counts == [5 * SPANS, 0, 0, 0]);
    }
}

#[test]
fn one_that_says_when_is_not_asked_before() {
    let pause = Duration::from_secs(2);
    for collector in [Collector::grpc(), Collector::http()] {
        collector.behave(Behaviour::RetryAfter(429, pause));
        let server = start(&traced(&collector, ""));
        ask_times(&server, 0, 1);
        assert_eq!(collector.until_asked(1).len(), 1);
        collector.behave(Behaviour::Takes);
        // These wait behind the first ones.
        ask_times(&server, 1, 4);
        assert_eq!(collector.until(5 * SPANS).len(), 5 * SPANS);
        let exports = collector.exports();
        let waited = exports[1].at - exports[0].at;
        assert!(waited >= pause, "{waited:?} are less than {pause:?}");
    }
}

#[test]
fn one_that_comes_back_gets_all_that_had_room() {
    const REQUESTS: u64 = 1000;
    const ROOM: usize = 64 << 10;
    for (protocol, collector) in [(Protocol::Grpc, Collector::grpc()), (Protocol::Http, Collector::http())] {
        let sections = traced(&collector, "memory = \"64KiB\"");
        let address = collector.stop();
        let server = start(&sections);
        ask_times(&server, 0, REQUESTS);
        let before = counted(&server);
        assert!(before[2] > 0 && before[0] == 0, "nothing is dropped, or something is sent: {before:?}");
        // Memory is sampled now and then.
        let waiting = || metrics(&server).value("gin_server_trace_waiting_bytes", &[]);
        let waiting = eventually("some bytes wait", waiting, |bytes| *bytes > 0.0);
        assert!(waiting <= ROOM as f64, "{waiting} bytes wait");

        let collector = Collector::at(address, protocol);
        let all = REQUESTS as usize * SPANS;
        let [sent, refused, dropped, lost] =
            until_counted(&server, "each is sent or dropped", |[sent, _, dropped, _]| sent + dropped == all);
        assert_eq!((refused, lost, dropped), (0, 0, before[2]));
        assert_eq!(collector.spans().len(), sent);
        // The oldest ones are kept: whole traces of before are worth more.
        let spans = collector.spans();
        assert!(spans.iter().any(|span| span.trace == Parent::sampled(0).trace), "the first trace is lost");
        let _ = server.until("traces are sent to");
        // And all is as before.
        ask_times(&server, REQUESTS, 1);
        let last = Parent::sampled(REQUESTS).trace;
        let trace = collector.until_trace(|trace| trace.id == last && trace.spans.len() == SPANS);
        assert_eq!(trace.roots().len(), 1, "{trace}");
    }
}

#[test]
fn spans_that_it_refuses_are_counted_and_not_sent_again() {
    for collector in [Collector::grpc(), Collector::http()] {
        let server = start(&traced(&collector, ""));
        collector.behave(Behaviour::Answers(400));
        ask_times(&server, 0, 1);
        until_counted(&server, "all are refused", |counts| *counts == [0, SPANS, 0, 0]);
        // Of one request a receiver takes a part.
        collector.behave(Behaviour::Rejects(1));
        let asked = collector.exports().len();
        ask_times(&server, 1, 1);
        let counts =
            until_counted(&server, "each is sent or refused", |[sent, refused, ..]| sent + refused == 2 * SPANS);
        let exports = collector.exports().len() - asked;
        assert_eq!(counts[1], SPANS + exports, "{exports} requests had one refused span each: {counts:?}");
        assert_eq!(collector.spans().len(), counts[0]);
    }
}

#[test]
fn one_that_was_away_for_one_request_takes_it_at_the_next() {
    for status in [502, 503, 504] {
        for collector in [Collector::grpc(), Collector::http()] {
            collector.behave(Behaviour::Answers(status));
            let server = start(&traced(&collector, ""));
            ask_times(&server, 0, 1);
            assert!(!collector.until_asked(1).is_empty());
            collector.behave(Behaviour::Takes);
            assert_eq!(collector.until(SPANS).len(), SPANS, "{status}");
        }
    }
}

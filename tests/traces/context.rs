//! Traces that come with a request, and go on in a call of another service.

use harness::{Collector, Supervisor};
use serde_json::Value;

use super::site::{Parent, ask, site};

const TRUSTED: &str = "parents = \"trusted\"";

fn url(gin: &Supervisor, path: &str) -> String {
    let harness::Address::Tcp(address) = gin.tcp() else { panic!("it listens on TCP") };
    format!("http://{address}{path}")
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn a_clients_trace_arrives_and_leaves_in_a_call() {
    let collector = Collector::grpc();
    let gin = site(&collector, "").start();
    for (number, path) in [(1, "/call"), (2, "/asks")] {
        let parent = Parent::sampled(number);
        let fields = parent.field() + "tracestate: vendor=1\r\n";
        // The service that is called is the same one. The query of its URL is a secret.
        let answer = ask(&gin.tcp(), &format!("{path}?to={}", url(&gin, "/%3Ftoken=secret")), &fields).json();
        assert_eq!((&answer["trace"], &answer["called"]["trace"]), (&parent.trace.as_str().into(), &answer["trace"]));

        let is_here = |trace: &harness::Trace| trace.id == parent.trace && trace.roots().len() == 1;
        let name = format!("GET {path}");
        let trace = collector.until_trace(|trace| is_here(trace) && trace.find(&name).is_some());
        let (outer, inner) = (trace.span(&name), trace.span("GET /"));
        assert_eq!(outer.parent.as_ref(), Some(&parent.span), "{trace}");
        assert_eq!((outer.state.as_str(), inner.state.as_str()), ("vendor=1", "vendor=1"), "{trace}");
        let call = trace.spans.iter().find(|span| Some(&span.id) == inner.parent.as_ref());
        let call = call.unwrap_or_else(|| panic!("the call has no span: {trace}"));
        assert_eq!((call.kind, call.name.as_str()), (3, "GET"), "{trace}");
        assert_eq!(call.attributes["http.response.status_code"], 200, "{trace}");
        assert_eq!(call.text("url.full"), url(&gin, "/"), "{trace}");
    }
    gin.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn a_trace_that_its_client_does_not_sample_goes_on_and_sends_nothing() {
    let collector = Collector::grpc();
    let gin = site(&collector, "").start();
    let (unsampled, sampled) = (Parent::unsampled(1), Parent::sampled(2));
    let answer = ask(&gin.tcp(), &format!("/call?to={}", url(&gin, "/")), &unsampled.field()).json();
    assert_eq!((&answer["trace"], &answer["called"]["sampled"]), (&unsampled.trace.as_str().into(), &false.into()));
    assert_eq!(answer["called"]["trace"], answer["trace"]);
    // What was to be sent before this has been sent before it.
    ask(&gin.tcp(), "/", &sampled.field());
    let spans = collector.until(2);
    assert!(spans.iter().all(|span| span.trace == sampled.trace), "{spans:#?}");
    gin.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn a_forged_context_begins_another_trace() {
    let collector = Collector::grpc();
    let gin = site(&collector, "").start();
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let upper = trace.to_uppercase();
    let zeros = "0".repeat(32);
    for text in [
        format!("00-{trace}-{span}"),
        format!("00-{trace}-{span}-01-more"),
        format!("00-{zeros}-{span}-01"),
        format!("00-{trace}-{}-01", &zeros[..16]),
        format!("00-{upper}-{span}-01"),
        format!("ff-{trace}-{span}-01"),
        format!("00-{trace}-{span}-0g"),
        "x".repeat(4096),
        String::new(),
    ] {
        let answer = ask(&gin.tcp(), "/", &format!("traceparent: {text}\r\n")).json();
        assert_ne!(answer["trace"], trace, "{text:?}");
        assert_eq!(answer["sampled"], true, "{text:?}");
    }
    // Two of them are none: nobody says which is right.
    let two = format!("traceparent: 00-{trace}-{span}-01\r\ntraceparent: 00-{trace}-{span}-01\r\n");
    assert_ne!(ask(&gin.tcp(), "/", &two).json()["trace"], trace);
    // A newer version is read as far as it is known.
    let newer = ask(&gin.tcp(), "/", &format!("traceparent: cc-{trace}-{span}-01-what-comes\r\n"));
    assert_eq!(newer.json()["trace"], trace);
    gin.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn parents_says_whose_context_counts() {
    let parent = Parent::sampled(1);
    // Of TCP, and of a Unix socket.
    for (more, counts) in [("parents = \"none\"", [false, false]), (TRUSTED, [false, true]), ("", [true, true])] {
        let collector = Collector::grpc();
        let gin = site(&collector, more).and_unix().start();
        for (address, counts) in [gin.tcp(), gin.unix()].iter().zip(counts) {
            let answer = ask(address, "/", &parent.field()).json();
            assert_eq!(answer["trace"] == parent.trace.as_str(), counts, "{more}: {address:?}: {answer}");
            let own = answer["trace"].as_str().unwrap_or_default().to_owned();
            let trace = collector.until_trace(|trace| trace.id == own && trace.find("GET /").is_some());
            let links = if counts { Vec::new() } else { vec![parent.trace.clone()] };
            assert_eq!(trace.span("GET /").links, links, "{more}: {trace}");
        }
        gin.stop();
    }
    let collector = Collector::grpc();
    let proxied = site(&collector, TRUSTED).section("[server]\ntrusted_proxies = [\"127.0.0.1\"]").start();
    assert_eq!(ask(&proxied.tcp(), "/", &parent.field()).json()["trace"], parent.trace.as_str());
    proxied.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn the_rate_is_for_traces_that_begin_here() {
    let collector = Collector::grpc();
    let gin = site(&collector, "sample_rate = 0.0").start();
    let answers: Vec<Value> = (0..50).map(|_| ask(&gin.tcp(), "/", "").json()).collect();
    let is_unsampled = |answer: &Value| answer["sampled"] == false && answer["trace"].is_string();
    assert!(answers.iter().all(is_unsampled), "{answers:?}");
    // Its client has decided.
    let parent = Parent::sampled(1);
    ask(&gin.tcp(), "/", &parent.field());
    let spans = collector.until(2);
    assert!(spans.iter().all(|span| span.trace == parent.trace), "{spans:#?}");
    gin.stop();
}

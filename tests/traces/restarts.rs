//! Restarts under load: each sampled request has its whole trace, whichever worker has answered it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::{Address, Client, Collector, Failure, Span, eventually, times};

use super::site::{Parent, ask, site};

/// Clients that remember the trace of each answer.
struct Clients {
    stop: Arc<AtomicBool>,
    /// Traces, and when each was answered.
    traces: Arc<Mutex<BTreeMap<String, Instant>>>,
    threads: Vec<JoinHandle<Vec<Failure>>>,
}

impl Clients {
    /// So many with a connection that is kept, and as many with one for each request.
    fn start(address: &Address, count: usize) -> Self {
        let (stop, traces) = (Arc::<AtomicBool>::default(), Arc::<Mutex<_>>::default());
        let client = |number: usize| {
            let (stop, traces, address) = (Arc::clone(&stop), Arc::clone(&traces), address.clone());
            std::thread::spawn(move || run(&address, number.is_multiple_of(2), &stop, &traces))
        };
        let threads = (0..2 * count).map(client).collect();
        Self { stop, traces, threads }
    }

    fn count(&self) -> usize {
        self.traces.lock().unwrap().len()
    }

    /// Until so many more requests were answered: clients tell nobody.
    fn flow(&self, requests: usize) {
        let goal = self.count() + requests;
        eventually("requests are answered", || self.count(), |count| *count >= goal);
    }

    /// Ends them; gives the traces of all answers, and each way in which a client was hurt.
    fn finish(self) -> (BTreeMap<String, Instant>, Vec<Failure>) {
        self.stop.store(true, Ordering::Relaxed);
        let hurt = self.threads.into_iter().flat_map(|thread| thread.join().expect("a client never panics")).collect();
        (std::mem::take(&mut *self.traces.lock().unwrap()), hurt)
    }
}

fn run(address: &Address, keeps: bool, stop: &AtomicBool, traces: &Mutex<BTreeMap<String, Instant>>) -> Vec<Failure> {
    let (mut kept, mut hurt) = (None, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        match exchange(address, keeps, &mut kept) {
            Ok(trace) => {
                traces.lock().unwrap().insert(trace, Instant::now());
            }
            Err(failure) => {
                kept = None;
                hurt.push(failure);
            }
        }
        // Paces the client: real ones pause between two requests. No test waits for this.
        std::thread::sleep(Duration::from_millis(5));
    }
    hurt
}

/// A request for the users; gives the trace in its answer.
fn exchange(address: &Address, keeps: bool, kept: &mut Option<Client>) -> Result<String, Failure> {
    // A connection that rests may be closed.
    let mut client = match kept.take().filter(|client| !client.is_closed()) {
        Some(client) => client,
        None => Client::connect(address)?,
    };
    let connection = if keeps { "keep-alive" } else { "close" };
    client.send(format!("GET /users HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n").as_bytes())?;
    let response = client.response()?;
    if response.status != 200 {
        return Err(Failure::Status(response.status));
    }
    let trace = response.json()["trace"].as_str().unwrap_or_default().to_owned();
    *kept = Some(client).filter(|_| keeps && !response.closes());
    Ok(trace)
}

/// Traces that have the request's span, the handler's and the query's, each below the other.
fn whole(spans: &[Span]) -> BTreeSet<&str> {
    let mut of_trace: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        of_trace.entry(&span.trace).or_default().push(span);
    }
    let is_whole = |spans: &[&Span]| {
        let below = |above: &Span, name: &str| {
            spans.iter().copied().find(|span| span.parent.as_ref() == Some(&above.id) && span.name.ends_with(name))
        };
        let root = spans.iter().copied().find(|span| span.parent.is_none() && span.name == "GET /users");
        root.and_then(|root| below(root, "list")).and_then(|handler| below(handler, "SELECT users")).is_some()
    };
    of_trace.into_iter().filter(|(_, spans)| is_whole(spans)).map(|(trace, _)| trace).collect()
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn each_request_has_its_whole_trace_through_restarts_under_load() {
    for collector in [Collector::grpc(), Collector::http()] {
        let gin = site(&collector, "").workers(2).start();
        let clients = Clients::start(&gin.tcp(), 4);
        for _ in 0..times(5, 50) {
            clients.flow(50);
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        }
        clients.flow(50);
        let (traces, hurt) = clients.finish();
        assert!(hurt.is_empty(), "hurt: {hurt:?}");
        gin.stop();
        // All workers have ended, so each has sent what waited: the rest is on its way to the test.
        let missing = |spans: &[Span]| {
            let whole = whole(spans);
            traces.keys().filter(|trace| !whole.contains(trace.as_str())).count()
        };
        collector.until_all(&format!("{} whole traces", traces.len()), |spans| missing(spans) == 0);
        println!("{} requests, {} spans", traces.len(), collector.spans().len());
    }
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn a_worker_that_is_killed_loses_no_more_than_what_was_to_be_sent() {
    // Several times `interval`, and the time that two cores with other tests need.
    const SENT_BY_THEN: Duration = Duration::from_secs(5);
    let collector = Collector::grpc();
    let gin = site(&collector, "").start();
    let clients = Clients::start(&gin.tcp(), 2);
    let began = Instant::now();
    clients.flow(100);
    // What is answered before this has had that time at the kill.
    let answered = clients.count();
    eventually("some time has passed", || began.elapsed(), |time| *time > 2 * SENT_BY_THEN);
    clients.flow(50);
    let killed = Instant::now();
    gin.kill_worker(gin.workers()[0]);
    clients.flow(50);
    let (traces, _) = clients.finish();
    let old: Vec<&str> =
        traces.iter().filter(|(_, at)| **at + SENT_BY_THEN < killed).map(|(trace, _)| trace.as_str()).collect();
    assert!(old.len() >= answered, "{} of {answered} answers are old enough", old.len());
    let spans = collector.spans();
    let whole = whole(&spans);
    let lost: Vec<&&str> = old.iter().filter(|trace| !whole.contains(**trace)).collect();
    assert!(lost.is_empty(), "{} of {} traces are lost", lost.len(), old.len());
    // And its successor traces, too.
    let parent = Parent::sampled(1);
    ask(&gin.tcp(), "/users", &parent.field());
    let trace = collector.until_trace(|trace| trace.id == parent.trace && trace.find("GET /users").is_some());
    assert_eq!(trace.span("GET /users").parent.as_ref(), Some(&parent.span));
    gin.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn restarts_with_a_receiver_that_hangs_hurt_nobody() {
    let collector = Collector::grpc();
    collector.behave(harness::Behaviour::Hangs);
    let gin = site(&collector, "timeout = \"60s\"").workers(2).start();
    let clients = Clients::start(&gin.tcp(), 4);
    for _ in 0..times(3, 20) {
        clients.flow(50);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    }
    let (traces, hurt) = clients.finish();
    assert!(hurt.is_empty() && !traces.is_empty(), "hurt: {hurt:?}");
    gin.until_log("spans were not sent");
    gin.stop();
}

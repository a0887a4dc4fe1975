//! A restart as a trace of the supervisor's own, and the spans of its workers under it.
//!
//! The supervisor is one with the feature `otel`, which no other test has: `gin-supervisor-otel`.

use harness::{Builder, Collector, Ctl, Supervisor, Trace, binary, supervisor};

use super::site::traced;

/// A fleet of gin-server whose restarts are traced.
fn fleet(collector: &Collector) -> Builder {
    let endpoint = collector.endpoint();
    let program = binary("gin-supervisor-otel");
    supervisor().program(&program).set("soak = \"0s\"").set(&format!("traces = {endpoint:?}"))
}

/// The trace of the restart to this generation, when its root has come.
fn of_generation(collector: &Collector, generation: u64) -> Trace {
    collector.until_trace(|trace| root(trace).is_some_and(|root| is_of(root, generation)))
}

/// The span of the whole restart.
fn root(trace: &Trace) -> Option<&harness::Span> {
    trace.spans.iter().find(|span| span.parent.is_none() && ["start", "restart"].contains(&span.name.as_str()))
}

fn is_of(span: &harness::Span, generation: u64) -> bool {
    span.attributes.get("gin.generation").is_some_and(|value| value.as_u64() == Some(generation))
}

fn names(trace: &Trace) -> Vec<&str> {
    trace.spans.iter().map(|span| span.name.as_str()).collect()
}

/// Each span of the trace is the root, or lies below it; none came twice.
fn assert_tree(trace: &Trace) {
    assert_eq!(trace.roots().len(), 1, "{trace}");
    let mut ids: Vec<&str> = trace.spans.iter().map(|span| span.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), trace.spans.len(), "a span came twice: {trace}");
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_restart_is_a_tree_of_its_phases_and_workers() {
    for collector in [Collector::grpc(), Collector::http()] {
        let gin = fleet(&collector).ours("one", "ok").workers(2).start();
        let first = of_generation(&collector, 1);
        assert_eq!(root(&first).map(|root| root.name.as_str()), Some("start"), "{first}");
        assert_eq!(first.span("start").resource["service.name"], "gin-supervisor");
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        let trace = of_generation(&collector, 2);
        assert_tree(&trace);
        assert_ne!(trace.id, first.id);
        let root = root(&trace).unwrap();
        assert!(!root.status.is_error && root.name == "restart", "{trace}");
        for name in ["started", "ready", "serving", "current", "drained"] {
            let phase = trace.span(name);
            assert!(phase.parent.as_ref() == Some(&root.id) && phase.is_within(root), "{name}: {trace}");
        }
        for slot in 0..2 {
            let name = format!("worker 2.{slot}");
            let worker = trace.spans.iter().find(|span| span.name.starts_with(&name));
            let worker = worker.unwrap_or_else(|| panic!("no {name} in {trace}"));
            assert_eq!(worker.parent.as_ref(), Some(&root.id), "{trace}");
            assert!(worker.events.iter().any(|event| event.contains("ready")), "{worker:?}");
        }
        for name in ["gin.instance", "gin.generation", "gin.release", "gin.asked_by"] {
            assert!(root.attributes.contains_key(name), "{name}: {root:#?}");
        }
        gin.stop();
    }
}

#[test]
#[ignore = "needs a supervisor and a fixture with traces: tests/run --services"]
fn spans_of_a_workers_start_and_drain_lie_under_the_restart() {
    let collector = Collector::grpc();
    let gin = fleet(&collector).observed("one", "ok").section(&traced(&collector, "sample_rate = 0.0")).start();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    // The worker's own spans come from another process, in whatever order.
    let of_worker = |trace: &Trace, name: &str, generation: &str| {
        let is_it = |span: &&harness::Span| {
            span.name == name && span.resource.get("gin.generation").is_some_and(|own| own == generation)
        };
        trace.spans.iter().find(is_it).cloned()
    };
    let trace = collector.until_trace(|trace| {
        root(trace).is_some_and(|root| is_of(root, 2))
            && of_worker(trace, "start", "2").is_some()
            && of_worker(trace, "drain", "1").is_some()
    });
    assert_tree(&trace);
    let start = of_worker(&trace, "start", "2").unwrap();
    let above = trace.spans.iter().find(|span| Some(&span.id) == start.parent.as_ref()).unwrap();
    assert!(above.name.starts_with("worker 2.0"), "{trace}");
    assert!(trace.children(&start).iter().any(|span| span.name == "open database"), "{trace}");
    let drain = of_worker(&trace, "drain", "1").unwrap();
    assert_eq!(drain.parent.as_ref(), root(&trace).map(|root| &root.id), "{trace}");
    gin.stop();
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_restart_that_fails_or_is_cancelled_is_an_error() {
    let collector = Collector::grpc();
    let gin = fleet(&collector).ours("one", "ok").start();
    gin.releases().release("two", "exit");
    gin.ctl(&["restart"]).assert(1, &["exited with status 3"]);
    let failed = of_generation(&collector, 2);
    let root_of = |trace: &Trace| root(trace).cloned().unwrap();
    assert!(root_of(&failed).status.is_error && root_of(&failed).status.message.contains("status 3"), "{failed}");
    let worker = failed.spans.iter().find(|span| span.name.starts_with("worker 2.0"));
    assert!(worker.is_some_and(|worker| worker.status.is_error), "{failed}");

    gin.releases().release("three", "never-ready");
    let socket = gin.socket();
    let mut events = gin.events();
    let waiting = std::thread::spawn(move || Ctl::run(&socket, &["restart"]));
    events.until("generation 3 started");
    gin.ctl(&["cancel"]).assert(0, &["cancelled"]);
    waiting.join().unwrap().assert(6, &["cancelled"]);
    let cancelled = of_generation(&collector, 3);
    assert!(
        root_of(&cancelled).status.is_error && root_of(&cancelled).status.message.contains("cancelled"),
        "{cancelled}"
    );

    // One that is refused before it has a worker.
    gin.configure(|text| text.replace("soak =", "soaks ="));
    gin.ctl(&["restart"]).assert(2, &["supervisor.soaks"]);
    let refused = of_generation(&collector, 4);
    let status = root_of(&refused).status;
    assert!(status.is_error && status.message.contains("supervisor.soaks"), "{refused}");
    gin.stop();
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_first_start_that_fails_is_told_before_the_end() {
    let collector = Collector::grpc();
    let (code, said) = fleet(&collector).ours("one", "exit").fails();
    assert_ne!(code, 0, "{said}");
    let trace = of_generation(&collector, 1);
    let status = &trace.span("start").status;
    assert!(status.is_error && status.message.contains("status 3"), "{trace}");
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_rolling_restart_has_a_span_for_each_slot() {
    let collector = Collector::grpc();
    let gin = fleet(&collector).ours("one", "ok").workers(3).set("strategy = \"rolling\"").start();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    let trace = of_generation(&collector, 2);
    assert_tree(&trace);
    let replaced = names(&trace).iter().filter(|name| name.starts_with("replaced ")).count();
    assert_eq!(replaced, 3, "{trace}");
    gin.stop();
}

/// The trace that the worker's environment names.
fn inherited(gin: &Supervisor) -> String {
    let environment = std::fs::read(format!("/proc/{}/environ", gin.workers()[0])).unwrap();
    let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let own = variables.find(|variable| variable.starts_with("TRACEPARENT=00-")).expect("it is given");
    assert!(own.ends_with("-01"), "{own}");
    own.split('-').nth(1).unwrap().to_owned()
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_worker_of_any_language_is_told_its_trace() {
    let collector = Collector::grpc();
    let gin = fleet(&collector).foreign("one", "ok").start();
    assert_eq!(inherited(&gin), of_generation(&collector, 1).id);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    assert_eq!(inherited(&gin), of_generation(&collector, 2).id);
    gin.stop();
    // Without a receiver there is none.
    let gin = supervisor().program(&binary("gin-supervisor-otel")).foreign("one", "ok").start();
    let environment = std::fs::read(format!("/proc/{}/environ", gin.workers()[0])).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("TRACEPARENT"));
    gin.stop();
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn another_master_goes_on_with_the_same_trace() {
    let collector = Collector::grpc();
    let mut gin = fleet(&collector).ours("one", "ok").set("drain_timeout = \"60s\"").start();
    assert_eq!(of_generation(&collector, 1).roots().len(), 1);
    // The generation before drains for as long as the test holds a request; meanwhile there are two masters more.
    let hold = gin.hold();
    let mut client = harness::Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let held = hold.arrived();
    gin.restart();
    let current = collector.until_trace(|trace| names(trace).contains(&"current") && root(trace).is_none());
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    gin.die_and_adopt();
    held.release();
    assert_eq!(client.response().unwrap().status, 200);
    let trace = of_generation(&collector, 2);
    assert_eq!(trace.id, current.id);
    assert!(names(&trace).contains(&"drained"), "{trace}");
    assert_tree(&trace);
    gin.restart();
    assert_eq!(of_generation(&collector, 3).roots().len(), 1);
    gin.stop();
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_receiver_that_hangs_keeps_no_restart_and_no_end_waiting() {
    let collector = Collector::grpc();
    collector.behave(harness::Behaviour::Hangs);
    let gin = fleet(&collector).ours("one", "ok").start();
    for _ in 0..3 {
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    }
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert!(!collector.until_asked(1).is_empty());
    assert!(collector.spans().is_empty());
    gin.stop();
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_supervisor_without_the_feature_says_so() {
    let collector = Collector::grpc();
    let program = binary("gin-supervisor");
    let (code, said) = fleet(&collector).program(&program).fails();
    assert_ne!(code, 0);
    assert!(said.contains("supervisor.traces") && said.contains("otel"), "{said}");
}

/// Context switches of all threads of the master.
fn switches(gin: &Supervisor) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", gin.pid())).unwrap().flatten();
    let count = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    threads.map(count).sum()
}

#[test]
#[ignore = "needs a supervisor with traces: tests/run --services"]
fn a_master_that_has_sent_a_trace_never_wakes_up_by_itself() {
    let collector = Collector::grpc();
    let gin = fleet(&collector).ours("one", "ok").start();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    assert_tree(&of_generation(&collector, 2));
    // The connection of the exporter closes after 30 s without a span: that is its last wake-up. Then none is left; silence has no
    // event, so two looks ten seconds apart must be equal.
    let mut before = switches(&gin);
    let idle = (0..6).any(|_| {
        // The time is what is measured.
        std::thread::sleep(std::time::Duration::from_secs(10));
        let now = switches(&gin);
        std::mem::replace(&mut before, now) == now
    });
    assert!(idle, "the master wakes up again and again");
    gin.stop();
}

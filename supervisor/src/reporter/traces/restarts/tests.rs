//! Reports in the orders in which a machine gives them, and the spans that come of them.

use gin_shared::generation::Slot;

use super::*;
use crate::exit_status::Exit;

/// The wall clock at the boot of the machine.
const BOOT_NS: u64 = 1_795_651_200_000_000_000;
const MS: u64 = 1_000_000;

/// An instance, as its machine would tell of it.
struct World {
    restarts: Restarts,
    history: History,
    current: Option<Generation>,
    now: Moment,
    said: Vec<String>,
}

impl World {
    /// Generation 1 serves.
    fn serving() -> Self {
        let mut history = History::default();
        history.push(record(1, None, Moment(0), 0));
        let restarts = Restarts::new("shop", Moment(7));
        Self { restarts, history, current: Some(Generation(1)), now: Moment(0), said: Vec::new() }
    }

    /// Another master goes on.
    fn succeeded(self) -> Self {
        Self { restarts: Restarts::new("shop", Moment(7)), ..self }
    }

    /// Reports something at this time; gives the spans that end with it.
    fn at(&mut self, ms: u64, report: &Report) -> Vec<Span> {
        self.now = Moment(ms * MS);
        let facts = Facts {
            now: self.now,
            wall_ns: BOOT_NS + self.now.0,
            current: self.current,
            history: &self.history,
            said: self.said.clone(),
        };
        let mut spans = Vec::new();
        self.restarts.report(report, &facts, &mut |span| spans.push(span));
        spans
    }

    /// The candidate has become current.
    fn becomes_current(&mut self, ms: u64, id: u64) -> Vec<Span> {
        self.history.push(record(id, None, Moment(ms * MS), ms));
        self.current = Some(Generation(id));
        self.at(ms, &phase(id, Phase::Current, 10))
    }

    fn withdrawn(&mut self, ms: u64, id: u64, failure: Failure) -> Vec<Span> {
        self.history.push(record(id, Some(failure.clone()), Moment(ms * MS), ms));
        let generation = Generation(id);
        self.at(ms, &Report::Withdrawn { generation, phase: Phase::Ready, failure, worker: None })
    }
}

/// The upgrade that began at the boot.
fn record(id: u64, failure: Option<Failure>, ended: Moment, took_ms: u64) -> Record {
    Record {
        generation: Generation(id),
        release: Some(format!("r{id}")),
        failure,
        said: Vec::new(),
        asked_by: "root".to_owned(),
        rollback: None,
        phases: Vec::new(),
        ended,
        took: Duration::from_millis(took_ms),
    }
}

fn candidate(id: u64) -> Report {
    Report::Candidate {
        generation: Generation(id),
        operations: vec![OperationId(40 + id)],
        asked_by: "root".to_owned(),
    }
}

fn phase(id: u64, phase: Phase, took_ms: u64) -> Report {
    Report::Phase { generation: Generation(id), phase, workers: 1, took: Duration::from_millis(took_ms) }
}

fn gone(id: u64, took_ms: u64) -> Report {
    Report::Gone { generation: Generation(id), took: Duration::from_millis(took_ms) }
}

fn worker(id: u64, attempt: u32) -> WorkerId {
    WorkerId { generation: Generation(id), slot: Slot(0), attempt }
}

fn is_now(worker: WorkerId, what: WorkerReport) -> Report {
    Report::Worker { worker, pid: Some(77), what, took: Duration::from_millis(5) }
}

/// Names of spans, with their begins and ends in milliseconds since the boot.
fn times(spans: &[Span]) -> Vec<(&str, u64, u64)> {
    let ms = |ns: u64| (ns - BOOT_NS) / MS;
    spans.iter().map(|span| (span.name.as_str(), ms(span.start_ns), ms(span.end_ns))).collect()
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Attribute> {
    span.attributes.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

#[test]
fn a_restart_ends_with_the_generation_before_it() {
    let mut world = World::serving();
    assert!(world.at(0, &candidate(2)).is_empty());
    assert!(world.restarts.of_drain(worker(1, 0)).is_none());
    assert!(world.at(10, &is_now(worker(2, 0), WorkerReport::Spawned)).is_empty());
    assert!(world.at(20, &is_now(worker(2, 0), WorkerReport::Started)).is_empty());
    assert!(world.at(30, &is_now(worker(2, 0), WorkerReport::Ready)).is_empty());
    let ready = world.at(30, &phase(2, Phase::Ready, 25));
    assert_eq!(times(&ready), [("ready", 5, 30)]);
    let serves = world.at(40, &is_now(worker(2, 0), WorkerReport::Serving));
    assert_eq!(times(&serves), [("worker 2.0", 10, 40)]);
    let events: Vec<_> = serves[0].events.iter().map(|(at, name)| ((at - BOOT_NS) / MS, name.as_str())).collect();
    assert_eq!(events, [(20, "started"), (30, "ready")]);
    assert_eq!(times(&world.becomes_current(100, 2)), [("current", 90, 100)]);
    let root = world.restarts.root(Generation(2));
    assert_eq!(world.restarts.of_drain(worker(1, 0)), Some(root));
    assert!(world.restarts.of_drain(worker(2, 0)).is_none());

    let ended = world.at(150, &gone(1, 50));
    assert_eq!(times(&ended), [("drained", 100, 150), ("restart", 0, 150)]);
    let restart = &ended[1];
    assert_eq!((restart.context, restart.parent, &restart.error), (root, None, &None));
    assert_eq!(attribute(restart, "gin.asked_by"), Some(&Attribute::from("root")));
    assert_eq!(attribute(restart, "gin.release"), Some(&Attribute::from("r2")));
    assert_eq!(attribute(restart, "gin.operation"), Some(&Attribute::Integer(42)));
    for span in [&ready[0], &serves[0], &ended[0]] {
        assert_eq!((span.context.trace, span.parent), (root.trace, Some(root.span)), "{}", span.name);
    }
}

#[test]
fn a_first_generation_has_no_other_to_wait_for() {
    let mut world = World { current: None, history: History::default(), ..World::serving() };
    world.at(0, &candidate(1));
    assert_eq!(times(&world.becomes_current(30, 1)), [("current", 20, 30), ("start", 0, 30)]);
}

#[test]
fn a_stop_is_no_restart() {
    let mut world = World::serving();
    assert!(world.at(10, &gone(1, 5)).is_empty());
}

#[test]
fn a_restart_that_fails_ends_with_the_reason_and_the_workers_last_words() {
    let mut world = World::serving();
    world.at(0, &candidate(2));
    world.at(10, &is_now(worker(2, 0), WorkerReport::Spawned));
    world.said = vec!["x".repeat(2000), "no such table".to_owned()];
    let failure = Failure::Exited { slot: 0, pid: Some(77), exit: Exit::Code(1), after: Duration::from_millis(3) };
    let failed = world.at(20, &is_now(worker(2, 0), WorkerReport::Failed(failure.clone())));
    assert_eq!(times(&failed), [("worker 2.0", 10, 20)]);
    assert_eq!(failed[0].error, Some(failure.to_string()));
    let Some(Attribute::Text(said)) = attribute(&failed[0], "gin.last_words") else { panic!("{failed:?}") };
    assert!(said.len() == SAID_MAX && said.ends_with("\nno such table"), "{said}");

    let withdrawn = world.withdrawn(30, 2, failure.clone());
    assert_eq!(times(&withdrawn), [("restart", 0, 30)]);
    assert_eq!(withdrawn[0].error, Some(failure.to_string()));
    assert_eq!(attribute(&withdrawn[0], "error.type"), Some(&Attribute::from("failed")));
    // Its other workers drain because of it, and its end is no restart's.
    assert_eq!(world.restarts.of_drain(worker(2, 0)), Some(withdrawn[0].context));
    assert!(world.restarts.of_drain(worker(1, 0)).is_none());
    assert!(world.at(50, &gone(2, 20)).is_empty());
    assert!(world.restarts.restarts.is_empty());
}

#[test]
fn a_worker_without_a_process_has_a_span_too() {
    let mut world = World::serving();
    world.at(0, &candidate(2));
    let failure = Failure::Spawn("no memory".to_owned());
    let failed = world.at(20, &is_now(worker(2, 0), WorkerReport::Failed(failure)));
    assert_eq!(times(&failed), [("worker 2.0", 15, 20)]);
}

#[test]
fn a_restart_that_is_called_off_says_so() {
    let mut world = World::serving();
    world.at(0, &candidate(2));
    world.at(10, &is_now(worker(2, 0), WorkerReport::Spawned));
    let withdrawn = world.withdrawn(30, 2, Failure::Cancelled("root has called it off".to_owned()));
    assert_eq!(withdrawn[0].error.as_deref(), Some("cancelled: root has called it off"));
    assert_eq!(attribute(&withdrawn[0], "error.type"), Some(&Attribute::from("cancelled")));
    world.at(31, &is_now(worker(2, 0), WorkerReport::Draining));
    let ended = world.at(40, &is_now(worker(2, 0), WorkerReport::Exited(Exit::Code(0))));
    assert_eq!((times(&ended), &ended[0].error), (vec![("worker 2.0", 10, 40)], &None));
}

#[test]
fn a_rolling_restart_has_a_part_a_slot() {
    let mut world = World::serving();
    world.at(0, &candidate(2));
    assert!(world.restarts.of_drain(worker(1, 0)).is_none());
    let replaced =
        |slots| Report::Replaced { generation: Generation(2), slots, workers: 2, took: Duration::from_millis(20) };
    assert_eq!(times(&world.at(20, &replaced(1))), [("replaced 1 of 2", 0, 20)]);
    assert_eq!(world.restarts.of_drain(worker(1, 0)), Some(world.restarts.root(Generation(2))));
    assert_eq!(times(&world.at(40, &replaced(2))), [("replaced 2 of 2", 20, 40)]);
    world.becomes_current(40, 2);
    assert_eq!(times(&world.at(60, &gone(1, 20))), [("drained", 40, 60), ("restart", 0, 60)]);
}

#[test]
fn a_worker_that_is_started_again_belongs_to_its_generation() {
    let mut world = World::serving();
    world.at(0, &is_now(worker(1, 0), WorkerReport::Spawned));
    assert_eq!(world.at(1, &is_now(worker(1, 0), WorkerReport::Serving)).len(), 1);
    let failure = Failure::Exited { slot: 0, pid: Some(77), exit: Exit::Code(1), after: Duration::from_millis(3) };
    assert!(world.at(10, &is_now(worker(1, 0), WorkerReport::Failed(failure))).is_empty());
    assert!(world.at(10, &is_now(worker(1, 0), WorkerReport::Respawn(Duration::ZERO))).is_empty());
    world.at(20, &is_now(worker(1, 1), WorkerReport::Spawned));
    let again = world.at(30, &is_now(worker(1, 1), WorkerReport::Serving));
    assert_eq!(times(&again), [("worker 1.0", 20, 30)]);
    assert_eq!(again[0].context, world.restarts.of_worker(worker(1, 1)));
    assert_eq!(again[0].parent, Some(world.restarts.root(Generation(1)).span));
}

#[test]
fn another_master_goes_on_and_no_restart_is_told_twice() {
    let mut world = World::serving();
    world.at(0, &candidate(2));
    let told = world.becomes_current(100, 2);
    let mut world = world.succeeded();
    let ended = world.at(150, &gone(1, 50));
    assert_eq!(times(&ended), [("drained", 100, 150), ("restart", 0, 150)]);
    assert!(told.iter().all(|span| ended.iter().all(|other| other.context.span != span.context.span)));
    assert_eq!(Some(ended[1].context.span), told[0].parent);

    // One that died with a candidate: the next one withdraws it.
    world.at(200, &candidate(3));
    let mut world = world.succeeded();
    let withdrawn = world.withdrawn(210, 3, Failure::Cancelled("the supervisor died".to_owned()));
    assert_eq!(times(&withdrawn), [("restart", 0, 210)]);
    assert_eq!(world.restarts.of_drain(worker(3, 0)), Some(withdrawn[0].context));
    assert!(world.at(220, &gone(3, 10)).is_empty());
}

#[test]
fn each_of_two_restarts_ends_with_its_own_generation() {
    let mut world = World::serving();
    world.at(0, &candidate(2));
    world.becomes_current(10, 2);
    world.at(20, &candidate(3));
    world.withdrawn(25, 3, Failure::Prepare("no such file".to_owned()));
    world.at(30, &candidate(4));
    world.becomes_current(40, 4);
    let restarts = [2, 4].map(|id| world.restarts.root(Generation(id)));
    assert_eq!([1, 2].map(|id| world.restarts.of_drain(worker(id, 0))), restarts.map(Some));
    let second = world.at(50, &gone(2, 10));
    assert_eq!((second[1].name.as_str(), second[1].context), ("restart", restarts[1]));
    let first = world.at(60, &gone(1, 50));
    assert_eq!((first[1].name.as_str(), first[1].context), ("restart", restarts[0]));
}

#[test]
fn ids_are_those_of_the_instance_and_of_nothing_else() {
    let of = |instance, first, worker| Restarts::new(instance, Moment(first)).of_worker(worker);
    let one = of("shop", 7, worker(1, 0));
    assert_eq!(of("shop", 7, worker(1, 0)), one);
    let respawned = of("shop", 7, worker(1, 1));
    assert!(respawned.trace == one.trace && respawned.span != one.span && one.is_sampled);
    let others = [of("shop", 8, worker(1, 0)), of("till", 7, worker(1, 0)), of("shop", 7, worker(2, 0))];
    assert!(others.iter().all(|other| other.trace != one.trace && other.span != one.span));
}

#[test]
fn restarts_that_leave_no_worker_are_forgotten() {
    let mut world = World::serving();
    for id in 2..1000 {
        world.at(id, &candidate(id));
        assert_eq!(world.withdrawn(id, id, Failure::Prepare("no such file".to_owned())).len(), 1);
    }
    assert_eq!(world.restarts.restarts.len(), REMEMBERED);
    assert!(world.restarts.starting.is_empty());
}

#[test]
fn a_text_is_cut_between_two_characters() {
    assert_eq!(end_of("short"), "short");
    let cut = end_of(&"ä".repeat(SAID_MAX)).to_owned();
    assert_eq!(cut, "ä".repeat(SAID_MAX / 2));
    assert_eq!(end_of(&format!("{}x", "ä".repeat(SAID_MAX))).len(), SAID_MAX - 1);
}

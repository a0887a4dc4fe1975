//! The memory as processes see it that share it, that die, and that write nonsense into it.

mod nonsense;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::*;
use crate::generation::{Generation, Slot};

/// Where [`a_process_of_its_own`] finds its memory.
const MEMORY: &str = "GIN_TEST_METRICS_MEMORY";
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

fn memfd(length: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("gin-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, length).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// Memory that lives as long as the process, as a worker's does.
fn kept(memory: Memory) -> &'static Memory {
    Box::leak(Box::new(memory))
}

fn mapped(fd: &OwnedFd) -> &'static Memory {
    kept(Memory::map(fd.try_clone().unwrap()).unwrap())
}

fn who(generation: u64, slot: u32) -> Option<(Generation, Slot)> {
    Some((Generation(generation), Slot(slot)))
}

fn defined(name: &str, shape: Shape) -> Definition {
    Definition { name: name.to_owned(), help: "Help.".to_owned(), shape }
}

fn counter(name: &str) -> Definition {
    defined(name, Shape::Counter)
}

fn histogram(name: &str, bounds: &[f64]) -> Definition {
    defined(name, Shape::Histogram { bounds: bounds.to_vec(), scale: 1000, count_as: None })
}

fn series<'a>(snapshot: &'a Snapshot, name: &str, labels: &[(&str, &str)]) -> Option<&'a Value> {
    let family = snapshot.families.iter().find(|family| family.name == name)?;
    let is_it = |series: &&Series| {
        let own: Vec<(&str, &str)> =
            series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        own == labels
    };
    family.series.iter().find(is_it).map(|series| &series.value)
}

/// The value of a counter or a gauge, if there is one.
fn number(snapshot: &Snapshot, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    match series(snapshot, name, labels)? {
        Value::Counter(value) | Value::Gauge(value) => Some(*value),
        Value::Histogram(_) => None,
    }
}

fn buckets(snapshot: &Snapshot, name: &str) -> Buckets {
    match series(snapshot, name, &[]) {
        Some(Value::Histogram(buckets)) => buckets.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_mappings_of_one_file_are_one_memory() {
    let fd = memfd(Memory::length(100), SEALS);
    let (one, other) = (mapped(&fd), mapped(&fd));
    let first = one.claim(who(1, 0)).unwrap();
    let second = other.claim(who(1, 1)).unwrap();
    first.series(&counter("jobs_total"), &[("kind", "a")], 8).add(3, 2);
    second.series(&counter("jobs"), &[("kind", "a")], 1).add(7, 40);
    assert_eq!(one.read(), other.read());
    assert_eq!(number(&one.read(), "jobs", &[("kind", "a")]), Some(42.0));
    let own = one.read_by_worker();
    assert_eq!(number(&own, "jobs", &[("kind", "a"), ("generation", "1"), ("slot", "0")]), Some(2.0));
    assert_eq!(number(&own, "jobs", &[("kind", "a"), ("generation", "1"), ("slot", "1")]), Some(40.0));
    assert!(!first.repaired() && !second.repaired());
}

#[test]
fn the_same_series_has_the_same_cells() {
    let writer = kept(Memory::own(10)).claim(None).unwrap();
    let first = writer.series(&counter("jobs"), &[("a", "1"), ("b", "2")], 4);
    let second = writer.series(&counter("jobs"), &[("b", "2"), ("a", "1")], 8);
    first.add(0, 1);
    second.add(5, 1);
    assert_eq!((first.value(), first.place()), (2.0, Place::Own));
}

#[test]
fn what_is_not_such_a_memory_is_refused() {
    let message = |fd| Memory::map(fd).unwrap_err().to_string();
    let length = Memory::length(4);
    assert!(message(memfd(length, SealFlags::empty())).contains("may shrink"));
    assert!(message(memfd(length, SealFlags::GROW)).contains("may shrink"));
    for odd in [0, 8, 4096, length - 8, length + 8] {
        assert!(message(memfd(odd, SEALS)).contains("a length that it cannot have"), "{odd}");
    }
    let fd = memfd(length, SEALS);
    rustix::io::pwrite(&fd, b"gin\0met\x02", 0).unwrap();
    assert!(message(fd).contains("another version"));
    // A header of no version at all is mended.
    let fd = memfd(length, SEALS);
    rustix::io::pwrite(&fd, b"nonsense", 0).unwrap();
    assert_eq!(mapped(&fd).read(), mapped(&fd).read());
}

#[test]
fn all_regions_can_have_owners_and_no_more() {
    let fd = memfd(Memory::length(1), SEALS);
    let memory = mapped(&fd);
    let all: Vec<Writer> = std::iter::from_fn(|| memory.claim(None)).collect();
    assert_eq!(all.len(), 256);
    all.iter().for_each(|writer| writer.series(&counter("jobs"), &[], 1).add(0, 1));
    assert_eq!(number(&memory.read(), "jobs", &[]), Some(256.0));
    assert!(mapped(&fd).claim(None).is_none());
    let own = kept(Memory::own(1));
    assert!(own.claim(None).is_some() && own.claim(None).is_none());
}

/// A part of the test below: counts, says so, and waits until it is killed.
#[test]
#[ignore = "a_region_is_given_back_by_the_death_of_its_owner runs it as a process"]
fn a_process_of_its_own() {
    let Some(path) = std::env::var_os(MEMORY) else { return };
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let writer = kept(Memory::map(file.into()).unwrap()).claim(who(1, 2)).unwrap();
    writer.series(&counter("jobs"), &[], 8).add(5, 5);
    writer.series(&defined("queue", Shape::Gauge), &[], 1).set(3.0);
    println!("claimed");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_region_is_given_back_by_the_death_of_its_owner() {
    let fd = memfd(Memory::length(10), SEALS);
    let memory = mapped(&fd);
    let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["metrics::tests::a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
        .env(MEMORY, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("claimed")), "the process has ended");

    let seen = memory.read();
    assert_eq!((number(&seen, "jobs", &[]), number(&seen, "queue", &[])), (Some(5.0), Some(3.0)));
    let labels = [("generation", "1"), ("slot", "2")];
    assert_eq!(number(&memory.read_by_worker(), "jobs", &labels), Some(5.0));
    // Its region is not given to another.
    let beside = memory.claim(who(2, 0)).unwrap();
    beside.series(&counter("jobs"), &[], 8).add(0, 100);
    assert!(memory.used(0) > 0 && memory.used(1) > 0);

    child.kill().unwrap();
    child.wait().unwrap();
    let left = memory.read();
    assert_eq!((number(&left, "jobs", &[]), number(&left, "queue", &[])), (Some(105.0), None));
    assert_eq!(series(&memory.read_by_worker(), "jobs", &labels), None);

    let used = memory.used(0);
    let next = memory.claim(who(2, 1)).unwrap();
    let jobs = next.series(&counter("jobs"), &[], 8);
    jobs.add(1, 2);
    assert_eq!((jobs.value(), memory.used(2)), (7.0, 0), "it goes on in the region of the dead one");
    assert_eq!(memory.used(0), used);
    assert_eq!(number(&memory.read(), "jobs", &[]), Some(107.0));
    let labels = [("generation", "2"), ("slot", "1")];
    assert_eq!(number(&memory.read_by_worker(), "jobs", &labels), Some(2.0));
}

#[test]
fn gauges_end_with_their_owner_and_counts_do_not() {
    let memory = kept(Memory::own(20));
    let (queue, temperature) = (defined("queue", Shape::IntGauge), defined("temperature", Shape::Gauge));
    let times = histogram("times", &[0.1, 1.0]);
    let first = memory.claim(who(1, 0)).unwrap();
    let waiting = first.series(&queue, &[], 8);
    waiting.add_int(0, 5);
    waiting.add_int(1, -7);
    first.series(&temperature, &[], 8).set(20.5);
    first.series(&temperature, &[], 8).add_float(0.25);
    first.series(&times, &[], 2).observe(0, 1, 500);
    let seen = memory.read();
    assert_eq!((number(&seen, "queue", &[]), waiting.value()), (Some(-2.0), -2.0));
    assert_eq!(number(&seen, "temperature", &[]), Some(20.75));

    memory.give_back();
    let left = memory.read();
    assert_eq!((series(&left, "queue", &[]), series(&left, "temperature", &[])), (None, None));
    assert_eq!(buckets(&left, "times"), Buckets { bounds: vec![0.1, 1.0], counts: vec![0, 1, 0], sum: 0.5 });

    let second = memory.claim(who(1, 0)).unwrap();
    second.series(&temperature, &[], 1).add_float(1.0);
    second.series(&times, &[], 2).observe(1, 99, 2500);
    let seen = memory.read();
    // It has not asked for the other gauge.
    assert_eq!((series(&seen, "queue", &[]), number(&seen, "temperature", &[])), (None, Some(1.0)));
    assert_eq!(buckets(&seen, "times"), Buckets { bounds: vec![0.1, 1.0], counts: vec![0, 1, 1], sum: 3.0 });
    let own = memory.read_by_worker();
    let Some(Value::Histogram(times)) = series(&own, "times", &[("generation", "1"), ("slot", "0")]) else {
        panic!("{own:?}")
    };
    assert_eq!((times.counts.as_slice(), times.sum), ([0, 0, 1].as_slice(), 2.5));
    assert!(!second.repaired());
}

#[test]
fn a_sum_without_room_stays_where_it_is() {
    let memory = kept(Memory::own(10));
    let cells = memory.claim(None).unwrap().series(&histogram("sizes", &[1.0]), &[], 2);
    cells.observe(0, 1, 7);
    cells.observe(0, 1, u64::MAX);
    let full = buckets(&memory.read(), "sizes").sum;
    [0, 1].iter().for_each(|shard| cells.observe(*shard, 0, 1000));
    let told = buckets(&memory.read(), "sizes");
    assert_eq!((told.counts.as_slice(), told.sum), ([2, 2].as_slice(), full));
    assert!(full > 1e16, "{full}");
}

#[test]
fn a_histogram_tells_its_number_as_a_counter() {
    let memory = kept(Memory::own(10));
    let count_as = Some(("requests_total".to_owned(), "Requests.".to_owned()));
    let shape = Shape::Histogram { bounds: vec![1.0], scale: 1_000_000_000, count_as };
    let cells = memory.claim(None).unwrap().series(&defined("seconds", shape), &[("a", "b")], 8);
    (0..10).for_each(|shard| cells.observe(shard, shard % 2, 250_000_000));
    let seen = memory.read();
    assert_eq!(number(&seen, "requests", &[("a", "b")]), Some(10.0));
    let Some(Value::Histogram(told)) = series(&seen, "seconds", &[("a", "b")]) else { panic!("{seen:?}") };
    assert_eq!((told.counts.as_slice(), told.sum, cells.value()), ([5, 5].as_slice(), 2.5, 10.0));
}

#[test]
fn owners_with_other_bounds_or_kinds_are_brought_together() {
    let fd = memfd(Memory::length(10), SEALS);
    let memory = mapped(&fd);
    let (old, new) = (memory.claim(who(1, 0)).unwrap(), memory.claim(who(2, 0)).unwrap());
    old.series(&histogram("times", &[1.0, 5.0]), &[], 1).observe(0, 1, 4000);
    new.series(&histogram("times", &[2.0, 5.0]), &[], 1).observe(0, 0, 1500);
    old.series(&counter("x"), &[], 1).add(0, 1);
    new.series(&defined("x", Shape::IntGauge), &[], 1).add_int(0, 9);
    let seen = memory.read();
    let both = Buckets { bounds: vec![1.0, 2.0, 5.0], counts: vec![0, 1, 1, 0], sum: 5.5 };
    assert_eq!((buckets(&seen, "times"), seen.dropped), (both, 1));
    assert_eq!(series(&seen, "x", &[]), Some(&Value::Counter(1.0)));
}

#[test]
fn series_without_room_are_one_and_nothing_is_lost() {
    let memory = kept(Memory::own(10));
    let writer = memory.claim(None).unwrap();
    let places: Vec<Place> = (0..1000)
        .map(|n| {
            let cells = writer.series(&counter("jobs"), &[("kind", &n.to_string())], 1);
            cells.add(0, 1);
            cells.place()
        })
        .collect();
    assert_eq!(places.iter().filter(|place| **place == Place::Overflow).count(), 990);
    let seen = memory.read();
    assert_eq!((number(&seen, "jobs", &[("kind", "overflow")]), seen.dropped), (Some(990.0), 0));
    // The same ones again.
    assert_eq!(writer.series(&counter("jobs"), &[("kind", "999")], 1).place(), Place::Overflow);
    assert_eq!(writer.series(&counter("jobs"), &[("kind", "9")], 1).place(), Place::Own);
    // One without labels has room that is kept for it.
    assert_eq!(writer.series(&counter("plain"), &[], 1).place(), Place::Own);
}

#[test]
fn a_full_arena_loses_counts_and_nothing_else() {
    let memory = kept(Memory::own(1));
    let writer = memory.claim(None).unwrap();
    let large = histogram("large", &[0.1, 0.2, 0.3]);
    let cells = writer.series(&large, &[("a", "b")], 64);
    assert_eq!(cells.place(), Place::Overflow);
    cells.observe(63, 3, 1);
    let Some(Value::Histogram(told)) = series(&memory.read(), "large", &[("a", "overflow")]).cloned() else {
        panic!("it has one shard, and so it fits")
    };
    assert_eq!(told.counts, [0, 0, 0, 1]);
    let names: Vec<String> = (0..100).map(|n| format!("large_{n}")).collect();
    for name in &names {
        let cells = writer.series(&histogram(name, &[0.1, 0.2, 0.3]), &[], 64);
        cells.observe(63, 99, 1);
    }
    let seen = memory.read();
    assert_eq!((seen.families.len() < 10, seen.dropped), (true, 0));
}

#[test]
fn what_prometheus_could_not_read_is_not_told() {
    let memory = kept(Memory::own(10));
    let writer = memory.claim(None).unwrap();
    for (name, label) in [("9a", "b"), ("a", "b-c"), ("a", "__b")] {
        let cells = writer.series(&counter(name), &[(label, "x")], 8);
        cells.add(3, 1);
        assert_eq!(cells.place(), Place::Overflow, "{name} {label}");
    }
    let long = "x".repeat(100_000);
    writer.series(&counter("a"), &[("b", &long)], 1).add(0, 1);
    let seen = memory.read();
    assert_eq!((number(&seen, "a", &[("b", "overflow")]), seen.families.len()), (Some(1.0), 1));
}

#[test]
fn cells_of_another_shape_never_panic() {
    let writer = kept(Memory::own(10)).claim(None).unwrap();
    for shape in [Shape::Counter, Shape::IntGauge, Shape::Gauge] {
        for shards in [0, 1, 3, 1000] {
            let cells = writer.series(&defined("x", shape.clone()), &[], shards);
            cells.observe(usize::MAX, usize::MAX, u64::MAX);
            cells.add(usize::MAX, u64::MAX);
            cells.add_int(7, i64::MIN);
            cells.add_float(f64::NAN);
            assert!(!format!("{cells:?} {writer:?}").is_empty());
        }
    }
}

#[test]
fn a_count_never_goes_back_while_others_add_and_read() {
    const EACH: u64 = 20_000;
    let memory = kept(Memory::own(10));
    let writer = memory.claim(None).unwrap();
    let cells = writer.series(&histogram("times", &[1.0]), &[], 4);
    std::thread::scope(|scope| {
        let adding: Vec<_> = (0..4)
            .map(|shard| scope.spawn(move || (0..EACH).for_each(|n| cells.observe(shard, usize::from(n % 2 == 0), 1))))
            .collect();
        let mut last = 0;
        while !adding.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let now: u64 = buckets(&memory.read(), "times").counts.iter().sum();
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    });
    let told = buckets(&memory.read(), "times");
    assert_eq!((told.counts, told.sum), (vec![2 * EACH, 2 * EACH], 4.0 * EACH as f64 / 1000.0));
}

//! Words that nobody of ours would write.

use std::sync::atomic::Ordering;

use super::*;

/// First word of the arena of a memory of one process.
const ARENA: usize = 32;
/// Word that says how many words of the arena are used.
const USED: usize = 20;

/// Numbers without an end (xorshift), the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap() % limit
    }

    /// A value that a broken process might give a word.
    fn instead_of(&mut self, word: u64) -> u64 {
        match self.below(7) {
            0 => self.next(),
            1 => word ^ (1 << self.below(64)),
            2 => self.next() % 300,
            3 => f64::NAN.to_bits(),
            4 => f64::INFINITY.to_bits(),
            5 => u64::MAX,
            _ => 0,
        }
    }
}

/// Counts in a series of each shape; gives a counter without labels.
fn count(writer: &Writer) -> Cells {
    let count_as = Some(("times_counted".to_owned(), String::new()));
    let counted = Shape::Histogram { bounds: vec![0.5, 1.0], scale: 1000, count_as };
    writer.series(&defined("times", counted), &[("a", "b")], 2).observe(1, 1, 700);
    writer.series(&defined("queue", Shape::IntGauge), &[("a", "b")], 4).add_int(3, -1);
    writer.series(&defined("temperature", Shape::Gauge), &[], 1).set(1.5);
    writer.series(&histogram("sizes", &[]), &[], 1).observe(0, 0, 1);
    writer.series(&counter("jobs"), &[], 2)
}

/// Everything in the snapshot makes sense, and can be told.
fn makes_sense(snapshot: &Snapshot) {
    assert!(snapshot.families.is_sorted_by(|one, next| one.name < next.name), "{snapshot:?}");
    for family in &snapshot.families {
        assert!(is_name(&family.name) && !family.series.is_empty(), "{family:?}");
        for Series { labels, value } in &family.series {
            assert!(labels.iter().all(|(name, _)| is_label_name(name)), "{labels:?}");
            let is_possible = match value {
                Value::Counter(value) => value.is_finite() && *value >= 0.0,
                Value::Gauge(value) => value.is_finite(),
                Value::Histogram(Buckets { bounds, counts, sum }) => {
                    counts.len() == bounds.len() + 1
                        && bounds.is_sorted_by(|one, next| one < next)
                        && sum.is_finite()
                        && counts.iter().sum::<u64>() <= 1 << 53
                }
            };
            assert!(is_possible, "{}: {value:?}", family.name);
        }
    }
    assert!(encode(snapshot.families.clone(), Format::OpenMetrics).ends_with("# EOF\n"));
    let _ = encode(snapshot.families.clone(), Format::Prometheus);
}

#[test]
fn random_words_mislead_neither_a_reader_nor_the_next_owner() {
    let memory = kept(Memory::own(4));
    let words = memory.words();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut exact = 0;
    for round in 0..1500 {
        if round % 25 == 0 {
            words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        memory.give_back();
        count(&memory.claim(who(1, 0)).unwrap()).add(0, 1);
        let places: Vec<usize> = if round % 5 == 0 {
            (0..words.len()).collect()
        } else {
            let used = ARENA + memory.used(0);
            (0..1 + random.below(12)).map(|_| random.below(used)).collect()
        };
        for place in places {
            let value = random.instead_of(words[place].load(Ordering::Relaxed));
            words[place].store(value, Ordering::Relaxed);
        }
        makes_sense(&memory.read());
        makes_sense(&memory.read_by_worker());

        memory.give_back();
        let writer = memory.claim(who(7, 1)).unwrap();
        let jobs = count(&writer);
        jobs.add(1, 3);
        makes_sense(&memory.read());
        let own = memory.read_by_worker();
        makes_sense(&own);
        if jobs.place() == Place::Own && own.dropped == 0 {
            let jobs = number(&own, "jobs", &[("generation", "7"), ("slot", "1")]);
            assert_eq!(jobs, Some(3.0), "round {round}");
            exact += 1;
        }
    }
    assert!(exact > 100, "{exact}");
}

#[test]
fn random_words_in_a_shared_memory_mislead_nobody() {
    let fd = memfd(Memory::length(1), SEALS);
    let memory = mapped(&fd);
    count(&memory.claim(who(1, 0)).unwrap()).add(0, 1);
    let mut random = Random(7);
    for word in memory.words() {
        word.store(random.next(), Ordering::Relaxed);
    }
    makes_sense(&memory.read());
    makes_sense(&memory.read_by_worker());
    assert!(memory.read().dropped > 0);
    let next = mapped(&fd);
    let writer = next.claim(who(1, 1)).unwrap();
    assert!(writer.repaired());
    count(&writer).add(0, 2);
    let jobs = number(&memory.read_by_worker(), "jobs", &[("generation", "1"), ("slot", "1")]);
    assert_eq!(jobs, Some(2.0));
}

#[test]
fn entries_that_are_cut_off_are_dropped_and_the_others_stay() {
    let memory = kept(Memory::own(8));
    count(&memory.claim(who(1, 0)).unwrap()).add(0, 1);
    let whole = memory.used(0);
    let mut complete = 0;
    for used in 0..=whole {
        memory.words()[USED].store(used as u64, Ordering::Relaxed);
        let seen = memory.read();
        makes_sense(&seen);
        assert!(seen.dropped <= 1, "{used}: {}", seen.dropped);
        complete += u64::from(seen.dropped == 0);
    }
    assert_eq!(complete, 6, "none, and up to each of five entries");
    // The next owner has what is whole, and says that it lost something.
    memory.words()[USED].store(whole as u64 - 1, Ordering::Relaxed);
    memory.give_back();
    let writer = memory.claim(who(1, 0)).unwrap();
    assert!(writer.repaired());
    assert_eq!(count(&writer).value(), 0.0);
    let times = memory.read().families.into_iter().find(|family| family.name == "times_counted").unwrap();
    assert_eq!(times.series[0].value, Value::Counter(2.0));
}

#[test]
fn entries_at_other_words_are_dropped() {
    let memory = kept(Memory::own(8));
    count(&memory.claim(who(1, 0)).unwrap()).add(0, 1);
    let words = memory.words();
    for at in (ARENA + 1..=ARENA + memory.used(0)).rev() {
        words[at].store(words[at - 1].load(Ordering::Relaxed), Ordering::Relaxed);
    }
    words[ARENA].store(0, Ordering::Relaxed);
    let seen = memory.read();
    assert_eq!((seen.families.len(), seen.dropped), (0, 1));
    memory.give_back();
    let writer = memory.claim(who(1, 0)).unwrap();
    assert!(writer.repaired());
    count(&writer).add(0, 5);
    assert_eq!(number(&memory.read(), "jobs", &[]), Some(5.0));
}

#[test]
fn no_gauge_lives_on_by_the_claim_of_the_next_owner() {
    let memory = kept(Memory::own(8));
    let temperature = || defined("temperature", Shape::Gauge);
    memory.claim(who(1, 0)).unwrap().series(&temperature(), &[], 1).set(1.5);
    let claim = &memory.words()[ARENA + 1];
    claim.store(claim.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    memory.give_back();
    let next = memory.claim(who(1, 0)).unwrap();
    assert!(next.repaired() && memory.read().families.is_empty());
    next.series(&temperature(), &[], 1).add_float(2.0);
    assert_eq!(number(&memory.read(), "temperature", &[]), Some(2.0));
}

#[test]
fn a_count_that_nobody_can_have_is_dropped_and_begins_anew() {
    let memory = kept(Memory::own(8));
    let writer = memory.claim(who(1, 0)).unwrap();
    let (jobs, sizes) = (writer.series(&counter("jobs"), &[], 1), writer.series(&histogram("sizes", &[1.0]), &[], 1));
    jobs.add(0, u64::MAX);
    sizes.observe(0, 0, u64::MAX);
    let seen = memory.read();
    assert_eq!((seen.families.len(), seen.dropped), (1, 1), "any sum is possible");
    memory.give_back();
    let next = memory.claim(who(1, 0)).unwrap();
    assert!(next.repaired());
    next.series(&counter("jobs"), &[], 1).add(0, 1);
    assert_eq!(number(&memory.read(), "jobs", &[]), Some(1.0));
    assert_eq!(memory.read().dropped, 0);
}

#[test]
fn one_writer_takes_neither_all_memory_of_a_reader_nor_the_room_of_others() {
    let fd = memfd(Memory::length(1024), SEALS);
    let (memory, others) = (mapped(&fd), mapped(&fd));
    let (greedy, other) = (memory.claim(who(1, 0)).unwrap(), others.claim(who(1, 1)).unwrap());
    // Their text would be 8 MB for each series: each bucket tells all labels.
    let (bounds, long): (Vec<f64>, _) = ((0..1000).map(f64::from).collect(), "x".repeat(8000));
    for number in 0..30 {
        let number = number.to_string();
        let labels = [("long", long.as_str()), ("number", number.as_str())];
        let cells = greedy.series(&histogram("large", &bounds), &labels, 1);
        assert_eq!(cells.place(), Place::Own);
        cells.observe(0, 0, 1);
    }
    other.series(&counter("jobs"), &[], 1).add(0, 1);
    for seen in [memory.read(), memory.read_by_worker()] {
        let [jobs, large] = seen.families.as_slice() else { panic!("{} families", seen.families.len()) };
        assert_eq!((jobs.name.as_str(), large.name.as_str()), ("jobs", "large"));
        let told = large.series.len();
        assert!(told > 0 && told * bounds.len() * long.len() < 128 << 20, "{told}");
        assert_eq!(seen.dropped, 30 - told as u64);
    }
}

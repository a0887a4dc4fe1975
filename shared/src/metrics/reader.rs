//! Reads all regions. Any worker may have written anything: what is impossible is dropped and counted, each word is read once, and the way
//! through a region ends after as many steps as it has words, whatever its writer does meanwhile.
//!
//! A region's entries are found by their keys, whose text is read only once for all regions.

use std::collections::HashMap;

use super::entry::{self, Described, Span, Step};
use super::family::{Family, Kind, Value};
use super::hash::Secret;
use super::merge::{Part, merge};
use super::region::{Region, Term};
use super::total::{Total, collect};

/// Words of one snapshot and of its text (128 MiB): more is dropped, so that nobody who writes can make a reader run out of memory.
const ROOM: usize = 16 << 20;
/// Words of a line's own, beside the name and the labels that are told in each: the bound, and the value.
const LINE: usize = 8;
/// Words that a label takes beside its text.
const LABEL: usize = 14;

/// All that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Families, sorted by name, each with at least one series. Series are sorted by labels.
    pub families: Vec<Family>,
    /// Number of series that made no sense, or clash with others of the name.
    pub dropped: u64,
}

/// The sum over these regions, each with whether its owner lives. Gauges count while they do.
pub(super) fn read<'a>(regions: impl Iterator<Item = (Region<'a>, bool)>) -> Snapshot {
    let mut reader = Reader::new(ROOM);
    for (region, has_owner) in regions {
        let term = if has_owner { region.term() } else { None };
        reader.region(&region, term, false);
    }
    let mut parts = Vec::new();
    let dropped = reader.parts(None, &mut parts);
    told(parts, dropped)
}

/// The counts of each owner that lives, of its own time alone, with its generation and slot as labels.
pub(super) fn read_by_worker<'a>(regions: impl Iterator<Item = (Region<'a>, bool)>) -> Snapshot {
    let (mut parts, mut dropped, mut room) = (Vec::new(), 0, ROOM);
    for (region, has_owner) in regions {
        let Some(term) = region.term().filter(|_| has_owner) else { continue };
        let mut reader = Reader::new(room);
        reader.region(&region, Some(term), true);
        room = reader.room;
        // Another owner may have come meanwhile: then cells and bases do not fit.
        if region.term() == Some(term) {
            dropped += reader.parts(term.who, &mut parts);
        }
    }
    told(parts, dropped)
}

fn told(parts: Vec<Part>, dropped: u64) -> Snapshot {
    let (families, clashes) = merge(parts);
    Snapshot { families, dropped: dropped + clashes }
}

struct Reader {
    /// Words that new series may still take.
    room: usize,
    /// Place in `series` of each key; none if the key means nothing.
    known: HashMap<Box<[u64]>, Option<usize>, Secret>,
    series: Vec<Summed>,
    dropped: u64,
    /// Of the entry that is being read.
    key: Vec<u64>,
    cells: Vec<u64>,
}

/// A series with the sum so far.
struct Summed {
    described: Described,
    total: Total,
    /// True if a worker that lives counts in it.
    is_live: bool,
    is_told: bool,
}

impl Reader {
    fn new(room: usize) -> Self {
        let known = HashMap::with_hasher(Secret::default());
        Self { room, known, series: Vec::new(), dropped: 0, key: Vec::new(), cells: Vec::new() }
    }

    /// Adds a region. `own`: only the owner's series, and only what it has counted itself.
    fn region(&mut self, region: &Region<'_>, term: Option<Term>, own: bool) {
        // Half of the room is kept for the regions that come.
        let kept = self.room / 2;
        self.room -= kept;
        self.entries(region, term, own);
        self.room += kept;
    }

    fn entries(&mut self, region: &Region<'_>, term: Option<Term>, own: bool) {
        let (used, mut at) = (region.used(), 0);
        loop {
            match entry::step(region.arena, at, used) {
                Step::Entry(span) => {
                    self.entry(region, &span, term, own);
                    at = span.end;
                }
                Step::Gap(end) => at = end,
                Step::End => return,
                Step::Nonsense => {
                    self.dropped += 1;
                    return;
                }
            }
        }
    }

    fn entry(&mut self, region: &Region<'_>, span: &Span, term: Option<Term>, own: bool) {
        let is_gauge = span.sort.kind() == Kind::Gauge;
        let is_live = term.is_some_and(|term| span.claim(region.arena) == term.claim);
        if !is_live && (is_gauge || own) {
            return;
        }
        // A gauge begins anew with each owner.
        let based = term.filter(|_| own && !is_gauge).map_or(0, |term| term.based);
        collect(region, span, based, &mut self.cells);
        let is_possible = self.place(region, span).is_some_and(|place| {
            let summed = &mut self.series[place];
            let is_possible = summed.total.add(&self.cells);
            summed.is_live |= is_live && is_possible;
            summed.is_told |= is_possible;
            is_possible
        });
        self.dropped += u64::from(!is_possible);
    }

    /// Where the entry is added.
    fn place(&mut self, region: &Region<'_>, span: &Span) -> Option<usize> {
        span.key(region.arena, &mut self.key);
        if let Some(known) = self.known.get(self.key.as_slice()) {
            return *known;
        }
        if self.room == 0 {
            return None;
        }
        let described = entry::decode(&self.key);
        let labels = described.as_ref().map_or(0, |described| described.labels.len());
        let Some(left) = self.room.checked_sub(cost(&self.key, span, labels)) else {
            self.room = 0;
            return None;
        };
        self.room = left;
        let place = described.map(|described| {
            let total = Total::of(&described);
            self.series.push(Summed { described, total, is_live: false, is_told: false });
            self.series.len() - 1
        });
        self.known.insert(self.key.as_slice().into(), place);
        place
    }

    /// Gives what was found, with these labels beside, and the number of entries that were dropped.
    fn parts(self, who: Option<(u64, u64)>, into: &mut Vec<Part>) -> u64 {
        for Summed { mut described, total, is_live, .. } in self.series.into_iter().filter(|summed| summed.is_told) {
            let value = total.value(&described);
            let mut labels = std::mem::take(&mut described.labels);
            if let Some((generation, slot)) = who {
                add_worker(&mut labels, generation, slot);
            }
            if let (Some((name, help)), Value::Histogram(buckets)) = (described.count_as, &value) {
                let count = Value::Counter(buckets.counts.iter().sum::<u64>() as f64);
                into.push(Part { name, help, labels: labels.clone(), value: count, is_live });
            }
            let (name, help) = (described.name, described.help);
            into.push(Part { name, help, labels, value, is_live });
        }
        self.dropped
    }
}

/// Words that a new series takes, with its text: its name and labels stand in each line of a histogram again.
fn cost(key: &[u64], span: &Span, labels: usize) -> usize {
    let text = key.len().saturating_sub(span.bounds);
    key.len() + span.width() + labels * LABEL + (text + LINE) * (span.bounds + 3)
}

/// Adds the labels of a worker. A label that already has such a name is called `exported_…`, as Prometheus does it.
fn add_worker(labels: &mut Vec<(String, String)>, generation: u64, slot: u64) {
    for (name, number) in [("generation", generation), ("slot", slot)] {
        while let Some(at) = labels.iter().position(|(own, _)| own == name) {
            let mut other = format!("exported_{name}");
            while labels.iter().any(|(own, _)| *own == other) {
                other.insert_str(0, "exported_");
            }
            labels[at].0 = other;
        }
        labels.push((name.to_owned(), number.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_of_the_application_makes_room() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut labels = vec![pair("slot", "a"), pair("exported_slot", "b")];
        add_worker(&mut labels, 3, 1);
        let told = [
            pair("exported_exported_slot", "a"),
            pair("exported_slot", "b"),
            pair("generation", "3"),
            pair("slot", "1"),
        ];
        assert_eq!(labels, told);
    }
}

//! Entries of an arena: a series each.
//!
//! | word | |
//! |---|---|
//! | 0 | tag: sort (8 bits), shards (8), number of bounds (16), bytes of the text (32) |
//! | 1 | number of the claim whose owner asked for the series last |
//! | 2 | scale of a histogram's sum |
//! | 3 | the text: name, help, of a [`Sort::CountedHistogram`] its counter's name and help, then each label's name and value; a NUL behind each |
//! | | the bounds, as bits of an f64 |
//! | at the next multiple of 16 words | the cells: of each shard a line of 16 words or more, or one word if there is one shard of one word |
//!
//! The *key* of an entry is what two entries for the same thing have in common: the tag without shards, the scale, the text, the bounds.

use std::sync::atomic::{AtomicU64, Ordering};

use super::definition::{Definition, Shape};
use super::family::{Kind, is_label_name, is_name, without_total};
use crate::mapping::WORD;

/// Words that a thread writes to without slowing others down: two cache lines, for the processor fetches pairs.
pub(super) const LINE: usize = 16;
/// Words before the text.
const FIXED: usize = 3;
/// Place of the claim in an entry.
const CLAIM: usize = 1;
/// Longest text, in bytes.
const TEXT_MAX: usize = 8192;
/// Most bounds of a histogram.
pub(super) const BOUNDS_MAX: usize = 1024;
const NO_BOUNDS: &[f64] = &[];
/// Most shards of a series. Their number is a power of two.
pub(super) const SHARDS_MAX: usize = 64;
/// Sort of a gap: words that a new owner could make no sense of. Their number stands where an entry has the bytes of its text.
const GAP: u64 = 6;

/// Kind of an entry's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Sort {
    Counter = 1,
    IntGauge = 2,
    Gauge = 3,
    Histogram = 4,
    /// A histogram that is told as a counter, too.
    CountedHistogram = 5,
}

impl Sort {
    fn of(tag: u64) -> Option<Self> {
        let all = [Self::Counter, Self::IntGauge, Self::Gauge, Self::Histogram, Self::CountedHistogram];
        all.into_iter().find(|sort| u64::from(*sort as u8) == tag & 0xff)
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Counter => Kind::Counter,
            Self::IntGauge | Self::Gauge => Kind::Gauge,
            Self::Histogram | Self::CountedHistogram => Kind::Histogram,
        }
    }
}

/// A number in a tag.
fn bits(tag: u64, from: u32, count: u32) -> usize {
    usize::try_from((tag >> from) & ((1 << count) - 1)).unwrap_or(usize::MAX)
}

/// Place of an entry, measured by its tag alone. It is within the arena's used words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) sort: Sort,
    pub(super) shards: usize,
    pub(super) bounds: usize,
    text: usize,
    pub(super) start: usize,
    /// First word of the cells.
    pub(super) cells: usize,
    /// First word behind the cells.
    pub(super) end: usize,
}

impl Span {
    /// The entry with this tag at this word, if it is possible and ends before `room`.
    pub(super) fn of(tag: u64, start: usize, room: usize) -> Option<Self> {
        let sort = Sort::of(tag)?;
        let (shards, bounds, text) = (bits(tag, 8, 8), bits(tag, 16, 16), bits(tag, 32, 32));
        let has_bounds = sort.kind() == Kind::Histogram;
        let is_possible = shards.is_power_of_two()
            && shards <= SHARDS_MAX
            && (shards == 1 || sort != Sort::Gauge)
            && bounds <= BOUNDS_MAX
            && (bounds == 0 || has_bounds)
            && text <= TEXT_MAX;
        if !is_possible {
            return None;
        }
        let head = FIXED + text.div_ceil(WORD) + bounds;
        let cells = (start + head).next_multiple_of(LINE);
        let own = Self { sort, shards, bounds, text, start, cells, end: cells };
        let end = cells + shards * own.stride();
        (end <= room).then_some(Self { end, ..own })
    }

    /// Words of a shard that count.
    pub(super) fn width(&self) -> usize {
        if self.sort.kind() == Kind::Histogram { self.bounds + 2 } else { 1 }
    }

    /// Words from one shard to the next.
    pub(super) fn stride(&self) -> usize {
        let is_one_word = self.shards == 1 && self.width() == 1;
        if is_one_word { 1 } else { self.width().next_multiple_of(LINE) }
    }

    /// Copies the key out of the arena.
    pub(super) fn key(&self, arena: &[AtomicU64], into: &mut Vec<u64>) {
        into.clear();
        into.push(u64::from(self.sort as u8) | (self.bounds as u64) << 16 | (self.text as u64) << 32);
        let end = self.start + FIXED + self.text.div_ceil(WORD) + self.bounds;
        into.extend(arena[self.start + FIXED - 1..end].iter().map(|word| word.load(Ordering::Relaxed)));
    }

    /// Number of the claim whose owner asked for the series last.
    pub(super) fn claim(&self, arena: &[AtomicU64]) -> u64 {
        arena[self.start + CLAIM].load(Ordering::Acquire)
    }

    /// Says that this owner asked for the series.
    pub(super) fn set_claim(&self, arena: &[AtomicU64], claim: u64) {
        arena[self.start + CLAIM].store(claim, Ordering::Release);
    }

    /// Sets all cells to 0.
    pub(super) fn clear(&self, arena: &[AtomicU64]) {
        arena[self.cells..self.end].iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }

    /// Writes an entry of this key, without a claim and with cells that are 0. Nobody reads it before it is published.
    pub(super) fn write(&self, arena: &[AtomicU64], key: &[u64]) {
        let tag = key[0] | (self.shards as u64) << 8;
        let words = [tag, 0].into_iter().chain(key[1..].iter().copied());
        for (word, value) in arena[self.start..self.cells].iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        self.clear(arena);
    }

    /// Makes a gap of the entry.
    pub(super) fn erase(&self, arena: &[AtomicU64]) {
        let words = (self.end - self.start) as u64;
        arena[self.start].store(GAP | words << 32, Ordering::Release);
    }
}

/// Contents of a place in an arena.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Entry(Span),
    /// A gap that ends before this word.
    Gap(usize),
    /// Nothing: it is the first word that is not used.
    End,
    /// Nothing that a writer could have written. What follows cannot be read either.
    Nonsense,
}

/// Contents of an arena at word `at`; its first `used` words are used. The next step is always further on.
pub(super) fn step(arena: &[AtomicU64], at: usize, used: usize) -> Step {
    let arena = &arena[..used];
    let Some(word) = arena.get(at) else { return Step::End };
    let tag = word.load(Ordering::Relaxed);
    if tag & 0xff == GAP {
        let end = at.saturating_add(bits(tag, 32, 32));
        return if end > at && end <= used { Step::Gap(end) } else { Step::Nonsense };
    }
    Span::of(tag, at, used).map_or(Step::Nonsense, Step::Entry)
}

/// The meaning of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    pub(super) sort: Sort,
    pub(super) name: String,
    pub(super) help: String,
    /// Name and help of the counter that tells the number of observations.
    pub(super) count_as: Option<(String, String)>,
    /// Sorted by name.
    pub(super) labels: Vec<(String, String)>,
    pub(super) scale: u64,
    pub(super) bounds: Vec<f64>,
}

/// The key of a series. `None` if [`decode`] would refuse it.
pub(super) fn encode(definition: &Definition, labels: &[(&str, &str)]) -> Option<Vec<u64>> {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    let (sort, scale, bounds) = match &definition.shape {
        Shape::Counter => (Sort::Counter, 1, NO_BOUNDS),
        Shape::IntGauge => (Sort::IntGauge, 1, NO_BOUNDS),
        Shape::Gauge => (Sort::Gauge, 1, NO_BOUNDS),
        Shape::Histogram { bounds, scale, count_as: None } => (Sort::Histogram, *scale, bounds.as_slice()),
        Shape::Histogram { bounds, scale, count_as: Some(_) } => (Sort::CountedHistogram, *scale, bounds.as_slice()),
    };
    let name = definition.name.as_str();
    let name = if sort == Sort::Counter { without_total(name) } else { name };
    let mut pieces = vec![name, definition.help.as_str()];
    if let Shape::Histogram { count_as: Some((name, help)), .. } = &definition.shape {
        pieces.extend([without_total(name), help.as_str()]);
    }
    pieces.extend(labels.iter().flat_map(|(name, value)| [*name, *value]));
    let text: String = pieces.iter().map(|piece| piece.replace('\0', "\u{fffd}") + "\0").collect();
    let bounds: Vec<u64> = bounds.iter().take_while(|bound| bound.is_finite()).map(|bound| bound.to_bits()).collect();
    if text.len() > TEXT_MAX || bounds.len() > BOUNDS_MAX {
        return None;
    }
    let mut key = vec![u64::from(sort as u8) | (bounds.len() as u64) << 16 | (text.len() as u64) << 32, scale];
    key.extend(text.as_bytes().chunks(WORD).map(|chunk| {
        let mut word = [0; WORD];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    }));
    key.extend(bounds);
    decode(&key).map(|_| key)
}

/// The meaning of a key. `None` if no text of Prometheus could tell it.
pub(super) fn decode(key: &[u64]) -> Option<Described> {
    let (tag, scale) = (*key.first()?, *key.get(1)?);
    let (sort, text) = (Sort::of(tag)?, bits(tag, 32, 32));
    let (words, bounds) = key[2..].split_at_checked(text.div_ceil(WORD))?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).take(text).collect();
    let pieces: Vec<&str> = std::str::from_utf8(&bytes).ok()?.strip_suffix('\0')?.split('\0').collect();
    let (family, mut rest) = pieces.split_at_checked(2)?;
    let mut count_as = None;
    if sort == Sort::CountedHistogram {
        let (counter, labels) = rest.split_at_checked(2)?;
        count_as = Some((counter[0].to_owned(), counter[1].to_owned()));
        rest = labels;
    }
    let (pairs, odd) = rest.as_chunks::<2>();
    let mut labels: Vec<(String, String)> =
        pairs.iter().map(|[name, value]| ((*name).to_owned(), (*value).to_owned())).collect();
    labels.sort_unstable();
    let bounds: Vec<f64> = bounds.iter().map(|bits| f64::from_bits(*bits)).collect();
    let (name, help) = (family[0].to_owned(), family[1].to_owned());
    let described = Described { sort, name, help, count_as, labels, scale, bounds };
    (odd.is_empty() && described.is_possible()).then_some(described)
}

impl Described {
    fn is_possible(&self) -> bool {
        let is_histogram = self.sort.kind() == Kind::Histogram;
        let are_names = is_name(&self.name) && self.count_as.as_ref().is_none_or(|(name, _)| is_name(name));
        let is_label = |name: &str| is_label_name(name) && !(is_histogram && name == "le");
        let are_different = self.labels.windows(2).all(|pair| pair[0].0 != pair[1].0);
        let are_finite = self.bounds.iter().all(|bound| bound.is_finite());
        let ascend = self.bounds.windows(2).all(|pair| pair[0] < pair[1]);
        are_names
            && self.labels.iter().all(|(name, _)| is_label(name))
            && are_different
            && are_finite
            && ascend
            && self.scale != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bounds: &[f64]) -> Definition {
        let shape = Shape::Histogram {
            bounds: bounds.to_vec(),
            scale: 1_000,
            count_as: Some(("jobs_total".to_owned(), "Jobs.".to_owned())),
        };
        Definition { name: "job_seconds".to_owned(), help: "Time.".to_owned(), shape }
    }

    fn counter(name: &str) -> Definition {
        Definition { name: name.to_owned(), help: String::new(), shape: Shape::Counter }
    }

    #[test]
    fn a_key_says_all_that_was_defined() {
        let key = encode(&histogram(&[0.5, 1.0, f64::INFINITY]), &[("b", "2\0"), ("a", "é")]).unwrap();
        let described = decode(&key).unwrap();
        assert_eq!(described.sort, Sort::CountedHistogram);
        assert_eq!((described.name.as_str(), described.help.as_str()), ("job_seconds", "Time."));
        assert_eq!(described.count_as, Some(("jobs".to_owned(), "Jobs.".to_owned())));
        let labels = [("a".to_owned(), "é".to_owned()), ("b".to_owned(), "2\u{fffd}".to_owned())];
        assert_eq!(described.labels, labels);
        assert_eq!((described.scale, described.bounds), (1_000, vec![0.5, 1.0]));
        let plain = decode(&encode(&counter("a_total"), &[]).unwrap()).unwrap();
        assert_eq!((plain.name.as_str(), plain.help.as_str(), plain.labels), ("a", "", Vec::new()));
    }

    #[test]
    fn what_prometheus_could_not_read_has_no_key() {
        let long = "v".repeat(TEXT_MAX);
        let none = |name: &str, labels: &[(&str, &str)]| assert_eq!(encode(&counter(name), labels), None, "{name:?}");
        none("9a", &[]);
        none("", &[]);
        none("a", &[("a-b", "")]);
        none("a", &[("__a", "")]);
        none("a", &[("x", "1"), ("x", "2")]);
        none("a", &[("x", &long)]);
        assert_eq!(encode(&histogram(&[1.0, 1.0]), &[]), None);
        assert_eq!(encode(&histogram(&[2.0, 1.0]), &[]), None);
        assert_eq!(encode(&histogram(&[1.0]), &[("le", "1")]), None);
        assert_eq!(encode(&histogram(&[0.0; BOUNDS_MAX + 1]), &[]), None);
        assert!(encode(&counter("a"), &[("le", "1")]).is_some());
    }

    #[test]
    fn a_cut_key_means_nothing() {
        let key = encode(&histogram(&[0.5, 1.0]), &[("a", "b")]).unwrap();
        for length in 0..5 {
            assert_eq!(decode(&key[..length]), None, "{length}");
        }
        // A text without its last NUL, and one that is no UTF-8.
        let text = encode(&counter("abcdef"), &[]).unwrap();
        assert!(decode(&text).is_some());
        let mut cut = text.clone();
        cut[0] -= 1 << 32;
        assert_eq!(decode(&cut), None);
        let mut broken = text;
        broken[2] |= 0xff;
        assert_eq!(decode(&broken), None);
    }

    #[test]
    fn cells_begin_at_a_line_and_shards_do_not_share_one() {
        let tag = encode(&histogram(&[0.5, 1.0]), &[]).unwrap()[0];
        let span = Span::of(tag | 8 << 8, 5, 1000).unwrap();
        assert_eq!((span.cells % LINE, span.width(), span.stride()), (0, 4, LINE));
        assert_eq!(span.end, span.cells + 8 * LINE);
        assert_eq!(Span::of(tag | 8 << 8, 5, span.end - 1), None, "it would not fit");
        let tag = encode(&counter("a"), &[]).unwrap()[0];
        assert_eq!(Span::of(tag | 1 << 8, 0, 1000).unwrap().stride(), 1);
        assert_eq!(Span::of(tag | 2 << 8, 0, 1000).unwrap().stride(), LINE);
        for shards in [0, 3, 65, 128, 255] {
            assert_eq!(Span::of(tag | shards << 8, 0, 100_000), None, "{shards} shards");
        }
    }

    #[test]
    fn every_step_goes_on_or_ends() {
        let arena: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
        assert_eq!(step(&arena, 0, 0), Step::End);
        assert_eq!(step(&arena, 64, 64), Step::End);
        assert_eq!(step(&arena, 0, 64), Step::Nonsense);
        for (tag, found) in [
            (GAP | 3 << 32, Step::Gap(3)),
            (GAP | 64 << 32, Step::Gap(64)),
            (GAP | 65 << 32, Step::Nonsense),
            (GAP, Step::Nonsense),
            (u64::MAX, Step::Nonsense),
            (7, Step::Nonsense),
        ] {
            arena[0].store(tag, Ordering::Relaxed);
            assert_eq!(step(&arena, 0, 64), found, "{tag:#x}");
        }
    }
}

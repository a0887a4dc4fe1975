//! Families of the parts that regions have: the same series of workers that define it alike, or nearly so.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::entry::BOUNDS_MAX;
use super::family::{Buckets, Family, Kind, Series, TakenNames, Value};
use super::total::LIMIT;

/// A series that is added to those of the same name, kind and labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: Value,
    /// True if a worker that lives counts in it.
    pub(super) is_live: bool,
}

/// A family on its way.
struct Gathered {
    kind: Kind,
    help: String,
    is_live: bool,
    series: BTreeMap<Vec<(String, String)>, Value>,
}

/// Families of all parts, sorted by name, and the number of parts that did not fit: of another kind than the family, too large a sum, or
/// of a family that has a name of another one.
///
/// The first part of a worker that lives says what kind a family is, else the first part.
pub(super) fn merge(parts: Vec<Part>) -> (Vec<Family>, u64) {
    let mut families: BTreeMap<String, Gathered> = BTreeMap::new();
    for part in &parts {
        settle(&mut families, part);
    }
    let mut dropped = 0;
    for Part { name, labels, value, .. } in parts {
        let family = families.get_mut(&name).expect("each name was settled");
        let fits = family.kind == kind(&value) && put(&mut family.series, labels, value);
        dropped += u64::from(!fits);
    }
    let told = families.into_iter().map(|(name, Gathered { kind, help, series, is_live })| {
        let series = series.into_iter().map(|(labels, value)| Series { labels, value }).collect();
        (is_live, Family { name, help, kind, series })
    });
    let (told, clashing) = without_clashes(told.filter(|(_, family)| !family.series.is_empty()).collect());
    (told, dropped + clashing)
}

/// Takes out families whose samples would have a name of another one's, and gives the number of their series. Those stay in which a worker
/// that lives counts, then the first by name. They come sorted, and stay so.
fn without_clashes(mut all: Vec<(bool, Family)>) -> (Vec<Family>, u64) {
    all.sort_by_key(|(is_live, _)| !is_live);
    let (mut taken, mut told, mut dropped) = (TakenNames::default(), Vec::new(), 0);
    for (_, family) in all {
        if taken.take(&family) {
            told.push(family);
        } else {
            dropped += family.series.len() as u64;
        }
    }
    told.sort_by(|one: &Family, other| one.name.cmp(&other.name));
    (told, dropped)
}

/// Says what kind the family of this part is, and what it means.
fn settle(families: &mut BTreeMap<String, Gathered>, part: &Part) {
    let (kind, is_live) = (kind(&part.value), part.is_live);
    match families.get_mut(&part.name) {
        Some(known) if known.is_live || !is_live => {}
        Some(known) => (known.kind, known.help, known.is_live) = (kind, part.help.clone(), true),
        None => {
            let new = Gathered { kind, help: part.help.clone(), is_live, series: BTreeMap::new() };
            families.insert(part.name.clone(), new);
        }
    }
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Counter(_) => Kind::Counter,
        Value::Gauge(_) => Kind::Gauge,
        Value::Histogram(_) => Kind::Histogram,
    }
}

/// False if the sum is no number that can be told.
fn put(series: &mut BTreeMap<Vec<(String, String)>, Value>, labels: Vec<(String, String)>, value: Value) -> bool {
    match series.entry(labels) {
        Entry::Vacant(place) => {
            place.insert(value);
            true
        }
        Entry::Occupied(place) => add(place.into_mut(), value),
    }
}

fn add(to: &mut Value, value: Value) -> bool {
    match (to, value) {
        (Value::Counter(total), Value::Counter(part)) | (Value::Gauge(total), Value::Gauge(part)) => {
            let both = *total + part;
            if both.is_finite() {
                *total = both;
            }
            both.is_finite()
        }
        (Value::Histogram(total), Value::Histogram(part)) => add_buckets(total, part),
        (Value::Counter(_) | Value::Gauge(_) | Value::Histogram(_), _) => false,
    }
}

/// Adds observations, whose bounds may be others. The sum has the bounds of both. A bucket keeps its own upper bound: so at a bound that
/// only the other part has, this one tells as many as at its next lower bound, and no bucket ever goes back.
fn add_buckets(to: &mut Buckets, part: Buckets) -> bool {
    let all = to.counts.iter().chain(&part.counts).fold(0_u64, |all, count| all.saturating_add(*count));
    let sum = to.sum + part.sum;
    if all > LIMIT || !sum.is_finite() {
        return false;
    }
    if to.bounds == part.bounds {
        to.counts.iter_mut().zip(&part.counts).for_each(|(count, part)| *count += part);
        to.sum = sum;
        return true;
    }
    let mut bounds: Vec<f64> = to.bounds.iter().chain(&part.bounds).copied().collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    if bounds.len() > BOUNDS_MAX {
        return false;
    }
    let mut counts = vec![0; bounds.len() + 1];
    for Buckets { bounds: own, counts: of_own, .. } in [&*to, &part] {
        let places = own.iter().map(|bound| bounds.partition_point(|place| place < bound));
        for (place, count) in places.chain([bounds.len()]).zip(of_own) {
            counts[place] += count;
        }
    }
    *to = Buckets { bounds, counts, sum };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, value: Value, is_live: bool) -> Part {
        Part { name: name.to_owned(), help: format!("{is_live}"), labels: Vec::new(), value, is_live }
    }

    fn buckets(bounds: &[f64], counts: &[u64], sum: f64) -> Value {
        Value::Histogram(Buckets { bounds: bounds.to_vec(), counts: counts.to_vec(), sum })
    }

    fn only(families: &[Family]) -> &Value {
        let [Family { series, .. }] = families else { panic!("{families:?}") };
        let [Series { value, .. }] = series.as_slice() else { panic!("{series:?}") };
        value
    }

    #[test]
    fn the_same_series_is_added_up() {
        let parts = vec![part("a", Value::Counter(1.0), false), part("a", Value::Counter(2.0), true)];
        let (families, dropped) = merge(parts);
        assert_eq!((only(&families), dropped), (&Value::Counter(3.0), 0));
        assert_eq!(families[0].help, "true", "the help of the one that lives");
    }

    #[test]
    fn families_and_series_are_sorted() {
        let labels = |value: &str| vec![("l".to_owned(), value.to_owned())];
        let mut parts = vec![part("b", Value::Gauge(1.0), true), part("a", Value::Counter(1.0), true)];
        for value in ["z", "y"] {
            parts.push(Part { labels: labels(value), ..part("b", Value::Gauge(1.0), true) });
        }
        let (families, _) = merge(parts);
        let names: Vec<&str> = families.iter().map(|family| family.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let all: Vec<_> = families[1].series.iter().map(|series| series.labels.clone()).collect();
        assert_eq!(all, [Vec::new(), labels("y"), labels("z")]);
    }

    #[test]
    fn bounds_that_differ_are_united_and_nothing_goes_back() {
        let old = buckets(&[1.0, 5.0], &[1, 2, 3], 10.0);
        let new = buckets(&[1.0, 2.0, 10.0], &[10, 20, 30, 40], 5.5);
        let both = merge(vec![part("a", old, false), part("a", new, true)]).0;
        // At most 2: of the old ones those that are at most 1.
        assert_eq!(*only(&both), buckets(&[1.0, 2.0, 5.0, 10.0], &[11, 20, 2, 30, 43], 15.5));
        let none =
            merge(vec![part("a", buckets(&[], &[7], 1.0), false), part("a", buckets(&[1.0], &[1, 1], 1.0), true)]);
        assert_eq!(*only(&none.0), buckets(&[1.0], &[1, 8], 2.0));
    }

    #[test]
    fn the_kind_of_one_that_lives_wins_and_else_the_first() {
        let (counter, gauge) = (|live| part("a", Value::Counter(1.0), live), |live| part("a", Value::Gauge(7.0), live));
        assert_eq!(*only(&merge(vec![counter(false), gauge(true)]).0), Value::Gauge(7.0));
        assert_eq!(*only(&merge(vec![counter(false), gauge(false)]).0), Value::Counter(1.0));
        assert_eq!(*only(&merge(vec![counter(true), gauge(true)]).0), Value::Counter(1.0));
        assert_eq!(merge(vec![counter(true), gauge(true), gauge(false)]).1, 2);
    }

    #[test]
    fn no_two_families_have_a_sample_of_the_same_name() {
        let names = |parts| {
            let (families, dropped) = merge(parts);
            (families.into_iter().map(|family| family.name).collect::<Vec<_>>(), dropped)
        };
        let gauge = |name, live| part(name, Value::Gauge(1.0), live);
        let counter = |name, live| part(name, Value::Counter(1.0), live);
        let times = |live| part("times", buckets(&[1.0], &[1, 2], 3.0), live);
        let told = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(vec![times(true), gauge("times_count", true), gauge("a", true)]), (told(&["a", "times"]), 1));
        assert_eq!(names(vec![times(false), gauge("times_sum", true)]), (told(&["times_sum"]), 1));
        assert_eq!(names(vec![counter("x", true), gauge("x_total", true)]), (told(&["x"]), 1));
        assert_eq!(names(vec![counter("x_total", true), counter("x", false)]), (told(&["x_total"]), 1));
        assert_eq!(names(vec![counter("x_count", true), gauge("x", true)]), (told(&["x", "x_count"]), 0));
    }

    #[test]
    fn a_sum_that_nobody_can_tell_is_dropped() {
        let huge = || part("a", Value::Gauge(f64::MAX), true);
        let (families, dropped) = merge(vec![huge(), huge()]);
        assert_eq!((only(&families), dropped), (&Value::Gauge(f64::MAX), 1));
        let full = || part("a", buckets(&[], &[LIMIT], 0.0), true);
        assert_eq!(merge(vec![full(), full()]).1, 1);
    }
}

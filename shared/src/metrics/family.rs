//! Families of series as they are told: data without a source.

use std::collections::HashSet;

/// Kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A count that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Observations, counted by size.
    Histogram,
}

impl Kind {
    /// The names that samples of such a family have, and its own. None of them may be another family's: a scraper refuses all of a text
    /// that has a name twice.
    ///
    /// ```
    /// use gin_shared::metrics::Kind;
    ///
    /// assert!(Kind::Histogram.sample_names("jobs").any(|name| name == "jobs_count"));
    /// assert!(Kind::Counter.sample_names("jobs").any(|name| name == "jobs_total"));
    /// ```
    pub fn sample_names(self, family: &str) -> impl Iterator<Item = String> {
        let family = if self == Self::Counter { without_total(family) } else { family };
        let suffixes: &[&str] = match self {
            Self::Gauge => &[""],
            Self::Counter => &["", "_total"],
            Self::Histogram => &["", "_bucket", "_sum", "_count"],
        };
        suffixes.iter().map(move |suffix| format!("{family}{suffix}"))
    }
}

/// The names of samples that families have: no two of an answer may have one of the same name, or a scraper refuses all of it.
#[derive(Debug, Default)]
pub struct TakenNames(HashSet<String>);

impl TakenNames {
    /// Takes the names of a family's samples. False if another family has one of them: then none is taken.
    ///
    /// ```
    /// use gin_shared::metrics::{Family, TakenNames};
    ///
    /// let mut taken = TakenNames::default();
    /// assert!(taken.take(&Family::counter("jobs", "Jobs done.")));
    /// assert!(!taken.take(&Family::gauge("jobs_total", "All jobs.")));
    /// ```
    pub fn take(&mut self, family: &Family) -> bool {
        let names: Vec<String> = family.kind.sample_names(&family.name).collect();
        let is_free = !names.iter().any(|name| self.0.contains(name));
        if is_free {
            self.0.extend(names);
        }
        is_free
    }
}

/// All series of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Name, for which [`is_name`] is true. That of a counter has no `_total` at its end.
    pub name: String,
    /// Meaning, in one line for people.
    pub help: String,
    /// Kind of each series.
    pub kind: Kind,
    /// The series, no two with the same labels.
    pub series: Vec<Series>,
}

/// A value of a family, with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Names and values. [`is_label_name`] is true for each name, and no two names are equal.
    pub labels: Vec<(String, String)>,
    /// The value, of the family's kind.
    pub value: Value,
}

/// A value, finite.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// That of a counter, 0 or more.
    Counter(f64),
    /// That of a gauge.
    Gauge(f64),
    /// That of a histogram.
    Histogram(Buckets),
}

/// Observations, counted by size.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// Upper bound of each bucket, ascending and finite.
    pub bounds: Vec<f64>,
    /// Observations of each bucket alone. There is one more than there are bounds: observations above the last bound.
    pub counts: Vec<u64>,
    /// Sum of all observations.
    pub sum: f64,
}

impl Family {
    /// A family of counters, without a series yet. A `_total` at the end of the name is taken away.
    ///
    /// ```
    /// use gin_shared::metrics::{Family, Format, encode};
    ///
    /// let family = Family::counter("jobs", "Jobs done.").with(&[("kind", "mail")], 3.0);
    /// let text = encode(vec![family], Format::Prometheus);
    /// assert_eq!(text, "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{kind=\"mail\"} 3\n");
    /// ```
    #[must_use]
    pub fn counter(name: &str, help: &str) -> Self {
        Self { name: without_total(name).to_owned(), help: help.to_owned(), kind: Kind::Counter, series: Vec::new() }
    }

    /// A family of gauges, without a series yet.
    #[must_use]
    pub fn gauge(name: &str, help: &str) -> Self {
        Self { name: name.to_owned(), help: help.to_owned(), kind: Kind::Gauge, series: Vec::new() }
    }

    /// Adds a series with these labels. A family of histograms stays as it is: one number is no histogram.
    #[must_use]
    pub fn with(mut self, labels: &[(&str, &str)], value: f64) -> Self {
        let value = match self.kind {
            Kind::Counter => Value::Counter(value),
            Kind::Gauge => Value::Gauge(value),
            Kind::Histogram => return self,
        };
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.series.push(Series { labels, value });
        self
    }
}

/// The name of a family of counters: Prometheus' text adds `_total`, so the name itself has none.
pub(super) fn without_total(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// True if Prometheus takes this as a name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    is_word(text, b":")
}

/// True if Prometheus takes this as the name of a label: `[a-zA-Z_][a-zA-Z0-9_]*`, without `__` at its beginning, which Prometheus
/// keeps for itself.
#[must_use]
pub fn is_label_name(text: &str) -> bool {
    is_word(text, b"") && !text.starts_with("__")
}

/// True for letters, digits, `_` and what else is allowed, without a digit at the beginning.
fn is_word(text: &str, also: &[u8]) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || also.contains(&byte);
    text.bytes().next().is_some_and(|first| !first.is_ascii_digit()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_prometheus_takes() {
        for name in ["a", "_", ":", "http_requests_total", "job:rate5m", "A9"] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", "9a", "a-b", "a b", "ä", "a\0", "a{"] {
            assert!(!is_name(name), "{name:?}");
            assert!(!is_label_name(name), "{name:?}");
        }
        assert!(is_label_name("route") && is_label_name("_a"));
        assert!(!is_label_name("__name__") && !is_label_name("a:b"));
    }

    #[test]
    fn a_family_gathers_series_of_its_kind() {
        let family = Family::counter("jobs_total", "Jobs.").with(&[("kind", "a")], 1.0).with(&[], 2.0);
        assert_eq!((family.name.as_str(), family.kind), ("jobs", Kind::Counter));
        assert_eq!(family.series[0].labels, [("kind".to_owned(), "a".to_owned())]);
        assert_eq!(family.series[1], Series { labels: Vec::new(), value: Value::Counter(2.0) });
        assert_eq!(Family::gauge("queue", "Queue.").with(&[], 0.5).series[0].value, Value::Gauge(0.5));
    }
}

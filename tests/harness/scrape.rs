//! Metrics as one answer tells them: Prometheus' text or OpenMetrics, read into a map.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Address, Client, Failure, Response};

/// Endings of samples' names behind the name of their family.
const ENDINGS: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

/// The metrics of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    /// The type of each family. Counters stand without `_total` in both formats.
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<Series, f64>,
}

/// A sample's name and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// With the ending that a counter or a histogram gives it.
    pub name: String,
    /// By their names.
    pub labels: BTreeMap<String, String>,
}

impl Series {
    /// True if it has this label with this value.
    #[must_use]
    pub fn has(&self, label: &str, value: &str) -> bool {
        self.labels.get(label).is_some_and(|own| own == value)
    }
}

impl Scrape {
    /// Asks for `path` at `address`, on a connection of its own.
    ///
    /// # Errors
    /// The harm to the client; a status other than 200.
    ///
    /// # Panics
    /// If the answer is not in the format.
    pub fn of(address: &Address, path: &str) -> Result<Self, Failure> {
        let response = Self::ask(address, path, "")?;
        if response.status == 200 { Ok(Self::from(&response)) } else { Err(Failure::Status(response.status)) }
    }

    /// Asks in the same way, with more lines in the head of the request. Returns the answer as it is.
    ///
    /// # Errors
    /// The harm to the client.
    pub fn ask(address: &Address, path: &str, fields: &str) -> Result<Response, Failure> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        Client::asking(address, &head)?.response()
    }

    /// Reads a text.
    ///
    /// # Panics
    /// If a line is not in the format, or a series or the type of a family stands there twice.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix('#') {
                scrape.comment(comment.trim_start());
                continue;
            }
            let (series, value) = sample(line).unwrap_or_else(|| panic!("no sample: {line:?}"));
            let before = scrape.samples.insert(series, value);
            assert!(before.is_none(), "a series stands there twice: {line:?}");
        }
        scrape
    }

    fn comment(&mut self, comment: &str) {
        let Some((name, kind)) = comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' ')) else { return };
        let name = if kind == "counter" { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let before = self.kinds.insert(name.to_owned(), kind.to_owned());
        assert!(before.is_none(), "the type of {name} stands there twice");
    }

    /// The sum over the series of this name that have all these labels. `None` if there is no such series.
    #[must_use]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values =
            self.series(name).filter(|(series, _)| labels.iter().all(|(label, value)| series.has(label, value)));
        values.map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    /// The same for a number that must be there.
    ///
    /// # Panics
    /// If there is no such series.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or_else(|| panic!("no {name} with {labels:?} in {:#?}", self.families("")))
    }

    /// The series of this name.
    pub fn series(&self, name: &str) -> impl Iterator<Item = (&Series, f64)> {
        self.samples.iter().filter(move |(series, _)| series.name == name).map(|(series, value)| (series, *value))
    }

    /// Sums over the series of this name, by a label's value. A series without the label counts under the empty value.
    #[must_use]
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for (series, value) in self.series(name) {
            *sums.entry(series.labels.get(label).cloned().unwrap_or_default()).or_default() += value;
        }
        sums
    }

    /// Names of the families that begin with `prefix`, and their types.
    #[must_use]
    pub fn families(&self, prefix: &str) -> BTreeMap<&str, &str> {
        let kinds = self.kinds.iter().filter(|(name, _)| name.starts_with(prefix));
        kinds.map(|(name, kind)| (name.as_str(), kind.as_str())).collect()
    }

    /// Names of the labels that series have whose names begin with `prefix`.
    #[must_use]
    pub fn labels(&self, prefix: &str) -> BTreeSet<&str> {
        let series = self.samples.keys().filter(|series| series.name.starts_with(prefix));
        series.flat_map(|series| series.labels.keys().map(String::as_str)).collect()
    }

    /// The part of it whose series satisfy `is_wanted`.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&Series) -> bool) -> Self {
        let samples = self.samples.iter().filter(|(series, _)| is_wanted(series));
        Self { kinds: self.kinds.clone(), samples: samples.map(|(series, value)| (series.clone(), *value)).collect() }
    }

    /// Its samples.
    #[must_use]
    pub fn samples(&self) -> &BTreeMap<Series, f64> {
        &self.samples
    }

    /// Each counter and each number of a histogram that is less in `later`, or gone there.
    #[must_use]
    pub fn set_back_in(&self, later: &Self) -> Vec<String> {
        let only_grows = self.samples.iter().filter(|(series, _)| self.only_grows(&series.name));
        let is_set_back = |(series, before): &(&Series, &f64)| later.number(series).is_none_or(|now| now < **before);
        let told = |(series, before): (&Series, &f64)| format!("{series:?}: {before}, then {:?}", later.number(series));
        only_grows.filter(is_set_back).map(told).collect()
    }

    fn number(&self, series: &Series) -> Option<f64> {
        self.samples.get(series).copied()
    }

    fn only_grows(&self, name: &str) -> bool {
        let family = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
        self.kinds.get(family).is_some_and(|kind| ["counter", "histogram"].contains(&kind.as_str()))
    }
}

impl From<&Response> for Scrape {
    fn from(response: &Response) -> Self {
        Self::parse(std::str::from_utf8(&response.body).expect("metrics are text"))
    }
}

fn sample(line: &str) -> Option<(Series, f64)> {
    let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = read_labels(inside, &mut labels)?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((Series { name: name.to_owned(), labels }, value))
}

/// Reads labels up to the closing brace. Returns the text behind it.
fn read_labels<'a>(mut rest: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(behind) = rest.strip_prefix('}') {
            return Some(behind);
        }
        let (label, quoted) = rest.split_once("=\"")?;
        let (value, behind) = unquoted(quoted)?;
        if labels.insert(label.to_owned(), value).is_some() {
            return None;
        }
        rest = behind;
    }
}

/// Reads a value up to its closing quote. Returns it and the text behind the quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"}\\n\"} 2\n\
                        a_total{x=\"2\"} 3 1700000000\n# TYPE b gauge\nb 1.5\n# TYPE c histogram\n\
                        c_bucket{le=\"+Inf\"} 4\nc_sum 0.5\nc_count 4\n";

    #[test]
    fn samples_are_found_by_their_labels() {
        let scrape = Scrape::parse(TEXT);
        assert_eq!(scrape.get("a_total", &[]), Some(5.0));
        assert_eq!(scrape.value("a_total", &[("y", "q\"}\n")]), 2.0);
        assert_eq!(scrape.get("a_total", &[("x", "3")]), None);
        assert_eq!(scrape.by("a_total", "x"), BTreeMap::from([("1".into(), 2.0), ("2".into(), 3.0)]));
        assert_eq!(scrape.families(""), BTreeMap::from([("a", "counter"), ("b", "gauge"), ("c", "histogram")]));
        assert_eq!(scrape.labels("a"), BTreeSet::from(["x", "y"]));
    }

    #[test]
    fn a_counter_that_falls_or_vanishes_is_set_back_and_a_gauge_is_not() {
        let before = Scrape::parse(TEXT);
        assert_eq!(before.set_back_in(&before), Vec::<String>::new());
        let later = Scrape::parse(
            &TEXT
                .replace("b 1.5", "b 1")
                .replace("c_count 4", "c_count 3")
                .replace("a_total{x=\"2\"} 3", "a_total{x=\"3\"} 3"),
        );
        assert_eq!(before.set_back_in(&later).len(), 2);
    }
}

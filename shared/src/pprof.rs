//! Profiles as `go tool pprof` reads them (profile.proto), not compressed: it takes both.
//!
//! | to | go to |
//! |---|---|
//! | make one, sample by sample | [`Profile::location`], [`Profile::add`] |
//! | send one | [`Profile::encode`] |
//! | read one | [`Profile::decode`] |
//! | make one of those of several workers | [`Profile::merge`] |
//! | show one | [`Profile::top`]; [`Profile::folded`], and [`crate::flame`] |

mod decoded;
mod encoded;
mod places;
#[cfg(test)]
mod tests;
mod totals;

use crate::protobuf::Malformed;
use places::Index;
pub use totals::{Folded, Row};

/// A function, and a line in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Name of the function.
    pub function: String,
    /// File of its source.
    pub file: String,
    /// Line of that file.
    pub line: u32,
}

/// An address in the code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Location {
    /// The address.
    pub address: u64,
    /// Number of its mapping, from 1; 0: none.
    pub mapping: u32,
    /// Frames at the address, the inlined one first.
    pub frames: Vec<Frame>,
}

/// A file that is mapped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last one.
    pub end: u64,
    /// Place in the file.
    pub offset: u64,
    /// Path of the file.
    pub file: String,
    /// Build id of the file.
    pub build_id: String,
}

/// A stack, and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Indices of locations, the leaf first.
    pub locations: Vec<u32>,
    /// A value for each kind.
    pub values: Vec<i64>,
    /// Labels, with their values.
    pub labels: Vec<(String, String)>,
}

/// A profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Kinds of the values, each with its unit.
    pub kinds: Vec<(String, String)>,
    /// The kind that is shown first.
    pub default_kind: String,
    /// Kind and length of the time between two samples.
    pub period: Option<((String, String), i64)>,
    /// Begin, in nanoseconds since 1970.
    pub began_ns: i64,
    /// Length, in nanoseconds.
    pub took_ns: i64,
    /// Files that are mapped.
    pub mappings: Vec<Mapping>,
    /// Addresses in the code.
    pub locations: Vec<Location>,
    /// Stacks.
    pub samples: Vec<Sample>,
    /// Remarks.
    pub comments: Vec<String>,
    index: Index,
}

impl Profile {
    /// Makes a profile of these kinds, without samples.
    #[must_use]
    pub fn new(kinds: &[(&str, &str)]) -> Self {
        Self {
            kinds: kinds.iter().map(|(what, unit)| ((*what).to_owned(), (*unit).to_owned())).collect(),
            default_kind: String::new(),
            period: None,
            began_ns: 0,
            took_ns: 0,
            mappings: Vec::new(),
            locations: Vec::new(),
            samples: Vec::new(),
            comments: Vec::new(),
            index: Index::default(),
        }
    }

    /// Finds or adds a location, and returns its index.
    pub fn location(&mut self, location: Location) -> u32 {
        let known = self.index.locations.find(&self.locations, |known| known, &location, |known| *known == location);
        known.unwrap_or_else(|| {
            self.locations.push(location);
            self.locations.len() as u32 - 1
        })
    }

    /// Adds a sample. Samples of the same stack and labels are summed.
    pub fn add(&mut self, locations: Vec<u32>, values: &[i64], labels: &[(&str, &str)]) {
        let has_labels = |own: &[(String, String)]| {
            let same =
                |((own, own_value), (key, value)): (&(String, String), &(&str, &str))| own == key && own_value == value;
            own.len() == labels.len() && own.iter().zip(labels).all(same)
        };
        let known = self.index.samples.find(
            &self.samples,
            |known| (&*known.locations, &*known.labels),
            (&*locations, labels),
            |known| known.locations == locations && has_labels(&known.labels),
        );
        if let Some(known) = known.and_then(|place| self.samples.get_mut(place as usize)) {
            for (sum, value) in known.values.iter_mut().zip(values) {
                *sum = sum.saturating_add(*value);
            }
            return;
        }
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.samples.push(Sample { locations, values: values.to_vec(), labels });
    }

    /// The profile as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encoded::encode(self)
    }

    /// Reads a profile. Labels that are numbers are passed over.
    ///
    /// # Errors
    /// If the bytes are no profile.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        decoded::decode(bytes)
    }

    /// Merges profiles of the same kinds. The merged one begins with the earliest, and is as long as the longest. `None`: there is none, or
    /// their kinds differ.
    pub fn merge(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut all = all.into_iter();
        let mut merged = all.next()?;
        for other in all {
            if other.kinds != merged.kinds {
                return None;
            }
            merged.absorb(other);
        }
        Some(merged)
    }

    fn absorb(&mut self, other: Self) {
        if self.began_ns == 0 || (other.began_ns != 0 && other.began_ns < self.began_ns) {
            self.began_ns = other.began_ns;
        }
        self.took_ns = self.took_ns.max(other.took_ns);
        if self.default_kind.is_empty() {
            self.default_kind = other.default_kind;
        }
        self.period = self.period.take().or(other.period);
        for comment in other.comments {
            if !self.comments.contains(&comment) {
                self.comments.push(comment);
            }
        }
        let mappings: Vec<u32> = other.mappings.into_iter().map(|mapping| self.mapping(mapping)).collect();
        let moved = |number: u32| number.checked_sub(1).and_then(|place| mappings.get(place as usize).copied());
        let locations = other.locations.into_iter().map(|location| {
            let mapping = moved(location.mapping).unwrap_or_default();
            self.location(Location { mapping, ..location })
        });
        let locations: Vec<u32> = locations.collect();
        for Sample { locations: stack, values, labels } in other.samples {
            let stack = stack.iter().filter_map(|place| locations.get(*place as usize).copied()).collect();
            let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (&**key, &**value)).collect();
            self.add(stack, &values, &labels);
        }
    }

    /// Finds or adds a mapping, and returns its number, from 1. There are few.
    fn mapping(&mut self, mapping: Mapping) -> u32 {
        let known = self.mappings.iter().position(|known| *known == mapping);
        let place = known.unwrap_or_else(|| {
            self.mappings.push(mapping);
            self.mappings.len() - 1
        });
        place as u32 + 1
    }

    /// Functions with the greatest values of a kind: at most `count`, first by the function's own value.
    #[must_use]
    pub fn top(&self, kind: usize, count: usize) -> Vec<Row> {
        totals::top(self, kind, count)
    }

    /// Stacks with their values of a kind, the outermost frame first.
    #[must_use]
    pub fn folded(&self, kind: usize) -> Folded {
        totals::folded(self, kind)
    }
}

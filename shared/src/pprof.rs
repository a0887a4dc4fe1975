//! Profiles as `go tool pprof` reads them (profile.proto), not compressed.

use std::collections::BTreeMap;

use crate::protobuf::Malformed;

/// Kind of a value: `("samples", "count")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The thing that is counted.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
}

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
}

/// Figures of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the function.
    pub function: String,
    /// Value of the function itself.
    pub flat: i64,
    /// The same with all that it has called.
    pub cumulative: i64,
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
        }
    }

    /// Finds or adds a location, and returns its index.
    pub fn location(&mut self, _: Location) -> u32 {
        0
    }

    /// Adds a sample. Samples of the same stack and labels are summed.
    pub fn add(&mut self, _: Vec<u32>, _: &[i64], _: &[(&str, &str)]) {}

    /// The profile as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// If the bytes are no profile.
    pub fn decode(_: &[u8]) -> Result<Self, Malformed> {
        Ok(Self::new(&[]))
    }

    /// Merges profiles of the same kinds. It begins with the earliest, and is as long as the longest.
    pub fn merge(_: impl IntoIterator<Item = Self>) -> Option<Self> {
        None
    }

    /// Functions with the greatest values of a kind.
    #[must_use]
    pub fn top(&self, _: usize, _: usize) -> Vec<Row> {
        Vec::new()
    }

    /// Stacks with their values of a kind, the outermost frame first.
    #[must_use]
    pub fn folded(&self, _: usize) -> BTreeMap<Vec<String>, i64> {
        BTreeMap::new()
    }
}

//! A configuration file as a tree that remembers its lines, whatever format it was written in.

use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What.
    pub value: Value,
    /// In which line, from 1.
    pub line: usize,
}

/// What a file can say.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A whole number written in octal, as modes are.
    Octal(i64),
    /// Any other number.
    Float(f64),
    /// true or false.
    Boolean(bool),
    /// A list.
    Array(Vec<Node>),
    /// Keys and values, in the file's order.
    Table(Vec<Entry>),
    /// Something that no key takes (a date).
    Other(&'static str),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// In which line it stands.
    pub line: usize,
    /// What it is set to.
    pub node: Node,
}

impl Value {
    /// The type's name for people.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) | Self::Octal(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// Something wrong in a file, or on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file and line, or the flag.
    pub place: String,
    /// What, and what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Reads TOML.
///
/// # Errors
/// Every syntax error, with its line.
pub fn parse_toml(path: &Path, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let lines = Lines::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(entries(table.get_ref(), &lines));
    }
    let problem = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| lines.of(span.start));
        Problem { place: format!("{}:{line}", path.display()), text: error.message().to_owned() }
    };
    Err(errors.into_iter().map(problem).collect())
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

fn entries(table: &DeTable<'_>, lines: &Lines) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            line: lines.of(key.span().start),
            node: node(value.get_ref(), lines.of(value.span().start), lines),
        })
        .collect();
    entries.sort_by_key(|entry| entry.line);
    entries
}

fn node(value: &DeValue<'_>, line: usize, lines: &Lines) -> Node {
    let value = match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if number.radix() == 8 => Value::Octal(value),
            Ok(value) => Value::Integer(value),
            Err(_) => Value::Other("a number that is too large"),
        },
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("a number"), Value::Float),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| node(item.get_ref(), lines.of(item.span().start), lines)).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table, lines)),
    };
    Node { value, line }
}

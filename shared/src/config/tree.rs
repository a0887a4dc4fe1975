//! A configuration file as a tree that remembers its lines, whatever format it was written in.

use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

#[cfg(feature = "yaml")]
use super::yaml;

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this line of the file, from 1.
    Line(usize),
    /// In this variable of the environment.
    Variable(String),
    /// After this flag of the command line.
    Flag(&'static str),
}

impl Place {
    /// With the name of the file that lines are of.
    #[must_use]
    pub fn of(&self, file: &str) -> String {
        match self {
            Self::Line(line) => format!("{file}:{line}"),
            Self::Variable(name) => format!("environment variable {name}"),
            Self::Flag(name) => (*name).to_owned(),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What.
    pub value: Value,
    /// Where.
    pub place: Place,
}

impl Node {
    fn move_to(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Value::Array(nodes) => nodes.iter_mut().for_each(|node| node.move_to(place)),
            Value::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.place = place.clone();
                entry.node.move_to(place);
            }),
            Value::String(_)
            | Value::Integer(_)
            | Value::Octal(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Other(_) => {}
        }
    }
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

/// What YAML calls null: a section with all its keys commented out.
pub const NOTHING: Value = Value::Other("nothing");

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub place: Place,
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

/// The formats of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`, and what has no ending known here.
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
}

impl Format {
    /// By the file's ending.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            _ => Self::Toml,
        }
    }
}

/// Reads a file's text in the format of its ending.
///
/// # Errors
/// Syntax errors, each with its line.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match Format::of(path) {
        Format::Toml => parse_toml(path, text),
        #[cfg(feature = "yaml")]
        Format::Yaml => yaml::parse(path, text),
        #[cfg(feature = "yaml")]
        Format::Json => yaml::parse_json(path, text),
        #[cfg(not(feature = "yaml"))]
        Format::Yaml | Format::Json => Err(vec![unreadable(path)]),
    }
}

/// The problem of a file in a format that this program was built without.
#[cfg(not(feature = "yaml"))]
fn unreadable(path: &Path) -> Problem {
    let text = "this program was built without a reader of YAML and JSON; write the file in TOML, or build the program with \
                the feature \"yaml\" of gin-worker";
    Problem { place: path.display().to_string(), text: text.to_owned() }
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

    fn at(&self, offset: usize) -> Place {
        Place::Line(self.of(offset))
    }
}

fn entries(table: &DeTable<'_>, lines: &Lines) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            place: lines.at(key.span().start),
            node: node(value.get_ref(), lines.at(value.span().start), lines),
        })
        .collect();
    entries.sort_by_key(|entry| match entry.place {
        Place::Line(line) => line,
        Place::Variable(_) | Place::Flag(_) => 0,
    });
    entries
}

fn node(value: &DeValue<'_>, place: Place, lines: &Lines) -> Node {
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
            Value::Array(items.iter().map(|item| node(item.get_ref(), lines.at(item.span().start), lines)).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table, lines)),
    };
    Node { value, place }
}

/// The entries of a section, which is made if it is not there. What is no section is told by who reads it.
pub fn section<'a>(entries: &'a mut Vec<Entry>, name: &str) -> &'a mut Vec<Entry> {
    let index = entries.iter().position(|entry| entry.key == name).unwrap_or_else(|| {
        let node = Node { value: Value::Table(Vec::new()), place: Place::Line(1) };
        entries.push(Entry { key: name.to_owned(), place: Place::Line(1), node });
        entries.len() - 1
    });
    let value = &mut entries[index].node.value;
    if !matches!(value, Value::Table(_)) {
        *value = Value::Table(Vec::new());
    }
    match value {
        Value::Table(entries) => entries,
        _ => unreachable!("made one above"),
    }
}

/// One value as TOML writes it: `["a", "b"]`, `{ after = "2s" }`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_toml_value(text: &str, place: &Place) -> Result<Value, String> {
    let line = format!("x = {}", text.trim());
    let (table, errors) = DeTable::parse_recoverable(&line);
    if let Some(error) = errors.first() {
        return Err(error.message().to_owned());
    }
    let mut entries = entries(table.get_ref(), &Lines::new(&line));
    match entries.pop() {
        Some(mut entry) if entries.is_empty() => {
            entry.node.move_to(place);
            Ok(entry.node.value)
        }
        _ => Err("expected one value".to_owned()),
    }
}

/// An entry without its places, to compare.
pub fn show(entry: &Entry, out: &mut String) {
    fn show_value(value: &Value, out: &mut String) {
        match value {
            Value::Array(nodes) => {
                out.push('[');
                nodes.iter().for_each(|node| {
                    show_value(&node.value, out);
                    out.push(',');
                });
                out.push(']');
            }
            Value::Table(entries) => {
                out.push('{');
                let mut sorted: Vec<&Entry> = entries.iter().collect();
                sorted.sort_by(|a, b| a.key.cmp(&b.key));
                sorted.into_iter().for_each(|entry| show(entry, out));
                out.push('}');
            }
            simple => out.push_str(&format!("{simple:?}")),
        }
    }
    out.push_str(&format!("{:?}=", entry.key));
    show_value(&entry.node.value, out);
    out.push(';');
}

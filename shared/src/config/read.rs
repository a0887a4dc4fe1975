//! Reads a section key by key, and collects everything that is wrong with it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::tree::{self, Entry, Node, Place, Problem, Value};
use crate::reference::flat;
use crate::sections;

/// All problems of one file, found so far.
#[derive(Debug)]
pub struct Problems {
    path: PathBuf,
    found: RefCell<Vec<Problem>>,
    /// Every key that was ever asked for: what the reference is tested against.
    asked: Rc<RefCell<BTreeSet<String>>>,
}

impl Problems {
    /// None yet, for the file at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), found: RefCell::default(), asked: Rc::default() }
    }

    /// Adds a problem. A section may be read twice: what is wrong with it is told once.
    pub fn add(&self, place: &Place, text: String) {
        let problem = Problem { place: place.of(&self.path.display().to_string()), text };
        let mut found = self.found.borrow_mut();
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    /// Adds each entry that is no section that a file may have. A key that stands in a section here is named with it.
    pub fn check_sections(&self, entries: &[Entry]) {
        for entry in entries {
            let is_table = matches!(entry.node.value, Value::Table(_));
            if sections::ALL.contains(&entry.key.as_str()) {
                if !is_table && entry.node.value != tree::NOTHING {
                    self.add(&entry.place, format!("{}: expected a section, [{}]", entry.key, entry.key));
                }
            } else if let Some(key) = flat::key_of(&entry.key).filter(|_| !is_table) {
                self.add(&entry.place, format!("{}: unknown key; it is {key} here", entry.key));
            } else {
                let hint = nearest(&entry.key, sections::ALL.iter().copied());
                let hint = hint.map(|near| format!("; did you mean [{near}]?")).unwrap_or_default();
                self.add(&entry.place, format!("{}: unknown section{hint}", entry.key));
            }
        }
    }

    /// Every key that was asked for.
    #[must_use]
    pub fn asked(&self) -> Rc<RefCell<BTreeSet<String>>> {
        Rc::clone(&self.asked)
    }

    /// All.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.found.into_inner()
    }
}

/// A section, and which of its keys were asked for.
#[derive(Debug)]
pub struct Section<'a> {
    name: String,
    entries: &'a [Entry],
    asked: RefCell<Vec<&'static str>>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// The section `name` of a table's entries.
    #[must_use]
    pub fn new(name: impl Into<String>, entries: &'a [Entry], problems: &'a Problems) -> Self {
        Self { name: name.into(), entries, asked: RefCell::new(Vec::new()), problems }
    }

    fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        self.problems.asked.borrow_mut().insert(format!("{}.{key}", self.name));
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    fn wrong(&self, key: &str, place: &Place, text: &str) {
        self.problems.add(place, format!("{}.{key}: {text}", self.name));
    }

    fn expected<T>(&self, key: &str, node: &Node, what: &str) -> Option<T> {
        self.wrong(key, &node.place, &format!("expected {what}, found {}", node.value.type_name()));
        None
    }

    /// The place of the key, if it is there.
    #[must_use]
    pub fn place(&self, key: &'static str) -> Option<Place> {
        self.node(key).map(|node| node.place.clone())
    }

    /// Tells of a problem with `key` found by the caller.
    pub fn problem(&self, key: &'static str, text: &str) {
        let place = self.place(key).unwrap_or(Place::Line(1));
        self.wrong(key, &place, text);
    }

    /// Tells of a problem with `key` that another key causes, at that one's place.
    pub fn problem_at(&self, key: &'static str, place: &Place, text: &str) {
        self.wrong(key, place, text);
    }

    /// The text of a key that another reader checks: nothing is told of any other value.
    #[must_use]
    pub fn peek(&self, key: &'static str) -> Option<&'a str> {
        match &self.node(key)?.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A text that `parse` takes.
    pub fn parsed<T, E: fmt::Display>(
        &self,
        key: &'static str,
        what: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.node(key)?;
        match &node.value {
            Value::String(text) if text.contains('\0') => {
                self.wrong(key, &node.place, "NUL cannot stand in it");
                None
            }
            Value::String(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.wrong(key, &node.place, &error.to_string());
                    None
                }
            },
            _ => self.expected(key, node, what),
        }
    }

    /// A text.
    pub fn string(&self, key: &'static str) -> Option<String> {
        self.parsed(key, "a string", |text| Ok::<_, Infallible>(text.to_owned()))
    }

    /// An absolute path.
    pub fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.parsed(key, "a path", |text| match Path::new(text) {
            path if path.is_absolute() => Ok(path.to_owned()),
            _ => Err(format!("\"{text}\" is not absolute; it would depend on where the supervisor is started")),
        })
    }

    /// A length of time such as "30s".
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.parsed(key, "a duration such as \"30s\"", parse_duration)
    }

    /// An amount of memory such as "512MiB", in bytes.
    pub fn size(&self, key: &'static str) -> Option<u64> {
        self.parsed(key, "a size such as \"512MiB\"", parse_size)
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        self.parsed(key, &all, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let near = nearest(text, words.iter().map(|(word, _)| *word));
                format!(
                    "\"{text}\" is not {all}{}",
                    near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default()
                )
            })
        })
    }

    /// A whole number within limits.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let node = self.node(key)?;
        match node.value {
            Value::Integer(number) | Value::Octal(number) if range.contains(&number) => Some(number),
            Value::Integer(number) | Value::Octal(number) => {
                self.wrong(
                    key,
                    &node.place,
                    &format!("{number} is out of range; it must be {} to {}", range.start(), range.end()),
                );
                None
            }
            _ => self.expected(key, node, "a whole number"),
        }
    }

    /// A whole number, or the word `auto` for `None` inside.
    pub fn integer_or_auto(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<Option<i64>> {
        self.integer_or(key, range, "auto")
    }

    /// A whole number, or this word for `None` inside.
    pub fn integer_or(&self, key: &'static str, range: RangeInclusive<i64>, word: &str) -> Option<Option<i64>> {
        let node = self.node(key)?;
        match &node.value {
            Value::String(text) if text == word => Some(None),
            Value::Integer(_) | Value::Octal(_) => self.integer(key, range).map(Some),
            _ => self.expected(key, node, &format!("a whole number or \"{word}\"")),
        }
    }

    /// A number from 0 to 1.
    pub fn fraction(&self, key: &'static str) -> Option<f64> {
        let node = self.node(key)?;
        let number = match node.value {
            Value::Float(number) => number,
            Value::Integer(0) => 0.0,
            Value::Integer(1) => 1.0,
            _ => return self.expected(key, node, "a number from 0 to 1"),
        };
        if (0.0..=1.0).contains(&number) {
            Some(number)
        } else {
            self.wrong(key, &node.place, &format!("{number} is out of range; it must be 0 to 1"));
            None
        }
    }

    /// true or false.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        match node.value {
            Value::Boolean(value) => Some(value),
            _ => self.expected(key, node, "true or false"),
        }
    }

    /// A file mode: 0o640 or "0640".
    pub fn mode(&self, key: &'static str) -> Option<u32> {
        let node = self.node(key)?;
        let bits = match &node.value {
            Value::Octal(number) => u32::try_from(*number).ok(),
            // 640 in decimal is another mode than it seems.
            Value::Integer(_) => None,
            Value::String(text) => u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok(),
            _ => return self.expected(key, node, "a mode such as \"0640\""),
        };
        bits.filter(|bits| *bits <= 0o7777).or_else(|| {
            self.wrong(key, &node.place, "not a mode; write it in octal and in quotes, as \"0640\"");
            None
        })
    }

    /// A command and its arguments.
    pub fn command(&self, key: &'static str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        match &node.value {
            Value::Array(items) if !items.is_empty() => self.strings(key, items),
            Value::Array(_) => {
                self.wrong(key, &node.place, "the list is empty; the first item is the program");
                None
            }
            Value::String(text) => {
                let list = text.split_whitespace().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
                self.wrong(key, &node.place, &format!("a command is a list, not a string: {key} = [{list}]"));
                None
            }
            _ => self.expected(key, node, "a list of strings"),
        }
    }

    /// A list of texts.
    pub fn list(&self, key: &'static str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        match &node.value {
            Value::Array(items) => self.strings(key, items),
            _ => self.expected(key, node, "a list of strings"),
        }
    }

    /// A list of numbers.
    pub fn numbers(&self, key: &'static str) -> Option<Vec<f64>> {
        let node = self.node(key)?;
        let Value::Array(items) = &node.value else { return self.expected(key, node, "a list of numbers") };
        let number = |item: &Node| match item.value {
            Value::Float(number) => Some(number),
            Value::Integer(number) => Some(number as f64),
            _ => self.expected(key, item, "a number"),
        };
        items.iter().map(number).collect()
    }

    /// A list of texts, or one text with commas between them.
    pub fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        match &node.value {
            Value::String(text) if !text.contains('\0') => {
                Some(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect())
            }
            _ => self.list(key),
        }
    }

    fn strings(&self, key: &str, items: &[Node]) -> Option<Vec<String>> {
        items
            .iter()
            .map(|item| match &item.value {
                Value::String(text) if !text.contains('\0') => Some(text.clone()),
                Value::String(_) => {
                    self.wrong(key, &item.place, "NUL cannot stand in it");
                    None
                }
                _ => self.expected(key, item, "a string"),
            })
            .collect()
    }

    /// A table whose keys are free.
    pub fn map(&self, key: &'static str) -> Option<Vec<(String, String)>> {
        let node = self.node(key)?;
        let Value::Table(entries) = &node.value else { return self.expected(key, node, "a table") };
        let pair = |entry: &Entry| match &entry.node.value {
            _ if entry.key.is_empty() || entry.key.contains(['=', '\0']) => {
                self.wrong(key, &entry.place, &format!("\"{}\" cannot name a variable", entry.key.escape_default()));
                None
            }
            Value::String(text) if !text.contains('\0') => Some((entry.key.clone(), text.clone())),
            // In YAML NO is a boolean and 0x10 is 16: nobody wants that for a variable.
            _ => self.expected(&format!("{key}.{}", entry.key), &entry.node, "a text, in quotes"),
        };
        Some(entries.iter().filter_map(pair).collect())
    }

    /// A table with keys of its own.
    #[must_use]
    pub fn table(&self, key: &'static str) -> Option<Section<'a>> {
        let node = self.node(key)?;
        match &node.value {
            Value::Table(entries) => Some(Section::new(format!("{}.{key}", self.name), entries, self.problems)),
            _ => self.expected(key, node, "a table"),
        }
    }

    /// A key that may be a word or a table.
    #[must_use]
    pub fn is_table(&self, key: &'static str) -> bool {
        self.node(key).is_some_and(|node| matches!(node.value, Value::Table(_)))
    }

    /// A list of tables.
    #[must_use]
    pub fn tables(&self, key: &'static str) -> Option<Vec<Section<'a>>> {
        let node = self.node(key)?;
        let Value::Array(items) = &node.value else {
            return self.expected(key, node, &format!("tables, written [[{}.{key}]]", self.name));
        };
        let section = |item: &'a Node| match &item.value {
            Value::Table(entries) => Some(Section::new(format!("{}.{key}", self.name), entries, self.problems)),
            _ => self.expected(key, item, "a table"),
        };
        Some(items.iter().filter_map(section).collect())
    }

    /// Tells of every key that nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for entry in self.entries.iter().filter(|entry| !asked.contains(&entry.key.as_str())) {
            let elsewhere = || flat::key_of(&entry.key).map(|key| format!("; it is {key} here"));
            let near = || nearest(&entry.key, asked.iter().copied()).map(|near| format!("; did you mean \"{near}\"?"));
            let hint = near().or_else(elsewhere).unwrap_or_default();
            self.wrong(&entry.key, &entry.place, &format!("unknown key{hint}"));
        }
    }
}

/// Longer than anything here can mean.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The known word that is nearest to a mistyped one, if any is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|k| (strsim::jaro_winkler(word, k), k));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

/// "512MiB", "2G", "4096": powers of 1024, as systemd counts.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size; write it as \"512MiB\" or \"2GiB\"");
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = trimmed.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "k" | "KB" | "kB" | "KiB" => 10,
        "M" | "MB" | "MiB" => 20,
        "G" | "GB" | "GiB" => 30,
        "T" | "TB" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    number.parse().ok().and_then(|number: u64| number.checked_mul(1 << shift)).ok_or_else(wrong)
}

/// "30s", "1m 30s", "500ms".
///
/// # Errors
/// What is wrong, and how it is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| {
        format!("\"{text}\" is not a duration ({error}); write it as \"30s\", \"500ms\" or \"1m 30s\"")
    })?;
    if duration > DURATION_MAX {
        return Err(format!("\"{text}\" is longer than a year"));
    }
    Ok(duration)
}

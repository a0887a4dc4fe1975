//! Settings out of the environment, over those of the file: `GIN_SECTION_KEY`, else `SECTION_KEY`, and `PORT`.
//!
//! Keys of a table inside a section are joined in the same way: `GIN_SUPERVISOR_LIMITS_NOFILE`.

use super::tree::{self, Entry, Node, Place, Problem, Value, parse_toml_value};
use crate::reference::{Key, Kind};

/// What there is to read from; a function, so that tests need no process of their own.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts what the environment says over `entries`. Gives what is wrong with it, and what is likely not meant.
pub fn overlay(
    entries: &mut Vec<Entry>,
    sections: &[(&str, &'static [Key])],
    lookup: Lookup<'_>,
) -> (Vec<Problem>, Vec<String>) {
    let mut overlay = Overlay { lookup, problems: Vec::new(), warnings: Vec::new() };
    for (section, keys) in sections {
        let found = overlay.keys(&section.to_uppercase(), keys);
        if !found.is_empty() {
            merge(tree::section(entries, section), found, keys);
        }
    }
    (overlay.problems, overlay.warnings)
}

/// A setting of the file that a variable goes before.
#[derive(Debug, Clone, PartialEq)]
pub struct Overridden {
    /// The key, with its section: "server.port".
    pub key: String,
    /// The variable.
    pub variable: String,
    /// The variable's value, where that is a number.
    pub number: Option<i64>,
    /// The place of the setting in the file.
    pub place: Place,
}

/// The settings of `entries` that [`overlay`] would replace by others.
#[must_use]
pub fn overridden(entries: &[Entry], sections: &[(&str, &'static [Key])], lookup: Lookup<'_>) -> Vec<Overridden> {
    let mut all = Vec::new();
    for (section, keys) in sections {
        let there = entries.iter().find(|entry| entry.key == *section).map(|entry| &entry.node.value);
        if let Some(Value::Table(there)) = there {
            let mut overlay = Overlay { lookup, problems: Vec::new(), warnings: Vec::new() };
            compare(section, there, &overlay.keys(&section.to_uppercase(), keys), &mut all);
        }
    }
    all
}

fn compare(table: &str, there: &[Entry], found: &[Entry], into: &mut Vec<Overridden>) {
    for entry in found {
        let Some(old) = there.iter().find(|old| old.key == entry.key) else { continue };
        let key = format!("{table}.{}", entry.key);
        match (&old.node.value, &entry.node.value) {
            (Value::Table(old), Value::Table(new)) => compare(&key, old, new, into),
            (old_value, new) if old_value != new => {
                let Place::Variable(variable) = entry.place.clone() else { continue };
                let number = if let Value::Integer(number) = new { Some(*number) } else { None };
                into.push(Overridden { key, variable, number, place: old.place.clone() });
            }
            _ => {}
        }
    }
}

/// Variables that begin like settings of one of these sections (`GIN_SECTION_`) and are none.
pub fn unknown(names: impl Iterator<Item = String>, sections: &[(&str, &'static [Key])]) -> Vec<String> {
    fn add(prefix: &str, keys: &[Key], known: &mut Vec<String>) {
        for key in keys {
            let name = format!("{prefix}_{}", key.name.to_uppercase());
            if let Kind::Table(keys) | Kind::ChoiceOrTable(_, keys) | Kind::BooleanOrTable(keys) = key.kind {
                add(&name, keys, known);
            }
            known.push(name);
        }
    }
    let mut known = Vec::new();
    sections.iter().for_each(|(section, keys)| add(&format!("GIN_{}", section.to_uppercase()), keys, &mut known));
    let begins =
        |name: &str| sections.iter().any(|(section, _)| name.starts_with(&format!("GIN_{}_", section.to_uppercase())));
    // What Kubernetes sets for a service named "gin-server" is nobody's mistake.
    let is_services = |name: &str| {
        let rest = name.rsplit_once("_PORT_").map_or("", |(_, rest)| rest);
        name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || rest.contains("_TCP")
            || rest.contains("_UDP")
    };
    let ours = names.filter(|name| begins(name) && !known.contains(name) && !is_services(name));
    let warning = |name: String| {
        let near = super::read::nearest(&name, known.iter().map(String::as_str));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("environment variable {name} is no setting{hint}")
    };
    ours.map(warning).collect()
}

struct Overlay<'a> {
    lookup: Lookup<'a>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Overlay<'_> {
    fn keys(&mut self, prefix: &str, keys: &[Key]) -> Vec<Entry> {
        let mut found = Vec::new();
        for key in keys {
            let name = format!("{prefix}_{}", key.name.to_uppercase());
            let value = self.value(&name, key);
            let inner = match key.kind {
                Kind::Table(keys) | Kind::ChoiceOrTable(_, keys) | Kind::BooleanOrTable(keys) if value.is_none() => {
                    self.keys(&name, keys)
                }
                _ => Vec::new(),
            };
            if let Some((place, value)) = value {
                found.push(Entry { key: key.name.to_owned(), place: place.clone(), node: Node { value, place } });
            } else if let Some(first) = inner.first() {
                let place = first.place.clone();
                let node = Node { value: Value::Table(inner), place: place.clone() };
                found.push(Entry { key: key.name.to_owned(), place, node });
            }
        }
        found
    }

    fn value(&mut self, name: &str, key: &Key) -> Option<(Place, Value)> {
        let own = format!("GIN_{name}");
        let mut names = vec![own.as_str(), name];
        if name == "SERVER_PORT" {
            names.push("PORT");
        }
        if name == "SERVER_MODE" {
            names.insert(1, "GIN_MODE");
        }
        for name in names {
            let Some(text) = (self.lookup)(name) else { continue };
            // Kubernetes sets SERVER_PORT=tcp://10.0.0.1:80 in every container, if a service is named "server"; so do Docker's links.
            if name.ends_with("_PORT") && ["tcp://", "udp://"].iter().any(|scheme| text.starts_with(scheme)) {
                // A service named "gin-server" has this one, too.
                let instead =
                    if name.starts_with("GIN_") { String::new() } else { format!("; GIN_{name} would be read") };
                self.warnings.push(format!(
                    "environment variable {name}={text} is passed over: it is a container platform's{instead}"
                ));
                continue;
            }
            let place = Place::Variable(name.to_owned());
            match parse(key.kind, &text, &place) {
                Ok(value) => return Some((place, value)),
                Err(text) => {
                    self.problems.push(Problem { place: Place::Variable(name.to_owned()).of(""), text });
                    return None;
                }
            }
        }
        None
    }
}

fn parse(kind: Kind, text: &str, place: &Place) -> Result<Value, String> {
    let written = || parse_toml_value(text, place).map_err(|error| format!("write the value as in TOML: {error}"));
    let structured = text.trim_start().starts_with(['[', '{']);
    let words = || text.split(',').map(|word| Value::String(word.trim().to_owned()));
    match kind {
        Kind::Integer(..) => {
            text.trim().parse().map(Value::Integer).map_err(|_| format!("expected a whole number, found \"{text}\""))
        }
        Kind::IntegerOr(..) => Ok(text.trim().parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)),
        Kind::Fraction => text
            .trim()
            .parse()
            .map(Value::Float)
            .map_err(|_| format!("expected a number from 0 to 1, found \"{text}\"")),
        Kind::Boolean => boolean(text),
        Kind::BooleanOrTable(_) if !structured => boolean(text),
        Kind::Text
        | Kind::Path
        | Kind::Duration
        | Kind::Size
        | Kind::Mode
        | Kind::Signal
        | Kind::Address
        | Kind::Choice(_) => Ok(Value::String(text.to_owned())),
        Kind::Texts | Kind::Words | Kind::Signals if !structured => {
            Ok(Value::Array(words().map(|value| Node { value, place: place.clone() }).collect()))
        }
        Kind::Numbers if !structured => {
            let number = |word: &str| {
                word.trim().parse::<f64>().map(|number| Node { value: Value::Float(number), place: place.clone() })
            };
            let all: Result<Vec<Node>, _> = text.split(',').map(number).collect();
            all.map(Value::Array).map_err(|_| format!("expected numbers with commas between them, found \"{text}\""))
        }
        Kind::ChoiceOrTable(..) | Kind::Levels if !structured => Ok(Value::String(text.to_owned())),
        // A command is a list here, too: a string would have to be split, and everyone splits differently.
        Kind::Command if !structured => Ok(Value::String(text.to_owned())),
        Kind::Texts
        | Kind::Words
        | Kind::Signals
        | Kind::Numbers
        | Kind::ChoiceOrTable(..)
        | Kind::BooleanOrTable(_)
        | Kind::Command
        | Kind::Map
        | Kind::Levels
        | Kind::Table(_)
        | Kind::Tables(_) => written(),
    }
}

fn boolean(text: &str) -> Result<Value, String> {
    match text.trim() {
        "true" | "1" | "yes" | "on" => Ok(Value::Boolean(true)),
        "false" | "0" | "no" | "off" => Ok(Value::Boolean(false)),
        _ => Err(format!("expected true or false, found \"{text}\"")),
    }
}

/// Tables are merged key by key, everything else is replaced; so is a table whose keys exclude one another.
fn merge(into: &mut Vec<Entry>, from: Vec<Entry>, keys: &[Key]) {
    for entry in from {
        let kind = keys.iter().find(|key| key.name == entry.key).map(|key| key.kind);
        match into.iter_mut().find(|there| there.key == entry.key) {
            Some(there) => match (&mut there.node.value, entry.node.value, kind) {
                (Value::Table(old), Value::Table(new), Some(Kind::Table(keys))) => merge(old, new, keys),
                (Value::Table(old), Value::Table(new), Some(Kind::Map)) => merge(old, new, &[]),
                (old, new, _) => {
                    *old = new;
                    there.place = entry.place;
                    there.node.place = entry.node.place;
                }
            },
            None => into.push(entry),
        }
    }
}

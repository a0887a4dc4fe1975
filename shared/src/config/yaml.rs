//! YAML, and JSON by the same reader, as a tree that remembers its lines.

use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::tree::{Entry, NOTHING, Node, Place, Problem, Value};

/// Reads YAML.
///
/// # Errors
/// The first syntax error, with its line.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let problem = |line: u64, text: String| Err(vec![Problem { place: format!("{}:{line}", path.display()), text }]);
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Vec::new());
    }
    match serde_saphyr::from_str::<Node>(text) {
        Ok(Node { value: Value::Table(entries), .. }) => Ok(entries),
        Ok(Node { value: NOTHING, .. }) => Ok(Vec::new()),
        Ok(_) => problem(1, "expected sections, each with its keys".to_owned()),
        Err(error) => {
            let line = error.location().map_or(1, |location| location.line().max(1));
            let text = error.without_snippet().to_string();
            // Of what the library advises its own users, nothing helps here; the line is told before.
            let text = text.lines().next().unwrap_or_default();
            let text = ["; set ", ", set ", "; use ", ", use ", " at line "]
                .iter()
                .fold(text, |t, end| t.split(end).next().unwrap_or(t));
            problem(line, text.to_owned())
        }
    }
}

/// Reads JSON. Every JSON text is YAML, whose reader knows lines; but not every YAML text is JSON.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_json(path: &Path, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let place = format!("{}:{}", path.display(), error.line().max(1));
        let text = error.to_string();
        let text = text.split(" at line").next().unwrap_or_default().to_owned();
        return Err(vec![Problem { place, text }]);
    }
    parse(path, text)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, place: line(spanned.referenced.line()) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

fn line(number: u64) -> Place {
    Place::Line(usize::try_from(number).unwrap_or(1).max(1))
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Other("a number that is too large"), Value::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Other("a number that is too large"))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Other("a number that is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other("nothing"))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Other("nothing"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Value::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<serde_saphyr::Spanned<String>>()? {
            let place = line(key.referenced.line());
            entries.push(Entry { key: key.value, place, node: map.next_value()? });
        }
        Ok(Value::Table(entries))
    }
}

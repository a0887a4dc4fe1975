//! `[app]`, as the application's own type takes it. A refusal names the key and its place.

use gin_shared::config::{Entry, Node, Place, Value};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment, deserialize};

use super::source::json;

/// Reads the section. The error is the place, and the key with what is wrong.
pub(super) fn read<A: DeserializeOwned>(section: &Entry) -> Result<A, (Place, String)> {
    deserialize(json(&section.node.value)).map_err(|error| {
        let text = error.inner().to_string();
        let (mut name, mut place) = key(section, error.path(), &text);
        if name == section.key {
            // Some types lose the way to a key (`#[serde(flatten)]`), and name it all the same.
            place = named(&section.node, &text).unwrap_or(place);
        }
        name.push_str(": ");
        (place, name + &text)
    })
}

/// The key at the end of a path, as `app.smtp.port` or `app.hosts[2]`, and the place of it, or of the nearest table that is there.
fn key(section: &Entry, path: &Path, text: &str) -> (String, Place) {
    let (mut name, mut place, mut node) = (section.key.clone(), section.place.clone(), Some(&section.node));
    for segment in path {
        match segment {
            // The text says it already: an unknown field.
            Segment::Map { key } if text.contains(&format!("field `{key}`")) => {}
            Segment::Map { key } => name = format!("{name}.{key}"),
            Segment::Seq { index } => name = format!("{name}[{index}]"),
            Segment::Enum { .. } | Segment::Unknown => continue,
        }
        let inner = node.and_then(|node| inner(node, segment));
        place = inner.map_or(place, |(_, place)| place.clone());
        node = inner.map(|(node, _)| node);
    }
    (name, place)
}

/// What stands in a value at a segment, and where.
fn inner<'a>(node: &'a Node, segment: &Segment) -> Option<(&'a Node, &'a Place)> {
    match (&node.value, segment) {
        (Value::Table(entries), Segment::Map { key }) => {
            entries.iter().find(|entry| entry.key == *key).map(|entry| (&entry.node, &entry.place))
        }
        (Value::Array(items), Segment::Seq { index }) => items.get(*index).map(|item| (item, &item.place)),
        _ => None,
    }
}

/// The place of the first key of a table that a text names.
fn named(node: &Node, text: &str) -> Option<Place> {
    let Value::Table(entries) = &node.value else { return None };
    let at = |entry: &Entry| text.find(&format!("`{}`", entry.key));
    entries
        .iter()
        .filter_map(|entry| Some((at(entry)?, entry)))
        .min_by_key(|(at, _)| *at)
        .map(|(_, entry)| entry.place.clone())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::Config;

    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Smtp {
        host: String,
        #[serde(default)]
        port: u16,
    }

    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        #[serde(default)]
        tries: u32,
        #[serde(default)]
        smtp: Smtp,
        #[serde(default)]
        hosts: Vec<String>,
    }

    fn wrong(text: &str) -> String {
        Config::<Own>::from_text("shop.toml".as_ref(), &format!("[app]\n{text}")).unwrap_err().to_string()
    }

    #[test]
    fn a_type_that_does_not_fit_is_told_with_its_key_and_line() {
        for (text, told) in [
            ("tries = \"x\"\n", "shop.toml:2: app.tries: invalid type: string \"x\", expected u32"),
            ("hosts = [\n\"a\",\n7,\n]\n", "shop.toml:4: app.hosts[1]: invalid type: integer `7`, expected a string"),
            (
                "tries = 1\n[app.smtp]\nhost = \"a\"\nport = 70000\n",
                "shop.toml:5: app.smtp.port: invalid value: integer `70000`",
            ),
            ("tries = 1\n[app.smtp]\nport = 7\n", "shop.toml:3: app.smtp: missing field `host`"),
            ("tries = 1\n[app.smtp]\nhost = \"a\"\nprot = 7\n", "shop.toml:5: app.smtp: unknown field `prot`"),
            ("treis = 1\n", "shop.toml:2: app: unknown field `treis`"),
        ] {
            let error = wrong(text);
            assert!(error.starts_with(told), "{error}");
        }
    }
}

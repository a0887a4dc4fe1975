//! The place in `[app]` that a variable means: `GIN_APP_SMTP_HOST` is `smtp_host` or `smtp.host`, as the application's type has it.
//!
//! The type is asked for the names of its fields: it is read from nothing, and says them before it can fail.

use std::cell::Cell;
use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Keys of `[app]`, from the outermost table to the value, for the part of a variable's name behind `GIN_APP_`, in small letters.
pub(super) fn of<A: DeserializeOwned>(name: &str) -> Vec<String> {
    let (mut path, mut rest) = (Vec::<String>::new(), name);
    while let Some(fields) = fields_at::<A>(&path).filter(|fields| !fields.contains(&rest)) {
        let table = |field: &&&str| {
            rest.strip_prefix(**field).is_some_and(|behind| behind.len() > 1 && behind.starts_with('_'))
        };
        let Some(field) = fields.iter().filter(table).max_by_key(|field| field.len()) else { break };
        path.push((*field).to_owned());
        rest = &rest[field.len() + 1..];
    }
    path.push(rest.to_owned());
    path
}

/// Names of the fields of a type, or of a table in it; `None` if it has no names of its own.
fn fields_at<A: DeserializeOwned>(path: &[String]) -> Option<&'static [&'static str]> {
    let found = Cell::new(None);
    // It fails when it has said what is asked for.
    let _ = A::deserialize(Probe { path, found: &found });
    found.get()
}

/// Nothing that a type could be read from. Notes the fields of the struct that `path` leads to.
#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [String],
    found: &'a Cell<Option<&'static [&'static str]>>,
}

/// The end of a look: there is no value.
#[derive(Debug)]
struct Over;

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no value")
    }
}

impl std::error::Error for Over {}

impl serde::de::Error for Over {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> IntoDeserializer<'de, Over> for Probe<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Over;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        let [first, rest @ ..] = self.path else { return Err(Over) };
        visitor.visit_map(MapDeserializer::new(std::iter::once((first.as_str(), Probe { path: rest, ..self }))))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Over> {
        if self.path.is_empty() {
            self.found.set(Some(fields));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its names count")]
    struct Smtp {
        host: String,
        tls_mode: Option<String>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its names count")]
    struct Settings {
        greeting: String,
        smtp: Option<Smtp>,
        smtp_backup: Smtp,
        free: std::collections::BTreeMap<String, String>,
    }

    #[test]
    fn a_variable_leads_where_the_type_has_the_key() {
        for (name, path) in [
            ("greeting", "greeting"),
            ("smtp_host", "smtp.host"),
            ("smtp_tls_mode", "smtp.tls_mode"),
            ("smtp_backup_host", "smtp_backup.host"),
            ("free_any_thing", "free.any_thing"),
            // The type says what is wrong with these.
            ("smtp", "smtp"),
            ("smtp_", "smtp_"),
            ("unknown_key", "unknown_key"),
        ] {
            assert_eq!(of::<Settings>(name).join("."), path);
        }
        assert_eq!(of::<()>("a_b"), ["a_b"]);
        assert_eq!(of::<serde_json::Value>("a_b"), ["a_b"]);
    }
}

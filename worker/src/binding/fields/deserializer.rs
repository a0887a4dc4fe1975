//! A field as serde reads it: texts become numbers, switches, lists.

use std::fmt;

use serde::de::value::SeqDeserializer;
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::Field;

/// Complaint of a type about a value.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl<'de> IntoDeserializer<'de, Wrong> for &'de Field {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Field {
    fn json<'de, V: Visitor<'de>>(
        &'de self,
        visitor: V,
        how: impl FnOnce(&'de Value, V) -> Result<V::Value, serde_json::Error>,
        texts: impl FnOnce(Text<'de>, V) -> Result<V::Value, Wrong>,
    ) -> Result<V::Value, Wrong> {
        match self {
            Self::Json(value) => how(value, visitor).map_err(|error| Wrong(error.to_string())),
            Self::Texts(first, _) => texts(Text(first), visitor),
        }
    }
}

macro_rules! forward {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            self.json(visitor, |value, visitor| value.$method(visitor), |text, visitor| text.$method(visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Field {
    type Error = Wrong;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_map deserialize_identifier
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Field::Json(Value::Null) => visitor.visit_none(),
            // An empty field of a form says nothing.
            Field::Texts(first, more) if first.is_empty() && more.iter().all(String::is_empty) => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Field::Json(value) => value.deserialize_seq(visitor).map_err(|error| Wrong(error.to_string())),
            Field::Texts(first, more) => {
                let all = std::iter::once(first).chain(more).map(|text| Text(text));
                visitor.visit_seq(SeqDeserializer::new(all))
            }
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.json(
            visitor,
            |value, visitor| value.deserialize_struct(name, fields, visitor),
            Deserializer::deserialize_any,
        )
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.json(
            visitor,
            |value, visitor| value.deserialize_enum(name, variants, visitor),
            |text, visitor| visitor.visit_enum(text.0.into_deserializer()),
        )
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }
}

/// One text.
struct Text<'de>(&'de str);

impl<'de> IntoDeserializer<'de, Wrong> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parse {
    ($($method:ident $visit:ident $what:literal,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let wrong = |_| Wrong(format!("\"{}\" is not {}", self.0, $what));
            visitor.$visit(self.0.trim().parse().map_err(wrong)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Wrong;

    parse! {
        deserialize_i8 visit_i8 "a whole number of this size",
        deserialize_i16 visit_i16 "a whole number of this size",
        deserialize_i32 visit_i32 "a whole number of this size",
        deserialize_i64 visit_i64 "a whole number of this size",
        deserialize_i128 visit_i128 "a whole number of this size",
        deserialize_u8 visit_u8 "a whole number of this size",
        deserialize_u16 visit_u16 "a whole number of this size",
        deserialize_u32 visit_u32 "a whole number of this size",
        deserialize_u64 visit_u64 "a whole number of this size",
        deserialize_u128 visit_u128 "a whole number of this size",
        deserialize_f32 visit_f32 "a number",
        deserialize_f64 visit_f64 "a number",
    }

    /// As Go's `strconv.ParseBool`, and what a form's checkbox sends.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.trim() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" | "on" => visitor.visit_bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" | "off" | "" => visitor.visit_bool(false),
            other => Err(Wrong(format!("\"{other}\" is not true or false"))),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

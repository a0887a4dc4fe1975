//! The description of a type, and its form as JSON Schema.

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::probe;

/// A type that tells its schema.
///
/// Every type with `serde::Deserialize` does. One that has only `Serialize` says it itself:
///
/// ```
/// use gin_worker::api::{Describe, Object, Schema};
///
/// #[derive(serde::Serialize)]
/// struct User {
///     id: u64,
///     name: &'static str,
/// }
///
/// impl Describe for User {
///     fn schema() -> Schema {
///         Object::new("User").field::<u64>("id").field::<String>("name").into()
///     }
/// }
/// assert_eq!(User::schema().json()["required"][1], "name");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not tell its schema",
    label = "needs `serde::Deserialize`",
    note = "write `#[derive(serde::Deserialize)]` above it, also if it is only answered, or `impl gin_worker::api::Describe` for it",
    note = "`Route::get` and its like take the handler without a schema"
)]
pub trait Describe {
    /// Its schema.
    fn schema() -> Schema;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Describe for T {
    fn schema() -> Schema {
        probe::schema::<T>()
    }
}

/// The description of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schema {
    /// Any value: nothing more is known.
    Any,
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A whole number, by the name of its format: `int64`, `uint8`.
    Integer(&'static str),
    /// A number, by the name of its format: `double`, `float`.
    Number(&'static str),
    /// A text.
    Text,
    /// A value that may be `null`.
    Optional(Box<Schema>),
    /// Values of one type.
    List(Box<Schema>),
    /// Values of one type, by names that are not known.
    Map(Box<Schema>),
    /// Values by names that are known.
    Object(Object),
    /// One of several.
    OneOf(OneOf),
    /// A type within itself, by its name.
    Again(String),
}

/// Values by names that are known: a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Name of the type.
    pub name: String,
    /// In the order in which the type has them.
    pub fields: Vec<Field>,
}

/// A value of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// As it is in JSON.
    pub name: String,
    /// Its type.
    pub schema: Schema,
    /// False if it may be left out.
    pub is_required: bool,
}

/// One of several: an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OneOf {
    /// Name of the type.
    pub name: String,
    /// All that it may be.
    pub variants: Vec<Variant>,
}

/// A variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variant {
    /// As it is in JSON.
    pub name: String,
    /// The value that it carries; without one, the variant is its name as a text.
    pub schema: Option<Schema>,
}

impl Schema {
    /// As JSON Schema.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Any => json!({}),
            Self::Null => json!({ "type": "null" }),
            Self::Boolean => json!({ "type": "boolean" }),
            Self::Integer(format) if format.starts_with('u') => {
                json!({ "type": "integer", "format": format, "minimum": 0 })
            }
            Self::Integer(format) => json!({ "type": "integer", "format": format }),
            Self::Number(format) => json!({ "type": "number", "format": format }),
            Self::Text => json!({ "type": "string" }),
            Self::Optional(inner) => json!({ "anyOf": [inner.json(), { "type": "null" }] }),
            Self::List(items) => json!({ "type": "array", "items": items.json() }),
            Self::Map(values) => json!({ "type": "object", "additionalProperties": values.json() }),
            Self::Object(object) => object.json(),
            Self::OneOf(one_of) => one_of.json(),
            Self::Again(name) => json!({ "title": name }),
        }
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl From<Object> for Schema {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl Object {
    /// A type of this name, without fields.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), fields: Vec::new() }
    }

    /// Adds a field of this type; it may be left out if the type is an `Option`.
    #[must_use]
    pub fn field<T: Describe>(mut self, name: &str) -> Self {
        let schema = T::schema();
        let is_required = !matches!(schema, Schema::Optional(_));
        self.fields.push(Field { name: name.to_owned(), schema, is_required });
        self
    }

    fn json(&self) -> Value {
        let properties: Map<String, Value> =
            self.fields.iter().map(|field| (field.name.clone(), field.schema.json())).collect();
        let required: Vec<&str> =
            self.fields.iter().filter(|field| field.is_required).map(|field| field.name.as_str()).collect();
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        // The fields of a variant have no name of their own.
        if !self.name.is_empty() {
            schema["title"] = json!(self.name);
        }
        schema
    }
}

impl OneOf {
    fn json(&self) -> Value {
        let words: Vec<&str> = self
            .variants
            .iter()
            .filter(|variant| variant.schema.is_none())
            .map(|variant| variant.name.as_str())
            .collect();
        if words.len() == self.variants.len() {
            return json!({ "title": self.name, "type": "string", "enum": words });
        }
        let carrying = self.variants.iter().filter_map(|Variant { name, schema }| {
            let properties = Map::from_iter([(name.clone(), schema.as_ref()?.json())]);
            Some(json!({ "type": "object", "properties": properties, "required": [name] }))
        });
        let mut all: Vec<Value> = carrying.collect();
        if !words.is_empty() {
            all.push(json!({ "type": "string", "enum": words }));
        }
        json!({ "title": self.name, "oneOf": all })
    }
}

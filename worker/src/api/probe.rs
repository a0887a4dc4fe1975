//! Reads the schema of a type from its `Deserialize`, without a value of it.
//!
//! A type tells its deserializer what it takes. This one notes that, has nothing to give, and ends the read. Each read goes to one place
//! that is not known yet, so a type is read about once for each of its fields, at any depth. Then the type is asked which fields it can
//! do without: it reads an example that lacks one.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde_json::{Map, Value};

use super::schema::{Field, Object, OneOf, Schema, Variant};

/// A type is read so often at most; what is not known then takes anything.
const READS_MAX: usize = 2000;

/// Types within types, at most: a list of itself, which has no name, ends here.
const DEPTH_MAX: usize = 32;

/// What the example has in a text, and for the names of a map.
const TEXT: &str = "a";

/// The schema of a type.
pub(super) fn schema<T: DeserializeOwned>() -> Schema {
    let mut root = Node::default();
    for _ in 0..READS_MAX {
        let before = root.count();
        if before.unknown == 0 {
            break;
        }
        let within = Within { name: "", names: &[], depth: 0, outer: None };
        let _ = T::deserialize(Probe { node: &mut root, within: &within });
        if root.count() == before {
            // It did not ask for the type of that place.
            root.give_up();
        }
    }
    let mut schema = root.schema();
    let example = example(&schema);
    // An example that the type does not take tells nothing: a text must have a form that is not known here, say.
    if let Some(example) = example.filter(|example| T::deserialize(example.clone()).is_ok()) {
        require::<T>(&mut schema, "", &example);
    }
    schema
}

/// A place in a type.
#[derive(Debug, Default)]
struct Node {
    shape: Shape,
    is_optional: bool,
}

#[derive(Debug, Default)]
enum Shape {
    #[default]
    Unknown,
    Leaf(Schema),
    List(Box<Node>),
    Map(Box<Node>),
    Object(&'static str, Vec<(&'static str, Node)>),
    OneOf(&'static str, Vec<(&'static str, Node)>),
    /// A variant without a value.
    Word,
}

/// Places of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    all: usize,
    unknown: usize,
}

impl Node {
    fn children(&self) -> Vec<&Self> {
        match &self.shape {
            Shape::Unknown | Shape::Leaf(_) | Shape::Word => Vec::new(),
            Shape::List(child) | Shape::Map(child) => vec![&**child],
            Shape::Object(_, named) | Shape::OneOf(_, named) => named.iter().map(|(_, child)| child).collect(),
        }
    }

    fn count(&self) -> Count {
        let own = Count { all: 1, unknown: usize::from(matches!(self.shape, Shape::Unknown)) };
        self.children()
            .into_iter()
            .map(Self::count)
            .fold(own, |sum, child| Count { all: sum.all + child.all, unknown: sum.unknown + child.unknown })
    }

    fn is_known(&self) -> bool {
        self.count().unknown == 0
    }

    /// The place that the last read went to takes anything. Returns false if there was none.
    fn give_up(&mut self) -> bool {
        match &mut self.shape {
            Shape::Unknown => {
                self.shape = Shape::Leaf(Schema::Any);
                true
            }
            Shape::Leaf(_) | Shape::Word => false,
            Shape::List(child) | Shape::Map(child) => child.give_up(),
            Shape::Object(_, named) | Shape::OneOf(_, named) => named.iter_mut().any(|(_, child)| child.give_up()),
        }
    }

    fn schema(&self) -> Schema {
        let schema = match &self.shape {
            Shape::Unknown => Schema::Any,
            Shape::Word => Schema::Text,
            Shape::Leaf(schema) => schema.clone(),
            Shape::List(items) => Schema::List(Box::new(items.schema())),
            Shape::Map(values) => Schema::Map(Box::new(values.schema())),
            Shape::Object(name, named) => {
                let field = |(name, child): &(&str, Self)| Field {
                    name: (*name).to_owned(),
                    schema: child.schema(),
                    is_required: !child.is_optional,
                };
                Schema::Object(Object { name: (*name).to_owned(), fields: named.iter().map(field).collect() })
            }
            Shape::OneOf(name, named) => {
                let variant = |(name, child): &(&str, Self)| Variant {
                    name: (*name).to_owned(),
                    schema: (!matches!(child.shape, Shape::Word)).then(|| child.schema()),
                };
                Schema::OneOf(OneOf { name: (*name).to_owned(), variants: named.iter().map(variant).collect() })
            }
        };
        if self.is_optional { Schema::Optional(Box::new(schema)) } else { schema }
    }
}

/// A value that the type may take. `None` for a type within itself: the example leaves that out.
fn example(schema: &Schema) -> Option<Value> {
    match schema {
        Schema::Any | Schema::Null => Some(Value::Null),
        Schema::Boolean => Some(Value::from(true)),
        Schema::Integer(_) => Some(Value::from(1)),
        Schema::Number(_) => Some(Value::from(1.0)),
        Schema::Text => Some(Value::from(TEXT)),
        Schema::Optional(inner) => Some(example(inner).unwrap_or(Value::Null)),
        Schema::List(items) => Some(Value::Array(example(items).into_iter().collect())),
        Schema::Map(values) => {
            Some(Value::Object(example(values).map(|value| (TEXT.to_owned(), value)).into_iter().collect()))
        }
        Schema::Object(object) => {
            let fields = object.fields.iter().map(|field| Some((field.name.clone(), example(&field.schema)?)));
            fields.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        Schema::OneOf(one_of) => one_of.variants.iter().find_map(|Variant { name, schema }| match schema {
            None => Some(Value::from(name.as_str())),
            Some(schema) => Some(Value::Object(Map::from_iter([(name.clone(), example(schema)?)]))),
        }),
        Schema::Again(_) => None,
    }
}

/// Asks the type which fields it can do without, in every object that the example has.
fn require<T: DeserializeOwned>(schema: &mut Schema, pointer: &str, whole: &Value) {
    match schema {
        Schema::Optional(inner) => require::<T>(inner, pointer, whole),
        Schema::List(items) => require::<T>(items, &format!("{pointer}/0"), whole),
        Schema::Map(values) => require::<T>(values, &format!("{pointer}/{TEXT}"), whole),
        Schema::Object(object) => {
            for field in &mut object.fields {
                if let Some(is_required) = fails_without::<T>(whole, pointer, &field.name) {
                    field.is_required = is_required;
                }
                let name = field.name.replace('~', "~0").replace('/', "~1");
                require::<T>(&mut field.schema, &format!("{pointer}/{name}"), whole);
            }
        }
        _ => {}
    }
}

/// `None` if the example has no such field.
fn fails_without<T: DeserializeOwned>(whole: &Value, pointer: &str, name: &str) -> Option<bool> {
    let mut without = whole.clone();
    without.pointer_mut(pointer)?.as_object_mut()?.remove(name)?;
    Some(T::deserialize(without).is_err())
}

/// The end of a read: what was asked for is noted.
#[derive(Debug)]
struct Noted;

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schema is read, and no value")
    }
}

impl std::error::Error for Noted {}

impl serde::de::Error for Noted {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The types around a place, by which a type within itself is known.
#[derive(Debug, Clone, Copy)]
struct Within<'a> {
    name: &'static str,
    /// Of its fields or variants.
    names: &'static [&'static str],
    depth: usize,
    outer: Option<&'a Within<'a>>,
}

impl<'a> Within<'a> {
    fn inner(&'a self, name: &'static str, names: &'static [&'static str]) -> Self {
        Self { name, names, depth: self.depth + 1, outer: Some(self) }
    }

    fn has(&self, name: &str, names: &[&str]) -> bool {
        (self.name == name && self.names == names) || self.outer.is_some_and(|outer| outer.has(name, names))
    }
}

/// Notes what a type asks for at one place.
#[derive(Debug)]
struct Probe<'a> {
    node: &'a mut Node,
    within: &'a Within<'a>,
}

impl Probe<'_> {
    fn note<V>(self, schema: Schema) -> Result<V, Noted> {
        self.node.shape = Shape::Leaf(schema);
        Err(Noted)
    }

    fn is_too_deep(&self) -> bool {
        self.within.depth >= DEPTH_MAX
    }

    /// An object or its like: the read goes on in the first field that is not known.
    fn fields<'de, V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Noted> {
        if matches!(self.node.shape, Shape::Unknown) {
            self.node.shape = Shape::Object(name, unknown(names));
        }
        let Shape::Object(_, fields) = &mut self.node.shape else { return Err(Noted) };
        let Some((name, child)) = fields.iter_mut().find(|(_, child)| !child.is_known()) else { return Err(Noted) };
        let within = self.within.inner("", &[]);
        visitor.visit_map(One { name: Some(*name), child, within: &within })
    }
}

fn unknown(names: &[&'static str]) -> Vec<(&'static str, Node)> {
    names.iter().map(|name| (*name, Node::default())).collect()
}

macro_rules! leaves {
    ($($method:ident $schema:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Noted> {
            self.note($schema)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Noted;

    leaves! {
        deserialize_any Schema::Any;
        deserialize_ignored_any Schema::Any;
        deserialize_bytes Schema::Any;
        deserialize_byte_buf Schema::Any;
        deserialize_bool Schema::Boolean;
        deserialize_i8 Schema::Integer("int8");
        deserialize_i16 Schema::Integer("int16");
        deserialize_i32 Schema::Integer("int32");
        deserialize_i64 Schema::Integer("int64");
        deserialize_i128 Schema::Integer("int128");
        deserialize_u8 Schema::Integer("uint8");
        deserialize_u16 Schema::Integer("uint16");
        deserialize_u32 Schema::Integer("uint32");
        deserialize_u64 Schema::Integer("uint64");
        deserialize_u128 Schema::Integer("uint128");
        deserialize_f32 Schema::Number("float");
        deserialize_f64 Schema::Number("double");
        deserialize_char Schema::Text;
        deserialize_str Schema::Text;
        deserialize_string Schema::Text;
        deserialize_identifier Schema::Text;
        deserialize_unit Schema::Null;
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Noted> {
        self.note(Schema::Null)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Noted> {
        self.note(Schema::List(Box::new(Schema::Any)))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, _: V) -> Result<V::Value, Noted> {
        self.note(Schema::List(Box::new(Schema::Any)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Noted> {
        self.node.is_optional = true;
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Noted> {
        if self.is_too_deep() {
            return self.note(Schema::Any);
        }
        let within = self.within.inner("", &[]);
        visitor.visit_newtype_struct(Probe { node: self.node, within: &within })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Noted> {
        if self.is_too_deep() {
            return self.note(Schema::Any);
        }
        if matches!(self.node.shape, Shape::Unknown) {
            self.node.shape = Shape::List(Box::default());
        }
        let Shape::List(child) = &mut self.node.shape else { return Err(Noted) };
        let within = self.within.inner("", &[]);
        visitor.visit_seq(One { name: Some(TEXT), child, within: &within })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Noted> {
        if self.is_too_deep() {
            return self.note(Schema::Any);
        }
        if matches!(self.node.shape, Shape::Unknown) {
            self.node.shape = Shape::Map(Box::default());
        }
        let Shape::Map(child) = &mut self.node.shape else { return Err(Noted) };
        let within = self.within.inner("", &[]);
        visitor.visit_map(One { name: Some(TEXT), child, within: &within })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Noted> {
        if self.is_too_deep() || self.within.has(name, fields) {
            return self.note(Schema::Again(name.to_owned()));
        }
        let within = self.within.inner(name, fields);
        Probe { node: self.node, within: &within }.fields(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Noted> {
        if self.is_too_deep() || self.within.has(name, variants) {
            return self.note(Schema::Again(name.to_owned()));
        }
        if matches!(self.node.shape, Shape::Unknown) {
            self.node.shape = Shape::OneOf(name, unknown(variants));
        }
        let Shape::OneOf(_, all) = &mut self.node.shape else { return Err(Noted) };
        let Some((variant, node)) = all.iter_mut().find(|(_, child)| !child.is_known()) else { return Err(Noted) };
        let within = self.within.inner(name, variants);
        visitor.visit_enum(Chosen { name: variant, probe: Probe { node, within: &within } })
    }
}

/// One name, and a place for its value.
#[derive(Debug)]
struct One<'a> {
    name: Option<&'a str>,
    child: &'a mut Node,
    within: &'a Within<'a>,
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Noted;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Noted> {
        let Some(name) = self.name.take() else { return Ok(None) };
        seed.deserialize(text(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Noted> {
        seed.deserialize(Probe { node: &mut *self.child, within: self.within })
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Noted;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Noted> {
        let Some(_) = self.name.take() else { return Ok(None) };
        seed.deserialize(Probe { node: &mut *self.child, within: self.within }).map(Some)
    }
}

/// One variant.
#[derive(Debug)]
struct Chosen<'a> {
    name: &'static str,
    probe: Probe<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Chosen<'a> {
    type Error = Noted;
    type Variant = Probe<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Probe<'a>), Noted> {
        Ok((seed.deserialize(text(self.name))?, self.probe))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = Noted;

    fn unit_variant(self) -> Result<(), Noted> {
        self.node.shape = Shape::Word;
        Err(Noted)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Noted> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Noted> {
        self.note(Schema::List(Box::new(Schema::Any)))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Noted> {
        self.fields("", fields, visitor)
    }
}

fn text(name: &str) -> StrDeserializer<'_, Noted> {
    name.into_deserializer()
}

//! Attributes of the process whose spans are sent.

use gin_shared::protobuf::Writer;

use crate::span::{Value, write_attribute};

/// Attributes of a resource, by their keys.
#[derive(Debug, Clone, Default)]
pub struct Resource(Vec<(String, String)>);

impl Resource {
    /// Sets an attribute. A later one of the same key counts.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let key = key.into();
        self.0.retain(|(other, _)| *other != key);
        self.0.push((key, value.into()));
    }

    /// Writes the message `Resource { attributes 1 }`.
    pub(crate) fn write(&self, to: &mut Writer) {
        for (key, value) in &self.0 {
            write_attribute(to, 1, key, Value::Text(value));
        }
    }
}

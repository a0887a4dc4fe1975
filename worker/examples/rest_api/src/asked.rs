//! Data that clients send, and its rules.

use std::fmt;

use garde::Validate;
use gin_worker::Error;
use serde::Deserialize;

use crate::texts::{Text, Texts};

#[derive(Debug, Deserialize, Validate)]
pub struct NewUser {
    #[garde(length(min = 1, max = 200), custom(without_nul))]
    pub name: String,
    #[garde(email, length(max = 254))]
    pub email: String,
}

/// Change of a user. A field that is left out stays as it is.
#[derive(Debug, Deserialize, Validate)]
pub struct Change {
    #[garde(length(min = 1, max = 200), inner(custom(without_nul)))]
    pub name: Option<String>,
    #[garde(email, length(max = 254))]
    pub email: Option<String>,
}

#[derive(Debug, Deserialize, Validate)]
#[serde(default)]
pub struct Asked {
    #[garde(range(min = 1))]
    pub page: u64,
    #[garde(range(min = 1, max = 100))]
    pub size: u64,
    #[garde(length(max = 200), custom(without_nul))]
    pub search: String,
}

impl Default for Asked {
    fn default() -> Self {
        Self { page: 1, size: 10, search: String::new() }
    }
}

/// As the cache's key. The search is at its end, whatever is in it.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "?page={}&size={}&search={}", self.page, self.size, self.search)
    }
}

/// PostgreSQL has no NUL in a text, so no database of this service gets one.
fn without_nul(text: &str, _: &()) -> garde::Result {
    if text.contains('\0') { Err(garde::Error::new("has a NUL character")) } else { Ok(()) }
}

/// The refusal as the documents print it.
pub fn invalid(texts: Texts, error: Error) -> Error {
    Error::new(error.status(), texts.say(Text::BadRequest)).details(error.in_words())
}

//! The answers of requests that read, as JSON, in the cache.
//!
//! A list is in many answers, one for each page and search. So a change removes no single answer: each key begins with a number, the
//! version, and a change removes that. The next request makes another one, under which no answer is yet. An answer that was asked of the
//! database before a change, and arrives after it, is kept under the old version, where nobody looks.

use std::fmt::{self, Display};
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::time::Duration;

use gin_worker::api::{Answer, Describe, Output};
use gin_worker::axum::body::{Body, Bytes};
use gin_worker::axum::http::{HeaderValue, header};
use gin_worker::axum::response::{IntoResponse, Response};
use gin_worker::cache::{Cache, Typed};
use gin_worker::{Error, Result, ResultExt, serde_json};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// JSON in the cache. A copy is the same bytes.
#[derive(Clone)]
struct Json(Bytes);

impl Json {
    fn of(value: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_vec(value).internal()?;
        Ok(Self(json.into_boxed_slice().into()))
    }
}

/// In Redis it is a text.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.0).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A value of type `T` as JSON.
pub struct Rendered<T> {
    json: Json,
    of: PhantomData<fn() -> T>,
}

impl<T> Rendered<T> {
    fn new(json: Json) -> Self {
        Self { json, of: PhantomData }
    }
}

impl<T> IntoResponse for Rendered<T> {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json.0));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl<T: Describe> Answer for Rendered<T> {
    fn outputs() -> Vec<Output> {
        vec![Output::body("application/json", T::schema())]
    }
}

/// A key under a version, in a language, as one text.
struct Under<K> {
    version: u64,
    language: &'static str,
    key: K,
}

impl<K: Display> Display for Under<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.version, self.language, self.key)
    }
}

pub struct Answers {
    fresh: Duration,
    language: &'static str,
    version: Typed<&'static str, u64>,
    cache: Cache,
}

const VERSION: &str = "version";

impl Answers {
    /// Answers in this language, which are kept for this time. Zero: none is.
    pub fn new(cache: &Cache, language: &'static str, fresh: Duration) -> Self {
        Self { fresh, language, version: cache.typed("users_version").ttl(fresh), cache: cache.clone() }
    }

    /// The answer under this key; if there is none, `source` makes it, once for all who ask meanwhile.
    pub async fn get<T, K, F, A>(&self, key: K, source: F) -> Result<Rendered<T>>
    where
        T: Serialize,
        K: Display,
        F: FnOnce() -> A,
        A: Future<Output = Result<T>>,
    {
        let render = || async { Json::of(&source().await?) };
        if self.fresh.is_zero() {
            return Box::pin(render()).await.map(Rendered::new);
        }
        let version = self.version.get_or_insert_with(&VERSION, async || Ok::<_, Error>(another())).await?;
        let answers = self.cache.typed::<Under<K>, Json>("users").ttl(self.fresh);
        let json = answers.get_or_insert_with(&Under { version, language: self.language, key }, render).await?;
        Ok(Rendered::new(json))
    }

    /// Something has changed.
    pub async fn forget(&self) {
        self.version.remove(&VERSION).await;
    }
}

/// A number by chance.
fn another() -> u64 {
    RandomState::new().hash_one(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_text_in_redis() {
        let json = Json::of(&["张三"]).unwrap();
        let text = serde_json::to_string(&json).unwrap();
        assert_eq!(text, r#""[\"张三\"]""#);
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap().0, json.0);
    }

    #[test]
    fn a_key_stands_under_its_version() {
        assert_eq!(Under { version: 7, language: "en", key: "?page=1" }.to_string(), "7/en/?page=1");
    }
}

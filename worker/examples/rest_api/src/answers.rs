//! The answers of requests that read, as JSON, in the cache.
//!
//! A list is in many answers, one for each page and search. So a change removes no single answer: each key begins with a number, the
//! version, and a change removes that. The next request makes another one, under which no answer is yet. An answer that was asked of the
//! database before a change, and arrives after it, is kept under the old version, where nobody looks.

use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::time::Duration;

use gin_worker::api::{Answer, Describe, Output};
use gin_worker::axum::http::header;
use gin_worker::axum::response::{IntoResponse, Response};
use gin_worker::cache::{Cache, Typed};
use gin_worker::{Error, Result, ResultExt, serde_json};
use serde::Serialize;

/// A value of type `T` as JSON.
pub struct Rendered<T> {
    json: String,
    of: PhantomData<fn() -> T>,
}

impl<T> Rendered<T> {
    fn new(json: String) -> Self {
        Self { json, of: PhantomData }
    }
}

impl<T> IntoResponse for Rendered<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.json).into_response()
    }
}

impl<T: Describe> Answer for Rendered<T> {
    fn outputs() -> Vec<Output> {
        vec![Output::body("application/json", T::schema())]
    }
}

pub struct Answers {
    fresh: Duration,
    version: Typed<&'static str, u64>,
    answers: Typed<String, String>,
}

const VERSION: &str = "version";

impl Answers {
    /// Answers are kept for this time. Zero: none is.
    pub fn new(cache: &Cache, fresh: Duration) -> Self {
        let (version, answers) = (cache.typed("users_version"), cache.typed("users"));
        Self { fresh, version: version.ttl(fresh), answers: answers.ttl(fresh) }
    }

    /// The answer under this key; if there is none, `source` makes it, once for all who ask meanwhile.
    pub async fn get<T, F, A>(&self, key: &str, source: F) -> Result<Rendered<T>>
    where
        T: Serialize,
        F: FnOnce() -> A,
        A: Future<Output = Result<T>>,
    {
        let render = || async { serde_json::to_string(&source().await?).internal() };
        if self.fresh.is_zero() {
            return Box::pin(render()).await.map(Rendered::new);
        }
        let version = self.version.get_or_insert_with(&VERSION, async || Ok::<_, Error>(another())).await?;
        let json = self.answers.get_or_insert_with(&format!("{version}/{key}"), render).await?;
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

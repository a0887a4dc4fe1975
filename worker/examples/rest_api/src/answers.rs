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
    version: Typed<&'static str, u64>,
    answers: Typed<String, String>,
}

const VERSION: &str = "version";

impl Answers {
    /// Answers are at most `fresh` old. That counts where each worker caches for itself: it hears of no change that another one makes.
    pub fn new(cache: &Cache, fresh: Duration) -> Self {
        Self { version: cache.typed("users_version").ttl(fresh), answers: cache.typed("users").ttl(fresh) }
    }

    /// The answer under this key; if there is none, `source` makes it, once for all who ask meanwhile.
    pub async fn get<T: Serialize>(
        &self,
        key: &str,
        source: impl Future<Output = Result<T>> + Send,
    ) -> Result<Rendered<T>> {
        let version = self.version.get_or_insert_with(&VERSION, async { Ok::<_, Error>(another()) }).await?;
        let render = async { serde_json::to_string(&source.await?).internal() };
        let json = self.answers.get_or_insert_with(&format!("{version}/{key}"), render).await?;
        Ok(Rendered { json, of: PhantomData })
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

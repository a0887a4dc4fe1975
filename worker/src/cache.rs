//! A cache: values that are asked for often, so that their source is asked seldom.
//!
//! [`crate::Server::cache`] registers it, and a handler takes it as [`Cache`]. A [`Typed`] is a cache with a name, for one type of keys
//! and one of values:
//!
//! ```
//! use std::time::Duration;
//! use gin_worker::axum::Json;
//! use gin_worker::axum::extract::Path;
//! use gin_worker::cache::Cache;
//! use gin_worker::testing::TestServer;
//! use gin_worker::{Config, Result, Server};
//!
//! #[derive(Clone, serde::Serialize, serde::Deserialize)]
//! struct User {
//!     name: String,
//! }
//!
//! async fn read(id: u64) -> Result<User> {
//!     Ok(User { name: format!("user {id}") }) // of a database
//! }
//!
//! async fn user(cache: Cache, Path(id): Path<u64>) -> Result<Json<User>> {
//!     let users = cache.typed::<u64, User>("users").ttl(Duration::from_secs(60));
//!     Ok(Json(users.get_or_insert_with(&id, || read(id)).await?))
//! }
//!
//! async fn rename(cache: Cache, Path(id): Path<u64>) -> Result {
//!     // First the change, then the removal.
//!     cache.typed::<u64, User>("users").remove(&id).await;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let server: Server = Server::new(&Config::<()>::default()).cache().get("/users/:id", user).put("/users/:id", rename);
//! let app = TestServer::start(server).await;
//! app.get("/users/7").send().await.assert_json(gin_worker::serde_json::json!({ "name": "user 7" }));
//! # }
//! ```
//!
//! # Levels
//!
//! | `cache.levels` | values are | a removal reaches |
//! |---|---|---|
//! | `process` (the default) | in each process, `cache.entries` at most | this process; others keep what they have for its time to live |
//! | `redis` | in Redis, as JSON | all processes and hosts, at once |
//! | `both` | in each process, and in Redis behind it | this process at once, the others within a round trip |
//!
//! With `redis` and `both` (features `cache` and `redis`) a deployment keeps what is there: hot data outlives restarts. Services that
//! share one Redis need `monitoring.prometheus.namespace`s of their own, or other `redis.database`s.
//!
//! # What holds
//!
//! - Of many who ask [`Typed::get_or_insert_with`] for the same key at once, one asks the source, and all get its answer, or its error. With
//!   Redis that holds over all hosts, except that nobody waits longer than 2 s for another process.
//! - A removal is not undone by a value that was asked of the source before it, and comes later. So: first change the source, then remove.
//! - If Redis is away, the source is asked, and nothing is kept. No request hangs: `redis.read_timeout` (without a connection
//!   `redis.dial_timeout`) ends the first question without an answer, and with it all others; from then on Redis is only looked at, each
//!   second. What is removed meanwhile is removed from Redis before it is asked again. Should the process die before that, an old value may
//!   live on for its time to live.
//! - A value that is no JSON of its type, of an older version say, is taken for none.
//!
//! # Figures
//!
//! `cache_requests_total` by `cache`, `level` (`memory`, `redis`) and `result` (`hit`, `miss`, `error`), and the histogram
//! `cache_request_duration_seconds` of the round trips to Redis; each after the namespace. `/readyz` on the private listener has them
//! for one worker.

#![cfg_attr(
    not(all(feature = "redis", feature = "metrics")),
    allow(dead_code, unused_imports, reason = "the levels and the metrics are features")
)]

mod figures;
mod flights;
#[cfg(feature = "redis")]
mod follower;
mod front;
mod named;
mod part;
mod process;
#[cfg(feature = "redis")]
mod shared;
#[cfg(test)]
mod tests;
#[cfg(feature = "redis")]
mod unsettled;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::api::Argument;
use crate::config;
use crate::observed::doing::{Doing, doing};
use crate::parts::Parts;
#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::traces::{self, Call, SpanKind};
use figures::Outcome;
use named::Named;
pub(crate) use part::CachePart;
use process::{Kept, Place, Process};
#[cfg(feature = "redis")]
use shared::Shared;

/// The cache of a server, as an extractor. A clone is the same cache.
///
/// A handler whose server has none is answered 500, and the log says what to do ([`crate::Server::cache`]).
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    process: Arc<Process>,
    #[cfg(feature = "redis")]
    shared: Option<Arc<Shared>>,
    /// True if values are kept in the process.
    has_process: bool,
    /// Time to live, unless the program says otherwise.
    ttl: Duration,
    /// Of metrics.
    namespace: String,
    /// There are few, and each request looks for its own: a hash would cost more than the search.
    named: RwLock<BTreeMap<(TypeId, &'static str), Arc<Named>>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("entries", &self.0.process.len()).finish_non_exhaustive()
    }
}

impl Argument for Cache {}

impl<S: Send + Sync> FromRequestParts<S> for Cache {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Error> {
        Parts::handle(&parts.extensions, "cache")
    }
}

impl Cache {
    /// A cache in the process, of so many entries at most: for a test, or beside the server's own.
    ///
    /// ```
    /// use gin_worker::cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let primes = Cache::in_process(100).typed::<u32, bool>("primes");
    /// primes.insert(&7, true).await;
    /// assert_eq!((primes.get(&7).await, primes.get(&8).await), (Some(true), None));
    /// # }
    /// ```
    #[must_use]
    pub fn in_process(entries: u64) -> Self {
        let settings = config::Cache { entries, ..config::Cache::default() };
        Self::of_process(&settings, &config::Monitoring::default().namespace)
    }

    pub(crate) fn of_process(settings: &config::Cache, namespace: &str) -> Self {
        Self(Arc::new(Inner {
            process: Arc::new(Process::new(settings.entries)),
            #[cfg(feature = "redis")]
            shared: None,
            has_process: true,
            ttl: settings.ttl,
            namespace: namespace.to_owned(),
            named: RwLock::default(),
        }))
    }

    #[cfg(feature = "redis")]
    pub(crate) fn with_redis(settings: &config::Cache, namespace: &str, redis: Option<Redis>) -> Self {
        let Some(redis) = redis else { return Self::of_process(settings, namespace) };
        let process = Arc::new(Process::new(settings.entries));
        let has_process = settings.levels == config::CacheLevels::Both;
        let shared = Shared::new(redis, namespace, Arc::clone(&process), has_process);
        Self(Arc::new(Inner {
            process,
            shared: Some(shared),
            has_process,
            ttl: settings.ttl,
            namespace: namespace.to_owned(),
            named: RwLock::default(),
        }))
    }

    /// The cache of this name, for these types of keys and values. Values of the same name and of another type are another cache.
    ///
    /// Keys are told apart by their text ([`fmt::Display`]). A key of several parts needs a separator that is in none of them. Where
    /// values are large, a `V` of `Arc<..>` (with serde's feature `rc`) makes a hit cheaper: a hit is a clone.
    ///
    /// ```
    /// use gin_worker::cache::{Cache, Typed};
    ///
    /// fn prices(cache: &Cache) -> Typed<String, u64> {
    ///     cache.typed("prices")
    /// }
    /// ```
    #[must_use]
    pub fn typed<K, V>(&self, name: &'static str) -> Typed<K, V>
    where
        K: fmt::Display,
        V: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let key = (TypeId::of::<V>(), name);
        let known = self.0.named.read().unwrap_or_else(PoisonError::into_inner).get(&key).map(Arc::clone);
        let named = known.unwrap_or_else(|| {
            let mut all = self.0.named.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Named::new::<V>(&self.0.namespace, name, self.has_redis()));
            Arc::clone(all.entry(key).or_insert_with(new))
        });
        Typed { cache: self.clone(), named, ttl: self.0.ttl, of: PhantomData }
    }

    /// Figures for the private listener.
    pub(crate) fn details(&self) -> Value {
        let all = self.0.named.read().unwrap_or_else(PoisonError::into_inner);
        let mut caches = Map::new();
        for named in all.values() {
            // Two types under one name are rare: the figures of one are told.
            caches.insert(named.name.to_owned(), named.details());
        }
        #[cfg(feature = "redis")]
        let redis = self.0.shared.as_ref().map(|shared| shared.details());
        #[cfg(not(feature = "redis"))]
        let redis = Value::Null;
        json!({ "entries": self.0.process.len(), "caches": caches, "redis": redis })
    }

    #[cfg(feature = "redis")]
    fn redis(&self) -> Option<&Redis> {
        self.0.shared.as_ref().map(|shared| &shared.redis)
    }

    /// The level in Redis, if there is one in the process that must hear of its changes.
    #[cfg(feature = "redis")]
    fn followed(&self) -> Option<&Arc<Shared>> {
        self.0.shared.as_ref().filter(|_| self.0.has_process)
    }

    #[cfg(feature = "redis")]
    fn has_redis(&self) -> bool {
        self.0.shared.is_some()
    }

    #[cfg(not(feature = "redis"))]
    fn has_redis(&self) -> bool {
        false
    }

    /// True if what is in the process may be believed.
    fn believes_process(&self) -> bool {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.0.shared {
            return shared.is_heard();
        }
        true
    }
}

/// A cache with a name, for keys of type `K` and values of type `V`. A clone is the same cache.
pub struct Typed<K, V> {
    cache: Cache,
    named: Arc<Named>,
    ttl: Duration,
    of: PhantomData<fn(&K) -> V>,
}

impl<K, V> Clone for Typed<K, V> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), named: Arc::clone(&self.named), ttl: self.ttl, of: PhantomData }
    }
}

impl<K, V> fmt::Debug for Typed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("name", &self.named.name).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl<K, V> Typed<K, V>
where
    K: fmt::Display,
    V: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    /// Sets the longest life of values that are kept from now on; the default is `cache.ttl`.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// The value of a key, if it is kept.
    pub async fn get(&self, key: &K) -> Option<V> {
        let (mut call, _doing) = (self.call("get"), doing(Doing::Cache));
        let found = call.around(self.find(self.place(key))).await;
        tell(&mut call, found.is_some());
        found
    }

    async fn find(&self, place: Place) -> Option<V> {
        if let Some(value) = self.in_process(&place).await {
            return Some(value);
        }
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.cache.0.shared {
            let (value, ttl) = shared.get::<V>(&self.named, place.text()).await?;
            if !ttl.is_zero() {
                self.cache.0.process.insert(place, Kept::new(value.clone(), ttl)).await;
            }
            return Some(value);
        }
        None
    }

    /// Keeps a value, in place of what is there.
    pub async fn insert(&self, key: &K, value: V) {
        let (mut call, _doing) = (self.call("insert"), doing(Doing::Cache));
        call.around(self.keep(self.place(key), value)).await;
    }

    async fn keep(&self, place: Place, value: V) {
        let process = &self.cache.0.process;
        let place = process.forget(place).await;
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.cache.0.shared {
            let is_kept = shared.insert(&self.named, place.text(), self.ttl, &value).await;
            let ttl = shared.in_process(self.ttl);
            let next = process.forget(place.clone()).await;
            // Another value may have come in between, which was heard of.
            if is_kept && !ttl.is_zero() && place.is_just_before(&next) {
                process.insert(next, Kept::new(value, ttl)).await;
            }
            return;
        }
        process.insert(place, Kept::new(value, self.ttl)).await;
    }

    /// Removes the value of a key: call it when the source has changed. Whoever asks from then on is answered by the source, or by
    /// somebody who has asked it since.
    pub async fn remove(&self, key: &K) {
        let (mut call, _doing) = (self.call("remove"), doing(Doing::Cache));
        call.around(self.forget(self.place(key))).await;
    }

    async fn forget(&self, place: Place) {
        let process = &self.cache.0.process;
        let place = process.forget(place).await;
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.cache.0.shared {
            shared.remove(place.text()).await;
            // What was read from Redis before it was removed there.
            process.forget(place).await;
            return;
        }
        drop(place);
    }

    /// The value of a key; if none is kept, `source` makes it, once for all who ask meanwhile, and it is kept. If the one who asks the
    /// source is gone, because its client is, another one asks its own source in its place. A hit calls no source.
    ///
    /// ```
    /// use gin_worker::cache::Cache;
    /// use gin_worker::{Error, Result};
    ///
    /// async fn price(cache: &Cache, article: String) -> Result<u64> {
    ///     let prices = cache.typed::<String, u64>("prices");
    ///     let ask = || async { if article.is_empty() { Err(Error::not_found("no such article")) } else { Ok(42) } };
    ///     prices.get_or_insert_with(&article, ask).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let cache = Cache::in_process(100);
    /// assert_eq!(price(&cache, "tea".to_owned()).await.unwrap(), 42);
    /// assert!(price(&cache, String::new()).await.is_err());
    /// # }
    /// ```
    ///
    /// A source must not ask for its own key: it would wait for itself, until the request's deadline.
    ///
    /// # Errors
    /// The source's, for all who have waited for it. Nothing is kept then.
    pub async fn get_or_insert_with<F, A, E>(&self, key: &K, source: F) -> Result<V, E>
    where
        F: FnOnce() -> A,
        A: Future<Output = Result<V, E>>,
        E: Clone + Send + Sync + 'static,
    {
        let (mut call, _doing) = (self.call("load"), doing(Doing::Cache));
        let place = self.place(key);
        if let Some(value) = self.in_process(&place).await {
            tell(&mut call, true);
            return Ok(value);
        }
        let is_asked = AtomicBool::new(false);
        // Boxed: a source is large, and would stand once more in each future around it, also in that of a hit.
        let asked = Box::pin(async {
            let source = async {
                is_asked.store(true, Ordering::Relaxed);
                source().await
            };
            let load = async { self.load(&place, source).await.map(|(value, ttl)| Kept::new(value, ttl)) };
            self.cache.0.process.get_or_load(&place, load).await
        });
        let found = call.around(asked).await;
        tell(&mut call, !is_asked.load(Ordering::Relaxed));
        Ok(found?.value())
    }

    /// Begins the span of a call, if its request is traced. The key is not in it: it may be anybody's data.
    fn call(&self, what: &'static str) -> Call {
        let name = self.named.name;
        let mut call = Call::begin(SpanKind::Internal, || format!("cache {what} {name}").into());
        call.set(|attributes| {
            attributes.set("gin.cache.name", traces::Value::Text(name));
        });
        call
    }

    fn place(&self, key: &K) -> Place {
        self.cache.0.process.place(self.named.text(key), self.named.kind)
    }

    /// The value that the process has.
    async fn in_process(&self, place: &Place) -> Option<V> {
        if !self.cache.0.has_process {
            return None;
        }
        let kept = if self.cache.believes_process() { self.cache.0.process.get(place).await } else { None };
        self.named.memory.count(if kept.is_some() { Outcome::Hit } else { Outcome::Miss });
        kept.map(|kept| kept.value())
    }

    /// The value, of Redis or of the source, and how long the process keeps it.
    async fn load<F, E>(&self, place: &Place, source: F) -> Result<(V, Duration), E>
    where
        F: Future<Output = Result<V, E>>,
    {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.cache.0.shared {
            return shared.load(&self.named, place.text(), self.ttl, source).await;
        }
        #[cfg(not(feature = "redis"))]
        let _ = place;
        Ok((source.await?, self.ttl))
    }
}

/// Says in the span of a call whether the cache had the value: a source that was asked by others counts, too.
fn tell(call: &mut Call, is_hit: bool) {
    let result = if is_hit { "hit" } else { "miss" };
    call.set(|attributes| {
        attributes.set("gin.cache.result", traces::Value::Text(result));
    });
}

/// A number by chance.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

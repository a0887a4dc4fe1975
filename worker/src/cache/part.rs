//! The cache as a part of its server.

#[cfg(feature = "redis")]
use std::sync::{Mutex, PoisonError};
#[cfg(feature = "redis")]
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::Cache;
#[cfg(feature = "redis")]
use super::follower::Follower;
use crate::Error;
use crate::config::{CacheLevels, Config};
use crate::parts::{Health, Part, Registered};
#[cfg(feature = "redis")]
use crate::redis::Redis;

/// The cache of a server.
pub(crate) struct CachePart {
    cache: Cache,
    #[cfg(feature = "redis")]
    follower: Mutex<Option<Follower>>,
    #[cfg(feature = "redis")]
    patience: Duration,
}

impl CachePart {
    /// The cache of `[cache]`. If it is in Redis, `all` has lent the server.
    ///
    /// # Errors
    /// If the settings of Redis cannot be used.
    #[cfg(feature = "redis")]
    pub(crate) fn new(config: &Config, all: &Registered) -> Result<Self, String> {
        let redis = match config.cache.levels {
            CacheLevels::Process => None,
            CacheLevels::Redis | CacheLevels::Both => match all.lent::<Redis>() {
                Some(redis) => Some(redis.clone()),
                None => Some(Redis::new(&config.redis)?),
            },
        };
        let cache = Cache::with_redis(&config.cache, &config.monitoring.namespace, redis);
        Ok(Self { cache, follower: Mutex::default(), patience: config.redis.read_timeout })
    }

    /// The cache of `[cache]`.
    ///
    /// # Errors
    /// If it is to be in Redis.
    #[cfg(not(feature = "redis"))]
    pub(crate) fn new(config: &Config, _: &Registered) -> Result<Self, String> {
        match config.cache.levels {
            CacheLevels::Process => Ok(Self { cache: Cache::of_process(&config.cache, &config.monitoring.namespace) }),
            CacheLevels::Redis | CacheLevels::Both => Err(
                "cache.levels: this program was built without the feature \"redis\" of gin-worker; build it with that feature, or \
                 set it to \"process\""
                    .to_owned(),
            ),
        }
    }

    /// The handle that handlers take.
    pub(crate) fn handle(&self) -> Cache {
        self.cache.clone()
    }

    /// Follows the changes of others, if there is a level in the process that must hear of them.
    #[cfg(feature = "redis")]
    fn follow(&self) {
        if let Some(shared) = self.cache.followed() {
            let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
            follower.get_or_insert_with(|| Follower::start(shared, self.patience));
        }
    }
}

impl Part for CachePart {
    fn name(&self) -> &'static str {
        "cache"
    }

    /// Without it the source is asked.
    fn is_needed(&self) -> bool {
        false
    }

    #[cfg(feature = "redis")]
    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let Some(redis) = self.cache.redis() else { return Ok(()) };
            self.follow();
            redis.open().await.map_err(|failure| Error::away("cache").caused_by(failure))
        }
        .boxed()
    }

    #[cfg(not(feature = "redis"))]
    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        std::future::ready(Ok(())).boxed()
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        std::future::ready(Ok(())).boxed()
    }

    #[cfg(feature = "redis")]
    fn health(&self) -> Health {
        match self.cache.redis().and_then(Redis::away) {
            Some(failure) => Health::Away { why: failure.to_string() },
            None => Health::Here,
        }
    }

    #[cfg(not(feature = "redis"))]
    fn health(&self) -> Health {
        Health::Here
    }

    /// Redis is looked at by itself, each second.
    fn look(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    #[cfg(feature = "redis")]
    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            drop(self.follower.lock().unwrap_or_else(PoisonError::into_inner).take());
            self.cache.redis().into_iter().for_each(Redis::close);
        }
        .boxed()
    }

    #[cfg(not(feature = "redis"))]
    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn details(&self) -> Value {
        self.cache.details()
    }
}

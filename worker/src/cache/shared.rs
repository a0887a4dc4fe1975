//! The level in Redis, which all processes and hosts share. Values are JSON.
//!
//! Whoever finds no value takes a *lease* of its key ([`lease`]), in the same round trip, and asks the source; the others wait for the value. The value
//! is kept only if the lease is still there. A removal takes the lease away with the value: so what was asked of the source before a
//! removal, and arrives after it, is kept nowhere. A lease ends by itself soon after its owner has died.
//!
//! Whatever changes is published to the processes that keep values of their own in front of this level ([`super::follower`]).

mod lease;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, RedisResult, cmd, pipe};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::figures::Outcome;
use super::named::Named;
use super::process::Process;
use super::random;
use super::unsettled::{Due, Unsettled};
use crate::redis::{Failure, Redis, Settle};
use lease::{Claim, Lease, Scripts};

/// Keys that one step of a removal of everything looks at.
const STEP: usize = 1000;
/// Text of the message that everything was removed. No key has this text: each begins with a number.
const EVERYTHING: &str = "*";

/// The level in Redis.
pub(super) struct Shared {
    pub(super) redis: Redis,
    /// Name of everything here, in Redis.
    prefix: String,
    /// Name of this process among those that publish.
    id: String,
    pub(super) process: Arc<Process>,
    /// True if values are kept in the process, too.
    has_process: bool,
    /// True while what others publish is heard.
    hears: AtomicBool,
    unsettled: Unsettled,
    scripts: Scripts,
    asked: AtomicU64,
    /// True while the log has been told that Redis refuses changes.
    is_told: AtomicBool,
}

impl Shared {
    pub(super) fn new(redis: Redis, namespace: &str, process: Arc<Process>, has_process: bool) -> Arc<Self> {
        let shared = Arc::new(Self {
            redis,
            prefix: format!("{namespace}:cache:"),
            id: format!("{:016x}", random()),
            process,
            has_process,
            hears: AtomicBool::new(false),
            unsettled: Unsettled::default(),
            scripts: Scripts::default(),
            asked: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
        });
        let settle: Arc<dyn Settle> = Arc::<Self>::clone(&shared);
        shared.redis.settle_after_outages(Arc::downgrade(&settle));
        shared
    }

    /// True while the level in the process hears of every change, and so may be believed.
    pub(super) fn is_heard(&self) -> bool {
        self.has_process && self.hears.load(Ordering::SeqCst) && self.redis.is_here()
    }

    /// Time for which the process keeps a value with this time to live.
    pub(super) fn in_process(&self, ttl: Duration) -> Duration {
        if self.is_heard() { ttl } else { Duration::ZERO }
    }

    /// The value, and how long the process keeps it.
    pub(super) async fn get<V: DeserializeOwned>(&self, named: &Named, text: &str) -> Option<(V, Duration)> {
        let mut both = pipe();
        both.cmd("GET").arg(self.value_key(text)).cmd("PTTL").arg(self.value_key(text));
        let began = Instant::now();
        let answer = self.redis.run_all::<(Option<Vec<u8>>, i64)>(&both).await;
        let outcome = match &answer {
            Ok((Some(bytes), left)) => match serde_json::from_slice(bytes) {
                Ok(value) => Ok((value, self.in_process(millis(*left)))),
                Err(_) => Err(Outcome::Error),
            },
            Ok((None, _)) => Err(Outcome::Miss),
            Err(_) => Err(Outcome::Error),
        };
        note(named, began, outcome.as_ref().err().copied().unwrap_or(Outcome::Hit));
        outcome.ok()
    }

    /// The value, of here or of the source; and how long the process keeps it.
    ///
    /// # Errors
    /// The source's.
    pub(super) async fn load<V, E>(
        self: &Arc<Self>,
        named: &Named,
        text: &str,
        ttl: Duration,
        source: impl Future<Output = Result<V, E>>,
    ) -> Result<(V, Duration), E>
    where
        V: Serialize + DeserializeOwned,
    {
        match self.claim(named, text).await {
            Claim::Found(value, left) => Ok((value, self.in_process(left.min(ttl)))),
            Claim::Alone => source.await.map(|value| (value, self.in_process(ttl))),
            Claim::Ours(word) => {
                let lease = Lease::of(self, text, word);
                let value = tokio::select! {
                    biased;
                    value = source => value,
                    never = self.renew(text, lease.word()) => match never {},
                };
                let is_kept = match &value {
                    Ok(value) => self.fill(named, text, lease.word(), ttl, value).await,
                    Err(_) => self.release(text, lease.word()).await,
                };
                lease.done();
                value.map(|value| (value, if is_kept { self.in_process(ttl) } else { Duration::ZERO }))
            }
        }
    }

    /// Keeps a value, whatever was here. Returns true if it is here now.
    pub(super) async fn insert<V: Serialize>(&self, named: &Named, text: &str, ttl: Duration, value: &V) -> bool {
        let json = match serde_json::to_vec(value) {
            Ok(json) => json,
            Err(error) => {
                named.tell(&error);
                self.remove(text).await;
                return false;
            }
        };
        let mut all = pipe();
        all.atomic().cmd("SET").arg(self.value_key(text)).arg(json).arg("PX").arg(whole_millis(ttl)).ignore();
        all.cmd("DEL").arg(self.lease_key(text)).ignore();
        all.cmd("PUBLISH").arg(self.channel()).arg(self.message(text)).ignore();
        self.change(text, &all).await
    }

    /// Removes a value. If Redis is away it is removed before anybody here asks Redis again.
    pub(super) async fn remove(&self, text: &str) {
        self.change(text, &self.removal([text])).await;
    }

    /// Takes in what somebody has published.
    pub(super) async fn hear(&self, message: &[u8]) {
        let Some((id, text)) = std::str::from_utf8(message).ok().and_then(|message| message.split_once(' ')) else {
            return;
        };
        match text {
            _ if id == self.id => {}
            EVERYTHING => self.process.forget_all(),
            text => self.process.forget_text(text).await,
        }
    }

    /// From now on what others publish is heard, or is not. Whatever was kept before may be old.
    pub(super) fn set_hears(&self, hears: bool) {
        if !hears {
            self.hears.store(false, Ordering::SeqCst);
        }
        self.process.forget_all();
        if hears {
            self.hears.store(true, Ordering::SeqCst);
        }
    }

    /// Name of the channel on which changes are published.
    pub(super) fn channel(&self) -> String {
        format!("{}changes", self.prefix)
    }

    pub(super) fn details(&self) -> serde_json::Value {
        serde_json::json!({
            "server": self.redis.details(),
            "hears_of_changes": self.has_process.then(|| self.hears.load(Ordering::SeqCst)),
            "removals_that_wait": self.unsettled.len(),
        })
    }

    fn value_key(&self, text: &str) -> String {
        format!("{}value:{text}", self.prefix)
    }

    fn lease_key(&self, text: &str) -> String {
        format!("{}lease:{text}", self.prefix)
    }

    fn message(&self, text: &str) -> String {
        format!("{} {text}", self.id)
    }

    /// No transaction: while its memory is full, Redis refuses each command of one.
    fn removal<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Pipeline {
        let mut all = pipe();
        for text in texts {
            all.cmd("DEL").arg(self.value_key(text)).arg(self.lease_key(text)).ignore();
            all.cmd("PUBLISH").arg(self.channel()).arg(self.message(text)).ignore();
        }
        all
    }

    /// Changes what is kept of a key. Returns false if that failed: then the key is removed before anybody here asks Redis again.
    async fn change(&self, text: &str, pipeline: &Pipeline) -> bool {
        let Err(failure) = self.redis.run_all::<()>(pipeline).await else { return true };
        self.unsettled.add(text);
        self.tell(&failure);
        // Redis has refused a value for which it has no room: a removal needs none. Or it has come back, and settled what was known then,
        // before this key was added.
        if self.redis.is_here()
            && let Err(Failure::Refused(refusal)) = self.settle_now().await
        {
            // A removal that is refused is as bad as one that is not answered: what is in Redis is old.
            self.redis.went_away(&refusal.to_string());
        }
        false
    }

    /// Logs that Redis refuses changes, once until it was away.
    fn tell(&self, failure: &Failure) {
        if matches!(failure, Failure::Refused(_)) && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!("the cache cannot keep a value: {failure}");
        }
    }

    /// Removes the keys that are due, over the shared connections.
    async fn settle_now(&self) -> Result<(), Failure> {
        let due = self.unsettled.due();
        match &due {
            Due::Nothing => return Ok(()),
            Due::Keys(keys) => {
                self.redis.run_all::<()>(&self.removal(keys.iter().map(|(text, _)| text.as_str()))).await?;
            }
            // That takes several steps, before which nobody may ask.
            Due::Everything(_) => {
                self.redis.went_away("too many removals wait");
                return Ok(());
            }
        }
        self.unsettled.done(&due);
        Ok(())
    }

    /// Removes all values and leases, in steps, and tells all processes.
    async fn remove_everything(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.prefix)).arg("COUNT").arg(STEP);
            let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
            if !keys.is_empty() {
                cmd("DEL").arg(keys).exec_async(connection).await?;
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        cmd("PUBLISH").arg(self.channel()).arg(self.message(EVERYTHING)).exec_async(connection).await
    }
}

impl Settle for Shared {
    /// Changes of others were published to nobody meanwhile, perhaps: the process begins anew, once it hears of changes again.
    fn settle<'a>(&'a self, connection: &'a mut MultiplexedConnection) -> BoxFuture<'a, RedisResult<()>> {
        async move {
            self.set_hears(false);
            self.is_told.store(false, Ordering::Relaxed);
            loop {
                let due = self.unsettled.due();
                match &due {
                    Due::Nothing => return Ok(()),
                    Due::Keys(keys) => {
                        self.removal(keys.iter().map(|(text, _)| text.as_str())).exec_async(connection).await?;
                    }
                    Due::Everything(_) => self.remove_everything(connection).await?,
                }
                self.unsettled.done(&due);
            }
        }
        .boxed()
    }

    fn is_settled(&self) -> bool {
        self.unsettled.len() == 0
    }
}

/// Counts a look.
fn note(named: &Named, began: Instant, outcome: Outcome) {
    if let Some(level) = &named.redis {
        level.took(began.elapsed());
        level.count(outcome);
    }
}

/// Time to live, as Redis tells it: below 0 for a key without one, or without a key.
fn millis(left: i64) -> Duration {
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

/// A time to live, as Redis takes it.
fn whole_millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}

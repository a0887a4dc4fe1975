//! Leases: who asks the source, of all processes and hosts, and whose value is kept.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::redis::{Script, cmd};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::{Shared, millis, note, whole_millis};
use crate::cache::figures::Outcome;
use crate::cache::named::Named;

/// A lease that is not renewed ends after this time. Others wait for the value as long, and then ask the source themselves.
const LEASE: Duration = Duration::from_secs(2);
/// First pause of those who wait for a value, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(80));

/// KEYS: value, lease. ARGV: the asker's word, milliseconds. The value with its time to live; or 1 with a lease, 0 without.
const CLAIM: &str = "
local value = redis.call('GET', KEYS[1])
if value then return {value, redis.call('PTTL', KEYS[1])} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, 1} end
if redis.call('GET', KEYS[2]) == ARGV[1] then return {false, 1} end
return {false, 0}";

/// KEYS: value, lease. ARGV: the asker's word, the value, milliseconds. 1 if the lease was there.
const FILL: &str = "
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// KEYS: lease. ARGV: the owner's word, milliseconds; with 0 the lease ends.
const RENEW: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// The scripts, as they are sent.
pub(super) struct Scripts {
    claim: Script,
    fill: Script,
    renew: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self { claim: Script::new(CLAIM), fill: Script::new(FILL), renew: Script::new(RENEW) }
    }
}

/// Result of a look for a value that is to be filled in.
pub(super) enum Claim<V> {
    /// The value, and for how long it is kept.
    Found(V, Duration),
    /// None, and a lease with this word.
    Ours(String),
    /// None, and nothing is to be kept: Redis is away, or somebody else takes long.
    Alone,
}

/// A lease that this process has. If it is dropped before it is over, because nobody waits for the source any more, it ends: others
/// need not wait until it does so by itself.
pub(super) struct Lease {
    shared: Arc<Shared>,
    text: String,
    word: String,
    is_over: bool,
}

impl Lease {
    pub(super) fn of(shared: &Arc<Shared>, text: &str, word: String) -> Self {
        Self { shared: Arc::clone(shared), text: text.to_owned(), word, is_over: false }
    }

    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// It was given up, or its value is there.
    pub(super) fn done(mut self) {
        self.is_over = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        let Some(runtime) = Handle::try_current().ok().filter(|_| !self.is_over) else { return };
        let (shared, text, word) =
            (Arc::clone(&self.shared), std::mem::take(&mut self.text), std::mem::take(&mut self.word));
        runtime.spawn(async move { shared.release(&text, &word).await });
    }
}

impl Shared {
    pub(super) async fn claim<V: DeserializeOwned>(&self, named: &Named, text: &str) -> Claim<V> {
        let word = format!("{}:{}", self.id, self.asked.fetch_add(1, Ordering::Relaxed));
        let mut ask = self.scripts.claim.prepare_invoke();
        ask.key(self.value_key(text)).key(self.lease_key(text)).arg(&word).arg(whole_millis(LEASE));
        let (first, (mut pause, longest)) = (Instant::now(), PAUSES);
        let mut is_spoilt = false;
        loop {
            let began = Instant::now();
            match self.redis.run_script::<(Option<Vec<u8>>, i64)>(&ask).await {
                Err(_) => {
                    note(named, began, Outcome::Error);
                    return Claim::Alone;
                }
                Ok((Some(bytes), left)) => {
                    if let Ok(value) = serde_json::from_slice(&bytes) {
                        note(named, began, Outcome::Hit);
                        return Claim::Found(value, millis(left));
                    }
                    note(named, began, Outcome::Error);
                    if is_spoilt {
                        return Claim::Alone;
                    }
                    // Another version of the program has put it there, whose values look otherwise.
                    is_spoilt = true;
                    let _ = self.redis.run::<()>(cmd("DEL").arg(self.value_key(text))).await;
                }
                Ok((None, 1)) => {
                    note(named, began, Outcome::Miss);
                    return Claim::Ours(word);
                }
                Ok((None, _)) if first.elapsed() >= LEASE => {
                    note(named, began, Outcome::Miss);
                    return Claim::Alone;
                }
                Ok((None, _)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// Keeps the lease for as long as its owner waits for the source.
    pub(super) async fn renew(&self, text: &str, word: &str) -> Infallible {
        let mut ask = self.scripts.renew.prepare_invoke();
        ask.key(self.lease_key(text)).arg(word).arg(whole_millis(LEASE));
        loop {
            tokio::time::sleep(LEASE / 3).await;
            // If it fails, the value is not kept.
            let _ = self.redis.run_script::<()>(&ask).await;
        }
    }

    /// Gives the lease up, without a value: another one may ask. Always false.
    pub(super) async fn release(&self, text: &str, word: &str) -> bool {
        let mut ask = self.scripts.renew.prepare_invoke();
        ask.key(self.lease_key(text)).arg(word).arg(0);
        let _ = self.redis.run_script::<()>(&ask).await;
        false
    }

    /// Returns true if the value is kept: the lease was still there.
    pub(super) async fn fill<V: Serialize>(
        &self,
        named: &Named,
        text: &str,
        word: &str,
        ttl: Duration,
        value: &V,
    ) -> bool {
        let json = match serde_json::to_vec(value) {
            Ok(json) => json,
            Err(error) => {
                named.tell(&error);
                return self.release(text, word).await;
            }
        };
        let mut ask = self.scripts.fill.prepare_invoke();
        ask.key(self.value_key(text)).key(self.lease_key(text)).arg(word).arg(json).arg(whole_millis(ttl));
        self.redis.run_script::<i64>(&ask).await.is_ok_and(|kept| kept == 1)
    }
}

//! Attempts of a handler's own choice, counted as requests are: over all workers and restarts, or over all hosts.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::http::Extensions;

#[cfg(feature = "redis")]
use super::remote::Remote;
use super::{Client, count, give_back};
use crate::config::RateLimit;
use crate::live::{Live, Snapshot};
use crate::shared_memory::monotonic;

/// The buckets of a request's server.
#[derive(Clone)]
pub(crate) struct Counter {
    /// `None`: there is nobody who remembers clients, and nothing is limited.
    live: Option<Arc<Live>>,
    #[cfg(feature = "redis")]
    remote: Option<Remote>,
}

impl Client {
    /// The client of this name. Names are as different as their bytes: nobody finds another one with the same digest.
    pub(crate) fn named(name: &str) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&digest::digest(&digest::SHA256, name.as_bytes()).as_ref()[..8]);
        Self::Named(u64::from_be_bytes(first))
    }
}

impl Counter {
    /// The buckets that this request's rate limit counts in.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self {
            live: extensions.get::<Snapshot>().map(|snapshot| Arc::clone(&snapshot.0)),
            #[cfg(feature = "redis")]
            remote: extensions.get::<Remote>().cloned(),
        }
    }

    /// Counts one attempt. `scope` names the limit. `Some`: it is one too many, and the next one may come after this time.
    pub(crate) async fn count(&self, limit: &RateLimit, scope: &'static str, client: Client) -> Option<Duration> {
        let live = self.live.as_ref()?;
        #[cfg(feature = "redis")]
        if let Some(remote) = &self.remote
            && let Some(standing) = remote.count(limit, scope, client).await
        {
            return standing.retry;
        }
        count(&live.buckets, limit, scope, client, monotonic()).retry
    }

    /// Takes attempts of a client back: as many as add up to this time, at most. An attempt is the share of one in the limit's window.
    /// Returns the time that was taken back.
    pub(crate) async fn give_back(&self, scope: &'static str, client: Client, most: Duration) -> Duration {
        let Some(live) = &self.live else { return Duration::ZERO };
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        #[cfg(feature = "redis")]
        if let Some(remote) = &self.remote
            && let Some(given) = remote.give_back(scope, client, most).await
        {
            return given;
        }
        Duration::from_nanos(give_back(&live.buckets, scope, client, most, monotonic()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Parts;
    use crate::shared_memory::Buckets;

    #[tokio::test]
    async fn attempts_of_a_name_are_counted_and_taken_back() {
        let limit = RateLimit { rate: 2, window: Duration::from_secs(60), ..RateLimit::default() };
        let live = Live::open(crate::Config::default(), Vec::new(), Arc::new(Buckets::own(1024)), Parts::default());
        let mut extensions = Extensions::new();
        assert_eq!(Counter::of(&extensions).count(&limit, "a", Client::named("ann")).await, None);
        extensions.insert(Snapshot(Arc::new(live.unwrap()), None));
        let counter = Counter::of(&extensions);
        let count =
            async |scope: &'static str, name: &str| counter.count(&limit, scope, Client::named(name)).await.is_some();
        assert!(!count("a", "ann").await && !count("a", "ann").await && count("a", "ann").await);
        assert!(!count("a", "Ann").await && !count("b", "ann").await, "each name and scope has its own");
        let give_back =
            async |seconds: u64| counter.give_back("a", Client::named("ann"), Duration::from_secs(seconds)).await;
        assert_eq!(give_back(30).await, Duration::from_secs(30));
        assert!(!count("a", "ann").await && count("a", "ann").await, "it was one of two");
        let all = give_back(90).await;
        assert!(Duration::from_secs(30) < all && all <= Duration::from_secs(60), "{all:?}");
        assert_eq!(give_back(90).await, Duration::ZERO);
        assert!(!count("a", "ann").await && !count("a", "ann").await && count("a", "ann").await);
    }
}

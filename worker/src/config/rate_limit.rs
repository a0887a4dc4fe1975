//! The rate limit: `[rate_limit]`.

use std::time::Duration;

use gin_shared::config::Section;

/// `[rate_limit]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// Whether clients are limited.
    pub enable: bool,
    /// Requests a window.
    pub rate: u32,
    /// The window.
    pub window: Duration,
    /// Clients whose address nobody tells.
    pub without_address: WithoutAddress,
    /// Place where clients are counted.
    pub store: RateLimitStore,
    /// Clients remembered at once.
    pub clients: u32,
}

/// Places where the requests of a client are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateLimitStore {
    /// The workers of one supervisor count together.
    #[default]
    Local,
    /// The workers of all hosts count together, in Redis.
    Redis,
}

/// Treatment of clients without an address: those over a Unix socket, unless a trusted proxy tells theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutAddress {
    /// A worker with a Unix socket and without trusted proxies does not start. Where there are trusted proxies, a client of whom they
    /// tell no address counts as for [`Self::OneBucket`].
    #[default]
    Error,
    /// All of them count as one client.
    OneBucket,
    /// They are not counted.
    Unlimited,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            enable: false,
            rate: 100,
            window: Duration::from_secs(60),
            without_address: WithoutAddress::default(),
            store: RateLimitStore::default(),
            clients: 65_536,
        }
    }
}

impl RateLimit {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let number = |key, range| section.integer(key, range).and_then(|number| u32::try_from(number).ok());
        let words = [
            ("error", WithoutAddress::Error),
            ("one_bucket", WithoutAddress::OneBucket),
            ("unlimited", WithoutAddress::Unlimited),
        ];
        let stores = [("local", RateLimitStore::Local), ("redis", RateLimitStore::Redis)];
        let window = section.duration("window").inspect(|window| {
            if window.is_zero() {
                section.problem("window", "it must be more than 0s");
            }
        });
        Self {
            enable: section.boolean("enable").unwrap_or(base.enable),
            rate: number("rate", 1..=1_000_000_000).unwrap_or(base.rate),
            window: window.unwrap_or(base.window),
            without_address: section.choice("without_address", &words).unwrap_or(base.without_address),
            store: section.choice("store", &stores).unwrap_or(base.store),
            clients: number("clients", 1024..=1 << 24).unwrap_or(base.clients),
        }
    }
}

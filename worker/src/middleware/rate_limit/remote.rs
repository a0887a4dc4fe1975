//! The rate limit over several hosts: the same leaky bucket, in Redis. One script reads, decides and writes, so that no two requests are
//! let in for one place, and each request costs one round trip. The clock is that of Redis, so the hosts' own may differ.
//!
//! While Redis is away, each host counts for itself, as with `rate_limit.store = "local"`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::Script;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use super::{Client, Standing, count, interval};
use crate::config::RateLimit;
use crate::live::{Live, Snapshot};
use crate::middleware::standard::is_probe;
use crate::redis::Redis;
use crate::shared_memory::monotonic;

/// Longest window, in nanoseconds: Lua's numbers have 53 bits.
const LONGEST: u64 = 1 << 53;

/// The numbers of [`super::decide`], from now on: in Lua a time since 1970 in nanoseconds has no room. So a bucket is kept as seconds and
/// nanoseconds, and `ahead` is the time until it is empty.
///
/// KEYS: the bucket. ARGV: the window and the interval, in nanoseconds. Answer: 1 if the request is let in, how many more would be, and in
/// nanoseconds the time until the bucket is empty, and until the next request is let in.
const SCRIPT: &str = "
local window, interval = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local seconds, nanos = tonumber(time[1]), tonumber(time[2]) * 1000
local ahead, then_ = 0, redis.call('GET', KEYS[1])
if then_ then
  local s, n = string.match(then_, '^(%d+):(%d+)$')
  if s then ahead = (tonumber(s) - seconds) * 1000000000 + (tonumber(n) - nanos) end
end
ahead = math.min(math.max(ahead, 0), window)
local after = ahead + interval
if after > window then return {0, 0, ahead, after - window} end
local rest = nanos + after % 1000000000
local whole = seconds + math.floor(after / 1000000000) + math.floor(rest / 1000000000)
redis.call('SET', KEYS[1], string.format('%d:%d', whole, rest % 1000000000), 'PX', math.floor(after / 1000000) + 1)
return {1, math.floor((window - after) / interval), after, 0}";

/// Takes attempts back, as [`super::give_back`] does.
///
/// KEYS: the bucket. ARGV: the most that is taken, in nanoseconds. Answer: the nanoseconds that were taken.
#[cfg(feature = "auth")]
const GIVE_BACK: &str = "
local time, then_ = redis.call('TIME'), redis.call('GET', KEYS[1])
local seconds, nanos = tonumber(time[1]), tonumber(time[2]) * 1000
local s, n = string.match(then_ or '', '^(%d+):(%d+)$')
if not s then return 0 end
local ahead = (tonumber(s) - seconds) * 1000000000 + (tonumber(n) - nanos)
local given = math.min(math.max(ahead, 0), tonumber(ARGV[1]))
local after = ahead - given
if after <= 0 then
  redis.call('DEL', KEYS[1])
  return given
end
local rest = nanos + after % 1000000000
local whole = seconds + math.floor(after / 1000000000) + math.floor(rest / 1000000000)
redis.call('SET', KEYS[1], string.format('%d:%d', whole, rest % 1000000000), 'PX', math.floor(after / 1000000) + 1)
return given";

/// Counts in Redis. An extension of each request, so that limits of routes and groups count there, too.
#[derive(Debug, Clone)]
pub(crate) struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: Redis,
    script: Script,
    #[cfg(feature = "auth")]
    give_back: Script,
    /// Name of all buckets, in Redis.
    prefix: String,
    /// True while the log has been told that each host counts for itself.
    is_told: AtomicBool,
}

/// A request that counts.
struct Counted {
    live: Arc<Live>,
    client: Client,
}

impl Counted {
    /// `None`: it does not count.
    fn of(live: Option<Arc<Live>>, request: &Request) -> Option<Self> {
        let live = live?;
        let client = Client::of(request, live.config.rate_limit.without_address)?;
        Some(Self { live, client })
    }
}

impl Remote {
    pub(crate) fn new(redis: Redis, namespace: &str) -> Self {
        Self(Arc::new(Inner {
            redis,
            script: Script::new(SCRIPT),
            #[cfg(feature = "auth")]
            give_back: Script::new(GIVE_BACK),
            prefix: format!("{namespace}:rate_limit:"),
            is_told: AtomicBool::new(false),
        }))
    }

    /// The limit of `[rate_limit]`, around all routes.
    pub(crate) async fn around(self, mut request: Request, next: Next) -> Response {
        let live = request.extensions().get::<Snapshot>().map(|snapshot| Arc::clone(&snapshot.0));
        request.extensions_mut().insert(self.clone());
        let limit = live.as_ref().map(|live| live.config.rate_limit);
        let Some(limit) = limit.filter(|limit| limit.enable && !is_probe(&request)) else {
            return next.run(request).await;
        };
        let counted = Counted::of(live, &request);
        let Some(standing) = self.standing(counted, &limit, "").await else {
            return next.run(request).await;
        };
        if let Some(refusal) = standing.refusal() {
            return refusal;
        }
        let mut response = next.run(request).await;
        standing.put(response.headers_mut());
        response
    }

    /// A limit of its own, of a route or a group.
    pub(super) async fn limited(
        self,
        live: Option<Arc<Live>>,
        limit: RateLimit,
        scope: &'static str,
        request: Request,
        next: Next,
    ) -> Response {
        let counted = Counted::of(live, &request);
        let standing = self.standing(counted, &limit, scope).await;
        match standing.as_ref().and_then(Standing::refusal) {
            Some(refusal) => refusal,
            None => next.run(request).await,
        }
    }

    /// Counts a request, here if Redis is away; `None`: it is not counted.
    async fn standing(&self, counted: Option<Counted>, limit: &RateLimit, scope: &str) -> Option<Standing> {
        let Counted { live, client } = counted?;
        match self.count(limit, scope, client).await {
            Some(standing) => Some(standing),
            None => Some(count(&live.buckets, limit, scope, client, monotonic())),
        }
    }

    /// Counts in Redis. `None`: it is away.
    pub(super) async fn count(&self, limit: &RateLimit, scope: &str, client: Client) -> Option<Standing> {
        let Inner { redis, script, prefix, is_told, .. } = &*self.0;
        let (window, interval) = times(limit);
        let mut ask = script.prepare_invoke();
        ask.key(key(prefix, scope, client)).arg(window).arg(interval);
        match redis.run_script::<(i64, u64, u64, u64)>(&ask).await {
            Ok((is_let_in, remaining, reset, retry)) => {
                // Whoever is refused is written nowhere: a server that takes no writes can still do that.
                if is_let_in == 1 && is_told.load(Ordering::Relaxed) && is_told.swap(false, Ordering::Relaxed) {
                    tracing::info!("the rate limit counts over all hosts again");
                }
                let retry = (is_let_in == 0).then(|| Duration::from_nanos(retry));
                Some(Standing { limit: limit.rate, remaining, reset: Duration::from_nanos(reset), retry })
            }
            Err(failure) => {
                if !is_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the rate limit counts on this host alone: {failure}");
                }
                None
            }
        }
    }

    /// Takes attempts back. `None`: Redis is away, and counts them on until their window is over.
    #[cfg(feature = "auth")]
    pub(super) async fn give_back(&self, scope: &str, client: Client, most: u64) -> Option<Duration> {
        let Inner { redis, give_back, prefix, .. } = &*self.0;
        let mut ask = give_back.prepare_invoke();
        ask.key(key(prefix, scope, client)).arg(most.min(LONGEST));
        match redis.run_script::<u64>(&ask).await {
            Ok(given) => Some(Duration::from_nanos(given)),
            Err(failure) => {
                tracing::debug!("the rate limit of a client stays as it is: {failure}");
                None
            }
        }
    }
}

/// Window and interval of a limit, in nanoseconds, as the script takes them.
fn times(limit: &RateLimit) -> (u64, u64) {
    let window = u64::try_from(limit.window.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
    (window, interval(limit, window))
}

/// A client's bucket. The scope's length says where the scope ends. Of IPv6 the network counts, as in [`super::key`].
fn key(prefix: &str, scope: &str, client: Client) -> String {
    let of = |client: &dyn std::fmt::Display| format!("{prefix}{}:{scope}:{client}", scope.len());
    match client {
        Client::At(ip) => match ip.to_canonical() {
            IpAddr::V4(ip) => of(&ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                of(&format_args!("{a:x}:{b:x}:{c:x}:{d:x}::"))
            }
        },
        Client::WithoutAddress => of(&"-"),
        #[cfg(feature = "auth")]
        Client::Named(digest) => of(&format_args!("@{digest:016x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide;
    use super::*;
    use crate::redis::stub;

    const SECOND: u64 = 1_000_000_000;

    /// The script in Rust, line by line: its answer, and the bucket that it leaves. Numbers are as Lua has them.
    fn script(
        bucket: Option<(f64, f64)>,
        now: (f64, f64),
        window: f64,
        interval: f64,
    ) -> ([f64; 4], Option<(f64, f64)>) {
        let (seconds, nanos) = now;
        let mut ahead = 0.0;
        if let Some((s, n)) = bucket {
            ahead = (s - seconds) * 1_000_000_000.0 + (n - nanos);
        }
        ahead = f64::min(f64::max(ahead, 0.0), window);
        let after = ahead + interval;
        if after > window {
            return ([0.0, 0.0, ahead, after - window], bucket);
        }
        let rest = nanos + after % 1_000_000_000.0;
        let whole = seconds + (after / 1_000_000_000.0).floor() + (rest / 1_000_000_000.0).floor();
        let bucket = (whole, rest % 1_000_000_000.0);
        ([1.0, ((window - after) / interval).floor(), after, 0.0], Some(bucket))
    }

    /// The next of a sequence of random numbers (xorshift64).
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn the_script_decides_as_the_local_limit() {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let rates = [1, 2, 3, 7, 100, 200, 9999, 1_000_000, 1_000_000_000];
        let windows = [1_u64, 999, 1_000_000, SECOND, 60 * SECOND, 3600 * SECOND, 24 * 3600 * SECOND, LONGEST / 4];
        for (rate, window) in rates.iter().flat_map(|rate| windows.iter().map(move |window| (*rate, *window))) {
            let limit = RateLimit { rate, window: Duration::from_nanos(window), ..RateLimit::default() };
            let (window, interval) = times(&limit);
            // Redis' clock counts microseconds since 1970.
            let mut now = 1_800_000_000 * SECOND + random(&mut state) % SECOND / 1000 * 1000;
            let (mut local, mut remote) = (0, None);
            for _ in 0..300 {
                let (next, standing) = decide(&limit, local, now);
                let clock = ((now / SECOND) as f64, (now % SECOND) as f64);
                let (answer, bucket) = script(remote, clock, window as f64, interval as f64);
                let [is_let_in, remaining, reset, retry] = answer.map(|number| number as u64);
                let at = format!("{rate} in {window} ns");
                assert_eq!(is_let_in == 1, standing.retry.is_none(), "{at}");
                assert_eq!(Duration::from_nanos(retry), standing.retry.unwrap_or_default(), "{at}");
                assert_eq!((remaining, Duration::from_nanos(reset)), (standing.remaining, standing.reset), "{at}");
                (local, remote) = (next, bucket);
                if let Some((seconds, nanos)) = bucket {
                    assert_eq!(seconds as u64 * SECOND + nanos as u64, next, "{at}");
                }
                now += random(&mut state) % (interval * 2).max(1) / 1000 * 1000;
            }
        }
    }

    #[test]
    fn a_bucket_that_is_fuller_than_the_window_is_full_and_one_of_the_past_is_empty() {
        let (window, interval) = (60e9, 6e9);
        let now = (1_800_000_000.0, 0.0);
        let later = Some((1_900_000_000.0, 0.0));
        assert_eq!(script(later, now, window, interval).0, [0.0, 0.0, 60e9, 6e9]);
        assert_eq!(script(Some((5.0, 0.0)), now, window, interval).0, [1.0, 9.0, 6e9, 0.0]);
    }

    #[test]
    fn clients_and_scopes_have_buckets_of_their_own() {
        let of = |scope: &str, ip: &str| key("shop:rate_limit:", scope, Client::At(ip.parse().unwrap()));
        assert_eq!(of("login", "10.0.0.1"), "shop:rate_limit:5:login:10.0.0.1");
        assert_eq!(of("", "::ffff:10.0.0.1"), of("", "10.0.0.1"));
        assert_eq!(of("", "2001:db8:1:2::1"), of("", "2001:db8:1:2:ffff::2"));
        assert_ne!(of("", "2001:db8:1:2::1"), of("", "2001:db8:1:3::1"));
        assert_ne!(of("a", "10.0.0.1"), of("a:", "10.0.0.1"));
        assert_eq!(key("p:", "", Client::WithoutAddress), "p:0::-");
    }

    #[tokio::test]
    async fn without_redis_nobody_counts_there() {
        let redis = Redis::new(&crate::config::Redis::default()).unwrap();
        redis.went_away("it was stopped");
        let remote = Remote::new(redis, "shop");
        assert_eq!(remote.count(&RateLimit::default(), "", Client::WithoutAddress).await, None);
        assert!(remote.0.is_told.load(Ordering::Relaxed));
    }

    #[cfg(feature = "auth")]
    #[tokio::test]
    async fn attempts_are_taken_back_in_redis() {
        let redis = stub::answered_by(move |words| match words[0].as_str() {
            "EVALSHA" => {
                assert_eq!(words[2..], ["1", "shop:rate_limit:1:a:@0000000000000007", "9"]);
                ":7\r\n"
            }
            _ => stub::OK,
        });
        let given = Remote::new(redis, "shop").give_back("a", Client::Named(7), 9).await;
        assert_eq!(given, Some(Duration::from_nanos(7)));
        let away = Redis::new(&crate::config::Redis::default()).unwrap();
        away.went_away("it was stopped");
        assert_eq!(Remote::new(away, "shop").give_back("a", Client::Named(7), 9).await, None);
    }

    #[tokio::test]
    async fn a_server_that_takes_no_writes_is_told_once() {
        let mut asked = 0;
        let redis = stub::answered_by(move |words| match words[0].as_str() {
            "EVALSHA" => {
                asked += 1;
                match asked {
                    1 => "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
                    2 => "*4\r\n:0\r\n:0\r\n:9\r\n:9\r\n",
                    _ => "*4\r\n:1\r\n:9\r\n:9\r\n:0\r\n",
                }
            }
            _ => stub::OK,
        });
        let remote = Remote::new(redis, "shop");
        let mut told = Vec::new();
        for _ in 0..3 {
            let is_counted = remote.count(&RateLimit::default(), "", Client::WithoutAddress).await.is_some();
            told.push((is_counted, remote.0.is_told.load(Ordering::Relaxed)));
        }
        assert_eq!(told, [(false, true), (true, true), (true, false)]);
    }
}

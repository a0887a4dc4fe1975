//! How often a client may ask, over all workers and restarts together: a leaky bucket as a meter (GCRA, ITU-T I.371) for each
//! address, by `[rate_limit]`.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client_ip;
use crate::Error;
use crate::config::RateLimit;
use crate::live::Snapshot;
use crate::shared_memory::{Buckets, monotonic};

/// draft-ietf-httpapi-ratelimit-headers-06
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// What is said of a client's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    limit: u32,
    remaining: u64,
    /// Until all of it is there again.
    reset: Duration,
    /// Too many: until the next one.
    retry: Option<Duration>,
}

/// What [`rate_limit`] gives.
pub type Limited = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A limit of its own for a route or a group, beside `[rate_limit]`: `rate` requests a `window` for each client, over all workers and
/// restarts. `scope` names it: two places with the same name count together.
///
/// ```
/// use std::time::Duration;
/// use gin_worker::{Route, middleware::rate_limit};
/// # async fn login() {}
///
/// let route = Route::<()>::post("/login", login).middleware(rate_limit("login", 5, Duration::from_secs(60)));
/// ```
///
/// Inside of [`crate::Server::new`] alone: elsewhere there is nobody who remembers clients, and all are let in.
pub fn rate_limit(
    scope: &'static str,
    rate: u32,
    window: Duration,
) -> impl Fn(Request, Next) -> Limited + Clone + Send + Sync + 'static {
    let limit = RateLimit { enable: true, rate: rate.max(1), window, ..RateLimit::default() };
    move |request: Request, next: Next| {
        let live = request.extensions().get::<Snapshot>().map(|snapshot| Arc::clone(&snapshot.0));
        let client = client_ip::of(request.extensions(), request.headers());
        let standing = live.zip(client).map(|(live, client)| count(&live.buckets, &limit, scope, client, monotonic()));
        match standing.as_ref().and_then(Standing::refusal) {
            Some(refusal) => Box::pin(std::future::ready(refusal)),
            None => Box::pin(next.run(request)),
        }
    }
}

/// Counts one request of this client, now: nanoseconds of the monotonic clock.
pub(super) fn count(buckets: &Buckets, limit: &RateLimit, scope: &str, client: IpAddr, now: u64) -> Standing {
    let window = u64::try_from(limit.window.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
    let interval = (window / u64::from(limit.rate)).max(1);
    let bucket = buckets.of(key(scope, client, buckets.seed()), now);
    let full = now + window;
    // When the bucket is empty again, if this one is let in.
    let mut then = bucket.load();
    loop {
        // A window that has become shorter counts for who was refused by a longer one, too.
        let next = then.min(full).max(now) + interval;
        if next > full {
            let (reset, retry) = (then.min(full).saturating_sub(now), next - full);
            let (reset, retry) = (Duration::from_nanos(reset), Some(Duration::from_nanos(retry)));
            return Standing { limit: limit.rate, remaining: 0, reset, retry };
        }
        match bucket.exchange(then, next) {
            Ok(()) => {
                let (remaining, reset) = ((full - next) / interval, Duration::from_nanos(next - now));
                return Standing { limit: limit.rate, remaining, reset, retry: None };
            }
            Err(other) => then = other,
        }
    }
}

/// Of IPv6 the network counts: whoever has one has all its addresses (RFC 6177 gives a site a /48 to a /64).
fn key(scope: &str, client: IpAddr, seed: u64) -> u64 {
    let mut hasher = Fnv(seed ^ 0xcbf2_9ce4_8422_2325).build_hasher();
    hasher.write(scope.as_bytes());
    match client.to_canonical() {
        IpAddr::V4(ip) => ip.octets().hash(&mut hasher),
        IpAddr::V6(ip) => ip.octets()[..8].hash(&mut hasher),
    }
    // 0 stands for nobody.
    mix(hasher.finish()).max(1)
}

/// The same in every worker, of whatever build, and not to be foreseen from outside: the seed is the memory's.
#[derive(Clone)]
struct Fnv(u64);

impl BuildHasher for Fnv {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        self.clone()
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The finalizer of MurmurHash3: every bit of the input counts for every bit of the result.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

impl Standing {
    /// 429, if it was one too many.
    pub(super) fn refusal(&self) -> Option<Response> {
        let retry = self.retry?;
        let error = Error::new(axum::http::StatusCode::TOO_MANY_REQUESTS, "too many requests");
        let mut response = error.code("RATE_LIMIT_EXCEEDED").into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(retry)));
        self.put(response.headers_mut());
        Some(response)
    }

    pub(super) fn put(&self, headers: &mut HeaderMap) {
        // A limit further in has spoken: what it says is closer to the request.
        if headers.contains_key(LIMIT) {
            return;
        }
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(seconds(self.reset)));
    }
}

/// Whole ones, upwards.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limit(rate: u32, seconds: u64) -> RateLimit {
        RateLimit { enable: true, rate, window: Duration::from_secs(seconds), ..RateLimit::default() }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn so_many_at_once_and_then_one_an_interval() {
        let (buckets, limit) = (Buckets::own(1024), limit(10, 60));
        let now = 1000 * SECOND;
        for left in (0..10).rev() {
            let standing = count(&buckets, &limit, "", ip(1), now);
            assert_eq!((standing.remaining, standing.retry), (left, None));
        }
        let refused = count(&buckets, &limit, "", ip(1), now);
        assert_eq!((refused.retry, refused.reset), (Some(Duration::from_secs(6)), Duration::from_secs(60)));
        let response = refused.refusal().unwrap();
        let of = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            (response.status().as_u16(), of("retry-after"), of("ratelimit-remaining")),
            (429, "6".to_owned(), "0".to_owned())
        );
        // Others have their own.
        assert_eq!(count(&buckets, &limit, "", ip(2), now).remaining, 9);
        assert!(count(&buckets, &limit, "", ip(1), now + 6 * SECOND).retry.is_none());
        assert!(count(&buckets, &limit, "", ip(1), now + 6 * SECOND).retry.is_some());
        // After a window it is as if nothing had been.
        assert_eq!(count(&buckets, &limit, "", ip(1), now + 100 * SECOND).remaining, 9);
    }

    #[test]
    fn many_threads_let_in_no_more_than_one_would() {
        let (buckets, limit) = (Buckets::own(1024), limit(1000, 3600));
        let let_in: usize = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|_| count(&buckets, &limit, "", ip(1), SECOND).retry.is_none()).count();
            let all: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(let_in, 1000);
    }

    /// Each client's first requests come at once: they must not have two buckets.
    #[test]
    fn many_clients_that_come_at_once_have_one_bucket_each() {
        let (buckets, limit) = (Buckets::own(4096), limit(10, 3600));
        for n in 0..500_u32 {
            let client = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let begin = std::sync::Barrier::new(4);
            let let_in: usize = std::thread::scope(|scope| {
                let ask = || {
                    begin.wait();
                    (0..10).filter(|_| count(&buckets, &limit, "", client, SECOND).retry.is_none()).count()
                };
                let all: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
                all.into_iter().map(|one| one.join().unwrap()).sum()
            });
            assert_eq!(let_in, 10, "{client}");
        }
    }

    #[test]
    fn a_network_is_one_client_and_memory_is_bounded() {
        let (buckets, limit) = (Buckets::own(1024), limit(10, 60));
        let one: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let same: IpAddr = "2001:db8:1:2:ffff::2".parse().unwrap();
        count(&buckets, &limit, "", one, SECOND);
        assert_eq!(count(&buckets, &limit, "", same, SECOND).remaining, 8);
        assert_eq!(count(&buckets, &limit, "", "::ffff:10.0.0.9".parse().unwrap(), SECOND).remaining, 9);
        assert_eq!(count(&buckets, &limit, "", ip(9), SECOND).remaining, 8);
        // Many more clients than there is room for: each is served, and the first one's bucket may be another's by then.
        for n in 0..100_000_u32 {
            assert!(count(&buckets, &limit, "", IpAddr::from(n.to_be_bytes()), SECOND).retry.is_none() || n > 1024);
        }
    }
}

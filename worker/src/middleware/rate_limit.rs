//! How often a client may ask, over all workers and restarts together: a leaky bucket as a meter (GCRA, ITU-T I.371) for each
//! address, by `[rate_limit]`. With `rate_limit.store = "redis"`, over all hosts: [`remote`].

#[cfg(feature = "auth")]
mod counter;
#[cfg(feature = "redis")]
pub(super) mod remote;

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gin_shared::inherit::PRIVATE;

use super::client_ip;
use crate::config::{RateLimit, WithoutAddress};
use crate::live::Snapshot;
use crate::shared_memory::{Buckets, LONGEST, monotonic};
use crate::{Connection, Error};
#[cfg(feature = "auth")]
pub(crate) use counter::Counter;

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
/// restarts; with `rate_limit.store = "redis"`, over all hosts. `scope` names it: two places with the same name count together.
///
/// ```
/// use std::time::Duration;
/// use gin_worker::{Route, middleware::rate_limit};
/// # async fn login() {}
///
/// let route = Route::<()>::post("/login", login).middleware(rate_limit("login", 5, Duration::from_secs(60)));
/// ```
///
/// Clients over a Unix socket whose address no trusted proxy tells count as one, unless `rate_limit.without_address` is "unlimited".
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
        #[cfg(feature = "redis")]
        if let Some(remote) = request.extensions().get::<remote::Remote>().cloned() {
            return Box::pin(remote.limited(live, limit, scope, request, next));
        }
        let standing = live.and_then(|live| {
            let client = Client::of(&request, live.config.rate_limit.without_address)?;
            Some(count(&live.buckets, &limit, scope, client, monotonic()))
        });
        match standing.as_ref().and_then(Standing::refusal) {
            Some(refusal) => Box::pin(std::future::ready(refusal)),
            None => Box::pin(next.run(request)),
        }
    }
}

/// A bucket that others change so often between two looks is written without another look.
const EXCHANGES_MAX: u32 = 1024;

/// A client, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// The one of this address.
    At(IpAddr),
    /// All whose address nobody tells, as one.
    WithoutAddress,
    /// The one of this name: its digest.
    #[cfg(feature = "auth")]
    Named(u64),
}

impl From<IpAddr> for Client {
    fn from(ip: IpAddr) -> Self {
        Self::At(ip)
    }
}

impl Client {
    /// The client of a request; `None`: it is not counted.
    pub(super) fn of(request: &Request, without_address: WithoutAddress) -> Option<Self> {
        if let Some(ip) = client_ip::of(request.extensions(), request.headers()) {
            return Some(Self::At(ip));
        }
        // A request that came over no connection of ours is a test's, or another server's. The private listener is the supervisor's.
        let connection = request.extensions().get::<Connection>()?;
        let is_counted = without_address != WithoutAddress::Unlimited && connection.listener() != PRIVATE;
        is_counted.then_some(Self::WithoutAddress)
    }
}

/// Counts one request of this client, now: nanoseconds of the monotonic clock.
pub(super) fn count(
    buckets: &Buckets,
    limit: &RateLimit,
    scope: &str,
    client: impl Into<Client>,
    now: u64,
) -> Standing {
    let bucket = buckets.of(key(scope, client.into(), buckets.seed()), now);
    let mut then = bucket.load();
    for _ in 0..EXCHANGES_MAX {
        let (next, standing) = decide(limit, then, now);
        if next == then {
            return standing;
        }
        match bucket.exchange(then, next) {
            Ok(()) => return standing,
            Err(other) => then = other,
        }
    }
    let (next, standing) = decide(limit, then, now);
    bucket.store(next);
    standing
}

/// Takes so many nanoseconds out of the bucket of a client, or all that are in it. Returns how many it has taken.
#[cfg(feature = "auth")]
fn give_back(buckets: &Buckets, scope: &str, client: Client, most: u64, now: u64) -> u64 {
    let bucket = buckets.of(key(scope, client, buckets.seed()), now);
    let mut then = bucket.load();
    for _ in 0..EXCHANGES_MAX {
        let given = then.saturating_sub(now).min(most);
        if given == 0 {
            break;
        }
        match bucket.exchange(then, then - given) {
            Ok(()) => return given,
            Err(other) => then = other,
        }
    }
    0
}

/// Decides about one request, by the time at which the client's bucket is empty. Returns that time as it is to be from now on.
fn decide(limit: &RateLimit, then: u64, now: u64) -> (u64, Standing) {
    let window = u64::try_from(limit.window.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
    let interval = interval(limit, window);
    let full = now + window;
    // A time beyond the window is what a longer window left, or nonsense: the bucket is full, and empties from now on.
    let then = then.min(full);
    let next = then.max(now) + interval;
    if next > full {
        let (reset, retry) = (Duration::from_nanos(then.saturating_sub(now)), Some(Duration::from_nanos(next - full)));
        return (then, Standing { limit: limit.rate, remaining: 0, reset, retry });
    }
    let (remaining, reset) = ((full - next) / interval, Duration::from_nanos(next - now));
    (next, Standing { limit: limit.rate, remaining, reset, retry: None })
}

/// Time that one request adds to a bucket that is empty again after a window: both in nanoseconds.
fn interval(limit: &RateLimit, window: u64) -> u64 {
    (window / u64::from(limit.rate)).max(1)
}

/// Of IPv6 the network counts: whoever has one has all its addresses (RFC 6177 gives a site a /48 to a /64).
fn key(scope: &str, client: Client, seed: u64) -> u64 {
    let mut hasher = Fnv(seed ^ 0xcbf2_9ce4_8422_2325).build_hasher();
    hasher.write(scope.as_bytes());
    match client {
        Client::At(ip) => match ip.to_canonical() {
            IpAddr::V4(ip) => ip.octets().hash(&mut hasher),
            IpAddr::V6(ip) => ip.octets()[..8].hash(&mut hasher),
        },
        // No text has this byte.
        Client::WithoutAddress => hasher.write(&[0xff]),
        #[cfg(feature = "auth")]
        Client::Named(digest) => {
            hasher.write(&[0xfe]);
            hasher.write(&digest.to_ne_bytes());
        }
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
    fn clients_without_an_address_share_one_bucket() {
        let (buckets, limit) = (Buckets::own(1024), limit(2, 60));
        let ask = |scope: &str| count(&buckets, &limit, scope, Client::WithoutAddress, SECOND).remaining;
        assert_eq!((ask(""), ask(""), ask("login")), (1, 0, 1));
        assert_eq!(count(&buckets, &limit, "", ip(1), SECOND).remaining, 1);
        // What came over no connection of ours is not counted.
        let request = Request::new(axum::body::Body::empty());
        assert_eq!(Client::of(&request, WithoutAddress::OneBucket), None);
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
        assert_eq!(count(&buckets, &limit, "", "::ffff:10.0.0.9".parse::<IpAddr>().unwrap(), SECOND).remaining, 9);
        assert_eq!(count(&buckets, &limit, "", ip(9), SECOND).remaining, 8);
        // Many more clients than there is room for: each is served, and the first one's bucket may be another's by then.
        for n in 0..100_000_u32 {
            assert!(count(&buckets, &limit, "", IpAddr::from(n.to_be_bytes()), SECOND).retry.is_none() || n > 1024);
        }
    }

    /// The next of a sequence of random numbers (xorshift64).
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// A value for a word of the memory: any, or one at an end.
    fn nonsense(state: &mut u64) -> u64 {
        match random(state) % 4 {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX / 2,
            _ => random(state),
        }
    }

    #[test]
    fn spoilt_memory_keeps_nobody_and_heals() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (buckets, limit) = (Arc::new(Buckets::own(1024)), limit(10, 60));
        let is_over = Arc::new(AtomicBool::new(false));
        let spoiler = {
            let (buckets, is_over) = (Arc::clone(&buckets), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut state = 0x9e37_79b9_7f4a_7c15;
                while !is_over.load(Ordering::SeqCst) {
                    let word = usize::try_from(random(&mut state) % buckets.word_count() as u64).unwrap();
                    buckets.spoil(word, nonsense(&mut state));
                    // The turn is what all wait for.
                    buckets.spoil(2, nonsense(&mut state));
                }
            })
        };
        let (done, ends) = std::sync::mpsc::channel();
        for thread in 0..3_u8 {
            let (buckets, done) = (Arc::clone(&buckets), done.clone());
            std::thread::spawn(move || {
                for n in 0..2000_u16 {
                    let [high, low] = n.to_be_bytes();
                    count(&buckets, &limit, "", IpAddr::from([10, thread, high, low]), monotonic());
                }
                done.send(()).unwrap();
            });
        }
        // Not a scope of threads: that would wait for one that never ends.
        (0..3).for_each(|_| ends.recv_timeout(Duration::from_secs(120)).expect("each call ends"));
        is_over.store(true, Ordering::SeqCst);
        spoiler.join().unwrap();
        // Every word is nonsense now. A client's next request repairs its own.
        (0..buckets.word_count()).for_each(|word| buckets.spoil(word, u64::MAX / 2));
        let now = monotonic();
        for last in 0..50 {
            count(&buckets, &limit, "", ip(last), now);
            assert_eq!(count(&buckets, &limit, "", ip(last), now + 61 * SECOND).remaining, 9, "{last}");
        }
    }

    #[test]
    fn a_time_that_no_window_leaves_is_a_full_bucket_that_empties() {
        let limit = limit(10, 60);
        let now = 1000 * SECOND;
        for then in [u64::MAX, u64::MAX / 2, now + 3600 * SECOND] {
            let (kept, refused) = decide(&limit, then, now);
            assert_eq!((kept, refused.retry), (now + 60 * SECOND, Some(Duration::from_secs(6))), "{then}");
            assert!(decide(&limit, kept, now + 6 * SECOND).1.retry.is_none(), "{then}");
        }
        assert_eq!(decide(&limit, 0, now).1.remaining, 9);
    }
}

//! Attempts to log in, counted by account and by address: over all workers and restarts, or over all hosts, as the rate limit counts.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts as RequestParts;

use super::figures::{Event, Figures};
use crate::api::Argument;
use crate::config::RateLimit;
use crate::middleware::ClientIp;
use crate::middleware::rate_limit::{Client, Counter};
use crate::parts::Parts;
use crate::{Error, Result};

/// Names of the limits.
const ACCOUNT: &str = "auth:account";
const ADDRESS: &str = "auth:address";
/// Attempts of one address at one account: those that its right password forgets.
const OWN: &str = "auth:own";

/// Limits of attempts, as the configuration says. `None`: no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) account: Option<RateLimit>,
    pub(crate) address: Option<RateLimit>,
}

/// Attempts to log in of a request's client.
///
/// An extractor, for servers with [`crate::Server::auth`]. The limits are `auth.attempts_account` and `auth.attempts_address`, each for
/// `auth.attempts_window`. All workers of a service count together, also through restarts; with `rate_limit.store = "redis"`, all hosts do.
/// A client's allowance comes back bit by bit: of 10 attempts in 15 minutes, one each 90 seconds. So nobody is locked out for good; but
/// as long as somebody goes on guessing at an account, its own user is refused as well.
///
/// The right password forgets the attempts at the account that came from its address (as NIST SP 800-63B, section 5.2.2, has it). Those of
/// other addresses count on: who guesses beside a user that logs in now and then reaches the account's limit. An attempt whose password
/// nobody could check is taken back by [`Attempt::undo`].
///
/// ```
/// use gin_worker::auth::{Attempts, Checked, Passwords};
/// use gin_worker::{Error, Result};
/// # async fn stored(_: &str) -> Option<String> { None }
///
/// async fn login(attempts: Attempts, passwords: Passwords, name: &str, password: &str) -> Result<()> {
///     // Before the hash: an attempt that is one too many costs nothing.
///     let attempt = attempts.begin(name).await?;
///     match passwords.check(password, stored(name).await.as_deref()).await {
///         Ok(Checked::Wrong) => return Err(Error::unauthorized("wrong name or password")),
///         Ok(_) => attempt.succeeded().await,
///         // Too many passwords wait, say: the client may come again.
///         Err(error) => {
///             attempt.undo().await;
///             return Err(error);
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// An address of IPv6 counts as its network of 64 bits. A client whose address nobody tells, over a Unix socket without a trusted proxy,
/// is limited by account alone. A server of [`crate::Server::bare`] remembers 8 clients at once, so there the limits mean little.
pub struct Attempts {
    counter: Counter,
    limits: Limits,
    address: Option<IpAddr>,
    figures: Arc<Figures>,
}

/// An attempt that was counted. It counts on, unless [`succeeded`](Self::succeeded) says that it was the right password, or
/// [`undo`](Self::undo) that nobody has checked it.
pub struct Attempt {
    counter: Counter,
    limits: Limits,
    account: Client,
    address: Option<Client>,
    /// The address at the account.
    own: Client,
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits, address, .. } = self;
        f.debug_struct("Attempts").field("limits", limits).field("address", address).finish_non_exhaustive()
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").finish_non_exhaustive()
    }
}

impl Argument for Attempts {}

impl<S: Sync> FromRequestParts<S> for Attempts {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut RequestParts, state: &S) -> Result<Self> {
        let limits = Parts::handle(&parts.extensions, "auth")?;
        let figures = Parts::handle(&parts.extensions, "auth")?;
        let Ok(ClientIp(address)) = ClientIp::from_request_parts(parts, state).await;
        Ok(Self { counter: Counter::of(&parts.extensions), limits, address, figures })
    }
}

impl Attempts {
    /// Counts an attempt to log in to this account, before its password is checked. Names of accounts count as they are given: a service
    /// that takes `Ann` for `ann` gives the name in one form. Databases may do so by themselves: to most collations of MySQL, `utf8mb4_bin`
    /// too, spaces at the end are nothing.
    ///
    /// # Errors
    /// 429 with the code `RATE_LIMIT_EXCEEDED` and `Retry-After`, if the address or the account has had too many.
    pub async fn begin(&self, account: &str) -> Result<Attempt> {
        // The address first: a client that is refused by its address uses up nothing of the account.
        let address = self.address.map(Client::from);
        if let Some(address) = address {
            self.count(self.limits.address, ADDRESS, address).await?;
        }
        let (own, account) = (own(self.address, account), Client::named(account));
        self.count(self.limits.account, ACCOUNT, account).await?;
        if let Some(limit) = self.limits.account {
            // It refuses nobody: the account has had as many.
            self.counter.count(&limit, OWN, own).await;
        }
        Ok(Attempt { counter: self.counter.clone(), limits: self.limits, account, address, own })
    }

    async fn count(&self, limit: Option<RateLimit>, scope: &'static str, client: Client) -> Result<()> {
        let Some(limit) = limit else { return Ok(()) };
        match self.counter.count(&limit, scope, client).await {
            Some(wait) => {
                self.figures.count(Event::Limited);
                Err(too_many(wait))
            }
            None => Ok(()),
        }
    }
}

impl Attempt {
    /// Forgets the attempts at the account that came from this address. Those of others count on, and for the address all do: one right
    /// password is no leave to try others.
    pub async fn succeeded(self) {
        let Some(limit) = self.limits.account else { return };
        let own = self.counter.give_back(OWN, self.own, limit.window).await;
        self.counter.give_back(ACCOUNT, self.account, own).await;
    }

    /// Takes the attempt back, as nobody has checked its password: [`Passwords`](super::Passwords) was busy, or the accounts could not be
    /// read.
    pub async fn undo(self) {
        if let (Some(limit), Some(address)) = (self.limits.address, self.address) {
            self.counter.give_back(ADDRESS, address, of_one(&limit)).await;
        }
        if let Some(limit) = self.limits.account {
            self.counter.give_back(ACCOUNT, self.account, of_one(&limit)).await;
            self.counter.give_back(OWN, self.own, of_one(&limit)).await;
        }
    }
}

/// The share of one attempt in the window.
fn of_one(limit: &RateLimit) -> Duration {
    limit.window / limit.rate.max(1)
}

/// An address at an account, as one client. Of IPv6 the network counts, as for the address alone.
fn own(address: Option<IpAddr>, account: &str) -> Client {
    let network = match address.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::")
        }
        None => "-".to_owned(),
    };
    // No network has a space.
    Client::named(&format!("{network} {account}"))
}

fn too_many(wait: Duration) -> Error {
    Error::new(StatusCode::TOO_MANY_REQUESTS, "too many attempts to log in")
        .code("RATE_LIMIT_EXCEEDED")
        .retry_after(wait)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::{Extensions, header};
    use axum::response::IntoResponse;
    use futures_util::future::join_all;

    use super::*;
    use crate::live::{Live, Snapshot};
    use crate::parts::Registered;
    use crate::shared_memory::Buckets;

    fn limit(rate: u32) -> Option<RateLimit> {
        Some(RateLimit { rate, window: Duration::from_secs(900), ..RateLimit::default() })
    }

    /// The memory of a server.
    fn memory() -> Extensions {
        let live = Live::open(crate::Config::default(), Vec::new(), Arc::new(Buckets::own(1024)), Parts::default());
        let mut extensions = Extensions::new();
        extensions.insert(Snapshot(Arc::new(live.unwrap()), None));
        extensions
    }

    fn attempts(memory: &Extensions, account: u32, address: u32, last: u8) -> Attempts {
        let limits = Limits { account: limit(account), address: limit(address) };
        let (address, figures) = (Some(IpAddr::from([10, 0, 0, last])), Arc::new(Figures::new("gin")));
        Attempts { counter: Counter::of(memory), limits, address, figures }
    }

    async fn is_let_in(attempts: &Attempts, account: &str) -> bool {
        attempts.begin(account).await.is_ok()
    }

    #[tokio::test]
    async fn of_50_logins_at_once_10_are_let_in() {
        let memory = memory();
        let clients: Vec<Attempts> = (0..50).map(|last| attempts(&memory, 10, 50, last)).collect();
        let all = join_all(clients.iter().map(|one| one.begin("ann"))).await;
        let refused: Vec<Error> = all.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 40);
        for error in refused {
            assert_eq!(error.report().code.as_deref(), Some("RATE_LIMIT_EXCEEDED"));
            let response = error.into_response();
            assert_eq!(response.status(), 429);
            let wait: u64 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=90).contains(&wait), "{wait}");
        }
        assert!(is_let_in(&clients[0], "bob").await);
    }

    #[tokio::test]
    async fn the_right_password_forgets_the_attempts_of_the_account_alone() {
        let memory = memory();
        let own = attempts(&memory, 2, 5, 1);
        for _ in 0..2 {
            let _ = own.begin("ann").await.unwrap();
            own.begin("ann").await.unwrap().succeeded().await;
        }
        assert!(is_let_in(&own, "ann").await, "the account has two again");
        assert!(!is_let_in(&own, "ann").await && !is_let_in(&own, "bob").await, "it is the address's sixth");
        assert!(is_let_in(&attempts(&memory, 2, 5, 2), "ann").await);
    }

    #[tokio::test]
    async fn a_login_of_the_user_gives_a_guesser_elsewhere_no_attempts() {
        let memory = memory();
        let (ann, guesser) = (attempts(&memory, 3, 50, 1), attempts(&memory, 3, 50, 2));
        for _ in 0..2 {
            assert!(is_let_in(&guesser, "ann").await);
            ann.begin("ann").await.unwrap().succeeded().await;
        }
        assert!(is_let_in(&guesser, "ann").await, "the user's own attempts do not count");
        assert!(!is_let_in(&guesser, "ann").await && !is_let_in(&ann, "ann").await, "the guesser's do");
    }

    #[tokio::test]
    async fn an_attempt_that_nobody_has_checked_does_not_count() {
        let memory = memory();
        let own = attempts(&memory, 1, 1, 1);
        for _ in 0..3 {
            own.begin("ann").await.unwrap().undo().await;
        }
        assert!(is_let_in(&own, "ann").await && !is_let_in(&own, "bob").await && !is_let_in(&own, "ann").await);
        let other = attempts(&memory, 1, 1, 2);
        assert!(!is_let_in(&other, "ann").await, "the account has had its one");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_at_an_account() {
        let of = |ip: &str, account: &str| own(ip.parse().ok(), account);
        assert_eq!(of("2001:db8::1", "ann"), of("2001:db8::2:3:4:5", "ann"));
        assert_eq!(of("::ffff:10.0.0.1", "ann"), of("10.0.0.1", "ann"));
        for other in [of("2001:db8:0:1::1", "ann"), of("2001:db8::1", "bob"), of("nobody tells", "ann")] {
            assert_ne!(of("2001:db8::1", "ann"), other);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_refused_uses_up_no_attempts_of_an_account() {
        let memory = memory();
        let guesser = attempts(&memory, 3, 1, 1);
        assert!(is_let_in(&guesser, "ann").await);
        for _ in 0..10 {
            assert!(!is_let_in(&guesser, "ann").await);
        }
        let ann = attempts(&memory, 3, 10, 2);
        assert!(is_let_in(&ann, "ann").await && is_let_in(&ann, "ann").await && !is_let_in(&ann, "ann").await);
    }

    #[tokio::test]
    async fn without_a_limit_or_an_address_nothing_is_counted() {
        let memory = memory();
        let unlimited = Attempts { limits: Limits { account: None, address: None }, ..attempts(&memory, 1, 1, 1) };
        let unknown = Attempts { address: None, ..attempts(&memory, 1, 1, 1) };
        for account in ["ann", "bob", "cid"] {
            assert!(is_let_in(&unlimited, account).await && is_let_in(&unlimited, account).await);
            assert!(is_let_in(&unknown, account).await && !is_let_in(&unknown, account).await);
        }
    }

    #[tokio::test]
    async fn a_handler_takes_them_from_its_server() {
        let taken = async |lent: Option<Limits>| {
            let mut registered = Registered::default();
            if let Some(limits) = lent {
                registered.lend(limits);
                registered.lend(Arc::new(Figures::new("gin")));
            }
            let request = Request::builder().extension(registered.finish()).body(Body::empty()).unwrap();
            let (mut parts, _) = request.into_parts();
            Attempts::from_request_parts(&mut parts, &()).await
        };
        let error = taken(None).await.unwrap_err();
        assert!(error.to_string().contains("Server::auth()"), "{error}");
        let attempts = taken(Some(Limits { account: limit(1), address: None })).await.unwrap();
        // Nobody has put its server's memory into the request.
        assert!(attempts.address.is_none() && is_let_in(&attempts, "ann").await && is_let_in(&attempts, "ann").await);
    }
}

//! Hashes of passwords by argon2id (RFC 9106), made beside the threads that serve requests.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::password_hash::Error as HashError;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts as RequestParts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::api::Argument;
use crate::parts::Parts;
use crate::{Error, Result, ResultExt, config};

/// Bytes of the longest password. A longer one costs no hash.
const PASSWORD_MAX: usize = 1024;
/// Passwords that wait while others are hashed. The next one is refused.
const WAITING_MAX: usize = 64;
/// Bytes of a hash, and of its salt.
const HASH: usize = 32;
const SALT: usize = 16;

/// Hashes passwords, and checks them, as `[auth]` says.
///
/// An extractor, for servers with [`crate::Server::auth`]. A copy is the same.
///
/// A hash is a text in the PHC format: it has its algorithm, its parameters and a random salt. `auth.password_memory`, `password_passes`
/// and `password_lanes` count for new hashes; a check goes by the parameters of the stored one. A worker hashes at most
/// `auth.password_parallel` passwords at once, on threads of their own, and needs that many times `auth.password_memory` for it. 64 more
/// may wait.
///
/// ```
/// use gin_worker::auth::{Checked, Passwords};
/// use gin_worker::{Error, Result};
/// # async fn stored(_: &str) -> Option<String> { None }
/// # async fn replace(_: &str, _: Option<&str>, _: &str) {}
///
/// async fn login(passwords: Passwords, name: &str, password: &str) -> Result<()> {
///     // None for a user who does not exist: the check takes the same time.
///     let hash = stored(name).await;
///     match passwords.check(password, hash.as_deref()).await? {
///         Checked::Wrong => return Err(Error::unauthorized("wrong name or password")),
///         Checked::Right => {}
///         // UPDATE .. WHERE name = .. AND hash = ..: the user may have a new password by now.
///         Checked::Outdated { hash: new } => replace(name, hash.as_deref(), &new).await,
///     }
///     Ok(())
/// }
/// ```
///
/// A wrong password takes as long as the stored hash does. Hashes with older parameters take another time than those of users who do not
/// exist, so a change of the parameters tells the two apart until all users have logged in, or their hashes are replaced.
///
/// Passwords are not wiped from memory: the body of the request, which has them too, is not either.
#[derive(Clone)]
pub struct Passwords(Arc<Hashing>);

/// The outcome of a check.
#[derive(Clone, PartialEq, Eq)]
pub enum Checked {
    /// It is not the password.
    Wrong,
    /// It is the password.
    Right,
    /// It is the password, and its hash has other parameters than `[auth]` says.
    Outdated {
        /// The hash to be stored in the place of the one that was checked. If another one is stored by now, the user has a new password,
        /// and this hash is of the old one.
        hash: String,
    },
}

struct Hashing {
    /// With the parameters of new hashes.
    argon2: Argon2<'static>,
    /// A hash with these parameters, for users who do not exist.
    nobodys: String,
    /// Passwords that may be hashed at once.
    places: Arc<Semaphore>,
    /// Passwords that may wait for a place.
    waiting: Semaphore,
    /// Number of hashes that were computed.
    #[cfg(test)]
    computed: AtomicUsize,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("params", self.0.argon2.params()).finish_non_exhaustive()
    }
}

/// Without the hash, which stands in no log.
impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "Wrong",
            Self::Right => "Right",
            Self::Outdated { .. } => "Outdated { .. }",
        })
    }
}

impl Argument for Passwords {}

impl<S: Sync> FromRequestParts<S> for Passwords {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self> {
        Parts::handle(&parts.extensions, "auth")
    }
}

impl Passwords {
    /// Hashes as `auth.password_memory`, `password_passes` and `password_lanes` say, `password_parallel` at once: for a program, or a
    /// migration, that makes accounts. Handlers take the server's own, whose bound counts for all of them.
    #[must_use]
    pub fn new(config: &config::Auth) -> Self {
        let params = params(config);
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        let nobodys = format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}", "A".repeat(22), "A".repeat(43));
        let cores = || available_parallelism().map_or(1, NonZero::get);
        let places = config.password_parallel.map_or_else(cores, |most| usize::try_from(most).unwrap_or(1));
        Self(Arc::new(Hashing {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            nobodys,
            places: Arc::new(Semaphore::new(places.max(1))),
            waiting: Semaphore::new(WAITING_MAX),
            #[cfg(test)]
            computed: AtomicUsize::new(0),
        }))
    }

    /// Hashes a new password. The text is to be stored.
    ///
    /// # Errors
    /// 422 with the code `PASSWORD_TOO_LONG` if it has more than 1,024 bytes; 503 with the code `BUSY` if too many passwords wait; 500 if
    /// there is no memory for it.
    pub async fn hash(&self, password: &str) -> Result<String> {
        if password.len() > PASSWORD_MAX {
            let text = format!("a password has at most {PASSWORD_MAX} bytes");
            return Err(Error::unprocessable(text).code("PASSWORD_TOO_LONG"));
        }
        let password = password.to_owned();
        self.run(move |hashing| hashing.hash(password.as_bytes())).await
    }

    /// Checks a password by the stored hash. `None`: there is no such user, or the user has no password; then the check takes as long as
    /// one, and the password is wrong.
    ///
    /// # Errors
    /// 503 with the code `BUSY` if too many passwords wait; 500 if the stored text is no hash of argon2, or there is no memory for it.
    pub async fn check(&self, password: &str, hash: Option<&str>) -> Result<Checked> {
        if password.len() > PASSWORD_MAX {
            return Ok(Checked::Wrong);
        }
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        self.run(move |hashing| hashing.check(password.as_bytes(), hash.as_deref())).await
    }

    /// Works on a thread of its own, in its turn.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Hashing) -> Result<T> + Send + 'static) -> Result<T> {
        let place = self.place().await?;
        let hashing = Arc::clone(&self.0);
        let done = spawn_blocking(move || {
            let done = work(&hashing);
            // The work goes on when nobody waits for it any more, and its place is taken for so long.
            drop(place);
            done
        });
        done.await.internal()?
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit> {
        let _waiting = self.0.waiting.try_acquire().map_err(|_| busy())?;
        Arc::clone(&self.0.places).acquire_owned().await.internal()
    }
}

impl Hashing {
    fn hash(&self, password: &[u8]) -> Result<String> {
        self.count();
        let hash: PasswordHash = self.argon2.hash_password(password).internal()?;
        Ok(hash.to_string())
    }

    fn check(&self, password: &[u8], stored: Option<&str>) -> Result<Checked> {
        let hash = PasswordHash::new(stored.unwrap_or(&self.nobodys)).map_err(unreadable)?;
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(unreadable("it has no salt, or ends before the hash"));
        }
        self.count();
        match (self.argon2.verify_password(password, &hash), stored) {
            (Err(HashError::PasswordInvalid), _) | (Ok(()), None) => Ok(Checked::Wrong),
            (Err(error), _) => Err(unreadable(error)),
            (Ok(()), Some(_)) if self.is_current(&hash) => Ok(Checked::Right),
            (Ok(()), Some(_)) => self.hash(password).map(|hash| Checked::Outdated { hash }),
        }
    }

    /// True if a new hash would have these parameters.
    fn is_current(&self, hash: &PasswordHash) -> bool {
        let is_as_long = hash.salt.is_some_and(|salt| salt.len() >= SALT);
        let is_same = Params::try_from(hash).is_ok_and(|params| params == *self.argon2.params());
        let version = u32::from(Version::V0x13);
        is_as_long && is_same && hash.algorithm == ARGON2ID_IDENT && hash.version == Some(version)
    }

    #[cfg(test)]
    fn count(&self) {
        self.computed.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(not(test))]
    fn count(&self) {}
}

/// Parameters of new hashes. A program may have set a field to what `[auth]` refuses: then the nearest that can be counts.
fn params(config: &config::Auth) -> Params {
    let lanes = config.password_lanes.clamp(1, 16);
    let memory = u32::try_from(config.password_memory >> 10).unwrap_or(u32::MAX).max(8 * lanes);
    Params::new(memory, config.password_passes.max(1), lanes, Some(HASH)).expect("each is within argon2's bounds")
}

fn unreadable(why: impl fmt::Display) -> Error {
    Error::internal(format!(
        "the stored hash of a password cannot be used: {why}; store what Passwords::hash gives, and check a user without a password \
         by None"
    ))
}

fn busy() -> Error {
    Error::new(StatusCode::SERVICE_UNAVAILABLE, "too many passwords are being checked")
        .code("BUSY")
        .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    /// As cheap as argon2 goes.
    fn cheap() -> config::Auth {
        config::Auth { password_memory: 8 << 10, password_passes: 1, password_parallel: Some(1), ..Default::default() }
    }

    fn passwords() -> Passwords {
        Passwords::new(&cheap())
    }

    fn computed(passwords: &Passwords) -> usize {
        passwords.0.computed.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = passwords();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap(), "each has its own salt");
        for (password, is) in
            [("correct horse", Checked::Right), ("correct hors", Checked::Wrong), ("", Checked::Wrong)]
        {
            assert_eq!(passwords.check(password, Some(&hash)).await.unwrap(), is, "{password}");
        }
    }

    #[tokio::test]
    async fn a_user_who_does_not_exist_costs_the_same_hash() {
        let passwords = passwords();
        assert_eq!(passwords.check("secret", None).await.unwrap(), Checked::Wrong);
        assert_eq!(computed(&passwords), 1);
        let nobodys = PasswordHash::new(&passwords.0.nobodys).unwrap();
        assert!(passwords.0.is_current(&nobodys), "{nobodys}");
        let default = Passwords::new(&config::Auth::default());
        assert!(default.0.nobodys.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", default.0.nobodys);
    }

    #[tokio::test]
    async fn a_password_that_is_too_long_costs_no_hash() {
        let passwords = passwords();
        let long = "x".repeat(PASSWORD_MAX + 1);
        let refused = passwords.hash(&long).await.unwrap_err().report();
        assert_eq!((refused.status.as_u16(), refused.code.as_deref()), (422, Some("PASSWORD_TOO_LONG")));
        let hash = passwords.hash(&long[1..]).await.unwrap();
        assert_eq!(computed(&passwords), 1);
        for stored in [Some(hash.as_str()), None] {
            assert_eq!(passwords.check(&long, stored).await.unwrap(), Checked::Wrong);
        }
        assert_eq!(computed(&passwords), 1);
        assert_eq!(passwords.check(&long[1..], Some(&hash)).await.unwrap(), Checked::Right);
    }

    #[tokio::test]
    async fn a_hash_with_other_parameters_is_replaced_by_a_login() {
        let old = passwords().hash("secret").await.unwrap();
        let passwords = Passwords::new(&config::Auth { password_passes: 2, ..cheap() });
        assert_eq!(passwords.check("wrong", Some(&old)).await.unwrap(), Checked::Wrong);
        let checked = passwords.check("secret", Some(&old)).await.unwrap();
        assert_eq!(format!("{checked:?}"), "Outdated { .. }");
        let Checked::Outdated { hash } = checked else { panic!("{checked:?}") };
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.check("secret", Some(&hash)).await.unwrap(), Checked::Right);
        // Another kind of argon2 is older, too.
        let params = Params::new(8, 2, 1, Some(HASH)).unwrap();
        let other = Argon2::new(Algorithm::Argon2i, Version::V0x13, params);
        let other: PasswordHash = other.hash_password(b"secret").unwrap();
        assert!(matches!(passwords.check("secret", Some(&other.to_string())).await, Ok(Checked::Outdated { .. })));
    }

    #[tokio::test]
    async fn a_text_that_is_no_hash_is_told_to_the_log_alone() {
        let passwords = passwords();
        let whole = passwords.hash("secret").await.unwrap();
        let cut = whole.rsplit_once('$').unwrap().0;
        let bcrypt = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW";
        let scrypt = "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E";
        for stored in ["", "!", "secret", cut, bcrypt, scrypt] {
            let error = passwords.check("secret", Some(stored)).await.unwrap_err();
            assert_eq!(
                (error.status().as_u16(), error.in_words().as_str()),
                (500, "internal server error"),
                "{stored}"
            );
            assert!(stored.len() < 9 || !error.in_a_line().contains(stored), "{error}");
        }
    }

    #[tokio::test]
    async fn the_65th_that_waits_is_refused() {
        let passwords = passwords();
        let place = Arc::clone(&passwords.0.places).try_acquire_owned().unwrap();
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(passwords.check("secret", None))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let error = passwords.check("secret", None).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.report().code.as_deref()), (503, Some("BUSY")));
        drop(place);
        assert!(join_all(waiting).await.into_iter().all(|checked| checked.unwrap() == Checked::Wrong));
        assert_eq!(computed(&passwords), WAITING_MAX);
    }

    #[tokio::test]
    async fn a_check_that_nobody_waits_for_keeps_its_place_to_its_end() {
        let passwords = passwords();
        // Begun, and given up.
        let _ = Box::pin(passwords.check("secret", None)).as_mut().now_or_never();
        let _place = Arc::clone(&passwords.0.places).acquire_owned().await.unwrap();
        assert_eq!(computed(&passwords), 1);
    }

    #[test]
    fn parameters_are_within_argon2s_bounds_whatever_a_program_says() {
        let wild = config::Auth { password_memory: u64::MAX, password_passes: 0, password_lanes: 99, ..cheap() };
        let tiny = config::Auth { password_memory: 0, password_lanes: 0, password_parallel: Some(0), ..cheap() };
        assert_eq!((params(&wild).m_cost(), params(&wild).t_cost(), params(&wild).p_cost()), (u32::MAX, 1, 16));
        assert_eq!((params(&tiny).m_cost(), params(&tiny).p_cost()), (8, 1));
        assert_eq!(Passwords::new(&tiny).0.places.available_permits(), 1);
    }
}

//! `[auth]`

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gin_shared::config::Section;

use super::{Store, count, own_secret, time};

/// `[auth]`: for a program that registers logins by tokens.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Auth {
    /// Place of the logins.
    pub store: Store,
    /// Signs access tokens.
    pub algorithm: Algorithm,
    /// Keys of access tokens. None: one is made of the secret.
    pub keys: Vec<AuthKey>,
    /// Signs refresh tokens, and access tokens where there are no keys.
    pub secret: Option<String>,
    /// A file with the secret, which counts where `secret` is not set.
    pub secret_file: Option<PathBuf>,
    /// Issuer of access tokens.
    pub issuer: String,
    /// Audience of access tokens.
    pub audience: String,
    /// Life of an access token.
    pub access: Duration,
    /// A login ends if no new tokens were asked for so long.
    pub refresh: Duration,
    /// A login ends so long after it began, however often new tokens are asked for.
    pub absolute: Duration,
    /// For so long a refresh token that was used gives the same tokens again.
    pub refresh_grace: Duration,
    /// For so long an access token is good after its end.
    pub leeway: Duration,
    /// When a logout counts.
    pub revocation: Revocation,
    /// Logins of one user at most; the oldest ends. 0: no limit.
    pub per_user: u32,
    /// Memory for the hash of one password, in bytes.
    pub password_memory: u64,
    /// Passes over that memory.
    pub password_passes: u32,
    /// Lanes of that memory.
    pub password_lanes: u32,
    /// Passwords that a worker hashes at once. `None`: one a core.
    pub password_parallel: Option<u32>,
    /// Attempts to log in to one account in a window. 0: no limit.
    pub attempts_account: u32,
    /// Attempts to log in from one address in a window. 0: no limit.
    pub attempts_address: u32,
    /// The window.
    pub attempts_window: Duration,
}

/// A key of `[[auth.keys]]`. The secrets stand in files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthKey {
    /// Its name in the tokens.
    pub kid: String,
    /// The algorithm of all tokens with this key. `None`: that of [`Auth::algorithm`].
    pub algorithm: Option<Algorithm>,
    /// A file with the secret of an HS algorithm.
    pub secret_file: Option<PathBuf>,
    /// A file with the private key of another one.
    pub private_key_file: Option<PathBuf>,
    /// A file with the public key.
    pub public_key_file: Option<PathBuf>,
}

/// Algorithms of access tokens (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[default]
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA with SHA-256.
    Rs256,
}

/// Times at which a logout counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// At the next request.
    #[default]
    Always,
    /// When new tokens are asked for.
    Refresh,
}

impl Algorithm {
    const WORDS: [(&str, Self); 6] = [
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("ES256", Self::Es256),
        ("EdDSA", Self::EdDsa),
        ("RS256", Self::Rs256),
    ];

    /// True if one secret signs and verifies.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            store: Store::default(),
            algorithm: Algorithm::default(),
            keys: Vec::new(),
            secret: None,
            secret_file: None,
            issuer: "gin".to_owned(),
            audience: "gin".to_owned(),
            access: Duration::from_secs(15 * 60),
            refresh: Duration::from_secs(30 * 24 * 60 * 60),
            absolute: Duration::from_secs(90 * 24 * 60 * 60),
            refresh_grace: Duration::from_secs(30),
            leeway: Duration::ZERO,
            revocation: Revocation::default(),
            per_user: 0,
            password_memory: 19 << 20,
            password_passes: 2,
            password_lanes: 1,
            password_parallel: None,
            attempts_account: 10,
            attempts_address: 50,
            attempts_window: Duration::from_secs(15 * 60),
        }
    }
}

/// Without the secret, which stands in no log.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, algorithm, keys, issuer, audience, access, refresh, absolute, revocation, .. } = self;
        let mut shown = f.debug_struct("Auth");
        shown.field("store", store).field("algorithm", algorithm).field("keys", keys);
        shown.field("issuer", issuer).field("audience", audience).field("access", access);
        shown.field("refresh", refresh).field("absolute", absolute);
        shown.field("revocation", revocation).finish_non_exhaustive()
    }
}

impl Auth {
    pub(in crate::config) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let revocations = [("always", Revocation::Always), ("refresh", Revocation::Refresh)];
        let algorithm = section.choice("algorithm", &Algorithm::WORDS).unwrap_or(base.algorithm);
        let parallel = section.integer_or("password_parallel", 1..=1024, "cores");
        let own = Self {
            store: Store::read(section).unwrap_or(base.store),
            algorithm,
            keys: keys(section, algorithm),
            secret: section.string("secret"),
            secret_file: section.path("secret_file"),
            issuer: section.string("issuer").unwrap_or(base.issuer),
            audience: section.string("audience").unwrap_or(base.audience),
            access: time(section, "access").unwrap_or(base.access),
            refresh: time(section, "refresh").unwrap_or(base.refresh),
            absolute: time(section, "absolute").unwrap_or(base.absolute),
            refresh_grace: section.duration("refresh_grace").unwrap_or(base.refresh_grace),
            leeway: section.duration("leeway").unwrap_or(base.leeway),
            revocation: section.choice("revocation", &revocations).unwrap_or(base.revocation),
            per_user: count(section, "per_user", 0).unwrap_or(base.per_user),
            password_memory: section.size("password_memory").unwrap_or(base.password_memory),
            password_passes: number(section, "password_passes", 1, 100).unwrap_or(base.password_passes),
            password_lanes: number(section, "password_lanes", 1, 16).unwrap_or(base.password_lanes),
            password_parallel: parallel.flatten().and_then(|number| u32::try_from(number).ok()),
            attempts_account: number(section, "attempts_account", 0, 1_000_000).unwrap_or(base.attempts_account),
            attempts_address: number(section, "attempts_address", 0, 1_000_000).unwrap_or(base.attempts_address),
            attempts_window: time(section, "attempts_window").unwrap_or(base.attempts_window),
        };
        // RFC 9106, section 3.1; the bound above is ours.
        if !((8 << 10) * u64::from(own.password_lanes)..=64 << 30).contains(&own.password_memory) {
            section
                .problem("password_memory", "it must be at least 8KiB for each of password_lanes, and at most 64GiB");
        }
        own
    }

    /// The secret: `secret`, else the text of `secret_file`. `None`: the worker makes one and keeps it in the state directory.
    ///
    /// # Errors
    /// If the file cannot be read, or has nothing: a sentence that names the key.
    #[cfg_attr(not(feature = "auth"), allow(dead_code, reason = "for the feature auth"))]
    pub(crate) fn read_secret(&self) -> Result<Option<String>, String> {
        own_secret(self.secret.as_deref(), "auth.secret_file", self.secret_file.as_deref())
    }
}

fn number(section: &Section<'_>, key: &'static str, least: i64, most: i64) -> Option<u32> {
    section.integer(key, least..=most).and_then(|number| u32::try_from(number).ok())
}

/// `[[auth.keys]]`. `algorithm`: of those that name none.
fn keys(section: &Section<'_>, algorithm: Algorithm) -> Vec<AuthKey> {
    let mut keys = Vec::<AuthKey>::new();
    for own in section.tables("keys").unwrap_or_default() {
        let key = AuthKey {
            kid: own.string("kid").unwrap_or_default(),
            algorithm: own.choice("algorithm", &Algorithm::WORDS),
            secret_file: own.path("secret_file"),
            private_key_file: own.path("private_key_file"),
            public_key_file: own.path("public_key_file"),
        };
        let problem = if key.kid.is_empty() {
            Some("missing; write kid = \"2026-09\", say, in each [[auth.keys]]")
        } else if keys.iter().any(|other| other.kid == key.kid) {
            Some("another key has this name; give one of them another name")
        } else {
            lacking(&key, key.algorithm.unwrap_or(algorithm))
        };
        if let Some(problem) = problem {
            own.problem("kid", problem);
        }
        keys.push(key);
        own.finish();
    }
    keys
}

/// Tells which file a key of this algorithm lacks, or must not have.
fn lacking(key: &AuthKey, algorithm: Algorithm) -> Option<&'static str> {
    let has_pem = key.private_key_file.is_some() || key.public_key_file.is_some();
    match (algorithm.is_symmetric(), key.secret_file.is_some(), has_pem) {
        (true, true, false) | (false, false, true) => None,
        (true, _, _) => Some("a key of HS256, HS384 or HS512 has a secret_file, and no other file"),
        (false, _, _) => {
            Some("a key of ES256, EdDSA or RS256 has a private_key_file, a public_key_file or both, and no secret_file")
        }
    }
}

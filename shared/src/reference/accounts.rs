//! Keys of sessions and logins.

use super::key::{Applies, Key, Kind, key, unset};

/// `[sessions]`
pub(super) const SESSIONS: &[Key] = &[
    key(
        "store",
        Kind::Choice(&["sqlite", "database", "redis"]),
        "\"sqlite\"",
        "Where sessions are kept: in a file of SQLite in the state directory, in the database of [database], or in Redis. Workers of several hosts need one of the last two.",
    ),
    key(
        "cookie",
        Kind::Text,
        "\"session\"",
        "Name of the cookie. With __Host- in front, as \"__Host-session\", browsers take it from this host over TLS alone, and no other host of the domain can plant one.",
    ),
    key("idle", Kind::Duration, "\"24h\"", "A session that is not used for so long ends."),
    key("absolute", Kind::Duration, "\"7d\"", "A session ends so long after its login, however much it is used."),
    key(
        "per_user",
        Kind::Integer(0, 100_000),
        "0",
        "Sessions of one user at most; with one more, the oldest ends. 0: no limit.",
    ),
    unset(
        "secret",
        Kind::Text,
        "\"...\"",
        "Signs the cookie. Default: one that the first worker makes, and keeps in the state directory. Workers of several hosts need the same one.",
    )
    .secret(),
    unset(
        "secret_file",
        Kind::Path,
        "\"/run/secrets/sessions\"",
        "A file with the secret, which counts where secret is not set. The newline at its end is left out.",
    ),
];

/// `[auth]`
pub(super) const AUTH: &[Key] = &[
    key(
        "store",
        Kind::Choice(&["sqlite", "database", "redis"]),
        "\"sqlite\"",
        "Where logins are kept: in a file of SQLite in the state directory, in the database of [database], or in Redis. Workers of several hosts need one of the last two.",
    ),
    key(
        "algorithm",
        Kind::Choice(ALGORITHMS),
        "\"HS256\"",
        "Signs access tokens. One that is not HS256, HS384 or HS512 needs keys.",
    ),
    unset(
        "keys",
        Kind::Tables(AUTH_KEYS),
        "[{ kid = \"2026-09\", secret_file = \"/run/secrets/auth-2026-09\" }]",
        "Keys of access tokens. The first that can sign signs, and each of them verifies. Default: one that is made of the secret.",
    )
    .at(Applies::Live),
    unset(
        "secret",
        Kind::Text,
        "\"...\"",
        "Signs refresh tokens, and access tokens where there are no keys. Default: one that the first worker makes, and keeps in the state directory. Workers of several hosts need the same one.",
    )
    .secret(),
    unset(
        "secret_file",
        Kind::Path,
        "\"/run/secrets/auth\"",
        "A file with the secret, which counts where secret is not set. The newline at its end is left out.",
    ),
    key("issuer", Kind::Text, "\"gin\"", "Issuer of access tokens. One of another issuer is refused."),
    key("audience", Kind::Text, "\"gin\"", "Audience of access tokens. One for another audience is refused."),
    key("access", Kind::Duration, "\"15m\"", "How long an access token is good."),
    key("refresh", Kind::Duration, "\"30d\"", "A login ends if no new tokens were asked for so long."),
    key("absolute", Kind::Duration, "\"90d\"", "A login ends so long after it began, however often new tokens are asked for."),
    key(
        "refresh_grace",
        Kind::Duration,
        "\"30s\"",
        "For so long a refresh token that was used gives the same tokens again, as the answer may have been lost. Afterwards its use ends the login.",
    ),
    key("leeway", Kind::Duration, "\"0s\"", "For so long an access token is good after its end, where clocks differ."),
    key(
        "revocation",
        Kind::Choice(&["always", "refresh"]),
        "\"always\"",
        "When a logout counts: at each request, or when new tokens are asked for. The latter asks no store in a request.",
    ),
    key(
        "per_user",
        Kind::Integer(0, 100_000),
        "0",
        "Logins of one user at most; with one more, the oldest ends. 0: no limit.",
    ),
    key("password_memory", Kind::Size, "\"19MiB\"", "Memory for the hash of one password (argon2id)."),
    key("password_passes", Kind::Integer(1, 100), "2", "Passes over that memory."),
    key("password_lanes", Kind::Integer(1, 16), "1", "Lanes of that memory."),
    key(
        "password_parallel",
        Kind::IntegerOr(1, 1024, "cores"),
        "\"cores\"",
        "Passwords that a worker hashes at once; \"cores\": one a core. Others wait.",
    ),
    key(
        "attempts_account",
        Kind::Integer(0, 1_000_000),
        "10",
        "Attempts to log in to one account in a window, over all workers; Redis counts over all hosts where rate_limit.store says so. 0: no limit.",
    ),
    key(
        "attempts_address",
        Kind::Integer(0, 1_000_000),
        "50",
        "Attempts to log in from one address in a window, to whatever account. 0: no limit.",
    ),
    key("attempts_window", Kind::Duration, "\"15m\"", "The window."),
];

/// `[[auth.keys]]`
const AUTH_KEYS: &[Key] = &[
    unset("kid", Kind::Text, "\"2026-09\"", "Its name in the tokens. No other key has the same one.").required(),
    unset(
        "algorithm",
        Kind::Choice(ALGORITHMS),
        "\"ES256\"",
        "The algorithm of all tokens with this key. Default: auth.algorithm.",
    ),
    unset(
        "secret_file",
        Kind::Path,
        "\"/run/secrets/auth-2026-09\"",
        "A file with the secret of HS256, HS384 or HS512. The newline at its end is left out.",
    ),
    unset(
        "private_key_file",
        Kind::Path,
        "\"/run/secrets/auth-2026-09.pem\"",
        "A file with the private key of ES256, EdDSA or RS256 (PEM, PKCS#8).",
    ),
    unset(
        "public_key_file",
        Kind::Path,
        "\"/etc/shop/auth-2026-09.pem\"",
        "A file with the public key (PEM), by which tokens are verified. Without the private key none is signed.",
    ),
];

/// Algorithms of tokens.
const ALGORITHMS: &[&str] = &["HS256", "HS384", "HS512", "ES256", "EdDSA", "RS256"];

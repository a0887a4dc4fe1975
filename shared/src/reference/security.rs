//! Keys of security: headers, TLS, requests of other origins.

use super::key::{Applies, Key, Kind, key, unset};
use super::tls::{self, CERTIFICATES};

/// `[security]`
pub const SECURITY: &[Key] = &[
    key(
        "headers",
        Kind::Boolean,
        "true",
        "X-Frame-Options, X-Content-Type-Options, X-XSS-Protection and Referrer-Policy; Strict-Transport-Security (hsts) over TLS, and where a proxy of server.trusted_proxies says by X-Forwarded-Proto that it speaks TLS.",
    )
    .at(Applies::Live),
    key(
        "hsts",
        Kind::Duration,
        "\"365d\"",
        "How long a browser that has come over TLS keeps to it, for this host and its subdomains (max-age of Strict-Transport-Security). \"0s\": the header is not set.",
    )
    .at(Applies::Live),
    key(
        "hsts_subdomains",
        Kind::Boolean,
        "true",
        "Whether subdomains count, too (includeSubDomains): false as long as one of them has no TLS.",
    )
    .at(Applies::Live),
    key(
        "enable_https",
        Kind::Boolean,
        "false",
        "Whether every TCP listener without a tls of its own speaks TLS. Needs the feature tls of gin-worker.",
    ),
    tls::CERT_FILE,
    tls::KEY_FILE,
    unset(
        "certificates",
        Kind::Tables(CERTIFICATES),
        "[{ cert_file = \"/etc/ssl/api.pem\", key_file = \"/etc/ssl/api.key\" }]",
        "Further certificates. Each is for the hosts that it names, also as *.example.org.",
    ),
    tls::TLS_VERSIONS,
    tls::ALPN,
    tls::CLIENT_CA_FILE,
    tls::CLIENT_AUTH,
    key(
        "session_tickets",
        Kind::Boolean,
        "true",
        "Whether clients that come back resume their TLS session, whichever worker answers.",
    ),
    unset(
        "ticket_secret_file",
        Kind::Path,
        "\"/run/secrets/tickets\"",
        "A file of 32 to 1024 random bytes, of which the keys of session tickets are made: hosts with the same file resume each other's sessions. Default: keys that the supervisor makes, and changes every 4 hours.",
    ),
    key(
        "core_dumps",
        Kind::Boolean,
        "false",
        "Whether a core of a worker that speaks TLS, or of its supervisor, has its memory, keys among it. With false it has registers alone.",
    ),
    key(
        "enable_csrf",
        Kind::Boolean,
        "false",
        "Whether requests that change something are refused if a page of another origin sends them. Needs the feature csrf of gin-worker.",
    ),
    unset(
        "csrf_secret",
        Kind::Text,
        "\"...\"",
        "Signs the tokens of forms. Default: one that the first worker makes, and keeps in the state directory. Workers of several hosts need the same one.",
    )
    .secret(),
    unset(
        "csrf_secret_file",
        Kind::Path,
        "\"/run/secrets/csrf\"",
        "A file with the secret, which counts where csrf_secret is not set. The newline at its end is left out.",
    ),
    key(
        "csrf_origins",
        Kind::Words,
        "[]",
        "Other origins whose pages may send such requests: \"https://example.org\" or \"https://*.example.org\".",
    ),
];

/// `[cors]`
pub(super) const CORS: &[Key] = &[
    key("enable", Kind::Boolean, "false", "Whether other origins may read answers at all.").at(Applies::Live),
    key("allow_origins", Kind::Words, "[]", "Which: \"https://example.org\", \"https://*.example.org\" or \"*\".")
        .at(Applies::Live),
    key(
        "allow_methods",
        Kind::Words,
        "[\"GET\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\", \"HEAD\", \"OPTIONS\"]",
        "With which methods.",
    )
    .at(Applies::Live),
    key("allow_headers", Kind::Words, "[\"Origin\", \"Content-Length\", \"Content-Type\"]", "With which headers.")
        .at(Applies::Live),
    key("expose_headers", Kind::Words, "[]", "Which of the answer's headers they may read.").at(Applies::Live),
    key("allow_credentials", Kind::Boolean, "false", "Whether cookies may come along; not with \"*\".")
        .at(Applies::Live),
    key("max_age", Kind::Duration, "\"12h\"", "For how long a browser need not ask again.").at(Applies::Live),
];

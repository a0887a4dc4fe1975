//! Every key of the configuration, once: what the schema, the commented default file, the reference page and gin.toml(5)
//! are made of, how the environment is read, and what the reader is tested against.

pub mod flat;
mod key;
mod listener;
pub mod peers;
mod security;
mod server;
mod supervisor;
mod tls;

pub use key::{Applies, Key, Kind, Section};
use key::{key, unset};
use security::CORS;
pub use security::SECURITY;
pub use server::{FEATURES, SERVER};
pub use supervisor::{PROBE, SUPERVISOR};

/// `[timeouts]`
pub const TIMEOUTS: &[Key] = &[
    key(
        "read",
        Kind::Duration,
        "\"30s\"",
        "For the first byte of a connection, again for a whole request head, and for each further part of a body: else 408.",
    ),
    key(
        "write",
        Kind::Duration,
        "\"30s\"",
        "For a client that takes nothing of a response, of a stream of HTTP/2, or of a WebSocket.",
    ),
    key(
        "idle",
        Kind::Duration,
        "\"60s\"",
        "Between two requests on a connection. A silent WebSocket is sent a ping after half of it, and closed at its end.",
    ),
    unset("request", Kind::Duration, "\"30s\"", "For a handler: then 503, and the handler is dropped where it waits.")
        .at(Applies::Live),
    key(
        "shutdown",
        Kind::Duration,
        "\"30s\"",
        "A drain's end; supervisor.drain_timeout must be longer. When three quarters are over, clients of connections that cannot be handed over are told.",
    ),
    key("lame_duck", Kind::Duration, "\"0s\"", "On a stop, /readyz says 503 for so long before accepting ends."),
    key(
        "park_after",
        Kind::Duration,
        "\"100ms\"",
        "A connection that is idle for so long gives its memory back; over TLS and HTTP/2 one that is idle for ten times as long.",
    ),
    key(
        "idle_grace",
        Kind::Duration,
        "\"5s\"",
        "A drain that hands nothing over waits so long for one more request on an idle connection, and tells clients of HTTP/2 within it.",
    ),
    key(
        "tcp_keepalive",
        Kind::Duration,
        "\"60s\"",
        "After so long without a byte TCP asks whether the client is there: four times, in a quarter of this each. \"0s\": never.",
    ),
    key(
        "max_connection_age",
        Kind::Duration,
        "\"0s\"",
        "A connection older than this, give or take a tenth, ends with its next answer, or by GOAWAY, so that a balancer can spread clients anew. WebSockets stay. \"0s\": never.",
    ),
];

/// `[limits]`
pub const LIMITS: &[Key] = &[
    key(
        "connections",
        Kind::Integer(1, 4_294_967_295),
        "10000",
        "Connections at once, a worker. At the limit the longest idle go to a worker with room, or are closed.",
    ),
    unset(
        "connections_per_client",
        Kind::Integer(1, 4_294_967_295),
        "100",
        "Connections of one client at once, a worker; more are closed as they come. A client is an address, of IPv6 a /64.",
    ),
    key("body", Kind::Size, "\"2MiB\"", "A request's body; a longer one is answered with 413.").at(Applies::Live),
    key("head", Kind::Size, "\"64KiB\"", "A request's head; a longer one is answered with 431."),
    key("head_fields", Kind::Integer(1, 10_000), "100", "Fields of a request's head; more are answered with 431."),
    key("streams", Kind::Integer(1, 10_000), "100", "Requests at once on a connection of HTTP/2."),
    key(
        "min_rate",
        Kind::Size,
        "\"240\"",
        "Bytes a second that a client must give or take, on average, while it is waited for; its first `timeouts.read` or `timeouts.write` is free. \"0\": none.",
    ),
    unset(
        "memory",
        Kind::Size,
        "\"512MiB\"",
        "Memory of a worker. From nine tenths of it on new requests, and those whose bodies do not come, are answered with 503 and Retry-After.",
    ),
];

/// `[websocket]`
pub const WEBSOCKET: &[Key] = &[
    key("message", Kind::Size, "\"1MiB\"", "A message; a longer one ends the connection, with code 1009."),
    key("frame", Kind::Size, "\"1MiB\"", "A frame of a message; a longer one ends the connection, with code 1009."),
    unset(
        "rate",
        Kind::Integer(1, 4_294_967_295),
        "100",
        "Frames a second of one connection; more wait in the socket.",
    ),
    key(
        "allow_origins",
        Kind::Words,
        "[]",
        "Whose pages may open one, beside those of the host itself: \"https://example.org\", \"https://*.example.org\" or \"*\".",
    ),
];

/// `[static]`
pub const STATIC: &[Key] = &[
    unset(
        "dir",
        Kind::Text,
        "\"./static\"",
        "The directory whose files are served. One that is missing is an error at start.",
    )
    .at(Applies::Live),
    key("url_prefix", Kind::Text, "\"/static\"", "Under which path."),
    key("enable_directory_listing", Kind::Boolean, "false", "Whether a directory without an index file is listed.")
        .at(Applies::Live),
    key("index_files", Kind::Words, "[\"index.html\"]", "What stands for a directory: the first that is there.")
        .at(Applies::Live),
    key(
        "cache_max_age",
        Kind::Duration,
        "\"24h\"",
        "For how long a client need not ask again; \"0s\": it asks each time. In debug mode it always asks.",
    )
    .at(Applies::Live),
    key(
        "html_max_age",
        Kind::Duration,
        "\"0s\"",
        "The same for HTML. \"0s\", because a page names the scripts of its release: a page that a browser has kept asks for scripts that are gone.",
    )
    .at(Applies::Live),
    key(
        "immutable",
        Kind::Boolean,
        "true",
        "Whether a client may keep a file for a year if its name has a hash (`app-5f3a9c21.js`, `app.5f3a9c21.js`): another content has another name. A hash has 8 characters or more, hexadecimal, base32 or base64url. What could be a word, a number, a date or a UUID is no hash.",
    )
    .at(Applies::Live),
    unset(
        "fallback",
        Kind::Text,
        "\"index.html\"",
        "The page of a single-page application, a file below `dir`: the answer to a browser (`Accept: text/html`) where there is no file and no route. One that is missing is an error at start.",
    )
    .at(Applies::Live),
    key(
        "enable_compression",
        Kind::Boolean,
        "true",
        "Whether text is compressed (zstd, br, gzip) for who accepts that.",
    )
    .at(Applies::Live),
    key("compression_level", Kind::Integer(1, 9), "6", "1 is fast, 9 is small.").at(Applies::Live),
    key("allowed_types", Kind::Words, "[]", "Which endings are served, as \"html\"; none named: all.")
        .at(Applies::Live),
    unset("max_size", Kind::Size, "\"100MiB\"", "Larger files are refused.").at(Applies::Live),
    key(
        "memory",
        Kind::Size,
        "\"64MiB\"",
        "For small files that are asked for often, a worker; all directories have equal shares of it. \"0\" keeps none.",
    )
    .at(Applies::Live),
    unset(
        "mounts",
        Kind::Tables(STATIC_MOUNTS),
        "[{ url_prefix = \"/uploads\", dir = \"./uploads\" }]",
        "More directories, each under a path of its own. What one does not set is as in `[static]`, but for `fallback`.",
    ),
];

/// `[[static.mounts]]`
pub const STATIC_MOUNTS: &[Key] = &[
    unset("url_prefix", Kind::Text, "\"/uploads\"", "Under which path. No other directory has the same one.")
        .required(),
    unset(
        "dir",
        Kind::Text,
        "\"./uploads\"",
        "The directory whose files are served. One that is missing is an error at start.",
    )
    .required(),
    unset("fallback", Kind::Text, "\"index.html\"", "The page of a single-page application, a file below `dir`."),
    unset("enable_directory_listing", Kind::Boolean, "true", "Whether a directory without an index file is listed."),
    unset("index_files", Kind::Words, "[\"index.html\"]", "What stands for a directory: the first that is there."),
    unset("cache_max_age", Kind::Duration, "\"365d\"", "For how long a client need not ask again."),
    unset("html_max_age", Kind::Duration, "\"5m\"", "The same for HTML."),
    unset("immutable", Kind::Boolean, "false", "Whether a client may keep a file for a year if its name has a hash."),
    unset("enable_compression", Kind::Boolean, "false", "Whether text is compressed for who accepts that."),
    unset("allowed_types", Kind::Words, "[\"png\", \"jpg\"]", "Which endings are served; none named: all."),
    unset("max_size", Kind::Size, "\"10MiB\"", "Larger files are refused."),
];

/// `[rate_limit]`
pub const RATE_LIMIT: &[Key] = &[
    key("enable", Kind::Boolean, "false", "Whether clients are limited, each by its address.").at(Applies::Live),
    key("rate", Kind::Integer(1, 1_000_000_000), "100", "Requests a window; so many may come at once.")
        .at(Applies::Live),
    key("window", Kind::Duration, "\"1m\"", "The window.").at(Applies::Live),
    key(
        "without_address",
        Kind::Choice(&["error", "one_bucket", "unlimited"]),
        "\"error\"",
        "Clients over a Unix socket have no address but the one that X-Forwarded-For tells, if server.trusted_proxies is set (to any network). \"error\": where it is not set, the worker does not start. \"one_bucket\": all clients without an address count as one. \"unlimited\": they are not counted.",
    )
    .at(Applies::Live),
    key(
        "store",
        Kind::Choice(&["local", "redis"]),
        "\"local\"",
        "Where clients are counted. \"local\": by the workers of one supervisor together. \"redis\": by those of all hosts together, in the Redis of [redis]; while that is away, as \"local\". Services that share a Redis count apart by their monitoring.prometheus.namespace. Needs the feature `redis` of gin-worker.",
    ),
    key(
        "clients",
        Kind::Integer(1024, 1 << 24),
        "65536",
        "Clients remembered at once, by all workers together: 16 bytes each.",
    )
    .at(Applies::Start),
];

/// `[metrics]`
pub const METRICS: &[Key] = &[
    key(
        "series",
        Kind::Integer(16, 65_536),
        "4096",
        "Series that a worker has room for; only those that it has take memory. What it counts above that goes into one series for each name, whose labels say \"overflow\".",
    )
    .at(Applies::Start),
];

/// `[logging]`
pub const LOGGING: &[Key] = &[
    key("level", Kind::Choice(&["trace", "debug", "info", "warn", "error"]), "\"info\"", "What is logged.")
        .at(Applies::Live),
    unset(
        "targets",
        Kind::Levels,
        "\"my_app=debug,hyper=warn\"",
        "Other levels for targets that begin so, as the modules of Rust programs do: a text, or a table { my_app = \"debug\" }. The longest name that fits counts; \"off\" logs nothing. RUST_LOG sets this and level, too: over the file, and under GIN_LOGGING_TARGETS, GIN_LOGGING_LEVEL and --log-level.",
    )
    .at(Applies::Live),
    key("format", Kind::Choice(&["json", "text"]), "\"json\"", "A line each. In a terminal: text."),
    key("output", Kind::Choice(&["stdout", "stderr", "file", "journald"]), "\"stderr\"", "Where to."),
    unset(
        "file_path",
        Kind::Path,
        "\"/var/log/shop/shop.log\"",
        "The file, for output = \"file\". Reopened on SIGUSR1.",
    ),
    key(
        "max_line",
        Kind::Size,
        "\"8KiB\"",
        "A longer line is cut, 1KiB at least: in JSON its longest texts, with the number of bytes left out in the field truncated. The supervisor's own lines have 8KiB at most.",
    ),
    key("max_size", Kind::Integer(1, 1 << 20), "100", "In megabytes; then a new file is begun."),
    key("max_backups", Kind::Integer(0, 10_000), "3", "So many old files are kept; 0: all."),
    key("max_age", Kind::Integer(0, 36_500), "28", "In days; older files are removed; 0: none."),
    key("compress", Kind::Boolean, "false", "Whether old files are gzipped."),
];

/// `[monitoring.prometheus]`
pub const PROMETHEUS: &[Key] = &[
    unset(
        "enable",
        Kind::Boolean,
        "true",
        "true shows /metrics to everybody, unless server.public is written. The switch is features.metrics; false here is an error.",
    ),
    key("path", Kind::Text, "\"/metrics\"", "Where the metrics are."),
    key("namespace", Kind::Text, "\"gin_server\"", "What the names of all metrics begin with."),
];

/// `[monitoring.jaeger]`
pub const JAEGER: &[Key] = &[
    key("enable", Kind::Boolean, "false", "Not in this version."),
    unset("endpoint", Kind::Text, "\"http://127.0.0.1:4317\"", "Where traces go."),
    key("service_name", Kind::Text, "\"gin-server\"", "As whose."),
    key("sample_rate", Kind::Fraction, "0.1", "How many of them: 0 to 1."),
];

/// `[monitoring]`
pub const MONITORING: &[Key] = &[
    unset(
        "prometheus",
        Kind::Table(PROMETHEUS),
        "{ path = \"/metrics\" }",
        "How metrics are told; whether they are: features.metrics.",
    ),
    key(
        "buckets",
        Kind::Numbers,
        "[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]",
        "Upper bounds of the histogram of requests' durations, in seconds: 1 to 40 of them, more than 0, and each more than the one before.",
    ),
    unset("jaeger", Kind::Table(JAEGER), "{ enable = false }", "Traces."),
];

/// `[database]`
pub const DATABASE: &[Key] = &[
    key(
        "driver",
        Kind::Choice(&["sqlite", "mysql", "postgres"]),
        "\"sqlite\"",
        "Which kind. \"mysql\" is MariaDB, too. \"sqlite\" is a file, and needs no server.",
    ),
    unset(
        "url",
        Kind::Text,
        "\"postgres://shop@db.example.org/shop\"",
        "Instead of driver, host, port, username, password and database.",
    )
    .secret(),
    key("host", Kind::Text, "\"127.0.0.1\"", "Where it is."),
    unset("port", Kind::Integer(1, 65535), "3306", "Its port. Default: 3306 for MySQL, 5432 for PostgreSQL."),
    unset("username", Kind::Text, "\"shop\"", "As whom. MySQL needs one."),
    unset("password", Kind::Text, "\"...\"", "The word for it; better in GIN_DATABASE_PASSWORD, or in a file.")
        .secret(),
    unset(
        "password_file",
        Kind::Path,
        "\"/run/secrets/database\"",
        "A file with the word, which counts where password is not set. The newline at its end is left out.",
    ),
    unset(
        "database",
        Kind::Text,
        "\"shop\"",
        "Which one. With driver = \"sqlite\" the path of the file, an absolute one if releases have directories of their own; default: a file in the state directory.",
    ),
    key("charset", Kind::Text, "\"utf8mb4\"", "How text is written, of MySQL."),
    key(
        "tls",
        Kind::Choice(&["disable", "prefer", "require"]),
        "\"prefer\"",
        "Encryption of the connection. \"prefer\": if the server can, without a look at its certificate. \"require\": always, and the certificate must be valid for host.",
    ),
    unset(
        "ca_file",
        Kind::Path,
        "\"/etc/ssl/database-ca.pem\"",
        "Certificates that sign the server's, in PEM, beside the public authorities that are built in. Those of the system: \"/etc/ssl/certs/ca-certificates.crt\".",
    ),
    key("max_open_conns", Kind::Integer(1, 100_000), "100", "Connections at most, a worker."),
    key("max_idle_conns", Kind::Integer(0, 100_000), "10", "Of them idle."),
    key("conn_max_lifetime", Kind::Duration, "\"1h\"", "Older ones are closed."),
    key(
        "acquire_timeout",
        Kind::Duration,
        "\"5s\"",
        "A request that gets no connection for so long is answered with 503 and Retry-After.",
    ),
    key(
        "slow",
        Kind::Duration,
        "\"200ms\"",
        "A query that takes longer is logged at WARN, without its parameters. \"0s\": none is.",
    ),
];

/// `[redis]`
pub const REDIS: &[Key] = &[
    key("host", Kind::Text, "\"127.0.0.1\"", "Where it is."),
    key("port", Kind::Integer(1, 65535), "6379", "Its port."),
    unset(
        "username",
        Kind::Text,
        "\"shop\"",
        "The user of the server's access list (ACL), who has a password then. Default: the default user.",
    ),
    unset("password", Kind::Text, "\"...\"", "The word for it; better in GIN_REDIS_PASSWORD, or in a file.").secret(),
    unset(
        "password_file",
        Kind::Path,
        "\"/run/secrets/redis\"",
        "A file with the word, which counts where password is not set. The newline at its end is left out.",
    ),
    key("database", Kind::Integer(0, 1 << 20), "0", "Which one."),
    key(
        "tls",
        Kind::Choice(&["disable", "require"]),
        "\"disable\"",
        "Encryption of the connections. \"require\": always, and the server's certificate must be valid for host; port is the server's tls-port then.",
    ),
    unset(
        "ca_file",
        Kind::Path,
        "\"/etc/ssl/redis-ca.pem\"",
        "Certificates that alone may sign the server's, in PEM. Default: the public authorities that are built in.",
    ),
    key("pool_size", Kind::Integer(1, 100_000), "10", "Connections at most, a worker."),
    key("min_idle_conns", Kind::Integer(0, 100_000), "5", "Of them kept open."),
    key("dial_timeout", Kind::Duration, "\"5s\"", "For a connection."),
    key("read_timeout", Kind::Duration, "\"3s\"", "For an answer."),
    key("write_timeout", Kind::Duration, "\"3s\"", "For a question."),
];

/// `[cache]`
pub const CACHE: &[Key] = &[
    key(
        "levels",
        Kind::Choice(&["process", "redis", "both"]),
        "\"process\"",
        "Where entries are kept: in each process, in Redis for all of them, or in both: the process asks itself first.",
    ),
    key(
        "entries",
        Kind::Integer(1, 1 << 30),
        "10000",
        "Entries in a process at most; those that are asked for least go.",
    ),
    key("ttl", Kind::Duration, "\"5m\"", "How long an entry is kept, unless the program says otherwise."),
];

/// `[sessions]`
pub const SESSIONS: &[Key] = &[
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

/// `[[auth.keys]]`
pub const AUTH_KEYS: &[Key] = &[
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

/// `[auth]`
pub const AUTH: &[Key] = &[
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

/// `[uploads]`
pub const UPLOADS: &[Key] = &[
    unset(
        "dir",
        Kind::Path,
        "\"/var/lib/shop/uploads\"",
        "The directory of the files. Default: uploads in the state directory. A sandboxed worker must be able to write there: supervisor.sandbox.write.",
    ),
    key("file", Kind::Size, "\"10MiB\"", "Larger files are refused while they come."),
    key("files", Kind::Integer(1, 1000), "10", "Files of one request at most."),
    key(
        "quota",
        Kind::Size,
        "\"1GiB\"",
        "All files together; a file that would exceed it is refused. It must have room for the largest one that is taken. \"0\": no limit but the disk's.",
    ),
    key(
        "allow",
        Kind::Words,
        "[\"jpg\", \"jpeg\", \"png\", \"gif\", \"pdf\", \"doc\", \"docx\", \"txt\"]",
        "Endings of files that are taken, if their contents fit the ending.",
    ),
    key(
        "resumable",
        Kind::Boolean,
        "false",
        "Whether uploads can be resumed (tus 1.0), where the program has routes for it.",
    ),
    key(
        "resumable_file",
        Kind::Size,
        "\"256MiB\"",
        "Larger files are refused in resumable uploads. The quota must have room for one.",
    ),
    key("abandoned", Kind::Duration, "\"24h\"", "A resumable upload that nobody goes on with for so long is removed."),
];

/// All sections that this version reads, in the order of the default file.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "server",
        doc: "Host and port, for the supervisor and for a worker that runs alone.",
        keys: SERVER,
    },
    Section { name: "supervisor", doc: "The supervisor's own.", keys: SUPERVISOR },
    Section { name: "features", doc: "Switches.", keys: FEATURES },
    Section { name: "timeouts", doc: "Of workers built on gin-worker.", keys: TIMEOUTS },
    Section { name: "limits", doc: "Of workers built on gin-worker.", keys: LIMITS },
    Section {
        name: "websocket",
        doc: "WebSockets of `gin_worker::websocket`. Each kind of them may have its own by the program.",
        keys: WEBSOCKET,
    },
    Section { name: "static", doc: "Files, of workers built on gin-worker.", keys: STATIC },
    Section {
        name: "cors",
        doc: "Cross-origin requests (Fetch standard), of workers built on gin-worker.",
        keys: CORS,
    },
    Section { name: "rate_limit", doc: "Of workers built on gin-worker.", keys: RATE_LIMIT },
    Section {
        name: "metrics",
        doc: "The memory in which workers built on gin-worker count. A change needs a full stop and start.",
        keys: METRICS,
    },
    Section { name: "logging", doc: "Of workers built on gin-worker.", keys: LOGGING },
    Section { name: "monitoring", doc: "Of workers built on gin-worker.", keys: MONITORING },
    Section { name: "security", doc: "Of workers built on gin-worker.", keys: SECURITY },
    Section {
        name: "database",
        doc: "Of programs that register a database (`Server::database`). gin-server checks it and opens nothing.",
        keys: DATABASE,
    },
    Section {
        name: "redis",
        doc: "Of programs whose cache, sessions or rate limit are in Redis. gin-server checks it and opens nothing.",
        keys: REDIS,
    },
    Section { name: "cache", doc: "Of programs that register a cache (`Server::cache`).", keys: CACHE },
    Section { name: "sessions", doc: "Of programs that register sessions (`Server::sessions`).", keys: SESSIONS },
    Section { name: "auth", doc: "Of programs that register logins by tokens (`Server::auth`).", keys: AUTH },
    Section { name: "uploads", doc: "Of programs that register uploads (`Server::uploads`).", keys: UPLOADS },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: &str, keys: &[Key]) {
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].iter().any(|other| other.name == key.name), "{place}.{} twice", key.name);
            assert!(key.doc.ends_with(['.', ']']), "{place}.{}: {}", key.name, key.doc);
            assert_ne!(key.default.is_empty(), key.example.is_empty(), "{place}.{}", key.name);
            if let Kind::Table(keys) | Kind::Tables(keys) | Kind::ChoiceOrTable(_, keys) | Kind::BooleanOrTable(keys) =
                key.kind
            {
                check(&format!("{place}.{}", key.name), keys);
            }
        }
    }

    #[test]
    fn each_key_stands_once_and_says_what_it_does() {
        for section in SECTIONS {
            assert!(crate::sections::ALL.contains(&section.name));
            check(section.name, section.keys);
        }
    }
}

//! Keys of the database, of Redis and of the cache.

use super::key::{Key, Kind, key, unset};

/// `[database]`
pub(super) const DATABASE: &[Key] = &[
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
pub(super) const REDIS: &[Key] = &[
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
pub(super) const CACHE: &[Key] = &[
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

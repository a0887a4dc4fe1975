//! Every key of the configuration, once: what the schema, the commented default file, the reference page and gin.toml(5)
//! are made of, how the environment is read, and what the reader is tested against.

pub mod flat;
mod key;
pub mod peers;

pub use key::{Applies, Key, Kind, Section};
use key::{key, unset};

/// `supervisor.listen[].tls`
pub const LISTEN_TLS: &[Key] = &[
    unset(
        "cert_file",
        Kind::Path,
        "\"/etc/ssl/admin.pem\"",
        "Its certificate, in place of security.cert_file; security.certificates are its further ones.",
    ),
    unset("key_file", Kind::Path, "\"/etc/ssl/admin.key\"", "The key of cert_file; both or none."),
    unset("tls_versions", Kind::Words, "[\"1.3\"]", "As security.tls_versions."),
    unset("alpn", Kind::Words, "[\"h2\"]", "As security.alpn."),
    unset("client_ca_file", Kind::Path, "\"/etc/ssl/clients-ca.pem\"", "As security.client_ca_file."),
    unset("client_auth", Kind::Choice(CLIENT_AUTH), "\"required\"", "As security.client_auth."),
];

/// Treatments of clients by their certificates.
const CLIENT_AUTH: &[&str] = &["none", "optional", "required"];

/// `[[supervisor.listen]]`
pub const LISTEN: &[Key] = &[
    key(
        "name",
        Kind::Text,
        "\"http\"",
        "Its name: in LISTEN_FDNAMES, for a .socket unit's FileDescriptorName=, and for people.",
    ),
    unset(
        "address",
        Kind::Address,
        "\"0.0.0.0:8080\"",
        "Where: \"127.0.0.1:8080\", \"[::]:8080\", \":8080\", \"unix:/run/shop.sock\" or \"udp:0.0.0.0:5353\".",
    )
    .required(),
    key("backlog", Kind::Integer(1, 1 << 20), "4096", "How many connections may wait; capped by net.core.somaxconn."),
    unset("mode", Kind::Mode, "\"0660\"", "Mode of a Unix socket's file. Else what the umask leaves."),
    unset("owner", Kind::Text, "\"www-data\"", "Owner of a Unix socket's file."),
    unset("group", Kind::Text, "\"www-data\"", "Group of a Unix socket's file."),
    unset(
        "nonblocking",
        Kind::Boolean,
        "false",
        "O_NONBLOCK. Default: false, as systemd passes sockets; true where `channel` is true. It is never taken back from an open socket: many servers set it themselves, and rely on it.",
    ),
    unset(
        "tls",
        Kind::BooleanOrTable(LISTEN_TLS),
        "true",
        "Whether clients speak TLS here (workers built on gin-worker, TCP alone). A table is true, and what it lacks is as [security] says. Default: as security.enable_https, but false beside redirect.",
    ),
    unset(
        "redirect",
        Kind::Text,
        "\"https\"",
        "All requests are redirected (308) to the same address with https, and the port if one is named: \"https\" or \"https:8443\". Needs a listener that speaks TLS.",
    ),
    unset(
        "proxy_protocol",
        Kind::Words,
        "[\"10.0.0.0/8\"]",
        "Networks of balancers before this listener, each of which must begin every connection with a PROXY header (version 1 or 2): it tells the client's address. Connections from elsewhere are closed.",
    ),
];

/// `supervisor.limits`
pub const WORKER_LIMITS: &[Key] = &[
    unset("nofile", Kind::Integer(16, 1 << 30), "65536", "Open descriptors, soft and hard (RLIMIT_NOFILE)."),
    unset("nproc", Kind::Integer(1, 1 << 22), "512", "Processes of the worker's user (RLIMIT_NPROC)."),
    unset("core", Kind::Size, "\"0\"", "Size of a core file (RLIMIT_CORE)."),
    unset(
        "memory_restart",
        Kind::Size,
        "\"512MiB\"",
        "A worker whose processes hold more resident memory than this is replaced: a fresh one serves before it drains. One slot at a time.",
    ),
    unset(
        "max_age",
        Kind::Duration,
        "\"12h\"",
        "A worker older than this is replaced in the same way. Slots are spread over the last fifth of it, so that they do not come due together.",
    ),
];

/// `supervisor.probe`
pub const PROBE: &[Key] = &[
    key("path", Kind::Text, "\"/readyz\"", "What is asked for, by GET over the worker's private listener."),
    key("status", Kind::Integer(100, 599), "200", "The status expected."),
    unset("body", Kind::Text, "\"ready\"", "A text that the body's first 64 KiB must contain."),
    key("successes", Kind::Integer(1, 100), "2", "So many in a row, and the worker is fit."),
    key("failures", Kind::Integer(1, 100), "3", "So many in a row, and it is not."),
    key("interval", Kind::Duration, "\"200ms\"", "Between two of them."),
    key("timeout", Kind::Duration, "\"2s\"", "For one of them."),
];

/// `supervisor.sandbox`
pub const SANDBOX: &[Key] = &[
    unset(
        "enable",
        Kind::Boolean,
        "true",
        "Switches on no_new_privs, capabilities and seccomp, each of which can be set alone, too. Default: true for gin-server, else false.",
    ),
    unset(
        "no_new_privs",
        Kind::Boolean,
        "true",
        "No program that a worker starts gains rights: setuid and setgid bits, file capabilities and sudo have no effect. Default: as enable.",
    ),
    unset(
        "capabilities",
        Kind::Texts,
        "[\"CAP_NET_BIND_SERVICE\"]",
        "The most capabilities that a worker and its children can ever have (bounding set), root's too; those of supervisor.capabilities are among them. Default: none with enable, else the supervisor's.",
    ),
    unset(
        "seccomp",
        Kind::Boolean,
        "true",
        "System calls that no web worker makes are answered EPERM: mounts, namespaces, ptrace, bpf, perf, io_uring, keyrings, kernel modules, clocks, swap, reboot. Needs no_new_privs. Default: as enable.",
    ),
    unset(
        "read",
        Kind::Texts,
        "[\"/srv/shop/static\"]",
        "Files and directories that a worker may read and execute, beside the system's own (/usr, /etc, /proc, /sys, /dev), its directory, its program and its configuration (Landlock). With read or write set it opens no others. Needs no_new_privs.",
    ),
    unset("write", Kind::Texts, "[\"/var/log/shop\", \"/tmp\"]", "Files and directories that it may change, too."),
];

/// `supervisor.hooks`
pub const HOOKS: &[Key] = &[
    unset(
        "before_restart",
        Kind::Command,
        "[\"/srv/shop/current/bin/migrate-check\"]",
        "Run before a new generation is started; if it fails, the restart does.",
    ),
    unset("after_restart", Kind::Command, "[\"/usr/local/bin/tell\", \"done\"]", "Run when a new generation serves."),
    unset("on_failure", Kind::Command, "[\"/usr/local/bin/tell\", \"failed\"]", "Run when a restart has failed."),
    key("timeout", Kind::Duration, "\"30s\"", "How long each may take; then it is killed, which is a failure."),
];

/// `[supervisor]`
pub const SUPERVISOR: &[Key] = &[
    unset(
        "command",
        Kind::Command,
        "[\"/srv/shop/current/bin/shop\"]",
        "The program and its arguments. Default: the gin-server beside gin-supervisor.",
    ),
    unset(
        "directory",
        Kind::Path,
        "\"/srv/shop/current\"",
        "Where it runs. Symbolic links are resolved anew by each restart; the last part of the result names the release.",
    ),
    key("workers", Kind::IntegerOr(1, 1024, "auto"), "1", "How many; \"auto\": one a core."),
    key(
        "ready",
        Kind::ChoiceOrTable(
            &["notify"],
            &[
                unset("after", Kind::Duration, "\"2s\"", "It is ready when it has run for so long."),
                unset(
                    "exec",
                    Kind::Command,
                    "[\"check\"]",
                    "It is ready when this command exits with 0; asked every 200 ms.",
                ),
            ],
        ),
        "\"notify\"",
        "When a worker is ready: it says READY=1 (sd_notify), or { after = \"2s\" }, or { exec = [\"check\"] }.",
    ),
    key(
        "ready_timeout",
        Kind::Duration,
        "\"30s\"",
        "How long it may take to get there. EXTEND_TIMEOUT_USEC extends it.",
    ),
    unset(
        "warm_up",
        Kind::Command,
        "[\"/srv/shop/current/bin/warm-up\"]",
        "Run for each ready worker before it serves, with GIN_SLOT, GIN_WORKER_PID and GIN_PRIVATE_SOCKET. If it fails or exceeds ready_timeout, the worker is not fit.",
    ),
    unset(
        "probe",
        Kind::Table(PROBE),
        "{ path = \"/readyz\" }",
        "Asked of each worker over its private listener before it serves. Workers built on gin-worker have one; other programs need private_listener.",
    ),
    unset(
        "soak",
        Kind::Duration,
        "\"1s\"",
        "Both generations serve for so long; a crash in that time withdraws the new one. Default: 1s; 0s for gin-server.",
    ),
    key(
        "strategy",
        Kind::Choice(&["surge", "rolling"]),
        "\"surge\"",
        "surge: all new workers beside all old ones. rolling: slot by slot, each soaked, never fewer serving than before; needs the memory of one worker more.",
    ),
    key("stop_signal", Kind::Signal, "\"SIGTERM\"", "Asks a worker without a channel to finish."),
    key(
        "drain_timeout",
        Kind::Duration,
        "\"60s\"",
        "How long a worker may take to finish; then SIGKILL. EXTEND_TIMEOUT_USEC extends it.",
    ),
    key("max_draining", Kind::Integer(1, 64), "4", "So many old generations draining make the next restart wait.")
        .at(Applies::Reload),
    key(
        "balance",
        Kind::Boolean,
        "true",
        "Whether workers share connections evenly: in a burst each takes its turn, and resting connections move to workers that have fewer. Of workers built on gin-worker.",
    )
    .at(Applies::Reload),
    key(
        "on_master_death",
        Kind::Choice(&["serve", "exit"]),
        "\"serve\"",
        "What workers do when the master is killed: serve on, to be adopted by the next one, or end with it.",
    ),
    unset(
        "channel",
        Kind::Boolean,
        "true",
        "Unset: a worker built on gin-worker announces itself, is given a channel, and waits for the master's word before it accepts; other programs are given none. true: each worker is passed a channel at its start, and must wait for that word (gin-server). false: no worker is given one.",
    ),
    unset(
        "private_listener",
        Kind::Boolean,
        "true",
        "Whether each worker is passed a Unix socket of its own, named private, as the last of its listeners. Default: as channel; a worker that announces itself is given one then. false: none has one.",
    ),
    unset(
        "watchdog",
        Kind::Duration,
        "\"10s\"",
        "A serving worker that does not say WATCHDOG=1 for so long is sent SIGABRT and replaced.",
    ),
    unset(
        "user",
        Kind::Text,
        "\"www-data\"",
        "Whose rights workers, checks, warm-ups and hooks have. A name or a number.",
    ),
    unset("group", Kind::Text, "\"www-data\"", "Instead of the user's own group."),
    unset("umask", Kind::Mode, "\"0027\"", "File mode mask."),
    unset("nice", Kind::Integer(-20, 19), "5", "Priority."),
    unset("cpu_affinity", Kind::Texts, "[\"0-3\", \"8\"]", "On which cores they run."),
    unset(
        "oom_score_adjust",
        Kind::Integer(-1000, 1000),
        "100",
        "How willingly the kernel ends them when memory runs out.",
    ),
    unset(
        "capabilities",
        Kind::Texts,
        "[\"CAP_NET_BIND_SERVICE\"]",
        "Capabilities that a worker of another user keeps, also over execve (ambient); it has no others.",
    ),
    unset(
        "sandbox",
        Kind::Table(SANDBOX),
        "{ enable = true }",
        "What is taken from each worker before its program runs. Checks, warm-ups and hooks keep it: they may have to use sudo.",
    ),
    unset("limits", Kind::Table(WORKER_LIMITS), "{ nofile = 65536 }", "Limits of each worker."),
    unset("env", Kind::Map, "{ RAILS_ENV = \"production\" }", "Added to the supervisor's environment."),
    unset(
        "env_clear",
        Kind::Boolean,
        "true",
        "Of the supervisor's environment, workers and commands get the variables of env_pass alone; those that the supervisor sets, env and env_file are added. Default: true for gin-server and with env_pass, else false.",
    ),
    unset(
        "env_pass",
        Kind::Texts,
        "[\"PATH\", \"LC_*\"]",
        "The variables that env_clear lets through; a * at the end stands for any rest. Default: PATH, HOME, USER, LOGNAME, SHELL, LANG, LANGUAGE, LC_*, TZ, TMPDIR, TERM, NO_COLOR, RUST_BACKTRACE, RUST_LOG, SSL_CERT_*, CREDENTIALS_DIRECTORY, STATE_DIRECTORY, XDG_STATE_HOME, and those that name a key of the configuration.",
    ),
    unset(
        "env_file",
        Kind::Path,
        "\"/etc/gin/shop.env\"",
        "NAME=value lines, read anew by each restart; `env` counts over it. The supervisor itself does not read its settings from it.",
    ),
    unset(
        "hooks",
        Kind::Table(HOOKS),
        "{ after_restart = [\"/usr/local/bin/tell\"] }",
        "Commands around a restart. They know GIN_OUTCOME, GIN_REASON, GIN_GENERATION, GIN_RELEASE, GIN_PREVIOUS_GENERATION, GIN_ASKED_BY.",
    ),
    unset(
        "pid_file",
        Kind::Path,
        "\"/run/gin/shop/pid\"",
        "Default: in the runtime directory, as the sockets. Only root and the supervisor's user may be able to write to its directory.",
    )
    .at(Applies::Start),
    unset(
        "control",
        Kind::Path,
        "\"/run/gin/shop/control.sock\"",
        "The socket that may act. Its directory is held to the rule of `pid_file`.",
    )
    .at(Applies::Start),
    unset(
        "status",
        Kind::Path,
        "\"/run/gin/shop/status.sock\"",
        "The socket that may look. Its directory is held to the rule of `pid_file`.",
    )
    .at(Applies::Start),
    unset(
        "control_group",
        Kind::Text,
        "\"deploy\"",
        "A group whose members may act. Else the supervisor's user alone.",
    )
    .at(Applies::Start),
    unset("status_group", Kind::Text, "\"adm\"", "A group whose members may look.").at(Applies::Start),
    unset(
        "metrics",
        Kind::Address,
        "\"127.0.0.1:9464\"",
        "A TCP address where the supervisor answers GET /metrics, and nothing else: its own metrics, and the sums over all workers. Default: nowhere. Whoever reaches it may read them, without a password: keep to loopback or a private network.",
    )
    .at(Applies::Start),
    key(
        "reload_on_change",
        Kind::Boolean,
        "false",
        "Whether a configuration file that has changed is read at once, as by SIGHUP; one that cannot be used changes nothing.",
    )
    .at(Applies::Reload),
    key("restart_signal", Kind::Signal, "\"SIGUSR2\"", "Asks for a restart.").at(Applies::Reload),
    key(
        "shutdown_signals",
        Kind::Signals,
        "[\"SIGTERM\", \"SIGINT\", \"SIGQUIT\"]",
        "Ask for a stop; a second one stops at once.",
    )
    .at(Applies::Reload),
    unset(
        "listen",
        Kind::Tables(LISTEN),
        "[]",
        "What clients connect to, instead of server.host and server.port; [] for workers that listen to nothing.",
    ),
];

/// `[server]`
pub const SERVER: &[Key] = &[
    key("name", Kind::Text, "\"Gin Web Server\"", "A name for people."),
    key("host", Kind::Text, "\"127.0.0.1\"", "An IP address. With port: shorthand for one listener named http."),
    key("port", Kind::Integer(0, 65535), "8080", "Its port."),
    key(
        "mode",
        Kind::Choice(&["debug", "release", "test"]),
        "\"release\"",
        "debug prints the routes at start, and shows every endpoint to everybody.",
    ),
    key(
        "public",
        Kind::Words,
        "[\"/info\", \"/routes\"]",
        "Which of /metrics, /routes (with /api/v1/routes) and /info everybody may see in release mode; [] hides all. The default has /metrics, too, where monitoring.prometheus.enable is written. The private listener shows them all.",
    ),
    key(
        "redirect_trailing_slash",
        Kind::Boolean,
        "true",
        "A path that has a route with another slash at its end, or without, is redirected there: 301 for GET, else 307.",
    ),
    key(
        "trusted_proxies",
        Kind::Words,
        "[]",
        "Whose X-Forwarded-For and X-Forwarded-Proto are believed, as CIDRs: the first is read from the right, up to the first address not among these. Over a Unix socket both are believed if any network is named.",
    )
    .at(Applies::Live),
];

/// `[features]`
pub const FEATURES: &[Key] = &[
    key("hot_restart", Kind::Boolean, "true", "false refuses a restart with exit code 5."),
    key(
        "graceful_shutdown",
        Kind::Boolean,
        "true",
        "false cuts what is under way at a stop, instead of waiting for it.",
    ),
    key("metrics", Kind::Boolean, "true", "Whether requests are counted, and /metrics tells."),
    key("pprof", Kind::Boolean, "false", "Not in this version."),
    key("tracing", Kind::Boolean, "false", "Not in this version."),
];

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

/// `[cors]`
pub const CORS: &[Key] = &[
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

/// `[[security.certificates]]`
pub const CERTIFICATES: &[Key] = &[
    unset("cert_file", Kind::Path, "\"/etc/ssl/api.pem\"", "The certificate, and the chain behind it.").required(),
    unset("key_file", Kind::Path, "\"/etc/ssl/api.key\"", "Its key.").required(),
];

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
        "enable_https",
        Kind::Boolean,
        "false",
        "Whether every TCP listener without a tls of its own speaks TLS. Needs the feature tls of gin-worker.",
    ),
    unset(
        "cert_file",
        Kind::Path,
        "\"/etc/ssl/shop.pem\"",
        "The certificate, and the chain behind it, in PEM. It is for clients that name no host, too. Changed contents count within a second, without a restart.",
    ),
    unset(
        "key_file",
        Kind::Path,
        "\"/etc/ssl/shop.key\"",
        "The key of cert_file, in PEM and without a password; both or none. The supervisor reads it: workers need not be able to.",
    ),
    unset(
        "certificates",
        Kind::Tables(CERTIFICATES),
        "[{ cert_file = \"/etc/ssl/api.pem\", key_file = \"/etc/ssl/api.key\" }]",
        "Further certificates. Each is for the hosts that it names, also as *.example.org.",
    ),
    key("tls_versions", Kind::Words, "[\"1.2\", \"1.3\"]", "Versions of TLS: [\"1.2\", \"1.3\"] or [\"1.3\"]."),
    key(
        "alpn",
        Kind::Words,
        "[\"h2\", \"http/1.1\"]",
        "Protocols that are offered over TLS, the best first: both, or one of them.",
    ),
    unset(
        "client_ca_file",
        Kind::Path,
        "\"/etc/ssl/clients-ca.pem\"",
        "Authorities that sign client certificates, in PEM. It needs client_auth. Changed contents count within a second.",
    ),
    key(
        "client_auth",
        Kind::Choice(CLIENT_AUTH),
        "\"none\"",
        "Whether clients are asked for a certificate, and refused without one. optional and required need client_ca_file.",
    ),
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

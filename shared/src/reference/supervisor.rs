//! Keys of the supervisor.

use super::key::{Applies, Key, Kind, key, unset};
use super::listener::LISTEN;

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
        "The variables that env_clear lets through; a * at the end stands for any rest. Default: PATH, HOME, USER, LOGNAME, SHELL, LANG, LANGUAGE, LC_*, TZ, TMPDIR, TERM, NO_COLOR, RUST_BACKTRACE, RUST_LOG, OTEL_*, SSL_CERT_*, CREDENTIALS_DIRECTORY, STATE_DIRECTORY, XDG_STATE_HOME, and those that name a key of the configuration.",
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
    unset(
        "traces",
        Kind::Text,
        "\"http://127.0.0.1:4317\"",
        "An OTLP receiver for the traces of restarts, without TLS. Needs a supervisor built with the feature otel.",
    )
    .at(Applies::Reload),
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

/// `supervisor.limits`
const WORKER_LIMITS: &[Key] = &[
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
const SANDBOX: &[Key] = &[
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
const HOOKS: &[Key] = &[
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

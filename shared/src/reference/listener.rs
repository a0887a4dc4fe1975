//! Keys of listeners.

use super::key::{Key, Kind, key, unset};
use super::tls::LISTEN_TLS;

/// `[[supervisor.listen]]`
pub(super) const LISTEN: &[Key] = &[
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

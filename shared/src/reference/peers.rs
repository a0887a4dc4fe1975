//! The limits of a connection beside those of nginx and of Go's net/http, which many readers know.

/// A key of ours, and what stands for it elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Section of the key.
    pub section: &'static str,
    /// Name of the key.
    pub key: &'static str,
    /// Directive of nginx, and its default.
    pub nginx: &'static str,
    /// Field of net/http, and its default.
    pub go: &'static str,
}

const fn peer(section: &'static str, key: &'static str, nginx: &'static str, go: &'static str) -> Peer {
    Peer { section, key, nginx, go }
}

/// Keys about the time and size of a connection. nginx's defaults are those of its documentation; Go's are those of
/// `http.Server{}`, and of gorilla/websocket for WebSockets.
pub const PEERS: &[Peer] = &[
    peer(
        "timeouts",
        "read",
        "`client_header_timeout` 60s, `client_body_timeout` 60s",
        "`ReadHeaderTimeout`, `ReadTimeout`: none",
    ),
    peer("timeouts", "write", "`send_timeout` 60s", "`WriteTimeout`, `HTTP2Config.WriteByteTimeout`: none"),
    peer("timeouts", "idle", "`keepalive_timeout` 75s", "`IdleTimeout`: as `ReadTimeout`, so none"),
    peer("timeouts", "request", "none; `proxy_read_timeout` 60s", "none; `http.TimeoutHandler`"),
    peer("timeouts", "max_connection_age", "`keepalive_time` 1h", "none"),
    peer("timeouts", "shutdown", "`worker_shutdown_timeout`: none", "the context of `Shutdown`: none"),
    peer("timeouts", "tcp_keepalive", "`so_keepalive` of `listen`: off", "`net.ListenConfig.KeepAlive` 15s"),
    peer("limits", "connections", "`worker_connections` 512, a worker", "none"),
    peer("limits", "connections_per_client", "`limit_conn`: none", "none"),
    peer("limits", "body", "`client_max_body_size` 1m", "none; `http.MaxBytesReader`"),
    peer("limits", "head", "`large_client_header_buffers` 4 8k", "`MaxHeaderBytes` 1 MB"),
    peer("limits", "head_fields", "none beside the head's size", "none beside the head's size"),
    peer("limits", "streams", "`http2_max_concurrent_streams` 128", "`HTTP2Config.MaxConcurrentStreams` 250"),
    peer("limits", "min_rate", "none", "none"),
    peer("limits", "memory", "none", "none; `GOMEMLIMIT` refuses nobody"),
    peer("websocket", "message", "none: it passes bytes on", "`SetReadLimit`: none"),
    peer("websocket", "frame", "none: it passes bytes on", "`SetReadLimit`: none"),
    peer("websocket", "rate", "none", "none"),
    peer("websocket", "allow_origins", "none: everybody", "`CheckOrigin`: the host itself"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::SECTIONS;

    /// Keys of these sections that are about the worker's drain or memory, and have no like elsewhere.
    const OURS_ALONE: [&str; 3] = ["lame_duck", "park_after", "idle_grace"];

    #[test]
    fn every_limit_of_a_connection_stands_beside_its_peers_once() {
        let named: Vec<_> = PEERS.iter().map(|peer| (peer.section, peer.key)).collect();
        let sections = SECTIONS.iter().filter(|section| ["timeouts", "limits", "websocket"].contains(&section.name));
        let mut keys: Vec<_> =
            sections.flat_map(|section| section.keys.iter().map(|key| (section.name, key.name))).collect();
        keys.retain(|(_, key)| !OURS_ALONE.contains(key));
        for key in &keys {
            assert_eq!(named.iter().filter(|named| *named == key).count(), 1, "{key:?}");
        }
        assert_eq!(named.len(), keys.len(), "no key is unknown");
    }
}

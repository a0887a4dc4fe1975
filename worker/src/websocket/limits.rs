//! Limits of one kind of sessions: its own, else those of `[websocket]`.

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::config::{self, Origin};

/// Limits that a kind of sessions has for itself.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnLimits {
    pub(super) message: Option<u64>,
    pub(super) frame: Option<u64>,
    pub(super) rate: Option<u32>,
    pub(super) allow_origins: Option<Vec<Origin>>,
}

/// Limits of one WebSocket.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketLimits {
    pub(super) message: u64,
    pub(super) frame: u64,
    /// Frames a second.
    pub(super) rate: Option<u32>,
}

impl OwnLimits {
    /// The limits of a WebSocket, where the configuration says this.
    pub(super) fn or(&self, config: &config::WebSocket) -> SocketLimits {
        SocketLimits {
            message: self.message.unwrap_or(config.message),
            frame: self.frame.unwrap_or(config.frame),
            rate: self.rate.or(config.rate),
        }
    }

    /// The origins whose pages may open one, beside those of the host itself.
    pub(super) fn origins<'a>(&'a self, config: &'a config::WebSocket) -> &'a [Origin] {
        self.allow_origins.as_ref().unwrap_or(&config.allow_origins)
    }
}

impl SocketLimits {
    pub(super) fn for_tungstenite(self) -> WebSocketConfig {
        let size = |bytes| Some(usize::try_from(bytes).unwrap_or(usize::MAX));
        // No frame can be longer than its message. Each message is written at once: nothing gathers.
        WebSocketConfig::default()
            .max_message_size(size(self.message))
            .max_frame_size(size(self.frame.min(self.message)))
            .read_buffer_size(READ)
            .write_buffer_size(0)
    }
}

/// Bytes that tungstenite makes room for before it reads.
const READ: usize = 4096;

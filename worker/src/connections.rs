//! Connections of a worker, from the kernel to their end.
//!
//! A transport carries a connection, a protocol serves it and returns how it left, and the hub decides with the machine what is next:
//! park it, offer it to another worker, serve it on, or close it. `machine` has the table of all states.
//!
//! Imports run one way, downwards. Files in one line do not import one another, but those of `protocol` and `handover`, whose
//! order stands in parentheses.
//!
//! ```text
//! accept
//! hub
//! protocol (http1, http2 -> answer -> request -> timer; answer -> response -> events; open -> goodbye, timer; sniff -> timer; left)   parking
//! handover::giver, handover::taker
//! context
//! drain_state
//! handover::queue -> handover::recipient -> handover::carried, handover::link
//! http2
//! connection
//! io
//! activity                             machine    streams
//! websocket_closer -> websocket_frame  room -> clients       listener
//! relief  proxy  share  turn  load  transport  alarm  bounds  held  pace  progress  http2::state -> http2::settings
//! listener_facts
//! ```
//!
//! Below all of them: `tls`, `graceful`, `config`, `gin_shared`. WebSockets stand above ([`crate::websocket`]): the hub knows their
//! sessions as [`hub::Sessions`].

pub(crate) mod accept;
mod activity;
mod alarm;
mod bounds;
mod clients;
mod connection;
mod context;
mod drain_state;
mod handover;
mod held;
pub(crate) mod http2;
mod hub;
mod io;
mod listener;
mod listener_facts;
mod load;
mod machine;
mod pace;
mod parking;
mod progress;
mod protocol;
pub(crate) mod proxy;
mod relief;
mod room;
mod share;
mod streams;
mod transport;
mod turn;
mod websocket_closer;
mod websocket_frame;

pub(crate) use activity::Activity;
pub(crate) use alarm::{Alarm, LATE_LOOK};
pub(crate) use connection::{ActiveConnection, ConnectionInfo, NotIdle, WebSocketSession};
pub use context::Connection;
pub(crate) use context::{Context, Entrances};
pub(crate) use hub::{Hub, Sessions};
pub(crate) use io::Io;
pub(crate) use listener::{Listener, is_stream};
pub(crate) use listener_facts::ListenerFacts;
pub(crate) use machine::HandoverHold;
pub(crate) use pace::Pace;
pub(crate) use progress::Progress;
pub(crate) use protocol::BodyVerdict;
pub(crate) use relief::Neighbours;
pub(crate) use websocket_frame::FrameHead;

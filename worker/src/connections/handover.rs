//! Handover of connections between a worker that drains, has no room, or has more than its share (the giver), and workers that serve
//! (the takers).
//!
//! `gin_shared::handover` has the messages and the rules of who owns what. Here they are carried out over the socket pair that the
//! master made. Neither side knows what a connection is about: both give connections to the hub, or get them from it, and
//! ask the machine which state follows.
//!
//! ```text
//! giver    sends what is queued to the takers; hands back what nobody takes
//! taker    receives, commits, hands to the hub
//! queue    the way from the hub to the giver
//! recipient  one taker, as the giver sees it
//! carried  a connection as it travels
//! link     the socket
//! ```

use gin_shared::handover::Abilities;

use crate::connections::http2;

#[cfg(test)]
mod adversary_tests;
pub(crate) mod carried;
pub(crate) mod giver;
pub(crate) mod link;
pub(crate) mod queue;
pub(crate) mod recipient;
pub(crate) mod taker;

/// Kinds of connections that this worker takes over, beside those that every worker can.
const ABILITIES: Abilities = Abilities { tls: cfg!(feature = "tls"), http2: http2::MOVES, proxied: true };

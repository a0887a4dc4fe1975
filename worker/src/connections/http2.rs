//! HTTP/2 connections that move: everything that the next hyper has to know, found out from the bytes of the one before.
//!
//! hyper serves an HTTP/2 connection, and its state cannot be taken out of it. So a [`Tap`] stands between hyper and the client, and
//! counts frames. At a moment without open streams, with nothing owed by either side, hyper is dropped. Another one, here or in another
//! worker, is told what the client has told the first: see [`prime`]. The client notices nothing.
//!
//! The tap does no I/O, reads no clock and wakes nobody: bytes go in, bytes come out. [`tapped`] has the I/O.
//!
//! ```text
//!             from_wire -> inbound  -> for_hyper
//! client                  (tap)                    hyper
//!             for_wire <- outbound <- from_hyper
//! ```
//!
//! | hazard | answer | where |
//! |---|---|---|
//! | the client's HPACK table is in the old hyper | it is followed, and travels | [`hpack`], [`prime`] |
//! | our HPACK encoder begins anew | size 0 before the first block | [`outbound`] |
//! | hyper begins with windows of 65,535 bytes | it is told the larger one; of a smaller one, DATA are held back | [`windows`] |
//! | the client sends more than hyper expects | hyper reads nothing before its window is open | [`windows`] |
//! | frames of a stream that we have reset are on their way | a PING and its answer lie between | [`ledger`] |
//! | late frames of old streams | dropped; DATA and HEADERS end the connection | [`inbound`] |
//! | a busy connection has no quiet moment | requests wait at the gate, for a while | [`gate`] |
//! | what ends an open stream lies behind a request that waits | it passes, where order allows it | [`gate`] |
//! | the client closes its side behind a request that waits | hyper hears of it behind the answer | [`tapped`] |
//! | frames that are too large, or wrong | hyper sees them and refuses; the connection moves no more | [`inbound`] |
//!
//! Not followed, because hyper does not do it: server push, extended CONNECT, an upgrade from HTTP/1.1. A request of CONNECT is answered
//! with 501; a stream of it that stayed open would leave its connection no quiet moment.

mod block;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod gate;
mod hpack;
mod huffman;
mod inbound;
mod ledger;
#[cfg(test)]
mod moves_tests;
mod outbound;
mod prime;
#[cfg(test)]
mod raw_client;
pub(crate) mod settings;
pub(crate) mod state;
mod tap;
mod tapped;
#[cfg(test)]
mod tests;
mod windows;

pub(crate) use frame::goaway;
pub(crate) use settings::OwnSettings;
pub(crate) use state::Http2State;
pub(crate) use tap::Tap;
pub(crate) use tapped::TappedIo;

/// True if this build parks HTTP/2 connections and hands them over.
pub(crate) const MOVES: bool = true;

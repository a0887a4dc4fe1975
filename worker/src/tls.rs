//! TLS of a worker, by s2n: its connections can be taken out of one process and go on in another.
//!
//! | what | where it lives | for how long |
//! |---|---|---|
//! | certificates with their keys, ticket keys | in memory that the master has sealed, and that this process reads (`source`); in s2n's configurations (`context`) | until the next ones come; a connection keeps the configuration of its handshake |
//! | keys of a connection that is served | in s2n (`stream`) | until it ends or is taken apart |
//! | keys of a connection that is parked or handed over | in one [`Keys`] | until the stream is opened again, or the socket is closed |
//! | facts that a handshake has settled | in one [`TlsFacts`], beside the connection | as long as the connection lives, over all workers |
//! | keys that a core dump would have | nowhere: a core has no memory (`cores`) | |
//!
//! A change of certificates counts for all listeners at once, or not at all. Never are there two processes that could write under one key:
//! that is held by [`Keys`], which has no copy, and by the handover, which gives them away once. Not here: when a handshake is made
//! (`connections::protocol`), and how keys travel (`connections::handover`).
//!
//! ```text
//! source -> context -> chains, tickets, error
//! stream -> context, keys, handshake -> facts
//! profile, cores
//! ```

mod carried;
mod chains;
mod context;
mod cores;
mod error;
mod facts;
mod handshake;
mod keys;
mod profile;
mod source;
mod stream;
#[cfg(test)]
pub(crate) mod test_pair;
mod tickets;

pub(crate) use context::TlsContext;
pub(crate) use cores::keep_out_of_cores;
pub use facts::{ClientCertificate, ClientName, Tls, TlsFacts, TlsVersion};
pub(crate) use keys::Keys;
pub(crate) use profile::Profile;
pub(crate) use source::Source;
pub(crate) use stream::TlsStream;

//! TLS of a worker: the keys of a connection, its stream, and the settings of listeners.

mod context;
mod facts;
mod keys;
mod profile;
mod stream;

pub(crate) use context::TlsContext;
pub use facts::{ClientCertificate, ClientName, Tls, TlsFacts};
pub(crate) use keys::Keys;
pub(crate) use profile::Profile;
pub(crate) use stream::TlsStream;

//! Certificates and keys of TLS as the master reads them from files, and as workers get them.
//!
//! | file | has |
//! |---|---|
//! | `pem` | blocks of a PEM file |
//! | `der` | reader of DER, bounded in length and depth |
//! | `certificate` | names, issuer, dates and public key of a certificate |
//! | `private_key` | the public half of a private key, to tell whether it belongs to a certificate |
//! | `contents` | a certificate with its key, authorities, a secret of tickets: checked as they stand in files |
//! | `material` | certificates, keys and ticket keys in one sealed memory |
//!
//! There is no cryptography here: the signature of a certificate is checked by its clients, and whether a key fits by the worker that loads
//! it, too.

pub mod certificate;
pub mod contents;
pub mod der;
pub mod material;
pub mod pem;
pub mod private_key;

//! Certificates of the tests, in `tests/fixtures/tls`: an authority, and what it has signed. The script `make` there lists them.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::fixture;

/// A file among them: "server.pem", "server.key".
#[must_use]
pub fn tls_file(name: &str) -> PathBuf {
    fixture("tls").join(name)
}

/// The certificate `NAME.pem`.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(tls_file(&format!("{name}.pem"))).unwrap()
}

/// The key of the certificate `NAME.pem`.
pub(crate) fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(tls_file(&format!("{name}.key"))).unwrap()
}

/// The authority that clients of the tests believe.
pub(crate) fn authority() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca")).unwrap();
    roots
}

/// Puts the pair `name` where [`crate::Builder::https`] says that it lies: `tls/shop.pem` and `tls/shop.key` in `directory`. Each file
/// is replaced as a whole, as certbot does it.
///
/// # Panics
/// If it cannot be written.
pub fn put_pair(directory: &Path, name: &str) {
    let tls = directory.join("tls");
    std::fs::create_dir_all(&tls).unwrap();
    for kind in ["pem", "key"] {
        let new = tls.join(format!("new.{kind}"));
        std::fs::copy(tls_file(&format!("{name}.{kind}")), &new).unwrap();
        std::fs::rename(new, tls.join(format!("shop.{kind}"))).unwrap();
    }
}

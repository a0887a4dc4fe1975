//! Encryption of the connections to Redis: by rustls on aws-lc-rs, as to databases.

use std::path::Path;

use ::redis::TlsCertificates;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Certificates that may sign the server's: those of `ca_file` alone, or the public authorities that are built in.
///
/// # Errors
/// If the file cannot be read, or has no certificate: a sentence that names the key.
pub(super) fn certificates(ca_file: Option<&Path>) -> Result<TlsCertificates, String> {
    choose_cryptography();
    Ok(TlsCertificates { client_tls: None, root_cert: ca_file.map(read).transpose()? })
}

/// rustls panics where several libraries of a program bring a cryptography each, and nobody has chosen one.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // The choice of a thread that was faster is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let place = file.display();
    let pem = std::fs::read(file).map_err(|error| {
        format!("redis.ca_file: cannot read {place}: {error}; the worker's user must be able to read it")
    })?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(format!("redis.ca_file: {place} has no certificate in PEM")),
        Ok(_) => Ok(pem),
        Err(error) => Err(format!("redis.ca_file: {place} is no certificate in PEM: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_told_by_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let wrong = |file: &Path| certificates(Some(file)).unwrap_err();
        assert!(wrong(&file).starts_with("redis.ca_file: cannot read /"), "{}", wrong(&file));
        std::fs::write(&file, "a certificate, but not here").unwrap();
        assert!(wrong(&file).ends_with("/ca.pem has no certificate in PEM"), "{}", wrong(&file));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        assert!(wrong(&file).contains("/ca.pem is no certificate in PEM: "), "{}", wrong(&file));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(certificates(Some(&file)).unwrap().root_cert.is_some());
    }

    #[test]
    fn the_public_authorities_count_where_no_file_is_named() {
        assert!(certificates(None).unwrap().root_cert.is_none());
        assert!(CryptoProvider::get_default().is_some());
    }
}

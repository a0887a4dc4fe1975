//! Certificates: when they end, and whether their files can be used.

use gin_shared::metrics::Family;
use gin_shared::status::CertificateStatus;

/// The families. `wall_ms`: now, in milliseconds since 1970.
pub(super) fn families(certificates: &[CertificateStatus], wall_ms: u64) -> Vec<Family> {
    let expiry = Family::gauge(
        "gin_tls_certificate_expiry_seconds",
        "Time until a certificate that is in use ends; negative after its end.",
    );
    let bad = Family::gauge(
        "gin_tls_certificate_bad",
        "1 if the files of a certificate cannot be used as they lie there: the one before is in use.",
    );
    let left = |certificate: &CertificateStatus| (certificate.ends_ms as f64 - wall_ms as f64) / 1000.0;
    let expiry = certificates.iter().fold(expiry, |family, one| {
        family.with(&[("file", one.file.as_str()), ("name", one.name.as_str())], left(one))
    });
    let bad = certificates
        .iter()
        .fold(bad, |family, one| family.with(&[("file", one.file.as_str())], f64::from(u8::from(one.bad.is_some()))));
    vec![expiry, bad]
}

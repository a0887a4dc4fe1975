//! Keys of TLS that stand in tables of their own.

use super::key::{Key, Kind, unset};

/// `supervisor.listen[].tls`
pub(super) const LISTEN_TLS: &[Key] = &[
    unset(
        "cert_file",
        Kind::Path,
        "\"/etc/ssl/admin.pem\"",
        "Its certificate, in place of security.cert_file; security.certificates are its further ones.",
    ),
    unset("key_file", Kind::Path, "\"/etc/ssl/admin.key\"", "The key of cert_file; both or none."),
    unset("tls_versions", Kind::Words, "[\"1.3\"]", "As security.tls_versions."),
    unset("alpn", Kind::Words, "[\"h2\"]", "As security.alpn."),
    unset("client_ca_file", Kind::Path, "\"/etc/ssl/clients-ca.pem\"", "As security.client_ca_file."),
    unset("client_auth", Kind::Choice(CLIENT_AUTH), "\"required\"", "As security.client_auth."),
];

/// `[[security.certificates]]`
pub(super) const CERTIFICATES: &[Key] = &[
    unset("cert_file", Kind::Path, "\"/etc/ssl/api.pem\"", "The certificate, and the chain behind it.").required(),
    unset("key_file", Kind::Path, "\"/etc/ssl/api.key\"", "Its key.").required(),
];

/// Treatments of clients by their certificates.
pub(super) const CLIENT_AUTH: &[&str] = &["none", "optional", "required"];

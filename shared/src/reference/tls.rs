//! Keys of TLS: those that `[security]` and a listener have alike, and those in tables of their own.

use super::key::{Key, Kind, key, unset};

/// `security.cert_file`
pub(super) const CERT_FILE: Key = unset(
    "cert_file",
    Kind::Path,
    "\"/etc/ssl/shop.pem\"",
    "The certificate, and the chain behind it, in PEM. It is for clients that name no host, too. Changed contents count within a second, without a restart.",
);

/// `security.key_file`
pub(super) const KEY_FILE: Key = unset(
    "key_file",
    Kind::Path,
    "\"/etc/ssl/shop.key\"",
    "The key of cert_file, in PEM and without a password; both or none. The supervisor reads it: workers need not be able to.",
);

/// `security.tls_versions`
pub(super) const TLS_VERSIONS: Key =
    key("tls_versions", Kind::Words, "[\"1.2\", \"1.3\"]", "Versions of TLS: [\"1.2\", \"1.3\"] or [\"1.3\"].");

/// `security.alpn`
pub(super) const ALPN: Key = key(
    "alpn",
    Kind::Words,
    "[\"h2\", \"http/1.1\"]",
    "Protocols that are offered over TLS, the best first: both, or one of them.",
);

/// `security.client_ca_file`
pub(super) const CLIENT_CA_FILE: Key = unset(
    "client_ca_file",
    Kind::Path,
    "\"/etc/ssl/clients-ca.pem\"",
    "Authorities that sign client certificates, in PEM. It needs client_auth. Changed contents count within a second.",
);

/// `security.client_auth`
pub(super) const CLIENT_AUTH: Key = key(
    "client_auth",
    Kind::Choice(&["none", "optional", "required"]),
    "\"none\"",
    "Whether clients are asked for a certificate, and refused without one. optional and required need client_ca_file.",
);

/// `supervisor.listen[].tls`
pub(super) const LISTEN_TLS: &[Key] = &[
    CERT_FILE.unset_in_table(
        "\"/etc/ssl/admin.pem\"",
        "Its certificate, in place of security.cert_file; security.certificates are its further ones.",
    ),
    KEY_FILE.unset_in_table("\"/etc/ssl/admin.key\"", "The key of cert_file; both or none."),
    TLS_VERSIONS.unset_in_table("[\"1.3\"]", "As security.tls_versions."),
    ALPN.unset_in_table("[\"h2\"]", "As security.alpn."),
    CLIENT_CA_FILE.unset_in_table("\"/etc/ssl/clients-ca.pem\"", "As security.client_ca_file."),
    CLIENT_AUTH.unset_in_table("\"required\"", "As security.client_auth."),
];

/// `[[security.certificates]]`
pub(super) const CERTIFICATES: &[Key] = &[
    CERT_FILE.unset_in_table("\"/etc/ssl/api.pem\"", "The certificate, and the chain behind it.").required(),
    KEY_FILE.unset_in_table("\"/etc/ssl/api.key\"", "Its key.").required(),
];

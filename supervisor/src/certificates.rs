//! Certificates and keys of TLS: the newest valid ones, whichever generation serves.

//! Certificates and keys of TLS as the master gives them to workers: how they are read from files, and how they travel.

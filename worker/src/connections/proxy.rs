//! PROXY protocol: the client's address in front of the first bytes of a connection.

//! Settings of one listener that workers keep to: what it speaks, and whom it believes.

/// Redirect of all requests to a listener that speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// Port to name in the address. `None`: 443, which needs no name.
    pub port: Option<u16>,
}

//! Tells people where this worker listens.

use std::io::{IsTerminal, Write, stderr};

use crate::connections::Listener;

/// Tells it in the log; of a supervisor's listener at DEBUG, as the supervisor tells it, too. A worker that runs alone tells it at its
/// terminal where nobody logs, so that a program of three lines, too, says where to look.
pub(super) fn announce(listener: &Listener) {
    let url = url(&listener.address, listener.speaks_tls());
    if crate::identity().is_some() {
        tracing::debug!(name = listener.name, address = listener.address, "listening on {url}");
        return;
    }
    tracing::info!(name = listener.name, address = listener.address, "listening on {url}");
    if !tracing::dispatcher::has_been_set() && stderr().is_terminal() {
        // A terminal that is gone wants to know nothing.
        let _ = writeln!(stderr(), "listening on {url}");
    }
}

/// What a browser takes; of a Unix socket, its address.
fn url(address: &str, speaks_tls: bool) -> String {
    if address.starts_with("unix:") {
        return address.to_owned();
    }
    let scheme = if speaks_tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_for_a_browser_unless_it_is_a_files() {
        assert_eq!(url("[::1]:8080", false), "http://[::1]:8080");
        assert_eq!(url("[::1]:8443", true), "https://[::1]:8443");
        assert_eq!(url("unix:/run/shop.sock", false), "unix:/run/shop.sock");
    }
}

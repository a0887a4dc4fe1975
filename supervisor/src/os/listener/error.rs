//! A listener that cannot be opened: what failed, where, and what to do.

use std::io;
use std::path::PathBuf;

use gin_shared::directory::Doubt;
use gin_shared::listen::Address;
use nix::errno::Errno;

use crate::os::proc_net;

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("cannot listen on {address}: address in use by {holder}")]
    InUse {
        /// The address.
        address: Address,
        /// That process, as far as it can be seen.
        holder: String,
    },
    /// Something lies at the path that is no socket.
    #[error("cannot listen on unix:{0}: a file that is not a socket lies there; move it away")]
    NotASocket(PathBuf),
    /// A socket file lies there that may be another one than is meant, so it is not removed.
    #[error("cannot listen on unix:{}: a file lies there, and is not removed, as {doubt}", path.display())]
    Doubtful {
        /// The socket.
        path: PathBuf,
        /// Reason to doubt.
        doubt: Doubt,
    },
    /// Its owner or mode cannot be set.
    #[error("cannot listen on {address}: owner and mode: {error}")]
    Permissions {
        /// The address.
        address: Address,
        /// The system's error.
        error: io::Error,
    },
    /// The kernel said no.
    #[error("cannot listen on {address}: {step}: {error}{}", hint(address, step, *error))]
    System {
        /// The address.
        address: Address,
        /// The step.
        step: &'static str,
        /// The kernel's error.
        error: Errno,
    },
}

/// Ways to a port that the kernel keeps for root.
fn hint(address: &Address, step: &str, error: Errno) -> &'static str {
    let is_low = matches!(address, Address::Tcp(ip) | Address::Udp(ip) if ip.port() < 1024);
    if is_low && step == "bind" && error == Errno::EACCES {
        "; a port below 1024 takes root, or CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit), or a socket unit (gin-ctl \
         unit NAME --only-socket)"
    } else {
        ""
    }
}

/// The error of `bind(2)`, or of `listen(2)`: with the process that holds the address, if one does.
pub(super) fn in_use(address: &Address, error: Errno) -> ListenError {
    let address = address.clone();
    match error {
        Errno::EADDRINUSE => {
            let holder = proc_net::holder(&address)
                .unwrap_or_else(|| "a process that this user cannot see (try: ss -ltnp as root)".to_owned());
            ListenError::InUse { address, holder }
        }
        error => ListenError::System { address, step: "bind", error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_port_that_is_refused_says_what_it_takes() {
        let refused = |address: &str, step| {
            let address = address.parse().unwrap();
            ListenError::System { address, step, error: Errno::EACCES }.to_string()
        };
        assert!(refused("127.0.0.1:80", "bind").contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused("127.0.0.1:8080", "bind").contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused("unix:/run/shop.sock", "bind").contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused("127.0.0.1:80", "listen").contains("CAP_NET_BIND_SERVICE"));
    }
}

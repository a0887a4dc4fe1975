//! Socket files that a crash has left.

use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use gin_shared::listen::Address;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::error::{ListenError, in_use};

/// Removes the socket file that a crash left behind; one that somebody listens on stays.
///
/// # Errors
/// If somebody listens there, or it is no socket.
pub fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let address = Address::Unix(path.to_owned());
    let failed = |step, error| ListenError::System { address: address.clone(), step, error };
    match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|e| failed("socket", e))?;
    let unix = UnixAddr::new(path).map_err(|e| failed("address", e))?;
    match connect(probe.as_raw_fd(), &unix) {
        Err(Errno::ECONNREFUSED) => std::fs::remove_file(path)
            .map_err(|e| failed("removing the stale socket", Errno::from_raw(e.raw_os_error().unwrap_or(0)))),
        _ => Err(in_use(&address, Errno::EADDRINUSE)),
    }
}

//! The way to a channel without a setting: a worker built on gin-worker announces itself, and only then it is given sockets.
//!
//! A master that answers says so by `GIN_ANNOUNCE` in the environment. The worker makes a pair of SEQPACKET sockets, sends one end
//! to its notify socket, and waits at the other end before it says READY=1. The master takes an announcement from the process that it
//! started alone, and knows the sender by the kernel's word. A program that does not ask is given nothing.
//!
//! ```text
//! worker  X_GIN_ANNOUNCE=1 + 1 fd  --------->  master     over the notify socket; the descriptor is one end of the pair
//! worker  <------  welcome{descriptors} + fds  master     over the pair; with the channel, the worker waits for `go`
//! worker  <-----------------------  (it ends)  master     without an answer: the worker goes on as any other program
//! ```

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Deserialize, Serialize};

use crate::descriptors::{self, Waiting, is_temporary};
use crate::fault;
use crate::notify::ANNOUNCE;

/// The version spoken here.
pub const VERSION: u32 = 1;
/// The name of the channel's listening socket in a [`Welcome`].
pub const CHANNEL: &str = "channel";
/// The name of the worker's private listener.
pub const PRIVATE_LISTENER: &str = "private_listener";
/// The name of the memory that all workers share.
pub const SHARED_MEMORY: &str = "shared_memory";
/// The name of the memory in which all workers count their metrics.
pub const METRICS: &str = "metrics";
/// The name of the memory with certificates and keys of TLS.
pub const TLS: &str = "tls";

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 4096;
/// Time for which too many descriptors of this user may be on their way: while workers hand connections over, there are many.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// The answer to an announcement. A worker closes descriptors whose names it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The names of the descriptors that come along, in their order.
    pub descriptors: Vec<String>,
}

/// The descriptors that a worker is given.
#[derive(Debug, Default)]
pub struct Given {
    /// The listening socket of its channel.
    pub channel: Option<OwnedFd>,
    /// Its private listener.
    pub private: Option<OwnedFd>,
    /// Memory that all workers share.
    pub shared_memory: Option<OwnedFd>,
    /// Memory in which all workers count their metrics.
    pub metrics: Option<OwnedFd>,
    /// Certificates and keys of TLS.
    pub tls: Option<OwnedFd>,
}

/// Announces this process at the notify socket `notify`, and waits for the answer. `None`: there is nothing for it, or no master.
///
/// # Errors
/// If an answer makes no sense, or this process may not open its descriptors. The master believes then that they have come, so the
/// process must not go on.
pub fn announce(notify: &Path) -> io::Result<Option<Given>> {
    let Ok(own) = send(notify) else { return Ok(None) };
    let mut answer = [0; ANSWER_MAX];
    let (length, fds) = loop {
        match descriptors::receive(&own, &mut answer, Waiting::Yes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            received => break received?,
        }
    };
    if length == 0 {
        return Ok(None);
    }
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let welcome: Welcome = serde_json::from_slice(&answer[..length])
        .map_err(|error| invalid(format!("the supervisor's answer to this worker cannot be read: {error}")))?;
    if fds.len() < welcome.descriptors.len() {
        return Err(invalid(format!(
            "the supervisor gave {} descriptors, of which {} could be opened: see RLIMIT_NOFILE (limits.nofile)",
            welcome.descriptors.len(),
            fds.len()
        )));
    }
    Ok(Some(sorted(welcome, fds)))
}

/// Sends the announcement. Gives the socket at which the answer comes.
fn send(notify: &Path) -> io::Result<OwnedFd> {
    let (own, masters) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let socket = UnixDatagram::unbound()?;
    socket.connect(notify)?;
    let message = format!("{ANNOUNCE}={VERSION}\n");
    let end = Instant::now() + PATIENCE;
    loop {
        let tried = fault::at("announce.send").map_err(io::Error::from);
        match tried.and_then(|()| descriptors::send_waiting(&socket, message.as_bytes(), &[masters.as_fd()])) {
            Err(error) if is_temporary(&error) && Instant::now() < end => std::thread::sleep(PAUSE),
            sent => return sent.map(|()| own),
        }
    }
}

fn sorted(welcome: Welcome, fds: Vec<OwnedFd>) -> Given {
    let mut given = Given::default();
    for (name, fd) in welcome.descriptors.iter().zip(fds) {
        match name.as_str() {
            CHANNEL => given.channel = Some(fd),
            PRIVATE_LISTENER => given.private = Some(fd),
            SHARED_MEMORY => given.shared_memory = Some(fd),
            METRICS => given.metrics = Some(fd),
            TLS => given.tls = Some(fd),
            _ => {}
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;
    use crate::notify::{Notice, parse};

    /// Announces this process to a master that answers with these bytes, and the socket itself so many times.
    fn answered(answer: Option<&[u8]>, count: usize) -> io::Result<Option<Given>> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gin-announcement-{}-{number}", std::process::id()));
        let master = UnixDatagram::bind(&path).unwrap();
        let place = path.clone();
        let worker = std::thread::spawn(move || announce(&place));
        let mut bytes = [0; 64];
        let (length, fds) = descriptors::receive(&master, &mut bytes, Waiting::Yes).unwrap();
        assert_eq!((parse(&bytes[..length]), fds.len()), (vec![Notice::Announced], 1));
        if let Some(answer) = answer {
            let given: Vec<BorrowedFd<'_>> = vec![master.as_fd(); count];
            descriptors::send(&fds[0], answer, &given).unwrap();
        }
        drop(fds);
        let given = worker.join().unwrap();
        std::fs::remove_file(path).unwrap();
        given
    }

    #[test]
    fn a_worker_gets_what_the_answer_names_and_skips_what_it_does_not_know() {
        let answer =
            br#"{"descriptors":["channel","of a later version","shared_memory","metrics","tls"],"colour":"red"}"#;
        let given = answered(Some(answer), 5).unwrap().unwrap();
        assert!(given.channel.is_some() && given.private.is_none());
        assert!(given.shared_memory.is_some() && given.metrics.is_some() && given.tls.is_some());
        // A master of a version that has no such memory.
        let older = br#"{"descriptors":["shared_memory","channel"]}"#;
        let given = answered(Some(older), 2).unwrap().unwrap();
        assert!(
            given.channel.is_some() && given.shared_memory.is_some() && given.metrics.is_none() && given.tls.is_none()
        );
    }

    #[test]
    fn without_an_answer_or_a_master_the_worker_goes_on() {
        assert!(answered(None, 0).unwrap().is_none());
        assert!(announce(Path::new("/nowhere/at/all")).unwrap().is_none());
    }

    #[test]
    fn an_answer_that_did_not_come_whole_is_an_error() {
        let missing = answered(Some(br#"{"descriptors":["channel","private_listener"]}"#), 1).unwrap_err();
        assert!(missing.to_string().contains("gave 2 descriptors, of which 1 could be opened"), "{missing}");
        assert!(answered(Some(b"what?"), 0).is_err());
    }
}

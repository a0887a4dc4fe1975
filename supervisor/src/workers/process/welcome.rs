//! The answer to a worker that announces itself: a channel, and what comes with it. Until then it has no socket but those that any
//! program gets. See [`gin_shared::announcement`].

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use gin_shared::announcement::{CHANNEL, METRICS, PRIVATE_LISTENER, SHARED_MEMORY, TLS, Welcome};
use gin_shared::channel::encode;
use gin_shared::descriptors;
use gin_shared::generation::WorkerId;
use nix::unistd::{Gid, Uid};

use super::Process;
use crate::machine::event::WorkerEvent;
use crate::os::channel::{Channel, ChannelListener};
use crate::os::private::PrivateListener;
use crate::os::runtime::worker_file;
use crate::os::shared_memory::Memories;
use crate::workers::shared::Shared;

/// What a worker is given when it announces itself.
#[derive(Debug)]
pub struct Offer {
    /// The directory of its sockets' files.
    pub runtime: PathBuf,
    /// User and group of its sockets, if they are not the master's.
    pub owner: Option<(Uid, Gid)>,
    /// True if a private listener comes with the channel.
    pub private_listener: bool,
    /// The memories that workers share.
    pub shared: Rc<Shared>,
    /// True if it speaks TLS.
    pub tls: bool,
}

/// The sockets that a worker was given, as the master has them.
struct Given {
    channel: (ChannelListener, Channel),
    private: Option<PrivateListener>,
    /// The number of its certificates; 0: it has none.
    material: u64,
}

impl Offer {
    /// Makes the sockets of the worker `id`, and sends them over `socket`.
    ///
    /// # Errors
    /// If there is no descriptor to be had, or the worker waits no more. Nothing is left behind.
    fn give(&self, id: WorkerId, socket: &OwnedFd) -> io::Result<Given> {
        let place = |what: &str| worker_file(&self.runtime, id, what);
        let mut listener = ChannelListener::bind(&place("channel"), self.owner)?;
        let channel = listener.connect()?;
        let bind_private = || PrivateListener::bind(&place("private"), self.owner, true);
        let private = self.private_listener.then(bind_private).transpose()?;
        let Memories { rate_limit, metrics } = &self.shared.memories;
        let material = self.tls.then(|| self.shared.material()).flatten();
        let mut named: Vec<(&str, BorrowedFd<'_>)> =
            vec![(SHARED_MEMORY, rate_limit.as_fd()), (METRICS, metrics.as_fd())];
        named.extend(listener.fd.as_ref().map(|fd| (CHANNEL, fd.as_fd())));
        named.extend(private.as_ref().and_then(PrivateListener::fd).map(|fd| (PRIVATE_LISTENER, fd)));
        named.extend(material.as_ref().map(|material| (TLS, material.as_fd())));
        let (names, fds): (Vec<&str>, Vec<BorrowedFd<'_>>) = named.into_iter().unzip();
        let welcome = Welcome { descriptors: names.into_iter().map(str::to_owned).collect() };
        descriptors::send(socket, &encode(&welcome), &fds)?;
        // From here on the worker alone listens there, and a successor can tell by that whether the worker has it.
        listener.fd = None;
        let material = material.map_or(0, |material| material.number);
        Ok(Given { channel: (listener, channel), private, material })
    }
}

impl Process {
    /// Answers the worker's announcement, which waits at `socket`. If the worker is offered nothing (any more), or the sockets cannot be
    /// had, `socket` closes without an answer, and the worker goes on as any other program does.
    pub fn welcome(&self, socket: &OwnedFd) -> Option<WorkerEvent> {
        let offer = self.sockets.offer.take()?;
        match offer.give(self.id, socket) {
            Ok(Given { channel, private, material }) => {
                self.note_material(material);
                // Empty until now: who has a channel from the start is offered none.
                let _ = self.sockets.channel.set(channel);
                if let Some(private) = private {
                    let _ = self.sockets.private.set(private);
                }
                Some(WorkerEvent::Announced)
            }
            Err(error) => {
                self.tell_of_no_channel(&error);
                None
            }
        }
    }

    /// Notes an announcement without a socket for the answer: this process may have too many open files. The worker goes on as any other
    /// program does. It is told once.
    pub fn miss_announcement(&self) {
        if self.sockets.offer.take().is_some() {
            self.tell_of_no_channel(&"no socket came with its announcement; see RLIMIT_NOFILE of the supervisor");
        }
    }

    fn tell_of_no_channel(&self, why: &dyn fmt::Display) {
        tracing::warn!(
            worker = %self.id,
            pid = self.pid(),
            "the worker gets no channel, so its next restart closes its connections: {why}"
        );
    }

    /// Takes the offer back: the worker was told to accept, or to end, as a program that announces nothing.
    pub(super) fn withdraw_offer(&self) {
        drop(self.sockets.offer.take());
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::path::Path;

    use gin_shared::channel::{FromMaster, MESSAGE_MAX, VERSION, decode};
    use gin_shared::descriptors::{Waiting, receive};
    use gin_shared::generation::{Generation, Slot};
    use gin_shared::tls::material::{self, Material};
    use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv};

    use super::*;
    use crate::certificates::sealed::Sealed;
    use crate::os::channel::between_workers;
    use crate::os::shared_memory::{self, SharedMemory};

    fn offer(runtime: &Path) -> Offer {
        let memory = |name| SharedMemory::create(name, 4096).unwrap();
        let memories =
            Memories { rate_limit: memory(shared_memory::RATE_LIMIT), metrics: memory(shared_memory::METRICS) };
        let shared = Rc::new(Shared::new(memories));
        Offer { runtime: runtime.to_owned(), owner: None, private_listener: true, shared, tls: false }
    }

    fn id() -> WorkerId {
        WorkerId { generation: Generation(1), slot: Slot(0), attempt: 0 }
    }

    #[tokio::test]
    async fn what_a_worker_is_given_is_named_and_its_channel_greets() {
        let dir = tempfile::tempdir().unwrap();
        let (master, worker) = between_workers().unwrap();
        let given = offer(dir.path()).give(id(), &master).unwrap();
        assert!(given.channel.0.fd.is_none() && given.private.is_some());
        let mut bytes = [0; MESSAGE_MAX];
        let (length, fds) = receive(&worker, &mut bytes, Waiting::No).unwrap();
        let welcome: Welcome = decode(&bytes[..length]).unwrap();
        assert_eq!(welcome.descriptors, [SHARED_MEMORY, METRICS, CHANNEL, PRIVATE_LISTENER]);
        assert_eq!(fds.len(), 4);
        // The connection waits already, with the master's hello in it.
        let connection = accept4(fds[2].as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap();
        let length = recv(connection, &mut bytes, MsgFlags::empty()).unwrap();
        assert_eq!(decode::<FromMaster>(&bytes[..length]).unwrap(), FromMaster::Hello { version: VERSION });
        nix::unistd::close(connection).unwrap();
    }

    #[tokio::test]
    async fn a_worker_that_speaks_tls_is_given_certificates_and_no_other_is() {
        let dir = tempfile::tempdir().unwrap();
        let material = Material {
            version: material::VERSION,
            number: 7,
            pairs: Vec::new(),
            authorities: Vec::new(),
            tickets: Vec::new(),
            ticket_secret: None,
        };
        for tls in [true, false] {
            let (master, worker) = between_workers().unwrap();
            let offer = Offer { tls, private_listener: false, ..offer(dir.path()) };
            offer.shared.set_material(Some(Rc::new(Sealed::make(&material).unwrap())));
            let given = offer.give(id(), &master).unwrap();
            assert_eq!(given.material, if tls { 7 } else { 0 });
            let mut bytes = [0; MESSAGE_MAX];
            let (length, fds) = receive(&worker, &mut bytes, Waiting::No).unwrap();
            let welcome: Welcome = decode(&bytes[..length]).unwrap();
            let place = welcome.descriptors.iter().position(|name| name == TLS);
            assert_eq!(place.is_some(), tls);
            if let Some(place) = place {
                assert_eq!(material::read(fds[place].as_fd()).unwrap(), material);
            }
        }
    }

    #[tokio::test]
    async fn of_sockets_that_nobody_takes_no_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (master, worker) = between_workers().unwrap();
        drop(worker);
        assert!(offer(dir.path()).give(id(), &master).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

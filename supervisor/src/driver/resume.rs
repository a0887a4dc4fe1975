//! Going on with what a master before this one has left: its sockets, its workers, and its word.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;

use gin_shared::generation::Generation;

use super::command::Claim;
use super::frozen::Frozen;
use super::perform::Performer;
use super::process::{Own, Process};
use super::{Boot, Driver};
use crate::adopt::Succession;
use crate::descriptor_name;
use crate::exit_status::Exit;
use crate::machine::event::{Event, WorkerEvent};
use crate::os::channel::ChannelListener;
use crate::os::listener::{Listener, ListenerSpec};
use crate::os::notify::NotifySocket;
use crate::os::pidfd::Child;
use crate::os::private::PrivateListener;
use crate::os::runtime::{sweep, worker_file};
use crate::os::words::LastWords;
use crate::os::{orphan, time};
use crate::socket_record::SocketRecord;
use crate::state::LeftWorker;

impl Driver {
    /// Takes it all up, and tells the machine.
    ///
    /// # Errors
    /// If there is no descriptor or memory to be had. Nobody was told anything yet: another try may do.
    pub(super) fn resume(&mut self, succession: Succession) -> io::Result<()> {
        let Succession { state, alive, mut sockets, mut descriptors, in_place, memory: _ } = succession;
        let (now, before) = (time::now(), state.master);
        self.machine = state.machine;
        self.machine.set_max_draining(self.performer.live().max_draining);
        self.handle.operations.restore(state.operations);
        let opened = state.sockets.into_iter().filter_map(|socket| {
            let inode = socket.inode;
            let found = sockets.remove(&inode).map(|fd| Listener::resume(socket.clone(), fd));
            Some((inode, Rc::new(found.or_else(|| listen_again(&socket, &state.generations))?)))
        });
        let opened: HashMap<u64, Rc<Listener>> = opened.collect();
        for socket in opened.values().filter(|socket| !socket.is_reachable()) {
            tracing::error!(
                "{}: the socket's file is gone, so nobody can connect; gin-ctl restart makes it anew",
                socket.address
            );
        }
        self.performer.sockets = opened.values().map(Rc::downgrade).collect();
        let mut kept: Vec<Generation> = Vec::new();
        let running: Vec<Generation> = self.machine.runs().map(|run| run.id).collect();
        for mut frozen in state.generations {
            let of_it = alive.iter().filter(|(worker, _)| worker.id.generation == frozen.id);
            let pids: Vec<i32> = of_it.map(|(worker, _)| worker.process.pid).collect();
            let whole = frozen.resume(&descriptors, &pids);
            if running.contains(&frozen.id) {
                frozen.listeners.reopen(&opened);
            }
            if whole || !pids.is_empty() {
                kept.push(frozen.id);
            }
            self.performer.frozen.insert(frozen.id, frozen);
        }
        let mut pids = HashMap::new();
        for (worker, pidfd) in alive {
            let child = in_place && orphan::parent_of(worker.process.pid) == i32::try_from(std::process::id()).ok();
            let notify = descriptors.take(&descriptor_name::notify(worker.id));
            let process = self.performer.take_over(&worker, Child::adopt(worker.process.pid, pidfd, child)?, notify)?;
            if child {
                let pid = nix::unistd::Pid::from_raw(worker.process.pid);
                self.performer.claims.borrow_mut().insert(pid, Claim::Worker);
            }
            self.performer.processes.insert(worker.id, Rc::clone(&process));
            pids.insert(worker.id, worker.process.pid);
            let (inbox, claims) = (self.handle.inbox.clone(), Rc::clone(&self.performer.claims));
            super::task::spawn(process.watch(None, inbox, claims));
        }
        if in_place {
            self.go_on(&pids);
        } else {
            let workers = pids.len();
            let noun = if workers == 1 { "worker" } else { "workers" };
            tracing::info!(workers, "adopted {workers} {noun} of the supervisor that was pid {}", before.pid);
            self.adopted(now, pids, kept, before.pid);
        }
        Ok(())
    }

    /// The same master under another program: who waits for that hears it now. A worker that ended meanwhile is told of as
    /// ever.
    fn go_on(&mut self, pids: &HashMap<gin_shared::generation::WorkerId, i32>) {
        self.performer.booted = true;
        self.pending.push_back(Event::Reexeced);
        let ids = self.machine.runs().flat_map(crate::machine::generation::Run::workers).map(|worker| worker.id);
        let gone: Vec<_> = ids.filter(|id| !pids.contains_key(id)).collect();
        for id in &gone {
            orphan::kill_of(*id, |pid| self.performer.claims.borrow().contains_key(&pid));
            orphan::kill_strays(&worker_file(&self.performer.parts.paths.runtime, *id, "notify"));
        }
        self.performer.reap_orphans();
        let exited = WorkerEvent::Exited { exit: Exit::Unknown, jitter: 0 };
        self.pending.extend(gone.into_iter().map(|worker| Event::Worker { worker, what: exited.clone() }));
        tracing::info!("gin-supervisor {} took over in place", env!("CARGO_PKG_VERSION"));
    }

    fn adopted(
        &mut self,
        now: crate::moment::Moment,
        alive: HashMap<gin_shared::generation::WorkerId, i32>,
        kept: Vec<Generation>,
        from: i32,
    ) {
        let workers = alive.len();
        let actions = self.machine.handle(now, Event::Adopted { alive, kept });
        let known = |generation: &Generation| {
            self.machine.runs().any(|run| run.id == *generation) || self.machine.keeps(*generation)
        };
        self.performer.frozen.retain(|generation, _| known(generation));
        let performer = &self.performer;
        let is_worker = |id: &str| performer.processes.keys().any(|worker| worker.to_string() == id);
        let is_generation = |id: &str| performer.frozen.keys().any(|generation| generation.to_string() == id);
        sweep(&performer.parts.paths.runtime, is_worker, is_generation);
        self.performer.booted = self.machine.current().is_some();
        self.performer.keep(&self.machine);
        let mut events = VecDeque::new();
        let _ = self.performer.perform(now, &self.machine, actions, &mut events);
        self.pending.extend(events);
        let (machine, current) = (&self.machine, self.machine.current().map(|run| run.id));
        self.handle.operations.abandon(now, |operation| machine.awaits(operation), current);
        if self.machine.is_idle() {
            self.boot();
        } else if current.is_some() {
            self.performer.service_manager.ready(&self.machine);
            let status = self.performer.status(now, &self.machine);
            (self.performer.parts.on_boot)(&status, Boot::Adopted { workers, from });
            if !self.in_force(&self.performer.parts.config) {
                tracing::warn!("what is configured now is not what serves: gin-ctl restart brings it into force");
            }
        }
    }
}

/// A socket that no worker has any more, for a program closes what it has no use for: bound anew, where it was.
fn listen_again(socket: &SocketRecord, generations: &[Frozen]) -> Option<Listener> {
    let spec = generations.iter().find_map(|frozen| frozen.listeners.of(socket.inode))?;
    let there = ListenerSpec { address: socket.address.clone(), ..spec };
    match Listener::bind(&there) {
        Ok(listener) => Some(listener.asked_at(socket.asked.clone())),
        Err(error) => {
            tracing::error!("{error}; no worker had the listener any more");
            None
        }
    }
}

impl Performer {
    /// A worker of a master before this one, with what can be had of its sockets.
    fn take_over(
        &self,
        worker: &LeftWorker,
        child: Child,
        notify: Option<std::os::fd::OwnedFd>,
    ) -> io::Result<Rc<Process>> {
        let frozen = self.frozen.get(&worker.id.generation);
        let place = |what: &str| worker_file(&self.parts.paths.runtime, worker.id, what);
        let owner = frozen.and_then(Frozen::owner);
        let notify = NotifySocket::resume(notify, &place("notify"), owner)?;
        let channel = worker.channel.then(|| ChannelListener::resume(&place("channel"))).and_then(|listener| {
            match listener.connect() {
                Ok(channel) => Some((listener, channel)),
                Err(error) => {
                    tracing::warn!(worker = %worker.id, "its channel cannot be connected to, so it is told by signals: {error}");
                    None
                }
            }
        });
        let private = worker.private.then(|| PrivateListener::resume(&place("private")));
        let words = worker.words.and_then(LastWords::resume);
        let signal =
            nix::sys::signal::Signal::try_from(worker.stop_signal).unwrap_or(nix::sys::signal::Signal::SIGTERM);
        let process = Process::new(worker.id, child, notify, Own { channel, private }, signal, words, worker.process);
        Ok(Rc::new(process.resume(worker)))
    }
}

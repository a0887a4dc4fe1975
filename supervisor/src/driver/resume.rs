//! Going on with what a master before this one has left: its sockets, its workers, and its promises.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use gin_shared::generation::{Generation, WorkerId};

use super::Driver;
use crate::adopt::Succession;
use crate::descriptor_name;
use crate::exit_status::Exit;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::generation::Run;
use crate::moment::Moment;
use crate::os::listener::{Listener, ListenerSpec};
use crate::os::runtime::sweep;
use crate::os::{orphan, time};
use crate::socket_record::SocketRecord;
use crate::state::{GenerationRecord, WorkerRecord};
use crate::worker_count::workers as workers_text;

/// The workers that live, with their PIDs.
type Alive = HashMap<WorkerId, i32>;

impl Driver {
    /// Takes up what is left, and tells the machine.
    ///
    /// # Errors
    /// If there is no descriptor or memory to be had. Nobody was told anything yet: the next try may succeed.
    pub(super) fn resume(&mut self, succession: Succession) -> io::Result<()> {
        let Succession { state, alive, mut sockets, mut descriptors, tls, in_place, .. } = succession;
        let (now, before) = (time::now(), state.master);
        self.machine = state.machine.into_owned();
        self.machine.set_max_draining(self.generations.live().max_draining);
        self.reporter.operations.restore(state.operations);
        self.store.resume(state.first_started.or(state.started), state.meter);
        self.store.first_started().into_iter().for_each(|first| self.reporter.set_first_started(first));
        let has_ended = |worker: &&WorkerRecord| !alive.iter().any(|(live, _)| live.id == worker.id);
        self.workers.restore_tally(state.connections, state.workers.iter().filter(has_ended));
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
        let running: Vec<Generation> = self.machine.runs().map(|run| run.id).collect();
        let pids = |generation| {
            let of_it = alive.iter().filter(|(worker, _)| worker.id.generation == generation);
            of_it.map(|(worker, _)| worker.process.pid).collect()
        };
        let kept = self.generations.restore(state.generations, &opened, &descriptors, &running, pids);
        self.resume_certificates(tls);
        let mut pids = Alive::new();
        let own = i32::try_from(std::process::id()).ok();
        for (record, pidfd) in alive {
            let is_child = in_place && orphan::parent_of(record.process.pid) == own;
            let notify = descriptors.take(&descriptor_name::notify(record.id));
            let frozen = self.generations.get(record.id.generation);
            self.workers.adopt(&record, pidfd, notify, is_child, frozen)?;
            pids.insert(record.id, record.process.pid);
        }
        if in_place {
            self.go_on(&pids);
        } else {
            let workers = pids.len();
            let text = workers_text(workers);
            tracing::info!(workers, "adopted {text} of the supervisor that was pid {}", before.pid);
            self.adopted(now, pids, kept, before.pid);
        }
        Ok(())
    }

    /// Goes on as the same master under another program. Callers that waited for that hear it now; a worker that ended
    /// meanwhile is an ordinary event.
    fn go_on(&mut self, alive: &Alive) {
        self.reporter.set_booted(true);
        self.pending.push_back(Event::Reexeced);
        let workers = self.machine.runs().flat_map(Run::workers).map(|worker| worker.id);
        let gone: Vec<WorkerId> = workers.filter(|worker| !alive.contains_key(worker)).collect();
        gone.iter().for_each(|worker| self.workers.clear_after(*worker));
        self.workers.children().reap_orphans();
        let exited = WorkerEvent::Exited { exit: Exit::Unknown, jitter: 0 };
        self.pending.extend(gone.into_iter().map(|worker| Event::Worker { worker, what: exited.clone() }));
        tracing::info!("gin-supervisor {} took over in place", env!("CARGO_PKG_VERSION"));
    }

    /// Goes on as the successor of a dead master. `kept`: the generations whose frozen configuration is at hand.
    fn adopted(&mut self, now: Moment, alive: Alive, kept: Vec<Generation>, from: i32) {
        let workers = alive.len();
        let actions = self.machine.handle(now, Event::Adopted { alive, kept });
        let machine = &self.machine;
        self.generations.retain(|id| machine.runs().any(|run| run.id == id) || machine.keeps(id));
        self.retain_certificates();
        let is_worker = |id: &str| self.workers.ids().any(|worker| worker.to_string() == id);
        let is_generation = |id: &str| self.generations.ids().any(|generation| generation.to_string() == id);
        sweep(&self.store.paths().runtime, is_worker, is_generation);
        self.reporter.set_booted(self.machine.current().is_some());
        self.save();
        let _ = self.perform(now, actions);
        let current = self.machine.current().map(|run| run.id);
        self.reporter.operations.abandon(now, |operation| self.machine.awaits(operation), current);
        // The last generation may have gone when the master before this one had no time to tell it.
        self.tell_drained(None);
        if self.machine.is_idle() {
            self.boot();
        } else if current.is_some() {
            self.reporter.service_manager.ready(&self.machine);
            self.reporter.greet_adopted(now, self.view(), workers, from);
            if !self.generations.in_force(&self.machine, self.generations.config()) {
                tracing::warn!(
                    "the running generation differs from the configuration: gin-ctl restart brings that into force"
                );
            }
        }
    }
}

/// Binds a socket anew that no worker has any more: a program closes the sockets that it has no use for.
fn listen_again(socket: &SocketRecord, generations: &[GenerationRecord<'_>]) -> Option<Listener> {
    let mut listeners = generations.iter().flat_map(|generation| &generation.listeners);
    let spec = listeners.find(|listener| listener.inode == Some(socket.inode))?.spec.clone();
    let there = ListenerSpec { address: socket.address.clone(), ..spec };
    match Listener::bind(&there) {
        Ok(listener) => Some(listener.asked_at(socket.asked.clone())),
        Err(error) => {
            tracing::error!("{error}; no worker had the listener any more");
            None
        }
    }
}

//! The first steps of a worker: a process that waits, its orders, and its gate; and the adoption of workers that an earlier
//! master started.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use gin_shared::channel::Fates;
use gin_shared::generation::WorkerId;
use gin_shared::inherit;
use gin_shared::process::ProcessId;
use gin_shared::trace_context::TraceContext;
use nix::sys::signal::Signal;

use super::Workers;
use super::command::Command;
use super::gate::{Gate, GateCommand, Step};
use super::owned_children::Purpose;
use super::probe;
use super::process::welcome::Offer;
use super::process::{Process, Sockets};
use super::shared::Shared;
use crate::generations::frozen::Frozen;
use crate::inbox::Message;
use crate::inbox::reading::Reader;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::failure::ProbeError;
use crate::os::channel::ChannelListener;
use crate::os::child::Child;
use crate::os::fault;
use crate::os::notify::NotifySocket;
use crate::os::private::PrivateListener;
use crate::os::runtime::worker_file;
use crate::os::shared_memory::Memories;
use crate::os::spawn::{self, Link};
use crate::os::words::LastWords;
use crate::state::WorkerRecord;
use crate::task;

/// Factor by which a command of the gate may exceed its usual time, if its worker asks for more.
const LONGEST: u32 = 10;

/// A worker's process that waits for its orders.
#[derive(Debug)]
pub struct Forked {
    process: Rc<Process>,
    link: Link,
}

impl Forked {
    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }
}

impl Workers {
    /// Makes the process of a worker. It waits for its orders: see [`Self::start`].
    ///
    /// # Errors
    /// If there is no process, descriptor or memory to be had; nothing is left behind.
    pub fn fork(&mut self, id: WorkerId, frozen: &Frozen) -> io::Result<Forked> {
        let place = |what: &str| worker_file(&self.runtime, id, what);
        let config = &frozen.config;
        let notify = NotifySocket::bind(&place("notify"), frozen.owner())?;
        let channel = match config.channel {
            true => {
                let listener = ChannelListener::bind(&place("channel"), frozen.owner())?;
                let channel = listener.connect()?;
                Some((listener, channel))
            }
            false => None,
        };
        let private = config
            .private_listener
            .then(|| PrivateListener::bind(&place("private"), frozen.owner(), config.channel))
            .transpose()?;
        let offer = config.offered.map(|offered| Offer {
            runtime: self.runtime.clone(),
            owner: frozen.owner(),
            private_listener: offered.private_listener,
            shared: Rc::clone(&self.shared),
            tls: !config.tls.is_empty(),
        });
        let output = LastWords::begin();
        frozen.program.executable().map_err(io::Error::other)?;

        let helper = spawn::start()?;
        let pid = helper.child.pid();
        // The helper is our child, and waits: it can be looked at.
        let identity = ProcessId::read(pid.as_raw())?.ok_or_else(|| io::Error::other("it is gone"))?;
        self.children.insert(pid, Purpose::Worker);
        let sockets = Sockets::new(notify, channel, private, offer);
        let process = Process::new(id, identity, helper.child, sockets, output, config.stop_signal);
        let process = Rc::new(process.with_tls(self.tls_of(frozen)));
        self.processes.insert(id, Rc::clone(&process));
        let _ = fault::at("spawn.unrecorded");
        Ok(Forked { process, link: helper.link })
    }

    /// Sends a worker's process its orders, and looks after it from here on. `trace`: the span that its start belongs to.
    ///
    /// # Errors
    /// If the orders cannot be sent: then the process ends by itself, and its end is an event.
    pub fn start(&self, forked: Forked, frozen: &Frozen, trace: Option<TraceContext>) -> io::Result<()> {
        let Forked { process, link } = forked;
        let sent = self.send_orders(&process, &link, frozen, trace);
        let _ = fault::at("spawn.sent");
        task::spawn(process.watch(Some(link), self.inbox.clone(), self.children.clone()));
        sent
    }

    fn send_orders(
        &self,
        process: &Process,
        link: &Link,
        frozen: &Frozen,
        trace: Option<TraceContext>,
    ) -> io::Result<()> {
        // A worker without a channel from the start announces itself, and gets it then.
        let material = frozen.config.channel.then(|| process.take_material()).flatten();
        let spec = frozen.worker_spec(process.id, process.sockets.notify.path(), material.is_some(), trace);
        let mut fds: Vec<BorrowedFd<'_>> = vec![frozen.program.executable().map_err(io::Error::other)?];
        fds.extend(frozen.listeners.open().iter().map(|listening| listening.socket.as_fd()));
        fds.extend(process.private().and_then(PrivateListener::fd));
        fds.extend(process.channel_fd());
        if frozen.config.channel {
            let Memories { rate_limit, metrics } = self.memories();
            fds.extend([rate_limit.as_fd(), metrics.as_fd()]);
            fds.extend(material.as_ref().map(AsFd::as_fd));
        }
        link.send(&spec, &fds)
    }

    /// The place of certificates, for a worker of a generation that speaks TLS.
    fn tls_of(&self, frozen: &Frozen) -> Option<Rc<Shared>> {
        (!frozen.config.tls.is_empty()).then(|| Rc::clone(&self.shared))
    }

    /// Makes the process of an operator's command. It waits for its orders.
    ///
    /// # Errors
    /// If there is no process, descriptor or memory to be had.
    pub fn fork_command(&self) -> io::Result<Command> {
        Command::fork(&self.children)
    }

    /// The same; the command's standard output is `output`.
    ///
    /// # Errors
    /// As [`Self::fork_command`].
    pub fn fork_command_writing_to(&self, output: File) -> io::Result<Command> {
        Command::fork_writing_to(output, &self.children)
    }

    /// Starts a command of the gate for a worker. Its end is an event.
    ///
    /// # Errors
    /// If its orders cannot be sent; then no event follows.
    pub fn start_gate(
        &mut self,
        id: WorkerId,
        which: GateCommand,
        command: Command,
        frozen: &Frozen,
    ) -> io::Result<()> {
        let process = self.processes.get(&id).ok_or_else(|| io::Error::other("the worker is gone"))?;
        let program = which.program(&frozen.commands).ok_or_else(|| io::Error::other("no command is set"))?;
        let mut more = vec![(inherit::GIN_SLOT, id.slot.to_string()), ("GIN_WORKER_PID", process.pid().to_string())];
        if let Some(private) = process.private() {
            more.push((inherit::GIN_PRIVATE_SOCKET, private.path().display().to_string()));
        }
        command.start(&frozen.command_spec(program, more), program)?;
        let reader = Rc::new(Reader::default());
        self.gates.insert(id, Gate::new(Step::Command(command.child()), Rc::clone(&reader)));
        // The machine's own deadline, which the worker may extend, comes first.
        let timeout = frozen.config.ready_timeout.saturating_mul(LONGEST);
        let inbox = self.inbox.clone();
        task::spawn(async move {
            let what = which.event(reader.beside(&inbox, command.end(timeout)).await);
            // The inbox is closed only when the driver has left.
            let _ = inbox.send(Message::Event(Event::Worker { worker: id, what })).await;
        });
        Ok(())
    }

    /// Probes a worker; the machine sets the end. The result is an event.
    ///
    /// # Errors
    /// If the worker cannot be asked; then no event follows.
    pub fn start_probe(&mut self, id: WorkerId, frozen: Option<&Frozen>) -> Result<(), ProbeError> {
        let settings = frozen.and_then(|frozen| frozen.config.probe.clone()).ok_or(ProbeError::NoListener)?;
        let private = self.processes.get(&id).and_then(|process| process.private()).ok_or(ProbeError::NoListener)?;
        let (inbox, socket) = (self.inbox.clone(), private.path().to_owned());
        let reader = Rc::new(Reader::default());
        let own = Rc::clone(&reader);
        let task = task::spawn(async move {
            let what = WorkerEvent::Probed(own.beside(&inbox, probe::probe(&socket, &settings)).await);
            let _ = inbox.send(Message::Event(Event::Worker { worker: id, what })).await;
        });
        self.gates.insert(id, Gate::new(Step::Probe(task.abort_handle()), reader));
        Ok(())
    }
}

// After a master before this one.
impl Workers {
    /// Takes over a worker of a master before this one, with what can be had of its sockets.
    ///
    /// `is_child`: this process is that master under another program. `notify` is the worker's notify socket, if it was kept.
    ///
    /// # Errors
    /// If there is no descriptor to be had.
    pub fn adopt(
        &mut self,
        record: &WorkerRecord,
        pidfd: OwnedFd,
        notify: Option<OwnedFd>,
        is_child: bool,
        frozen: Option<&Frozen>,
    ) -> io::Result<()> {
        let place = |what: &str| worker_file(&self.runtime, record.id, what);
        let child = Child::adopt(record.process.pid, pidfd, is_child)?;
        let notify = NotifySocket::resume(notify, &place("notify"), frozen.and_then(Frozen::owner))?;
        let channel = record.channel.then(|| ChannelListener::resume(&place("channel"))).and_then(|listener| {
            match listener.connect() {
                Ok(channel) => Some((listener, channel)),
                Err(error) => {
                    tracing::warn!(worker = %record.id, "its channel cannot be connected to, so it is told by signals: {error}");
                    None
                }
            }
        });
        let private = record.private.then(|| PrivateListener::resume(&place("private")));
        let output = record.words.and_then(LastWords::resume);
        let signal = Signal::try_from(record.stop_signal).unwrap_or(Signal::SIGTERM);
        let sockets = Sockets::new(notify, channel, private, None);
        let process = Process::new(record.id, record.process, child, sockets, output, signal).restore(record);
        let process = Rc::new(process.with_tls(frozen.and_then(|frozen| self.tls_of(frozen))));
        if is_child {
            self.children.insert(process.child.pid(), Purpose::Worker);
        }
        self.processes.insert(record.id, Rc::clone(&process));
        task::spawn(process.watch(None, self.inbox.clone(), self.children.clone()));
        Ok(())
    }

    /// Goes on with what a master before this one knew of connections: `total`, of workers that were gone then, and of those that
    /// have ended since. The workers that live bring theirs along ([`Self::adopt`]).
    pub fn restore_tally<'a>(&mut self, total: Fates, ended: impl Iterator<Item = &'a WorkerRecord>) {
        self.tally.restore(total);
        for worker in ended {
            if let Some(fates) = worker.connections {
                self.tally.add(worker.id.generation, fates);
            }
        }
    }

    /// Kills what a worker has left that ended while one program followed the other.
    pub fn clear_after(&self, worker: WorkerId) {
        self.children.kill_orphans_of(worker);
        crate::os::orphan::kill_strays(&worker_file(&self.runtime, worker, "notify"));
    }
}

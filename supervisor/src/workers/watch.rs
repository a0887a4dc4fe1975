//! The task that looks after one worker: it turns what the worker's sockets and its process tell into events.
//!
//! The exit is the last event: everything that the worker said before is read first. Then its process group and its orphans
//! are killed, while its PID is still its own, and only then is it reaped. Before a deadline is judged, the task is asked
//! to read until nothing is left: by system calls, for what tokio knows of the sockets may be older.

use std::io;
use std::rc::Rc;

use gin_shared::channel::FromWorker;
use gin_shared::notify::Notice;
use tokio::sync::mpsc;

use super::owned_children::OwnedChildren;
use super::process::Process;
use crate::exit_status::Exit;
use crate::inbox::Message;
use crate::inbox::reading::Round;
use crate::machine::event::{Event, WorkerEvent};
use crate::os::notify::{BURST, Heard};
use crate::os::spawn::Link;
use crate::os::{fault, orphan};

/// Messages that are read at once before a deadline is judged: as many as the queue of a socket holds (net.unix.max_dgram_qlen). Other
/// processes may write without end.
const UNREAD_MAX: usize = 512;

impl Process {
    /// Sends the worker's events to `inbox`, until its process has exited. `link` leads to the exec helper.
    pub async fn watch(self: Rc<Self>, mut link: Option<Link>, inbox: mpsc::Sender<Message>, children: OwnedChildren) {
        let mut is_closed = false;
        let asked = loop {
            let listens = !is_closed && self.has_channel();
            let events = tokio::select! {
                biased;
                round = self.reader.asked() => {
                    let unread = self.unread(&mut link);
                    self.tell(&inbox, unread).await;
                    if self.child.has_exited() {
                        break Some(round);
                    }
                    confirm(&inbox, Some(round)).await;
                    continue;
                }
                outcome = outcome(link.as_ref()) => {
                    link = None;
                    vec![executed(outcome)]
                }
                // What it said before is read then, too; other processes may go on writing without end.
                _ = self.child.exited() => break None,
                message = self.message(), if listens => match message {
                    Some(message) => self.handle_message(&message).into_iter().collect(),
                    None => { is_closed = true; Vec::new() }
                },
                heard = self.sockets.notify.receive(|pid| self.is_of(pid), |pid| pid == self.pid()) => {
                    self.handle_heard(heard.unwrap_or_default())
                }
            };
            let _ = fault::at("watch.heard");
            self.tell(&inbox, events).await;
            // However fast this worker writes, others get their turn.
            tokio::task::yield_now().await;
        };
        let last = self.unread(&mut link);
        self.tell(&inbox, last).await;
        let exit = self.end(&children);
        let event = WorkerEvent::Exited { exit, jitter: jitter() };
        self.tell(&inbox, vec![event]).await;
        confirm(&inbox, asked.or_else(|| self.reader.take())).await;
    }

    /// The next message on its channel; `None` if there will be no more.
    async fn message(&self) -> Option<FromWorker> {
        let (_, channel) = self.sockets.channel.get()?;
        channel.receive().await.unwrap_or_else(|error| {
            tracing::warn!("a worker's channel is closed: {error}");
            None
        })
    }

    fn handle_message(&self, message: &FromWorker) -> Option<WorkerEvent> {
        match message {
            FromWorker::Serving => Some(WorkerEvent::Accepting),
            FromWorker::Hello { version } => {
                self.version.set(Some(*version));
                None
            }
            FromWorker::Drained(fates) => {
                self.set_fates(*fates);
                None
            }
            FromWorker::Full => {
                self.set_full(true);
                Some(WorkerEvent::Full)
            }
            FromWorker::Room => {
                self.set_full(false);
                None
            }
            FromWorker::NoTaker => Some(WorkerEvent::NoTaker),
            FromWorker::Load { connections, given } => {
                self.set_load(*connections, *given);
                Some(WorkerEvent::Load)
            }
            FromWorker::Material { number, refused } => {
                self.handle_material(*number, refused.as_deref());
                None
            }
        }
    }

    /// Handles what the worker says on its notify socket. An announcement is answered at once: the worker waits for that.
    fn handle_heard(&self, heard: Heard) -> Vec<WorkerEvent> {
        let is_announced = heard.notices.contains(&Notice::Announced);
        let announced = match heard.announced {
            Some(socket) => {
                let event = self.welcome(&socket);
                self.sockets.notify.close(socket);
                event
            }
            None if is_announced => {
                self.miss_announcement();
                None
            }
            None => None,
        };
        announced.into_iter().chain(self.handle_notices(&heard.notices)).collect()
    }

    fn handle_notices(&self, notices: &[Notice]) -> Vec<WorkerEvent> {
        let mut events = Vec::new();
        for notice in notices {
            match notice {
                Notice::Ready => events.push(WorkerEvent::Ready),
                Notice::ExtendTimeout(by) => events.push(WorkerEvent::Extend(*by)),
                Notice::Status(text) => *self.said.borrow_mut() = Some(text.clone()),
                Notice::MainPid(pid) => {
                    tracing::debug!(worker = %self.id, pid = self.pid(), "MAINPID={pid} ignored: a worker is the process that was started");
                }
                Notice::Watchdog => events.push(WorkerEvent::Alive),
                Notice::WatchdogTrigger => events.push(WorkerEvent::Hangs),
                Notice::Stopping => events.push(WorkerEvent::Stopping),
                Notice::Reloading | Notice::Errno(_) | Notice::Barrier | Notice::Announced => {}
            }
        }
        events.dedup();
        events
    }

    /// True if a process is the worker's: itself, of its session, or a descendant.
    fn is_of(&self, pid: i32) -> bool {
        pid == self.pid() || orphan::descends(pid, self.pid())
    }

    async fn tell(&self, inbox: &mpsc::Sender<Message>, events: Vec<WorkerEvent>) {
        for what in events {
            // The inbox is closed only when the driver has left.
            let _ = inbox.send(Message::Event(Event::Worker { worker: self.id, what })).await;
        }
    }

    /// The events that it has caused, and that nobody has read yet.
    fn unread(&self, link: &mut Option<Link>) -> Vec<WorkerEvent> {
        let mut events = Vec::new();
        if let Some(Ok(outcome)) = link.as_ref().map(Link::read) {
            *link = None;
            events.push(executed(Ok(outcome)));
        }
        for _ in 0..UNREAD_MAX.div_ceil(BURST) {
            let Ok(Some(heard)) = self.sockets.notify.drain(&|pid| self.is_of(pid), &|pid| pid == self.pid()) else {
                break;
            };
            events.extend(self.handle_heard(heard));
        }
        for _ in 0..UNREAD_MAX {
            let Some(Ok(Some(message))) = self.sockets.channel.get().map(|(_, channel)| channel.try_receive()) else {
                break;
            };
            events.extend(self.handle_message(&message));
        }
        events
    }

    /// Kills what it leaves behind, while its PID and group are still its own; then reaps it.
    fn end(&self, children: &OwnedChildren) -> Exit {
        self.check(self.child.kill_group());
        if self.child.is_adopted() {
            // Its orphans fell to another process.
            orphan::kill_strays(self.sockets.notify.path());
            return Exit::Unknown;
        }
        children.kill_orphans_of(self.id);
        let exit = self.child.reap();
        children.remove(self.child.pid());
        // Orphans that died meanwhile were hidden behind it.
        children.reap_orphans();
        exit
    }
}

/// Tells the loop that everything that had come was read, if it has asked.
async fn confirm(inbox: &mpsc::Sender<Message>, asked: Option<Round>) {
    if let Some(round) = asked {
        // The inbox is closed only when the driver has left.
        let _ = inbox.send(Message::Read(round)).await;
    }
}

async fn outcome(link: Option<&Link>) -> io::Result<Option<String>> {
    match link {
        Some(link) => link.outcome().await,
        None => std::future::pending().await,
    }
}

fn executed(outcome: io::Result<Option<String>>) -> WorkerEvent {
    match outcome {
        Ok(None) => WorkerEvent::Executed,
        Ok(Some(error)) => WorkerEvent::ExecFailed { error },
        Err(error) => WorkerEvent::ExecFailed { error: error.to_string() },
    }
}

/// A random number from 0 to 1000: enough to spread restarts.
fn jitter() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    u16::try_from(RandomState::new().hash_one(()) % 1001).unwrap_or_default()
}

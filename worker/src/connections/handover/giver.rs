//! The giver: hands the connections of a draining worker, or some of one that serves on, to the workers that take them.
//!
//! The giver has the connections that are queued or offered, and no others. If a taker refuses a connection, or is lost before its commit,
//! the connection is queued again. What no taker has room for while the client waits, and everything that is left when there is no taker any more,
//! goes back to the hub. A connection that no taker knows to serve is served here. One whose keys a lost taker may have in use is closed.
//! The rules of the exchange are [`gin_shared::handover`]'s.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gin_shared::handover::{BATCH_MAX, PACKET_MAX};

use crate::connections::connection::IdleConnection;
use crate::connections::context::Dispatch;
use crate::connections::handover::queue::{QueueEnd, queue};
use crate::connections::handover::recipient::{HANDOVER_STALL, LastWords, Recipient, greet_all, readable};
use crate::connections::machine::{Event, GiverEvent, Owner, State};
use crate::graceful::{HandoverReason, Phase};

mod offering;
mod sharing;

pub(crate) use sharing::share;

/// Time to wait for a replacement when no taker is left: the master finds out which worker takes next.
const TAKER_WAIT: Duration = Duration::from_secs(1);
/// Silence after which a taker that owes an answer counts as one that takes nothing. If there is no other one, the master is asked.
const TAKER_SILENCE: Duration = Duration::from_secs(1);
/// Time for the takers of a worker that serves on: after it, whatever has no answer is served on here.
const RELIEF: Duration = Duration::from_secs(1);

/// Hands over what pauses, from now on to the workers at the other ends.
pub(crate) fn give(hub: &Arc<impl Dispatch>, sockets: Vec<OwnedFd>) {
    if sockets.is_empty() {
        return;
    }
    // A taker that is gone has a successor. If all are gone, the giver waits for replacements.
    let recipients = greet_all(sockets, false);
    hub.drain().queue().send_modify(|open| {
        let unheard = match open {
            Some(queue) => queue.replace(recipients).err(),
            None => Some(recipients),
        };
        if let Some(recipients) = unheard {
            let (opened, end) = queue();
            *open = Some(opened);
            let hub: Arc<dyn Dispatch> = Arc::clone(hub) as Arc<dyn Dispatch>;
            tokio::spawn(Giver::new(hub, recipients, end).run());
        }
    });
}

/// Hands these connections over, while this worker serves on. Those that nobody takes go back to the hub. Returns the number of
/// those that were taken.
pub(crate) async fn relieve(hub: Arc<dyn Dispatch>, sockets: Vec<OwnedFd>, connections: Vec<IdleConnection>) -> u64 {
    // Nobody else queues anything here, nor sends further takers.
    let (_open, end) = queue();
    let mut giver = Giver::new(hub, greet_all(sockets, true), end);
    giver.purpose = Purpose::Room;
    giver.queue.extend(connections);
    giver.relieve().await
}

/// The reason for which a worker gives connections away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It drains.
    Drain,
    /// It serves on, and has no room for new ones.
    Room,
    /// It serves on, and has more than its share.
    Share,
}

/// The giver's task: what it does with a connection stands at the head of this file.
pub(super) struct Giver {
    pub(super) hub: Arc<dyn Dispatch>,
    pub(super) recipients: Vec<Recipient>,
    pub(super) end: QueueEnd,
    pub(super) purpose: Purpose,
    pub(super) queue: VecDeque<IdleConnection>,
    /// The moment since which the queue is never empty.
    pub(super) queued: Option<Instant>,
    /// The moment at which the queue was looked through last.
    pub(super) looked: Option<Instant>,
    /// The moment since which nobody takes.
    pub(super) alone: Option<Instant>,
    /// True if the master was asked for other takers than these.
    pub(super) has_asked: bool,
    /// Answers are received into it.
    pub(super) buffer: Vec<u8>,
    /// Packets are written into it, and wiped. It never grows: there are keys in them.
    pub(super) packet: Vec<u8>,
}

impl Giver {
    pub(super) fn new(hub: Arc<dyn Dispatch>, recipients: Vec<Recipient>, end: QueueEnd) -> Self {
        Self {
            hub,
            recipients,
            end,
            purpose: Purpose::Drain,
            queue: VecDeque::new(),
            queued: None,
            looked: None,
            alone: None,
            has_asked: false,
            buffer: vec![0; PACKET_MAX],
            packet: Vec::with_capacity(PACKET_MAX),
        }
    }

    async fn run(mut self) {
        let life = self.hub.drain().life.clone();
        let mut offers = Vec::new();
        loop {
            let pause = self.offer();
            let now = Instant::now();
            let question = self.ask_for_takers(now);
            let wait_end = self.taker_wait(now);
            if wait_end.is_some_and(|end| end <= now) {
                return self.give_up().await;
            }
            let stall = self.recipients.iter().filter_map(Recipient::deadline).min();
            let alarm = [stall, wait_end, question, pause.map(|pause| now + pause)].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = life.reached(Phase::Cut) => return,
                number = readable(&self.recipients) => self.hear(number),
                Some(recipients) = self.end.recipients.recv() => self.replace(recipients),
                count = self.end.offered.recv_many(&mut offers, BATCH_MAX) => {
                    debug_assert!(count > 0, "the drain state keeps the other end");
                    self.queue.extend(offers.drain(..));
                }
                () = tokio::time::sleep_until(alarm.unwrap_or(now).into()), if alarm.is_some() => {}
            }
            for number in 0..self.recipients.len() {
                if self.recipients[number].is_silent() {
                    tracing::warn!("a taker does not answer within {HANDOVER_STALL:?}: its connections are taken back");
                    self.withdraw(number);
                }
            }
        }
    }

    /// Hands over what is queued, until all of it has an answer or the time for it is over. Returns the number of those that were taken.
    pub(super) async fn relieve(mut self) -> u64 {
        let life = self.hub.drain().life.clone();
        let end = Instant::now() + RELIEF;
        while self.may_be_taken() && Instant::now() < end {
            let pause = self.offer();
            let alarm = pause.map_or(end, |pause| end.min(Instant::now() + pause));
            tokio::select! {
                biased;
                () = life.reached(Phase::Cut) => return self.given(),
                number = readable(&self.recipients) => self.hear(number),
                () = tokio::time::sleep_until(alarm.into()) => {}
            }
        }
        (0..self.recipients.len()).for_each(|number| self.withdraw(number));
        self.give_back();
        self.given()
    }

    /// True if something is offered, or can still be.
    fn may_be_taken(&self) -> bool {
        let can_be_offered = !self.queue.is_empty() && self.recipients.iter().any(Recipient::is_of_use);
        can_be_offered || self.recipients.iter().any(Recipient::has_offers)
    }

    /// Number of connections that were taken.
    pub(super) fn given(&self) -> u64 {
        self.recipients.iter().map(Recipient::given).sum()
    }

    /// The end of the wait for a replacement, if no taker is left.
    fn taker_wait(&mut self, now: Instant) -> Option<Instant> {
        let is_alone = !self.recipients.iter().any(Recipient::is_of_use);
        self.alone = is_alone.then(|| self.alone.unwrap_or(now));
        self.alone.map(|since| since + TAKER_WAIT)
    }

    /// Asks the master for other takers, once, if none of these takes any more. Returns when to ask, if that is later.
    fn ask_for_takers(&mut self, now: Instant) -> Option<Instant> {
        let at = self.stranded_at(now).filter(|_| !self.has_asked)?;
        if at > now {
            return Some(at);
        }
        self.has_asked = true;
        self.hub.drain().ask_for_takers();
        None
    }

    /// The moment from which on none of the takers takes: each is lost, has no room, or owes an answer for [`TAKER_SILENCE`]. `None` if
    /// one of them owes none.
    fn stranded_at(&self, now: Instant) -> Option<Instant> {
        let mut of_use = self.recipients.iter().filter(|recipient| recipient.is_of_use());
        of_use.try_fold(now, |at, recipient| Some(at.max(recipient.waiting_since()? + TAKER_SILENCE)))
    }

    /// Others take from now on. Answers of the earlier ones are still heard: what they were offered stays in doubt until then, or until
    /// they are silent for too long.
    fn replace(&mut self, recipients: Vec<Recipient>) {
        (self.alone, self.has_asked) = (None, false);
        self.recipients.retain(Recipient::owes_answer);
        self.recipients.iter_mut().for_each(Recipient::replace);
        self.recipients.extend(recipients);
    }

    /// Queues the connection if it is the giver's after this event, and gives it to its next owner otherwise.
    fn after(&mut self, state: State, event: GiverEvent, connection: IdleConnection) {
        let next = state.after(Instant::now(), Event::Giver(event), self.hub.drain().surroundings());
        match next.owner() {
            Owner::Giver => self.queue.push_back(connection),
            Owner::Protocol(_) | Owner::Hub | Owner::Parking | Owner::Taker | Owner::Closer | Owner::Nobody => {
                Arc::clone(&self.hub).dispatch(next, connection);
            }
        }
    }

    pub(super) fn hear(&mut self, number: usize) {
        match self.recipients[number].link().receive_ready(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok((length, _)) if length > 0 => match self.recipients[number].heard(&self.buffer[..length]) {
                Ok((taken, stay)) => self.answered(taken, stay, |_| GiverEvent::Refused),
                Err(error) => {
                    tracing::warn!("invalid handover message of a taker: {error}; its connections are taken back");
                    self.withdraw(number);
                }
            },
            Ok(_) => self.withdraw(number),
            Err(error) => {
                self.recipients[number].failed(&error);
                self.withdraw(number);
            }
        }
    }

    /// Lets go of what is taken, and keeps what is not.
    fn answered(
        &mut self,
        mut taken: Vec<IdleConnection>,
        stay: Vec<IdleConnection>,
        why: impl Fn(&IdleConnection) -> GiverEvent,
    ) {
        let life = &self.hub.drain().life;
        let reason = match self.purpose {
            Purpose::Room if life.phase() < Phase::Draining => {
                life.count_handed_over_for_room(taken.len());
                HandoverReason::Room
            }
            Purpose::Share if life.phase() < Phase::Draining => {
                life.count_handed_over_for_share(taken.len());
                HandoverReason::Share
            }
            Purpose::Drain | Purpose::Room | Purpose::Share => HandoverReason::Drain,
        };
        taken.iter_mut().for_each(|connection| connection.place.hand_over(reason));
        for connection in taken {
            self.after(State::Offered, GiverEvent::Taken, connection);
        }
        for connection in stay {
            self.after(State::Offered, why(&connection), connection);
        }
    }

    /// Takes back what has no answer: nothing can be said any more, and all that was said is read.
    pub(super) fn withdraw(&mut self, number: usize) {
        if self.recipients[number].is_lost() {
            return;
        }
        self.recipients[number].withdraw();
        let LastWords { taken, stay, is_certain } = self.recipients[number].read_last(&mut self.buffer);
        // Without keys the worst is that two workers answer one client; with them, its traffic could be read.
        let in_doubt = |connection: &IdleConnection| !is_certain && connection.kept.keys().is_some();
        let doubtful = stay.iter().filter(|connection| in_doubt(connection)).count();
        if doubtful > 0 {
            tracing::warn!(
                connections = doubtful,
                "connections over TLS are closed: a taker may have them, and did not say so"
            );
        }
        self.answered(taken, stay, |connection| GiverEvent::TakerLost { in_doubt: in_doubt(connection) });
    }

    /// Ends the handover: nobody takes any more.
    async fn give_up(mut self) {
        let given = self.given();
        tracing::info!(given, "no other worker takes connections any more: what is left is drained here");
        // Unless others have come in this very moment.
        let mut more = None;
        self.hub.drain().queue().send_if_modified(|queue| {
            more = self.end.recipients.try_recv().ok();
            if more.is_none() {
                *queue = None;
            }
            more.is_none()
        });
        if let Some(recipients) = more {
            self.replace(recipients);
            return Box::pin(self.run()).await;
        }
        // The queue is closed: only those who have its end already offer something.
        self.end.offered.close();
        while let Some(connection) = self.end.offered.recv().await {
            self.queue.push_back(connection);
        }
        self.give_back();
        // What is still without an answer has it in time, or comes back.
        let until = Instant::now() + HANDOVER_STALL;
        for number in 0..self.recipients.len() {
            while self.recipients[number].owes_answer() {
                let received = self.recipients[number].link().receive(&mut self.buffer);
                let length = match tokio::time::timeout_at(until.into(), received).await {
                    Ok(Ok((length, _))) => length,
                    Ok(Err(error)) => {
                        self.recipients[number].failed(&error);
                        0
                    }
                    Err(_) => 0,
                };
                if length == 0 {
                    self.withdraw(number);
                    continue;
                }
                match self.recipients[number].heard(&self.buffer[..length]) {
                    Ok((taken, stay)) => self.answered(taken, stay, |_| GiverEvent::Refused),
                    Err(_) => self.withdraw(number),
                }
            }
        }
        self.give_back();
    }

    /// Gives what is queued back to the hub.
    pub(super) fn give_back(&mut self) {
        for connection in std::mem::take(&mut self.queue) {
            self.after(State::Queued, GiverEvent::NoTaker, connection);
        }
    }
}

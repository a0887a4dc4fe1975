//! A taker, as the giver sees it: its socket, what is offered to it, and how long an answer is awaited.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use gin_shared::descriptors::is_temporary;
use gin_shared::fault;
use gin_shared::handover::{
    Abilities, FromGiver, FromTaker, Giver as Rules, Malformed, PACKET_MAX, VERSION, WINDOW, decode, encode,
};
use gin_shared::process::Pidfd;
use gin_shared::tls::material::wipe;
use rustix::event::{EventfdFlags, eventfd};

use crate::connections::connection::IdleConnection;
use crate::connections::handover::link::Link;
use crate::connections::handover::{ABILITIES, carried};
use crate::connections::machine::HOLD;

/// Longest silence of a taker that owes an answer.
pub(crate) const HANDOVER_STALL: Duration = Duration::from_secs(5);
/// Largest number of reads of what a taker has sent before the end: its hello, an answer for each packet, a reset, the end, and some more.
const LAST_READS: usize = WINDOW * 4;

/// This process, opened once: in a drain there may be no descriptor left.
pub(crate) fn own_process() -> io::Result<&'static Pidfd> {
    static OWN: OnceLock<Pidfd> = OnceLock::new();
    match OWN.get() {
        Some(own) => Ok(own),
        None => {
            let own = Pidfd::own()?;
            Ok(OWN.get_or_init(|| own))
        }
    }
}

/// Greets the takers at the other ends of these sockets. `serves_on`: the giver does not drain.
pub(crate) fn greet_all(sockets: Vec<OwnedFd>, serves_on: bool) -> Vec<Recipient> {
    let greeted = sockets.into_iter().filter_map(|socket| {
        let recipient = Recipient::greet(socket, serves_on);
        recipient.inspect_err(|error| tracing::debug!("cannot greet a taker: {error}")).ok()
    });
    greeted.collect()
}

/// Waits until one of the takers has said something. Returns its number.
pub(crate) async fn readable(recipients: &[Recipient]) -> usize {
    std::future::poll_fn(|cx| {
        let ready = |(_, recipient): &(usize, &Recipient)| {
            !recipient.is_lost() && recipient.link().poll_readable(cx).is_ready()
        };
        recipients.iter().enumerate().find(ready).map_or(Poll::Pending, |(number, _)| Poll::Ready(number))
    })
    .await
}

/// A taker, and what is offered to it.
#[derive(Debug)]
pub(crate) struct Recipient {
    link: Link,
    /// Written to when what has no answer is taken back. A taker can read it even when this process is dead.
    withdrawn: OwnedFd,
    /// The hello, until it is sent.
    hello: Option<Vec<u8>>,
    rules: Rules<IdleConnection>,
    /// The moment since which an answer is awaited.
    waiting: Option<Instant>,
    standing: Standing,
    /// False once it may have said something that was not understood, or could not be told that its offers are taken back.
    is_certain: bool,
}

/// The connections of a taker that is not listened to any more.
#[derive(Debug)]
pub(crate) struct LastWords {
    /// The connections that are the taker's.
    pub(crate) taken: Vec<IdleConnection>,
    /// The connections that it has refused, or has not answered for.
    pub(crate) stay: Vec<IdleConnection>,
    /// True if it is certain that those that stay are not the taker's: its later commits fail, also when this process is dead; all that
    /// it said before was read to the end, and was understood.
    pub(crate) is_certain: bool,
}

/// Use of a taker to the giver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The taker may be offered more.
    Takes,
    /// Others take in its place. Its answers are still awaited.
    Replaced,
    /// The taker is gone, or is not listened to any more.
    Lost,
}

impl Recipient {
    /// Greets the taker at the other end, now or with [`Self::say_hello`]. `serves_on`: the giver does not drain.
    fn greet(socket: OwnedFd, serves_on: bool) -> io::Result<Self> {
        let link = Link::new(socket)?;
        let withdrawn = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let hello = Some(encode(&FromGiver::Hello { version: VERSION, takes: ABILITIES.words(), serves_on }, b""));
        let (rules, waiting) = (Rules::default(), Some(Instant::now()));
        let mut own = Self { link, withdrawn, hello, rules, waiting, standing: Standing::Takes, is_certain: true };
        match own.say_hello() {
            Err(error) if !is_temporary(&error) => Err(error),
            Ok(()) | Err(_) => Ok(own),
        }
    }

    /// Says hello, if that is not done yet. Before it, nothing is offered: the taker must know whose the connections are.
    pub(crate) fn say_hello(&mut self) -> io::Result<()> {
        let Some(hello) = &self.hello else { return Ok(()) };
        fault::at("give.hello")?;
        self.link.send_first(hello, &[own_process()?.as_fd(), self.withdrawn.as_fd()])?;
        self.hello = None;
        Ok(())
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.standing == Standing::Lost
    }

    /// True if it may be offered more, now or later.
    pub(crate) fn is_of_use(&self) -> bool {
        self.standing == Standing::Takes && !self.rules.is_full()
    }

    /// True if it is one of those to choose from. A slow taker is waited for a while, or the fastest would have all connections.
    pub(crate) fn may_be_next(&self) -> bool {
        self.is_of_use() && self.waiting.is_none_or(|since| since.elapsed() < HOLD)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.hello.is_none() && self.rules.has_room()
    }

    /// True if it knows to serve a connection that needs these abilities.
    pub(crate) fn covers(&self, needed: Abilities) -> bool {
        self.rules.abilities().cover(needed)
    }

    /// True if such a connection may be offered to it, now or later. Before its hello nothing is known.
    pub(crate) fn may_cover(&self, needed: Abilities) -> bool {
        self.is_of_use() && (!self.rules.has_greeted() || self.covers(needed))
    }

    /// True if an answer of it is awaited.
    pub(crate) fn owes_answer(&self) -> bool {
        !self.is_lost() && self.rules.is_waiting()
    }

    /// True if it has been silent for too long.
    pub(crate) fn is_silent(&self) -> bool {
        self.waiting.is_some_and(|since| since.elapsed() > HANDOVER_STALL)
    }

    /// The moment since which an answer of it is awaited; `None` if none is.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.waiting
    }

    /// The end of its patience.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.map(|since| since + HANDOVER_STALL)
    }

    /// Number of connections that it has, or is offered.
    pub(crate) fn load(&self) -> u64 {
        self.rules.load()
    }

    /// True if connections are on their way to it.
    pub(crate) fn has_offers(&self) -> bool {
        self.rules.load() > self.rules.given()
    }

    /// Number of connections that it has taken.
    pub(crate) fn given(&self) -> u64 {
        self.rules.given()
    }

    /// Other takers have come in its place.
    pub(crate) fn replace(&mut self) {
        self.standing = Standing::Replaced;
    }

    /// Sends a batch. It is still the giver's if that fails. `packet` has room for [`PACKET_MAX`], and is wiped: there may be keys in it.
    pub(crate) fn send(&self, packet: &mut Vec<u8>, batch: &[IdleConnection]) -> io::Result<()> {
        fault::at("give.send")?;
        carried::pack(packet, batch, self.rules.next_batch());
        debug_assert!(packet.len() <= PACKET_MAX, "a packet of {} bytes", packet.len());
        let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|connection| connection.raw.as_fd()).collect();
        let sent = self.link.send(packet, &fds);
        wipe(packet);
        sent
    }

    /// Keeps a batch that was sent until it is answered.
    pub(crate) fn offered(&mut self, batch: Vec<IdleConnection>) {
        self.rules.offered(batch);
        self.waiting.get_or_insert_with(Instant::now);
    }

    /// Handles a packet. Returns the connections that are the taker's now, and those that stay.
    pub(crate) fn heard(&mut self, packet: &[u8]) -> Result<(Vec<IdleConnection>, Vec<IdleConnection>), Malformed> {
        let _ = fault::at("give.heard");
        let answer = decode::<FromTaker>(packet).and_then(|(message, _)| self.rules.heard(&message));
        self.is_certain &= answer.is_ok();
        let (taken, stay) = answer?;
        self.waiting = self.rules.is_waiting().then(Instant::now);
        Ok((taken, stay))
    }

    /// Lets the taker's later commits fail. What it sent before can still be read, with [`Self::read_last`].
    pub(crate) fn withdraw(&mut self) {
        self.standing = Standing::Lost;
        (self.waiting, self.hello) = (None, None);
        self.link.shut_down();
        // A taker that comes when this process is dead knows by it that its copies are old.
        self.is_certain &= rustix::io::write(&self.withdrawn, &1_u64.to_ne_bytes()).is_ok();
        let _ = fault::at("give.withdrawn");
    }

    /// Notes an error of the socket: a packet may be lost by it. A reset only says that the taker is gone; what it sent comes next.
    pub(crate) fn failed(&mut self, error: &io::Error) {
        self.is_certain &= is_harmless(error);
    }

    /// Reads what the taker sent before the end.
    pub(crate) fn read_last(&mut self, buffer: &mut [u8]) -> LastWords {
        let (mut taken, mut stay) = (Vec::new(), Vec::new());
        let mut is_read = false;
        for _ in 0..LAST_READS {
            match self.link.receive_now(buffer) {
                Ok((0, _)) => {
                    is_read = true;
                    break;
                }
                Ok((length, _)) => match self.heard(&buffer[..length]) {
                    Ok((more_taken, more_stay)) => {
                        taken.extend(more_taken);
                        stay.extend(more_stay);
                    }
                    Err(_) => break,
                },
                Err(error) if is_harmless(&error) => {}
                Err(_) => break,
            }
        }
        self.waiting = None;
        stay.extend(self.rules.end());
        LastWords { taken, stay, is_certain: self.is_certain && is_read }
    }
}

/// True for an error after which the next packet can be read: a taker that died with packets of ours unread is reported before what it
/// sent.
fn is_harmless(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

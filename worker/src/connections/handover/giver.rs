//! Hands connections over to the workers that take them. See [`gin_shared::handover`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use gin_shared::descriptors::{self, Waiting};
use gin_shared::fault;
use gin_shared::handover::{
    BATCH_MAX, BYTES_MAX, FromGiver, FromTaker, Giver as Rules, Malformed, PACKET_MAX, VERSION, WINDOW, decode, encode,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::connections::connection::{A_WHILE, Facts, Resting, Stays};
use crate::connections::protocol::http1::Shared;
use crate::graceful::Phase;

/// A taker that says nothing for so long is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// Too many descriptors are on their way, of this user's: some will have arrived by then.
const PAUSE: Duration = Duration::from_millis(5);
/// Those that wait for a taker are looked through no more often: each look is a system call.
const LOOK: Duration = Duration::from_millis(50);
/// After the last one that takes, the next one may come for so long: the master makes out who it is.
const HOPE: Duration = Duration::from_secs(1);
/// What a connection's facts take in a packet, at most.
const FACTS_MAX: usize = 512;

/// A socket to a worker that takes. A Unix stream to tokio, which only watches it.
#[derive(Debug)]
pub(crate) struct Link(UnixStream);

impl Link {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(fd);
        socket.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(socket)?))
    }

    pub(crate) fn send(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.try_io(Interest::WRITABLE, || descriptors::send(&self.0, packet, fds))
    }

    pub(crate) async fn send_all(&self, packet: &[u8]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || descriptors::send(&self.0, packet, &[])).await
    }

    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.0.async_io(Interest::READABLE, || descriptors::receive(&self.0, buffer, Waiting::No)).await
    }

    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        descriptors::receive(&self.0, buffer, Waiting::No)
    }

    fn shut_down(&self) {
        // Fails only if the other end is gone, which comes to the same.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

/// One taker.
#[derive(Debug)]
struct Taker {
    link: Link,
    /// Says, even when this process is dead, that what has no answer was taken back.
    withdrawn: OwnedFd,
    rules: Rules<Resting>,
    /// Since when an answer is awaited.
    waiting: Option<Instant>,
    /// Others take now in its place.
    relieved: bool,
    lost: bool,
}

/// Where connections go that another worker is to have.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) offers: mpsc::UnboundedSender<Resting>,
    /// For the next ones that take.
    takers: mpsc::UnboundedSender<Vec<Taker>>,
}

/// Hands over what rests, from now on to the workers at the other ends.
pub(crate) fn give(shared: &Arc<Shared>, sockets: Vec<OwnedFd>) {
    if sockets.is_empty() {
        return;
    }
    // One that is gone has its successor: if all are, they are hoped for.
    let greeted = sockets.into_iter().filter_map(|socket| {
        let taker = Taker::greet(socket);
        taker.inspect_err(|error| tracing::debug!("a worker that was to take connections: {error}")).ok()
    });
    let takers: Vec<Taker> = greeted.collect();
    shared.giving.send_modify(|exit| {
        let heard = match exit {
            Some(exit) => exit.takers.send(takers).map_err(|unheard| unheard.0),
            None => Err(takers),
        };
        if let Err(takers) = heard {
            start(shared, exit, takers);
        }
    });
}

fn start(shared: &Arc<Shared>, exit: &mut Option<Exit>, takers: Vec<Taker>) {
    let (offers, offered) = mpsc::unbounded_channel();
    let (sender, next) = mpsc::unbounded_channel();
    *exit = Some(Exit { offers, takers: sender });
    let giver = Giver {
        shared: Arc::clone(shared),
        takers,
        next,
        offered,
        queue: VecDeque::new(),
        queued: None,
        looked: None,
        alone: None,
    };
    tokio::spawn(giver.run());
}

impl Taker {
    fn greet(socket: OwnedFd) -> io::Result<Self> {
        let link = Link::new(socket)?;
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        let withdrawn = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let hello = encode(&FromGiver::Hello { version: VERSION }, b"");
        descriptors::send(&link.0, &hello, &[own.as_fd(), withdrawn.as_fd()])?;
        let rules = Rules::default();
        Ok(Self { link, withdrawn, rules, waiting: Some(Instant::now()), relieved: false, lost: false })
    }

    fn is_of_use(&self) -> bool {
        !self.lost && !self.relieved && !self.rules.is_full()
    }

    /// One that is slow is waited for a while, or the fastest would have them all.
    fn may_be_next(&self) -> bool {
        self.is_of_use() && self.waiting.is_none_or(|since| since.elapsed() < A_WHILE)
    }
}

struct Giver {
    shared: Arc<Shared>,
    takers: Vec<Taker>,
    next: mpsc::UnboundedReceiver<Vec<Taker>>,
    offered: mpsc::UnboundedReceiver<Resting>,
    queue: VecDeque<Resting>,
    /// Since when there is always one in it, and when it was looked through last.
    queued: Option<Instant>,
    looked: Option<Instant>,
    /// Since when nobody takes.
    alone: Option<Instant>,
}

impl Giver {
    async fn run(mut self) {
        let mut buffer = vec![0; PACKET_MAX];
        let mut offers = Vec::new();
        loop {
            let pause = self.offer();
            let now = Instant::now();
            let is_alone = !self.takers.iter().any(Taker::is_of_use);
            self.alone = is_alone.then(|| self.alone.unwrap_or(now));
            let hope = self.alone.map(|since| since + HOPE);
            if hope.is_some_and(|end| end <= now) {
                return self.give_up().await;
            }
            let silence = self.takers.iter().filter_map(|taker| taker.waiting.map(|since| since + PATIENCE)).min();
            let alarm = [silence, hope, pause.map(|pause| now + pause)].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = self.shared.life.reached(Phase::Cut) => return,
                number = readable(&self.takers) => self.hear(number, &mut buffer),
                Some(takers) = self.next.recv() => {
                    self.alone = None;
                    self.takers.retain(|taker| !taker.lost && taker.rules.is_waiting());
                    self.takers.iter_mut().for_each(|taker| taker.relieved = true);
                    self.takers.extend(takers);
                }
                count = self.offered.recv_many(&mut offers, BATCH_MAX) => {
                    debug_assert!(count > 0, "`giving` keeps the other end");
                    self.queue.extend(offers.drain(..));
                }
                () = tokio::time::sleep_until(alarm.unwrap_or(now).into()), if alarm.is_some() => {}
            }
            for number in 0..self.takers.len() {
                if self.takers[number].waiting.is_some_and(|since| since.elapsed() > PATIENCE) {
                    tracing::warn!("a worker that was to take connections says nothing");
                    self.end(number, &mut buffer);
                }
            }
        }
    }

    /// Offers what there is. Gives after what time to try again, if something is left.
    fn offer(&mut self) -> Option<Duration> {
        // Who waits for an answer need not wait for a taker, too: there may be none.
        if self.queued.is_some_and(|since| since.elapsed() >= A_WHILE) {
            self.serve_waiting();
        }
        let pause = self.offer_all();
        self.queued = pause.map(|_| self.queued.unwrap_or_else(Instant::now));
        pause
    }

    /// To those who have taken the fewest.
    fn offer_all(&mut self) -> Option<Duration> {
        while !self.queue.is_empty() {
            let of_use = self.takers.iter().filter(|taker| taker.is_of_use()).count();
            let fit = self.takers.iter().enumerate().filter(|(_, taker)| taker.may_be_next());
            let next = fit.min_by_key(|(_, taker)| taker.rules.load()).filter(|(_, taker)| taker.rules.has_room());
            let Some((number, _)) = next else { return Some(LOOK) };
            let batch = self.batch(self.queue.len().div_ceil(of_use));
            if batch.is_empty() {
                continue;
            }
            match self.send(number, &batch) {
                Ok(()) => {
                    let _ = fault::at("give.sent");
                    let taker = &mut self.takers[number];
                    taker.rules.offered(batch);
                    taker.waiting.get_or_insert_with(Instant::now);
                }
                Err(error) => {
                    batch.into_iter().rev().for_each(|connection| self.queue.push_front(connection));
                    let too_many = error.raw_os_error() == Some(rustix::io::Errno::TOOMANYREFS.raw_os_error());
                    if error.kind() == io::ErrorKind::WouldBlock || too_many {
                        return Some(PAUSE);
                    }
                    tracing::debug!("a worker that was to take connections: {error}");
                    self.end(number, &mut vec![0; PACKET_MAX]);
                }
            }
        }
        None
    }

    /// Nobody takes anything for now: those that have something to say are heard here.
    fn serve_waiting(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        for connection in std::mem::take(&mut self.queue) {
            if connection.has_bytes() {
                self.serve(connection);
            } else {
                self.queue.push_back(connection);
            }
        }
        self.looked = Some(Instant::now());
    }

    /// It rests again when this request is answered, or a while is over.
    fn serve(&self, connection: Resting) {
        self.shared.serve(Resting { facts: Facts { stays: Stays::now(), ..connection.facts }, ..connection });
    }

    /// As many as fit into a packet.
    fn batch(&mut self, most: usize) -> Vec<Resting> {
        let (mut batch, mut room) = (Vec::new(), PACKET_MAX);
        while batch.len() < BATCH_MAX.min(most)
            && let Some(connection) = self.queue.pop_front()
        {
            let length = connection.length() + connection.names() * 6 + FACTS_MAX;
            if connection.length() > BYTES_MAX || length > PACKET_MAX {
                self.serve(connection);
            } else if length <= room {
                room -= length;
                batch.push(connection);
            } else {
                self.queue.push_front(connection);
                break;
            }
        }
        batch
    }

    fn send(&self, number: usize, batch: &[Resting]) -> io::Result<()> {
        fault::at("give.send")?;
        let (now, taker) = (Instant::now(), &self.takers[number]);
        let connections = batch.iter().map(|connection| connection.carried(now)).collect();
        let tail: Vec<u8> = batch.iter().flat_map(Resting::bytes).collect();
        let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|connection| connection.bare.as_fd()).collect();
        let give = FromGiver::Give { batch: taker.rules.next_batch(), connections };
        taker.link.send(&encode(&give, &tail), &fds)
    }

    fn hear(&mut self, number: usize, buffer: &mut [u8]) {
        let heard = self.takers[number]
            .link
            .0
            .try_io(Interest::READABLE, || descriptors::receive(&self.takers[number].link.0, buffer, Waiting::No));
        match heard {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok((length, _)) if length > 0 => {
                if let Err(error) = self.understand(number, &buffer[..length]) {
                    tracing::warn!("a worker that was to take connections is not believed: {error}");
                    self.end(number, buffer);
                }
            }
            Ok(_) | Err(_) => self.end(number, buffer),
        }
    }

    fn understand(&mut self, number: usize, packet: &[u8]) -> Result<(), Malformed> {
        let _ = fault::at("give.heard");
        let (message, _) = decode::<FromTaker>(packet)?;
        let taker = &mut self.takers[number];
        let (taken, stay) = taker.rules.heard(&message)?;
        taker.waiting = taker.rules.is_waiting().then(Instant::now);
        self.shared.life.tally().handed_over(taken.len());
        drop(taken);
        stay.into_iter().for_each(|connection| self.again(connection));
        Ok(())
    }

    /// Takes back what has no answer: when nothing can be said any more, and all that was said is read.
    fn end(&mut self, number: usize, buffer: &mut [u8]) {
        if self.takers[number].lost {
            return;
        }
        self.takers[number].lost = true;
        self.takers[number].waiting = None;
        self.takers[number].link.shut_down();
        // A taker that comes when this process is dead knows by it that its copies are old.
        let marked = rustix::io::write(&self.takers[number].withdrawn, &1_u64.to_ne_bytes());
        debug_assert!(marked.is_ok(), "{marked:?}");
        let _ = fault::at("give.withdrawn");
        for _ in 0..WINDOW * 2 {
            match self.takers[number].link.try_receive(buffer) {
                Ok((length, _)) if length > 0 => {
                    if self.understand(number, &buffer[..length]).is_err() {
                        break;
                    }
                }
                // Told before what had come, if it died with words of ours unread.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted) => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.takers[number].waiting = None;
        let back = self.takers[number].rules.end();
        back.into_iter().for_each(|connection| self.again(connection));
    }

    /// Another may take it.
    fn again(&mut self, connection: Resting) {
        self.queue.push_back(connection);
    }

    /// Nobody takes anything any more.
    async fn give_up(mut self) {
        let given: u64 = self.takers.iter().map(|taker| taker.rules.given()).sum();
        tracing::info!(given, "no other worker takes connections any more: what is left is drained here");
        // Unless others have come in this very moment.
        let mut more = None;
        self.shared.giving.send_if_modified(|exit| {
            more = self.next.try_recv().ok();
            if more.is_none() {
                *exit = None;
            }
            more.is_none()
        });
        if let Some(takers) = more {
            self.takers.extend(takers);
            return Box::pin(self.run()).await;
        }
        // Nobody offers any more but who has the sender already.
        self.offered.close();
        while let Some(connection) = self.offered.recv().await {
            self.queue.push_back(connection);
        }
        self.rest_all();
        // What is still without an answer has it in time, or comes back.
        let mut buffer = vec![0; PACKET_MAX];
        let until = Instant::now() + PATIENCE;
        for number in 0..self.takers.len() {
            while !self.takers[number].lost && self.takers[number].rules.is_waiting() {
                let received = self.takers[number].link.receive(&mut buffer);
                match tokio::time::timeout_at(until.into(), received).await {
                    Ok(Ok((length, _))) if length > 0 && self.understand(number, &buffer[..length]).is_ok() => {}
                    _ => self.end(number, &mut buffer),
                }
            }
        }
        self.rest_all();
    }

    fn rest_all(&mut self) {
        for connection in std::mem::take(&mut self.queue) {
            self.shared.rest(connection);
        }
    }
}

/// Which of the takers has something to say.
async fn readable(takers: &[Taker]) -> usize {
    std::future::poll_fn(|cx| {
        let ready = |(_, taker): &(usize, &Taker)| !taker.lost && taker.link.0.poll_read_ready(cx).is_ready();
        takers.iter().enumerate().find(ready).map_or(Poll::Pending, |(number, _)| Poll::Ready(number))
    })
    .await
}

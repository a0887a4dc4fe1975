//! Clients of many kinds, at work while all this happens, and all that hurt them.

mod http1;
mod http2;
mod websocket;

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use harness::{Address, Client, Failure};

use super::judge::Hurt;
use super::schedule::Random;
use http1::Http1;
use http2::Http2;
use websocket::WebSocket;

/// An answer that takes longer hurts its client. No operation keeps a worker busy or stopped for so long.
const PROMPT: Duration = Duration::from_secs(10);

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Requests on a connection that is kept.
    KeepAlive,
    /// A connection for each request.
    OneShot,
    /// Five requests at once.
    Pipelined,
    /// Bodies that are sent in pieces.
    Upload,
    /// Bodies that come slowly.
    Download,
    /// A request now and then.
    Idle,
    /// Messages that are counted: the count goes on from worker to worker.
    WebSocket,
    /// Three streams at once.
    Http2,
}

/// Number of clients of each kind.
const CROWD: [(Kind, usize); 8] = [
    (Kind::KeepAlive, 4),
    (Kind::OneShot, 2),
    (Kind::Pipelined, 2),
    (Kind::Upload, 2),
    (Kind::Download, 2),
    (Kind::Idle, 8),
    (Kind::WebSocket, 4),
    (Kind::Http2, 2),
];

/// Fate of a connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    On,
    /// The server has announced that it closes it.
    Announced,
    /// The client has wanted no more.
    Over,
}

/// A connection, as one kind of client uses it.
pub trait Conversation {
    /// Asks once more, or a few times at once.
    fn exchange(&mut self, random: &mut Random) -> Result<Then, Failure>;
}

impl Kind {
    /// The longest time between two exchanges, in milliseconds. Clients over HTTP/1.1 are never silent for `idle_grace`.
    fn think(self) -> usize {
        match self {
            Self::KeepAlive | Self::WebSocket => 20,
            Self::OneShot | Self::Pipelined | Self::Http2 => 40,
            Self::Upload | Self::Download => 100,
            Self::Idle => 1500,
        }
    }

    /// Connects; gives the client's port, too.
    fn connect(self, address: &Address) -> Result<(Option<u16>, Box<dyn Conversation>), Failure> {
        if self == Self::Http2 {
            let (port, http2) = Http2::connect(address)?;
            return Ok((Some(port), Box::new(http2)));
        }
        let client = Client::connect(address)?;
        let port = client.port();
        match self {
            Self::WebSocket => Ok((port, Box::new(WebSocket::new(client)))),
            kind => Ok((port, Box::new(Http1::new(client, kind)))),
        }
    }
}

/// Record of the clients' exchanges.
#[derive(Debug, Default)]
pub struct Account {
    pub exchanges: u64,
    pub connects: u64,
    /// Closes that were announced.
    pub announced: u64,
    pub hurts: Vec<Hurt>,
}

impl Account {
    fn plus(mut self, other: Self) -> Self {
        self.exchanges += other.exchanges;
        self.connects += other.connects;
        self.announced += other.announced;
        self.hurts.extend(other.hurts);
        self
    }
}

/// A client, with one connection at a time.
struct User {
    kind: Kind,
    address: Address,
    /// The start of the scenario.
    began: Instant,
    random: Random,
    stop: Arc<AtomicBool>,
    account: Account,
}

impl User {
    fn live(mut self) -> Account {
        while self.goes_on() {
            let since = self.began.elapsed();
            match self.kind.connect(&self.address) {
                Ok((port, conversation)) => {
                    self.account.connects += 1;
                    if let Err(failure) = self.converse(conversation) {
                        self.note_hurt(since, port, failure);
                    }
                }
                Err(failure) => self.note_hurt(since, None, failure),
            }
        }
        self.account
    }

    /// Paces the client: real ones pause, too. Nothing waits by it.
    fn goes_on(&mut self) -> bool {
        let pause = self.random.millis(0, self.kind.think());
        sleep(pause);
        !self.stop.load(Ordering::Relaxed)
    }

    /// Uses a connection to its end.
    fn converse(&mut self, mut conversation: Box<dyn Conversation>) -> Result<(), Failure> {
        while self.goes_on() {
            let asked = Instant::now();
            let then = conversation.exchange(&mut self.random)?;
            if asked.elapsed() > PROMPT {
                return Err(Failure::Other(format!("answered only after {:?}", asked.elapsed())));
            }
            self.account.exchanges += 1;
            match then {
                Then::On => {}
                Then::Announced => {
                    self.account.announced += 1;
                    return Ok(());
                }
                Then::Over => return Ok(()),
            }
        }
        Ok(())
    }

    fn note_hurt(&mut self, since: Duration, port: Option<u16>, failure: Failure) {
        let (at, client) = (self.began.elapsed(), format!("{:?}", self.kind));
        self.account.hurts.push(Hurt { at, since, port, client, failure });
    }
}

/// All clients. They stop when this is dropped.
pub struct Clients {
    stop: Arc<AtomicBool>,
    users: Vec<JoinHandle<Account>>,
}

impl Clients {
    pub fn start(address: &Address, began: Instant, seed: u64) -> Self {
        let mut clients = Self { stop: Arc::default(), users: Vec::new() };
        for kind in CROWD.iter().flat_map(|(kind, count)| repeat_n(*kind, *count)) {
            let number = clients.users.len() as u64 + 1;
            let (random, stop) = (Random::new(seed.wrapping_add(number)), Arc::clone(&clients.stop));
            let user = User { kind, address: address.clone(), began, random, stop, account: Account::default() };
            clients.users.push(spawn(move || user.live()));
        }
        clients
    }

    /// Stops them; gives what they have lived through.
    pub fn finish(mut self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let accounts = std::mem::take(&mut self.users).into_iter().map(|user| user.join().expect("no client panics"));
        accounts.fold(Account::default(), Account::plus)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

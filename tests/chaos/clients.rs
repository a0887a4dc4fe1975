//! Clients of many kinds, at work while all this happens, and all that hurt them.

mod http1;
mod http2;
mod opening;
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
use opening::Opening;
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
    /// Bodies in both directions at once.
    Http2Bodies,
    /// A stream now and then.
    Http2Idle,
}

/// Transport below a client's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Tcp,
    Tls,
}

/// Number of clients of each kind.
const CROWD: [(Kind, Over, usize); 20] = [
    (Kind::KeepAlive, Over::Tcp, 4),
    (Kind::OneShot, Over::Tcp, 2),
    (Kind::Pipelined, Over::Tcp, 2),
    (Kind::Upload, Over::Tcp, 2),
    (Kind::Download, Over::Tcp, 2),
    (Kind::Idle, Over::Tcp, 8),
    (Kind::WebSocket, Over::Tcp, 4),
    (Kind::Http2, Over::Tcp, 2),
    (Kind::Http2Bodies, Over::Tcp, 1),
    (Kind::Http2Idle, Over::Tcp, 4),
    (Kind::KeepAlive, Over::Tls, 2),
    (Kind::OneShot, Over::Tls, 1),
    (Kind::Pipelined, Over::Tls, 1),
    (Kind::Upload, Over::Tls, 1),
    (Kind::Download, Over::Tls, 1),
    (Kind::Idle, Over::Tls, 4),
    (Kind::WebSocket, Over::Tls, 2),
    (Kind::Http2, Over::Tls, 2),
    (Kind::Http2Bodies, Over::Tls, 1),
    (Kind::Http2Idle, Over::Tls, 4),
];

/// Addresses of the listeners.
pub struct Listeners {
    pub tcp: Address,
    /// For a client of each version of TLS.
    pub tls: [Address; 2],
}

impl Listeners {
    fn address(&self, over: Over, number: usize) -> Address {
        match over {
            Over::Tcp => self.tcp.clone(),
            Over::Tls => self.tls[number % self.tls.len()].clone(),
        }
    }
}

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
            Self::Upload | Self::Download | Self::Http2Bodies => 100,
            Self::Idle | Self::Http2Idle => 1500,
        }
    }

    fn speaks_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Bodies | Self::Http2Idle)
    }

    /// Connects; gives the client's port, too.
    fn connect(self, address: &Address) -> Result<(Option<u16>, Box<dyn Conversation>), Failure> {
        if self.speaks_http2() || matches!(address, Address::Https(_)) {
            let (port, opening) = Opening::connect(self, address)?;
            return Ok((Some(port), Box::new(opening)));
        }
        let client = Client::connect(address)?;
        Ok((client.port(), self.conversation(client)))
    }

    /// The conversation of a kind that begins with HTTP/1.1.
    fn conversation(self, client: Client) -> Box<dyn Conversation> {
        match self {
            Self::WebSocket => Box::new(WebSocket::new(client)),
            kind => Box::new(Http1::new(client, kind)),
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
    over: Over,
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
        let (at, client) = (self.began.elapsed(), format!("{:?} over {:?}", self.kind, self.over));
        self.account.hurts.push(Hurt { at, since, port, client, failure });
    }
}

/// All clients. They stop when this is dropped.
pub struct Clients {
    stop: Arc<AtomicBool>,
    users: Vec<JoinHandle<Account>>,
}

impl Clients {
    pub fn start(listeners: &Listeners, began: Instant, seed: u64) -> Self {
        let mut clients = Self { stop: Arc::default(), users: Vec::new() };
        for (kind, over) in CROWD.iter().flat_map(|(kind, over, count)| repeat_n((*kind, *over), *count)) {
            let number = clients.users.len() + 1;
            let (random, stop) = (Random::new(seed.wrapping_add(number as u64)), Arc::clone(&clients.stop));
            let address = listeners.address(over, number);
            let user = User { kind, over, address, began, random, stop, account: Account::default() };
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

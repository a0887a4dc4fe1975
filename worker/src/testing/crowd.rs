//! Clients that ask, and WebSockets that talk, until they are told that it is enough.
//!
//! Each member counts its rounds: a client that has sent each request once, a WebSocket whose message was answered, well or badly. So the
//! others can wait until everybody was served between two restarts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::PATIENCE;
use super::client::Client;
use super::outcome::Outcome;
use super::request::{Request, excerpt};
use super::under_load::Ask;

/// Longest wait for a round of everybody. Whoever takes longer has failures to tell.
const ROUND: Duration = Duration::from_secs(60);

/// Everybody who uses the service.
#[derive(Debug)]
pub(super) struct Crowd {
    enough: watch::Sender<bool>,
    rounds: Vec<watch::Receiver<u64>>,
    members: JoinSet<Outcome>,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self { enough: watch::Sender::new(false), rounds: Vec::new(), members: JoinSet::new() }
    }

    /// Adds clients, each with one connection. All of them send these requests, one after the other, again and again.
    pub(super) fn ask(&mut self, address: SocketAddr, asks: &[Ask], clients: usize) {
        let number = Arc::new(AtomicU64::new(0));
        for client in 0..clients {
            // Not all begin with the same request.
            let (begin, mut asks) = (client % asks.len(), asks.to_vec());
            asks.rotate_left(begin);
            let numbers = Numbers(Arc::clone(&number));
            let asker = Asker { address, asks, numbers, connection: None, seen: Outcome::default() };
            self.join(|pace| asker.run(pace));
        }
    }

    /// Adds a member.
    pub(super) fn join<F: Future<Output = Outcome> + Send + 'static>(&mut self, member: impl FnOnce(Pace) -> F) {
        let (done, rounds) = watch::channel(0);
        self.rounds.push(rounds);
        self.members.spawn(member(Pace { done, enough: self.enough.subscribe() }));
    }

    /// Waits until each member has done a round that began after this call.
    pub(super) async fn goes_round(&mut self) {
        // One round is under way.
        let goals: Vec<u64> = self.rounds.iter().map(|rounds| *rounds.borrow() + 2).collect();
        let all = async {
            for (rounds, goal) in self.rounds.iter_mut().zip(goals) {
                // A member that has panicked is found by `end`.
                let _ = rounds.wait_for(|now| *now >= goal).await;
            }
        };
        let _ = tokio::time::timeout(ROUND, all).await;
    }

    /// Tells everybody that it is enough. Returns what all have seen.
    ///
    /// # Panics
    /// If a member has panicked.
    pub(super) async fn end(mut self) -> Outcome {
        self.enough.send_replace(true);
        let mut all = Outcome::default();
        while let Some(seen) = self.members.join_next().await {
            all.add(seen.unwrap_or_else(|panic| panic!("a client: {panic}")));
        }
        all
    }
}

/// A member's end of the crowd.
#[derive(Debug)]
pub(super) struct Pace {
    done: watch::Sender<u64>,
    enough: watch::Receiver<bool>,
}

impl Pace {
    /// Counts a round. Returns true if it was the last one.
    pub(super) fn is_last_round(&self) -> bool {
        self.done.send_modify(|rounds| *rounds += 1);
        *self.enough.borrow()
    }
}

/// Numbers of requests: 1, 2, ..., each once among all clients.
#[derive(Debug)]
struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A client that keeps its connection for as long as it lasts.
struct Asker {
    address: SocketAddr,
    asks: Vec<Ask>,
    numbers: Numbers,
    connection: Option<Client>,
    seen: Outcome,
}

impl Asker {
    async fn run(mut self, pace: Pace) -> Outcome {
        let asks = std::mem::take(&mut self.asks);
        loop {
            for ask in &asks {
                let request = ask(self.numbers.next());
                self.send(&request).await;
            }
            if pace.is_last_round() {
                return self.seen;
            }
        }
    }

    async fn send(&mut self, request: &Request) {
        let Some(mut connection) = self.connected(request).await else { return };
        match tokio::time::timeout(PATIENCE, connection.send(request)).await {
            Ok(Ok(answer)) => {
                if request.accepts(answer.status()) {
                    self.seen.answered += 1;
                } else {
                    self.seen.fail(request, format!("{}: {}", answer.status(), excerpt(answer.body())));
                }
                self.connection = Some(connection);
            }
            Ok(Err(error)) => self.seen.fail(request, format!("no answer: {error}")),
            Err(_) => self.seen.fail(request, format!("no answer within {PATIENCE:?}")),
        }
    }

    /// The connection, or a new one if it was closed. `None` if there is none to be had.
    async fn connected(&mut self, request: &Request) -> Option<Client> {
        if let Some(mut open) = self.connection.take() {
            if open.is_open().await {
                return Some(open);
            }
            self.seen.closed += 1;
        }
        match Client::connect(self.address).await {
            Ok(new) => {
                self.seen.connected += 1;
                Some(new)
            }
            Err(error) => {
                self.seen.fail(request, format!("cannot connect: {error}"));
                // A refusal comes at once: others must have their turn.
                tokio::task::yield_now().await;
                None
            }
        }
    }
}

//! Many clients at once, until told to stop.

mod streams;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Address, Client, Failure, Latencies, PATIENCE, Response, times};
use streams::Streams;

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<Answered>,
    /// The path that clients of HTTP/1.1 ask for.
    path: String,
    clients: Vec<JoinHandle<Report>>,
}

/// Number of requests that were answered so far, by all clients.
#[derive(Debug, Default)]
struct Answered {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Answered {
    fn add(&self, requests: u64) {
        *self.count.lock().unwrap() += requests;
        self.changed.notify_all();
    }
}

/// What happened to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests answered in whole.
    pub requests: u64,
    /// Connections made.
    pub connects: u64,
    /// Each way to be hurt, and how often.
    pub hurt: BTreeMap<Failure, u64>,
    /// Connections that the server closed while nothing was on its way: not hurt, but not kept.
    pub closed_idle: u64,
    /// Connections that the server closed after it had said so.
    pub closed_with_notice: u64,
    /// Requests answered, by the PID that answered.
    pub by_pid: BTreeMap<u64, u64>,
    /// Clients, by the number of workers that have answered them.
    pub by_workers_met: BTreeMap<usize, u64>,
    /// How long each exchange took: a connection, if there was none, and one request or several at once.
    pub latencies: Latencies,
}

impl Load {
    /// No client yet.
    #[must_use]
    pub fn new() -> Self {
        Self { stop: Arc::default(), answered: Arc::default(), path: "/".to_owned(), clients: Vec::new() }
    }

    /// Clients of HTTP/1.1 that are added from now on ask for this path, and not for `/`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Clients that keep their connection, and pause for up to 20 ms between requests (5 ms in a soak).
    #[must_use]
    pub fn keep_alive(self, address: &Address, count: usize) -> Self {
        self.add(address, count, Style::KeepAlive)
    }

    /// Clients that make a connection for each request.
    #[must_use]
    pub fn one_shot(self, address: &Address, count: usize) -> Self {
        self.add(address, count, Style::OneShot)
    }

    /// Clients that keep their connection, and send every kind of request: with and without a body, by length and by chunks,
    /// several at once. Some pause between two, some do not.
    #[must_use]
    pub fn mixed(self, address: &Address, with_pauses: usize, without: usize) -> Self {
        self.add(address, with_pauses, Style::Mixed { pauses: true }).add(
            address,
            without,
            Style::Mixed { pauses: false },
        )
    }

    /// Clients of HTTP/2 that keep their connection, and send several requests at once, with and without a body.
    #[must_use]
    pub fn streams(self, address: &Address, with_pauses: usize, without: usize) -> Self {
        self.add(address, with_pauses, Style::Streams { pauses: true }).add(
            address,
            without,
            Style::Streams { pauses: false },
        )
    }

    fn add(mut self, address: &Address, count: usize, style: Style) -> Self {
        for _ in 0..count {
            let (stop, answered, address) = (Arc::clone(&self.stop), Arc::clone(&self.answered), address.clone());
            let (path, seed) = (self.path.clone(), self.clients.len() as u64 + 1);
            self.clients.push(std::thread::spawn(move || run(&address, &stop, &answered, style, seed, &path)));
        }
        self
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> u64 {
        self.clients.len() as u64
    }

    /// Until so many more requests were answered: so that what follows happens under load.
    ///
    /// # Panics
    /// If they are not.
    pub fn flows(&self, requests: u64) {
        let count = self.answered.count.lock().unwrap();
        let goal = *count + requests;
        let (count, waited) = self.answered.changed.wait_timeout_while(count, PATIENCE, |count| *count < goal).unwrap();
        assert!(!waited.timed_out(), "the load does not flow: {count} of {goal} requests were answered");
    }

    /// Ends it.
    ///
    /// # Panics
    /// If a client did.
    #[must_use]
    pub fn finish(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let reports = self.clients.into_iter().map(|client| client.join().expect("a client never panics"));
        reports.fold(Report::default(), Report::plus)
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl Report {
    fn plus(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.connects += other.connects;
        self.closed_idle += other.closed_idle;
        self.closed_with_notice += other.closed_with_notice;
        other.hurt.into_iter().for_each(|(failure, count)| *self.hurt.entry(failure).or_default() += count);
        self.latencies.join(other.latencies);
        other.by_pid.into_iter().for_each(|(pid, count)| *self.by_pid.entry(pid).or_default() += count);
        let met = other.by_workers_met.into_iter();
        met.for_each(|(workers, count)| *self.by_workers_met.entry(workers).or_default() += count);
        self
    }

    /// Nobody was hurt.
    ///
    /// # Panics
    /// If somebody was.
    pub fn assert_unhurt(&self) {
        println!(
            "{} requests, {} connects, {} closed with notice, {} closed while idle, {} workers",
            self.requests,
            self.connects,
            self.closed_with_notice,
            self.closed_idle,
            self.by_pid.len()
        );
        assert!(self.hurt.is_empty(), "hurt: {self:?}");
        assert!(self.requests > 0, "there was no load");
    }

    /// Nobody was hurt, and each connection stayed as long as its client.
    ///
    /// # Panics
    /// If somebody was, or a connection was closed.
    pub fn assert_kept(&self) {
        self.assert_unhurt();
        assert_eq!(self.closed(), 0, "connections were closed: {self:?}");
    }

    /// Number of connections that were closed and could have been kept, with notice or without.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closed_idle + self.closed_with_notice
    }
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    KeepAlive,
    OneShot,
    Mixed {
        pauses: bool,
    },
    /// Of HTTP/2.
    Streams {
        pauses: bool,
    },
}

impl Style {
    fn has_pauses(self) -> bool {
        match self {
            Self::KeepAlive | Self::OneShot => true,
            Self::Mixed { pauses } | Self::Streams { pauses } => pauses,
        }
    }
}

fn run(address: &Address, stop: &AtomicBool, answered: &Answered, style: Style, seed: u64, path: &str) -> Report {
    let (mut report, mut client, mut random) = (Report::default(), None, seed);
    let mut streams = matches!(style, Style::Streams { .. }).then(Streams::new);
    // Shorter pauses leave two cores no time for the fleets of other tests.
    let pause = times(20_000, 5_000) as u64;
    while !stop.load(Ordering::Relaxed) {
        // A multiplicative congruence: any spread will do.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let began = Instant::now();
        let exchanged = match &mut streams {
            Some(streams) => streams.exchange(address, &mut report, random >> 33),
            None => exchange(address, &mut client, &mut report, style, random >> 33, path),
        };
        match exchanged {
            Ok(pids) => {
                report.latencies.add(began.elapsed());
                report.requests += pids.len() as u64;
                answered.add(pids.len() as u64);
                pids.into_iter().for_each(|pid| *report.by_pid.entry(pid).or_default() += 1);
            }
            Err(failure) => {
                println!("{style:?} of {address}: {failure:?} after {:?}", began.elapsed());
                client = None;
                *report.hurt.entry(failure).or_default() += 1;
            }
        }
        if style.has_pauses() {
            // Paces the client: real ones pause between two requests. No test waits for this.
            std::thread::sleep(Duration::from_micros((random >> 33) % pause));
        }
    }
    report.by_workers_met = BTreeMap::from([(report.by_pid.len(), 1)]);
    report
}

/// One or more requests and their answers; gives who answered.
fn exchange(
    address: &Address,
    kept: &mut Option<Client>,
    report: &mut Report,
    style: Style,
    random: u64,
    path: &str,
) -> Result<Vec<u64>, Failure> {
    if kept.as_ref().is_some_and(Client::is_closed) {
        report.closed_idle += 1;
        *kept = None;
    }
    let client = match kept {
        Some(client) => client,
        None => {
            report.connects += 1;
            kept.insert(Client::connect(address)?)
        }
    };
    let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let (text, count) = match (style, random / 8192 % 6) {
        (Style::OneShot, _) => (format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 1),
        (Style::KeepAlive, _) | (Style::Mixed { .. }, 0 | 1) => (get, 1),
        (Style::Streams { .. }, _) => unreachable!("they have their own exchange"),
        (Style::Mixed { .. }, 2) => {
            let length = random as usize % 3000;
            let head = format!("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            (head + &"x".repeat(length), 1)
        }
        (Style::Mixed { .. }, 3) => {
            let head = "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            (format!("{head}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), 1)
        }
        (Style::Mixed { .. }, 4) => (get.repeat(5), 5),
        (Style::Mixed { .. }, _) => {
            (format!("{get}POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc{get}"), 3)
        }
    };
    client.send(text.as_bytes())?;
    let mut pids = Vec::new();
    for _ in 0..count {
        let response = kept.as_mut().map_or(Err(Failure::ClosedEarly), Client::response)?;
        let closes = response.closes();
        pids.push(pid_of(&response)?);
        if closes {
            report.closed_with_notice += u64::from(style != Style::OneShot);
            *kept = None;
            // What was pipelined behind it has not been processed, and the client knows it (RFC 9112, section 9.3.2).
            break;
        }
    }
    Ok(pids)
}

fn pid_of(response: &Response) -> Result<u64, Failure> {
    if response.status != 200 {
        return Err(Failure::Status(response.status));
    }
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    Ok(body["pid"].as_u64().unwrap_or_default())
}

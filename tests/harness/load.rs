//! Many clients at once, until told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Address, Client, Failure, PATIENCE};

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Report>>,
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
}

impl Load {
    /// No client yet.
    #[must_use]
    pub fn new() -> Self {
        Self { stop: Arc::default(), answered: Arc::default(), clients: Vec::new() }
    }

    /// Clients that keep their connection and pause up to 5 ms between requests.
    #[must_use]
    pub fn keep_alive(self, address: &Address, count: usize) -> Self {
        self.add(address, count, true)
    }

    /// Clients that make a connection for each request.
    #[must_use]
    pub fn one_shot(self, address: &Address, count: usize) -> Self {
        self.add(address, count, false)
    }

    fn add(mut self, address: &Address, count: usize, keeps: bool) -> Self {
        for _ in 0..count {
            let (stop, answered, address) = (Arc::clone(&self.stop), Arc::clone(&self.answered), address.clone());
            let seed = self.clients.len() as u64 + 1;
            self.clients.push(std::thread::spawn(move || run(&address, &stop, &answered, keeps, seed)));
        }
        self
    }

    /// Until so many more requests were answered: so that what follows happens under load.
    ///
    /// # Panics
    /// If they are not.
    pub fn flows(&self, requests: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + requests;
        let began = std::time::Instant::now();
        while self.answered.load(Ordering::Relaxed) < goal {
            assert!(began.elapsed() < PATIENCE, "the load does not flow");
            std::thread::park_timeout(Duration::from_millis(1));
        }
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
        other.by_pid.into_iter().for_each(|(pid, count)| *self.by_pid.entry(pid).or_default() += count);
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
}

fn run(address: &Address, stop: &AtomicBool, answered: &AtomicU64, keeps: bool, seed: u64) -> Report {
    let (mut report, mut client, mut random) = (Report::default(), None, seed);
    while !stop.load(Ordering::Relaxed) {
        match request(address, &mut client, &mut report, keeps) {
            Ok(pid) => {
                report.requests += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                *report.by_pid.entry(pid).or_default() += 1;
            }
            Err(failure) => {
                client = None;
                *report.hurt.entry(failure).or_default() += 1;
            }
        }
        // A multiplicative congruence: any spread will do.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::park_timeout(Duration::from_micros((random >> 33) % 5000));
    }
    report
}

fn request(address: &Address, kept: &mut Option<Client>, report: &mut Report, keeps: bool) -> Result<u64, Failure> {
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
    let connection = if keeps { "keep-alive" } else { "close" };
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n").as_bytes())?;
    let response = client.response()?;
    if response.closes() {
        report.closed_with_notice += u64::from(keeps);
        *kept = None;
    }
    if response.status != 200 {
        return Err(Failure::Status(response.status));
    }
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    Ok(body["pid"].as_u64().unwrap_or_default())
}

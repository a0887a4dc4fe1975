//! Clients that count their requests by route and status.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, spawn};

use harness::{Address, Client, Failure, PATIENCE, Scrape};

use super::service::{DURATIONS, REQUESTS};

/// A kind of request: the label of its route, its method and target, and the status of its answer.
struct Kind {
    route: &'static str,
    method: &'static str,
    target: &'static str,
    status: u16,
}

const fn kind(route: &'static str, method: &'static str, target: &'static str, status: u16) -> Kind {
    Kind { route, method, target, status }
}

/// The kinds that each client sends in turn. A number is put behind the target.
const MIX: [Kind; 8] = [
    kind("/", "GET", "/?number=", 200),
    kind("/status/{code}", "GET", "/status/201?number=", 201),
    kind("/order", "GET", "/order?kind=tea&number=", 200),
    kind("/status/{code}", "GET", "/status/404?number=", 404),
    kind("/gather", "POST", "/gather?number=", 200),
    kind("unmatched", "GET", "/nothing/", 404),
    kind("/order", "GET", "/order?kind=coffee&number=", 200),
    kind("/status/{code}", "GET", "/status/503?number=", 503),
];

/// A connection is kept for so many requests. The next one may go to another worker.
const KEPT_FOR: usize = 50;

/// Requests by route and status, as their clients have seen them.
#[derive(Debug, Default)]
pub struct Account {
    /// Requests that were answered.
    pub answered: BTreeMap<(&'static str, u16), u64>,
    /// Requests that were not: they may have been counted or not.
    pub hurt: Vec<Failure>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<(Mutex<u64>, Condvar)>,
    clients: Vec<JoinHandle<Account>>,
}

impl Traffic {
    /// Starts so many clients.
    pub fn start(address: &Address, clients: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<(Mutex<u64>, Condvar)>::default());
        let client = |number| {
            let (address, stop, answered) = (address.clone(), Arc::clone(&stop), Arc::clone(&answered));
            // Each begins at another kind.
            spawn(move || run(&address, number, &stop, &answered))
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, answered, clients }
    }

    /// Waits until so many more requests were answered.
    pub fn flows(&self, requests: u64) {
        let count = self.answered.0.lock().unwrap();
        let goal = *count + requests;
        let (count, waited) = self.answered.1.wait_timeout_while(count, 4 * PATIENCE, |count| *count < goal).unwrap();
        assert!(!waited.timed_out(), "the traffic does not flow: {count} of {goal} requests were answered");
    }

    /// Ends all clients.
    pub fn finish(self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let accounts = self.clients.into_iter().map(|client| client.join().expect("a client never panics"));
        accounts.fold(Account::default(), Account::plus)
    }
}

impl Account {
    fn plus(mut self, other: Self) -> Self {
        other.answered.into_iter().for_each(|(key, count)| *self.answered.entry(key).or_default() += count);
        self.hurt.extend(other.hurt);
        self
    }

    /// All requests that were answered.
    pub fn requests(&self) -> u64 {
        self.answered.values().sum()
    }

    /// The scrape tells these numbers, to within the requests that were not answered.
    pub fn assert_told_by(&self, scrape: &Scrape) {
        let hurt = self.hurt.len() as u64;
        let is_near = |told: f64, answered: u64| told >= answered as f64 && told <= (answered + hurt) as f64;
        let mut all = 0.0;
        for ((route, status), answered) in &self.answered {
            let status = status.to_string();
            let labels = [("route", *route), ("status", status.as_str())];
            let counted = scrape.value(REQUESTS, &labels);
            assert!(is_near(counted, *answered), "{labels:?}: {counted} counted, {answered} answered, {hurt} hurt");
            assert_eq!(scrape.value(DURATIONS, &labels), counted, "{labels:?}");
            all += counted;
        }
        assert!(is_near(all, self.requests()), "{all} counted: {self:?}");
        // No other route or status but those of these clients.
        assert_eq!(scrape.get(REQUESTS, &[]), Some(all), "{:?}", scrape.by(REQUESTS, "route"));
    }
}

fn run(address: &Address, first: usize, stop: &AtomicBool, answered: &(Mutex<u64>, Condvar)) -> Account {
    let (mut account, mut kept) = (Account::default(), None);
    for number in first.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if number % KEPT_FOR == 0 {
            kept = None;
        }
        let kind = &MIX[number % MIX.len()];
        match exchange(address, &mut kept, kind, number) {
            Ok(status) => {
                *account.answered.entry((kind.route, status)).or_default() += 1;
                *answered.0.lock().unwrap() += 1;
                answered.1.notify_all();
            }
            Err(failure) => {
                kept = None;
                account.hurt.push(failure);
            }
        }
    }
    account
}

/// A request, and the status of its answer.
fn exchange(address: &Address, kept: &mut Option<Client>, kind: &Kind, number: usize) -> Result<u16, Failure> {
    if kept.as_ref().is_some_and(Client::is_closed) {
        *kept = None;
    }
    let client = match kept {
        Some(client) => client,
        None => kept.insert(Client::connect(address)?),
    };
    let body = if kind.method == "POST" { "Content-Length: 5\r\n\r\nhello" } else { "\r\n" };
    client.send(format!("{} {}{number} HTTP/1.1\r\nHost: x\r\n{body}", kind.method, kind.target).as_bytes())?;
    let response = client.response()?;
    if response.closes() {
        *kept = None;
    }
    if response.status == kind.status { Ok(response.status) } else { Err(Failure::Status(response.status)) }
}

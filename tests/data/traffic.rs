//! Clients that write items and read them again, while the database's server and the service are disturbed.
//!
//! Each client works on ids of its own. It knows for each id what an answer may be: a write that was acknowledged is there from then
//! on; one that was answered with 503, or not at all, may be there or not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::{Address, Client, Failure, PATIENCE, Response};
use serde_json::Value;

/// No answer takes longer: two cores with a loaded fleet need some time beside the deadlines of the tests.
pub const LONGEST: Duration = Duration::from_secs(10);

/// Clients at work.
pub struct Traffic {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Counts>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Answers so far: those with the right value, and those that said that a part is away.
    seen: Mutex<(u64, u64)>,
    changed: Condvar,
}

/// Outcome of all requests.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answers with the right value.
    pub right: u64,
    /// 503 that say when to come again.
    pub away: u64,
    /// 503 of `timeouts.request`: the part had not answered by then.
    pub cut: u64,
    /// Everything else, and how often.
    pub hurt: BTreeMap<String, u64>,
    /// The longest time to an answer.
    pub longest: Duration,
    /// Ids whose write was acknowledged.
    pub kept: Vec<i64>,
}

/// A POST or PUT with a body of JSON.
pub fn send(address: &Address, method: &str, path: &str, body: &Value) -> Result<Response, Failure> {
    let body = body.to_string();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let text = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    Client::asking(address, &text)?.response()
}

/// True for the answer of a service whose part is away.
pub fn is_away(answer: &Response) -> bool {
    answer.status == 503 && answer.headers.get("retry-after").is_some_and(|seconds| seconds == "1")
}

/// True for the answer after `timeouts.request`.
fn is_cut(answer: &Response) -> bool {
    answer.status == 503 && String::from_utf8_lossy(&answer.body).contains("no answer within")
}

/// An item.
pub fn item(id: i64) -> Value {
    serde_json::json!({ "id": id, "name": format!("name {id}"), "note": format!("note {id}") })
}

impl Traffic {
    /// Starts so many clients.
    pub fn start(address: &Address, clients: i64) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |number: i64| {
            let (shared, address) = (Arc::clone(&shared), address.clone());
            std::thread::spawn(move || run(&address, &shared, number * 1_000_000))
        };
        let clients = (1..=clients).map(client).collect();
        Self { shared, clients }
    }

    fn until(&self, what: &str, is_so: impl Fn((u64, u64), (u64, u64)) -> bool) {
        let seen = self.shared.seen.lock().unwrap();
        let before = *seen;
        let is_missing = |seen: &mut (u64, u64)| !is_so(before, *seen);
        let (seen, waited) = self.shared.changed.wait_timeout_while(seen, PATIENCE, is_missing).unwrap();
        assert!(!waited.timed_out(), "not within {PATIENCE:?}: {what}; seen {seen:?} (right, away), before {before:?}");
    }

    /// Until so many more answers were right.
    pub fn flows(&self, answers: u64) {
        self.until("answers are right", |before, now| now.0 >= before.0 + answers);
    }

    /// Until so many more answers said that the part is away.
    pub fn is_told(&self, answers: u64) {
        self.until("answers say that the part is away", |before, now| now.1 >= before.1 + answers);
    }

    /// Ends it.
    pub fn finish(self) -> Counts {
        self.shared.stop.store(true, Ordering::Relaxed);
        let all = self.clients.into_iter().map(|client| client.join().expect("a client never panics"));
        all.fold(Counts::default(), Counts::plus)
    }
}

impl Counts {
    fn plus(mut self, other: Self) -> Self {
        self.right += other.right;
        self.away += other.away;
        self.cut += other.cut;
        self.longest = self.longest.max(other.longest);
        self.kept.extend(other.kept);
        other.hurt.into_iter().for_each(|(what, count)| *self.hurt.entry(what).or_default() += count);
        self
    }

    /// Nobody got a wrong answer, no answer, or a late one.
    pub fn assert_right(&self, longest: Duration) {
        println!("{} right, {} away, {} cut, longest {:?}", self.right, self.away, self.cut, self.longest);
        assert!(self.hurt.is_empty(), "{:#?}", self.hurt);
        assert!(self.longest < longest, "an answer took {:?}", self.longest);
        assert!(self.right > 0);
    }
}

fn run(address: &Address, shared: &Shared, first: i64) -> Counts {
    let mut counts = Counts::default();
    let mut id = first;
    while !shared.stop.load(Ordering::Relaxed) {
        id += 1;
        if step(address, shared, &mut counts, id, true) {
            step(address, shared, &mut counts, id, false);
        }
        // Paces the client: real ones pause between two requests. No test waits for this.
        std::thread::sleep(Duration::from_millis(5));
    }
    counts
}

/// Writes an item, or reads one whose write was acknowledged. True if the answer was right.
fn step(address: &Address, shared: &Shared, counts: &mut Counts, id: i64, writes: bool) -> bool {
    let began = Instant::now();
    let (answer, expected) = if writes {
        (send(address, "POST", "/items", &item(id)), 201)
    } else {
        (harness::get(address, &format!("/items/{id}")), 200)
    };
    counts.longest = counts.longest.max(began.elapsed());
    let is_right = |answer: &Response| {
        answer.status == expected && serde_json::from_slice::<Value>(&answer.body).is_ok_and(|body| body == item(id))
    };
    let (right, away, cut) = match &answer {
        Ok(answer) => (is_right(answer), is_away(answer), is_cut(answer)),
        Err(_) => (false, false, false),
    };
    counts.right += u64::from(right);
    counts.away += u64::from(away);
    counts.cut += u64::from(cut);
    if right && writes {
        counts.kept.push(id);
    }
    if !right && !away && !cut {
        let what = match answer {
            Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(failure) => format!("{failure:?}"),
        };
        *counts.hurt.entry(format!("{} {what}", if writes { "write" } else { "read" })).or_default() += 1;
    }
    let mut seen = shared.seen.lock().unwrap();
    seen.0 += u64::from(right);
    seen.1 += u64::from(away);
    drop(seen);
    shared.changed.notify_all();
    right
}

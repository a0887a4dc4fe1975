//! Memory and time of a connection are bounded, whatever its client does.
//!
//! A limit is tested from both sides: who keeps to it is served, and who does not is not. Where the connection can go to another worker,
//! that is tested before and after it went, over cleartext and over TLS. Over HTTP/2 it is tested before a drain and in one.

mod bodies;
mod connections;
mod handover;
mod heads;
mod paused;
mod readers;
mod senders;
mod streams;
mod websockets;

use std::time::Duration;

use harness::{Address, Client, Held, Hold, Http2, Supervisor, WebSocket, supervisor};

/// Short enough for a test, long enough for a busy machine.
const TIMEOUTS: &str = "[timeouts]\nread = \"1s\"\nwrite = \"1s\"\nidle = \"20s\"\n";
/// Pause of clients that are slow.
const TENTH: Duration = Duration::from_millis(100);

/// One worker of ours, over TCP, a Unix socket and TLS, with these sections.
fn supervised(sections: &str) -> Supervisor {
    supervisor().workers(1).ours("one", "ok").and_unix().https().set("soak = \"0s\"").section(sections).start()
}

/// Its listeners over TCP: of cleartext, and of TLS.
fn both(gin: &Supervisor) -> [Address; 2] {
    [gin.tcp(), gin.https()]
}

/// A connection on which one request was answered: it rests, and can go to another worker.
fn asked_once(address: &Address) -> Client {
    let mut client = Client::connect(address).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    client
}

/// Has `check` look at connections that are with the worker that accepted them, and then at others that another worker has taken over.
fn before_and_after_a_handover<T>(gin: &Supervisor, open: impl Fn() -> T, check: impl Fn(T)) {
    check(open());
    let kept = open();
    // The worker that accepted them is gone then.
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["cut=0"]);
    check(kept);
}

/// Has `check` look at requests whose handlers go on in a worker that serves, and then at others whose handlers go on in a drain. `open`
/// makes so many requests, which are held.
fn before_and_in_a_drain<T>(gin: &Supervisor, requests: usize, open: impl Fn(&Hold) -> T, check: impl Fn(T)) {
    let hold = gin.hold();
    for drains in [false, true] {
        let opened = open(&hold);
        let held: Vec<Held> = (0..requests).map(|_| hold.arrived()).collect();
        if drains {
            gin.restart();
        }
        held.into_iter().for_each(Held::release);
        check(opened);
    }
}

/// A connection over HTTP/2 whose client takes `window` bytes of each response at first.
fn over_http2(gin: &Supervisor, window: u32) -> Http2 {
    let Address::Tcp(address) = gin.tcp() else { panic!("not over TCP") };
    Http2::connect(address, window)
}

/// Has the requests so far reach the worker: it answers one that is asked later, without a body.
fn send_requests(http2: &mut Http2) {
    let later = http2.get("/cached");
    assert_eq!(http2.runtime.block_on(later).unwrap().status(), 200);
}

/// Time as a worker tells it: it sends a frame every 10 ms. So no test sleeps.
struct Clock(WebSocket);

impl Clock {
    fn of(gin: &Supervisor) -> Self {
        Self(WebSocket::open(&gin.tcp(), "/raw"))
    }

    /// Waits for [`TENTH`] or a little longer.
    fn tenth(&mut self) {
        for _ in 0..10 {
            let _ = self.0.receive();
        }
    }
}

//! Real clients in other languages over HTTPS: each keeps its connections through 20 restarts, and no request of theirs fails. Only
//! `tests/run --services` runs these: it installs the clients.
//!
//! - `languages` has programs of Go, Python, Node and Java, which send requests until the test has done its restarts
//! - `tools` has curl, h2load and nghttp, whose requests are all known when they start

mod languages;
mod tools;

use std::fs;

use harness::{Address, Builder, Scrape, Supervisor, supervisor};

/// Restarts in the life of each connection.
const RESTARTS: usize = 20;
/// Connections at once, where the client makes as many as it is told to.
const CLIENTS: usize = 4;
/// Length of `/static/large`, which the programs in `fixtures/clients` know.
const LARGE: usize = 200_000;
/// Length of bodies that clients send, which those programs know, too.
const BODY: usize = 100_000;

/// Fleet whose workers serve a large file beside the fixture's own answers, over HTTPS.
fn fleet() -> Builder {
    let builder = supervisor().workers(2).ours("one", "ok").https().set("soak = \"0s\"");
    let files = builder.releases().path("one").join("static");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("large"), "x".repeat(LARGE)).unwrap();
    builder
}

/// Start of all URLs.
fn base(gin: &Supervisor) -> String {
    format!("https://localhost:{}", gin.https_socket().port())
}

/// Asserts by the server's own counts that clients have made so many connections in all, and that workers have taken these over from one
/// another so many times at least.
fn assert_kept(gin: &Supervisor, connections: usize, moves: usize) {
    let scrape = Scrape::of(&Address::Unix(gin.socket()), "/v1/metrics").unwrap();
    let handshakes = scrape.by("gin_server_tls_handshakes_total", "result");
    let failed = handshakes.get("failed").copied().unwrap_or_default();
    let all: f64 = handshakes.values().sum();
    assert!(all == connections as f64 && failed == 0.0, "{handshakes:?} and not {connections}: {}", gin.log());
    let taken = scrape.value("gin_server_connections_taken_over_total", &[]);
    assert!(taken >= moves as f64, "{taken} moves and not {moves}: {}", gin.log());
}

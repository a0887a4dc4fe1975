//! curl, h2load and nghttp. All their requests are known when they start. So these come in rounds, each with a restart: a round begins with
//! requests that the test holds, as many as a tool sends at once, and the others of the round are sent while the restart goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use harness::{Builder, Ctl, Held, Hold, Supervisor, tls_file};

use super::{BODY, CLIENTS, RESTARTS, assert_kept, base, fleet};

/// Requests at once on a connection of HTTP/2, or of curl in all.
const LANES: usize = 4;
/// Requests of a round that are not held.
const FREE: usize = 60;
/// Rounds at least in which a connection has moved. One that is busy until the next restart misses a round.
const MOVES: usize = RESTARTS / 4;
/// Targets of requests that have no body, and of those that have one.
const GETS: [&str; 2] = ["/", "/static/large"];
const POSTS: [&str; 1] = ["/upload"];

/// A tool, its supervisor and its requests.
struct Trial {
    gin: Supervisor,
    hold: Hold,
    /// Start of all URLs.
    base: String,
    /// Targets of a round.
    round: Vec<String>,
    /// Requests that are held in a round, on each connection or in all.
    lanes: usize,
}

impl Trial {
    fn new(builder: Builder, lanes: usize, targets: &[&str]) -> Self {
        let gin = builder.start();
        let (hold, base) = (gin.hold(), base(&gin));
        let held = std::iter::repeat_n(hold.target(), lanes);
        let round = held.chain(targets.iter().cycle().take(FREE).map(|target| (*target).to_owned())).collect();
        fs::write(gin.dir().join("body"), "y".repeat(BODY)).unwrap();
        Self { gin, hold, base, round, lanes }
    }

    /// A command that ends after a while, even if an answer does not come.
    fn command(program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "200", program]);
        command
    }

    fn body(&self) -> PathBuf {
        self.gin.dir().join("body")
    }

    fn url(&self, target: &str) -> String {
        format!("{}{target}", self.base)
    }

    /// Number of all requests, of so many clients that each have all rounds.
    fn count(&self, clients: usize) -> usize {
        self.round.len() * RESTARTS * clients
    }

    /// Runs the tool, with a restart in each round of these clients. Returns what it has printed.
    fn run(&self, command: &mut Command, clients: usize) -> String {
        let output = thread::scope(|scope| {
            let tool = scope.spawn(|| command.output().unwrap());
            for _ in 0..RESTARTS {
                let held: Vec<Held> = (0..self.lanes * clients).map(|_| self.hold.arrived()).collect();
                let restart = self.gin.ctl_in_background(&["restart"]);
                drop(held);
                Ctl::from(restart.wait_with_output().unwrap()).assert(0, &["serves"]);
            }
            tool.join().unwrap()
        });
        let Output { status, stdout, stderr } = output;
        let [text, errors] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(status.success(), "{status}: {text}{errors}: {}", self.gin.log());
        text
    }

    /// Asserts that so many connections were made, and have moved; ends the trial.
    fn ends(self, connections: usize) {
        assert_kept(&self.gin, connections, connections * MOVES);
        self.gin.ends_sound();
    }
}

/// A part of curl's configuration: one transfer, and a line about it.
fn transfer(trial: &Trial, option: &str, target: &str) -> String {
    let more = match target {
        "/upload" => format!("upload-file = {:?}\nrequest = \"POST\"\n", trial.body()),
        "/static/large" => "output = \"/dev/null\"\n".to_owned(),
        _ => String::new(),
    };
    let told = r"\ntold %{http_code} %{http_version} %{num_connects}\n";
    let (url, authority) = (trial.url(target), tls_file("ca.pem"));
    format!("url = {url:?}\ncacert = {authority:?}\n{option}\nwrite-out = \"{told}\"\n{more}")
}

/// curl with this option, one transfer after another or several at once, makes so many connections.
fn curl(option: &str, lanes: usize, connections: usize) {
    let trial = Trial::new(fleet(), lanes, &["/", "/upload", "/static/large"]);
    let transfers: Vec<String> = trial.round.iter().map(|target| transfer(&trial, option, target)).collect();
    let file = trial.gin.dir().join("transfers");
    fs::write(&file, vec![transfers.join("next\n"); RESTARTS].join("next\n")).unwrap();
    let mut command = Trial::command("/usr/bin/curl");
    command.args(["-sS", "-K"]).arg(&file);
    if lanes > 1 {
        command.arg("--parallel").args(["--parallel-max", &lanes.to_string()]);
    }
    let text = trial.run(&mut command, 1);

    let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("told ")).collect();
    let version = if option == "http2" { "200 2 " } else { "200 1.1 " };
    let connects: Vec<usize> =
        told.iter().filter_map(|line| line.strip_prefix(version)).map(|count| count.parse().unwrap()).collect();
    assert!(told.len() == trial.count(1) && connects.len() == told.len(), "{text}");
    assert_eq!(connects.iter().sum::<usize>(), connections, "{}", trial.gin.log());
    let generations: BTreeSet<&str> =
        text.split("\"generation\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(generations.len() > MOVES, "{generations:?}");
    trial.ends(connections);
}

/// h2load with these options sends requests to these targets: uploads to [`POSTS`].
fn h2load(options: &[&str], lanes: usize, targets: &[&str]) {
    let trial = Trial::new(fleet(), lanes, targets);
    let (file, count) = (trial.gin.dir().join("urls"), trial.count(CLIENTS));
    // Each client begins anew with the first one after the last one.
    let urls: Vec<String> = trial.round.iter().map(|target| trial.url(target)).collect();
    fs::write(&file, urls.join("\n") + "\n").unwrap();
    let mut command = Trial::command("/usr/bin/h2load");
    command.args(options).arg("-i").arg(&file).args(["-n", &count.to_string(), "-c", &CLIENTS.to_string()]);
    command.args(["-m", &lanes.to_string()]);
    if targets == POSTS {
        command.arg("-d").arg(trial.body());
    }
    let text = trial.run(&mut command, CLIENTS);
    let requests = format!("{count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(text.contains(&requests) && text.contains(&format!("status codes: {count} 2xx")), "{text}");
    trial.ends(CLIENTS);
}

/// nghttp sends requests to these targets on its one connection, with a body if there is one.
fn nghttp(targets: &[&str], body: impl Fn(&Trial) -> Option<PathBuf>) {
    let trial = Trial::new(fleet().section(&format!("[limits]\nstreams = {LANES}")), LANES, targets);
    let all = trial.round.iter().cycle().take(trial.count(1)).enumerate();
    // It asks once alone for each URL.
    let urls = all.map(|(number, target)| {
        let sign = if target.contains('?') { '&' } else { '?' };
        trial.url(&format!("{target}{sign}number={number}"))
    });
    let mut command = Trial::command("/usr/bin/nghttp");
    // It would open 100 streams before it knows the server's limit.
    command.args(["-n", "-s", "-M", &LANES.to_string()]);
    if let Some(body) = body(&trial) {
        command.arg("-d").arg(body);
    }
    let text = trial.run(command.args(urls), 1);
    // Number, end, begin, time, status, length and target.
    let answered = text.lines().filter(|line| line.split_whitespace().nth(4) == Some("200")).count();
    assert_eq!(answered, trial.count(1), "{text}");
    trial.ends(1);
}

#[test]
#[ignore = "with the other clients: tests/run --services"]
fn curl_keeps_its_connection_over_http1() {
    curl("http1.1", 1, 1);
}

#[test]
#[ignore = "with the other clients: tests/run --services"]
fn curl_keeps_its_connection_over_http2() {
    curl("http2", 1, 1);
}

#[test]
#[ignore = "with the other clients: tests/run --services"]
fn curls_parallel_transfers_keep_their_connections_over_http1() {
    curl("http1.1", LANES, LANES);
}

#[test]
#[ignore = "with the other clients: tests/run --services"]
fn curls_parallel_transfers_keep_their_connection_over_http2() {
    curl("http2", LANES, 1);
}

#[test]
#[ignore = "needs h2load: tests/run --services"]
fn h2load_keeps_its_connections_over_http1() {
    h2load(&["--h1"], 1, &GETS);
    h2load(&["--h1"], 1, &POSTS);
}

#[test]
#[ignore = "needs h2load: tests/run --services"]
fn h2load_keeps_its_connections_over_http2() {
    h2load(&[], LANES, &GETS);
    h2load(&[], LANES, &POSTS);
}

#[test]
#[ignore = "needs nghttp: tests/run --services"]
fn nghttp_keeps_its_connection() {
    nghttp(&GETS, |_| None);
    nghttp(&POSTS, |trial| Some(trial.body()));
}

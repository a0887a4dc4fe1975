//! Whether one's own service survives restarts under load.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::client::Client;

/// For the supervisor to serve, and for a restart.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the supervisor is, if not beside the program or in PATH.
const GIN_SUPERVISOR: &str = "GIN_SUPERVISOR";

/// A program of one's own under a real supervisor, asked by clients that keep their connections, and restarted meanwhile.
///
/// ```no_run
/// use gin_worker::testing::UnderLoad;
///
/// #[tokio::test]
/// async fn a_restart_hurts_nobody() {
///     UnderLoad::new(env!("CARGO_BIN_EXE_shop")).path("/health").restarts(3).run().await.assert_nobody_noticed();
/// }
/// ```
///
/// `gin-supervisor` is looked for in `GIN_SUPERVISOR`, beside the program, in the directory above it, and in `PATH`.
#[derive(Debug, Clone)]
pub struct UnderLoad {
    program: PathBuf,
    arguments: Vec<String>,
    path: String,
    clients: usize,
    workers: u32,
    restarts: u32,
    config: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Answers with a status below 500.
    pub answered: u64,
    /// Connections that clients made: as many as there are clients, if none was closed.
    pub connected: u64,
    /// Connections that were closed under a client, between two requests.
    pub closed: u64,
    /// Requests without an answer, or with a status of 500 or more: what was wrong.
    pub failed: Vec<String>,
    /// Which generations answered the restarts, in words.
    pub restarts: Vec<String>,
}

impl Outcome {
    /// # Panics
    /// If a request failed, or a connection was closed, or nobody was served.
    #[track_caller]
    pub fn assert_nobody_noticed(&self) {
        assert!(self.failed.is_empty(), "{} requests failed: {}", self.failed.len(), self.failed.join("; "));
        assert!(self.closed == 0, "{} connections were closed", self.closed);
        assert!(self.answered > 0, "nothing was answered");
    }
}

impl UnderLoad {
    /// This program.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            path: "/".to_owned(),
            clients: 16,
            workers: 2,
            restarts: 3,
            config: String::new(),
        }
    }

    /// With this argument, too.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// What is asked for: `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// So many clients at once: 16.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// So many workers: 2.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// So many restarts, one after the other: 3.
    #[must_use]
    pub fn restarts(mut self, restarts: u32) -> Self {
        self.restarts = restarts;
        self
    }

    /// More configuration, as TOML: sections but `[supervisor]` and `[server]`.
    #[must_use]
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = toml.into();
        self
    }

    /// Runs it, and gives what came of it.
    ///
    /// # Panics
    /// If the supervisor does not start, or a restart fails: with what it said.
    pub async fn run(&self) -> Outcome {
        let supervisor = Supervisor::start(self).await.unwrap_or_else(|error| panic!("{error}"));
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        let counts: Vec<Arc<AtomicU64>> = (0..self.clients).map(|_| Arc::default()).collect();
        for count in &counts {
            clients.spawn(keep_asking(supervisor.address, self.path.clone(), Arc::clone(&over), Arc::clone(count)));
        }
        let mut restarts = Vec::new();
        for _ in 0..self.restarts {
            all_have_asked(&counts).await;
            restarts.push(supervisor.restart().await.unwrap_or_else(|error| panic!("{error}")));
        }
        all_have_asked(&counts).await;
        over.store(true, Ordering::Relaxed);
        let mut all = Outcome { restarts, ..Outcome::default() };
        while let Some(one) = clients.join_next().await {
            let one = one.unwrap_or_else(|panic| panic!("a client: {panic}"));
            all.answered += one.answered;
            all.connected += one.connected;
            all.closed += one.closed;
            all.failed.extend(one.failed);
        }
        supervisor.stop().await;
        all
    }
}

/// Each once more, or in vain.
async fn all_have_asked(counts: &[Arc<AtomicU64>]) {
    let before: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    let until = tokio::time::Instant::now() + PATIENCE;
    let has_not = |(count, before): (&Arc<AtomicU64>, &u64)| count.load(Ordering::Relaxed) == *before;
    while counts.iter().zip(&before).any(has_not) && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// On one connection for as long as it lasts.
async fn keep_asking(address: SocketAddr, path: String, over: Arc<AtomicBool>, asked: Arc<AtomicU64>) -> Outcome {
    let mut own = Outcome::default();
    let mut client = None;
    while !over.load(Ordering::Relaxed) || own.answered == 0 && own.failed.is_empty() {
        asked.fetch_add(1, Ordering::Relaxed);
        let Some(open) = &mut client else {
            match Client::connect(address).await {
                Ok(new) => {
                    own.connected += 1;
                    client = Some(new);
                }
                Err(error) => own.failed.push(format!("connect: {error}")),
            }
            continue;
        };
        if !open.is_open().await {
            own.closed += 1;
            client = None;
            continue;
        }
        match open.send(&Method::GET, &path, &HeaderMap::new(), Bytes::new()).await {
            Ok(answer) if answer.status().as_u16() < 500 => own.answered += 1,
            Ok(answer) => own.failed.push(format!("{}: {}", answer.status(), String::from_utf8_lossy(answer.body()))),
            Err(error) => {
                own.failed.push(error.to_string());
                client = None;
            }
        }
    }
    own
}

struct Supervisor {
    process: Child,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

impl Supervisor {
    async fn start(of: &UnderLoad) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let place = |name: &str| directory.path().join(name);
        let program = of.program.display().to_string();
        let command: Vec<&str> =
            std::iter::once(program.as_str()).chain(of.arguments.iter().map(String::as_str)).collect();
        let mut config = String::from(
            "[supervisor]\nchannel = true\nprivate_listener = true\nsoak = \"0s\"\non_master_death = \"exit\"\n",
        );
        // A text of TOML is one of JSON, as far as a program's name goes.
        let _ = writeln!(config, "command = {}\nworkers = {}", json!(command), of.workers);
        for (key, name) in [("pid_file", "pid"), ("control", "control.sock"), ("status", "status.sock")] {
            let _ = writeln!(config, "{key} = {}", json!(place(name)));
        }
        let _ = writeln!(config, "[[supervisor.listen]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\n{}", of.config);
        let file = place("gin.toml");
        std::fs::write(&file, config)?;
        let log = std::fs::File::create(place("log"))?;
        let supervisor = supervisor(&of.program);
        let process = Command::new(&supervisor)
            .arg("--config")
            .arg(&file)
            .env("XDG_RUNTIME_DIR", directory.path())
            .env("RUNTIME_DIRECTORY", directory.path())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let text = format!("{}: {error}; set {GIN_SUPERVISOR} to where it is", supervisor.display());
                io::Error::new(error.kind(), text)
            })?;
        let mut own = Self { process, directory, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        own.address = own.served().await?;
        Ok(own)
    }

    fn control(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// What it said: the last lines.
    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn failed(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what}; it said:\n{}", self.said()))
    }

    /// Until it serves: where.
    async fn served(&mut self) -> io::Result<SocketAddr> {
        let until = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < until {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(self.failed(&format!("the supervisor has ended: {status}")));
            }
            // Its socket is there before the first worker is, and nothing tells when.
            if let Ok(status) = self.ask(&Method::GET, "/v1/status").await
                && let Some(address) = serves(&status)
            {
                return Ok(address);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(self.failed("the supervisor does not serve"))
    }

    async fn ask(&self, method: &Method, path: &str) -> io::Result<Value> {
        let mut client = Client::connect_unix(&self.control()).await?;
        let answer = client.send(method, path, &HeaderMap::new(), Bytes::new()).await?;
        serde_json::from_slice(answer.body()).map_err(io::Error::other)
    }

    async fn restart(&self) -> io::Result<String> {
        let accepted = self.ask(&Method::POST, "/v1/restart").await?;
        let path = format!("/v1/operations/{}", accepted["operation"]);
        let mut client = Client::connect_unix(&self.control()).await?;
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        // Its end is the operation's.
        let steps = tokio::time::timeout(PATIENCE, client.send(&Method::GET, &path, &headers, body)).await;
        let steps = steps.map_err(|_| self.failed("a restart does not end"))??;
        let last: Value = steps
            .body()
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .next_back()
            .unwrap_or_default();
        if last["exit"] == 0 {
            return Ok(last["text"].as_str().unwrap_or_default().to_owned());
        }
        Err(self.failed(&format!("a restart failed: {last}")))
    }

    async fn stop(mut self) {
        let _ = self.ask(&Method::POST, "/v1/stop").await;
        // One that does not end is killed when it is dropped.
        let _ = tokio::time::timeout(PATIENCE, self.process.wait()).await;
    }
}

fn serves(status: &Value) -> Option<SocketAddr> {
    let is_current = |generation: &&Value| generation["role"] == "current";
    status["generations"].as_array()?.iter().find(is_current)?;
    status["listeners"][0]["address"].as_str()?.parse().ok()
}

fn supervisor(program: &Path) -> PathBuf {
    let name = "gin-supervisor";
    let around = program.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    let named = std::env::var_os(GIN_SUPERVISOR).map(PathBuf::from);
    named.into_iter().chain(around).find(|path| path.is_file()).unwrap_or_else(|| name.into())
}

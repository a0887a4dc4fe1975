//! Restarts of one's own service under load.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::crowd::Crowd;
use super::outcome::Outcome;
use super::request::Request;
use super::supervisor::{Program, Supervisor};
#[cfg(feature = "websocket")]
use super::talk::Talk;

/// Makes the request of this number.
pub(super) type Ask = Arc<dyn Fn(u64) -> Request + Send + Sync>;
/// Adds members to a crowd that uses the service at this address.
type Join = Arc<dyn Fn(SocketAddr, &mut Crowd) + Send + Sync>;

/// A program of one's own under a real supervisor: clients ask it on connections that they keep, WebSockets talk to it, and meanwhile it is
/// restarted.
///
/// Between two restarts each client sends each request at least once, and each WebSocket gets an answer. A request succeeds with a status
/// from 200 to 299, or with the one that it [expects](Request::expects): a 404 because of a typing error is a failure.
///
/// ```no_run
/// use gin_worker::serde_json::json;
/// use gin_worker::testing::{Request, Talk, UnderLoad};
///
/// // In tests/restart.rs this is a #[tokio::test], and the program is env!("CARGO_BIN_EXE_shop").
/// async fn a_restart_hurts_nobody() {
///     let create = |number: u64| {
///         let user = json!({ "email": format!("{number}@example.org") });
///         Request::post("/api/v1/users").bearer("secret").json(user).expects(201)
///     };
///     UnderLoad::new("target/debug/shop")
///         .request(Request::get("/api/v1/users?page=1").bearer("secret"))
///         .request(Request::get("/api/v1/users").expects(401))
///         .request_with(create)
///         .websocket(Talk::new("/echo"))
///         .restarts(3)
///         .run()
///         .await
///         .assert_nobody_noticed();
/// }
/// ```
///
/// `gin-supervisor` is looked for in the place that `GIN_SUPERVISOR` says, beside the program, in the directory above it, and in `PATH`.
#[derive(Clone)]
#[must_use = "it does nothing before `run`"]
pub struct UnderLoad {
    program: Program,
    asks: Vec<Ask>,
    talks: Vec<Join>,
    clients: usize,
    restarts: u32,
}

impl fmt::Debug for UnderLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderLoad")
            .field("program", &self.program)
            .field("clients", &self.clients)
            .field("restarts", &self.restarts)
            .finish_non_exhaustive()
    }
}

impl UnderLoad {
    /// Tests this program: `env!("CARGO_BIN_EXE_shop")` is the one of the package's binary `shop`. Without more, 16 clients ask two workers
    /// for `/`, during 3 restarts.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: Program::new(program.into()), asks: Vec::new(), talks: Vec::new(), clients: 16, restarts: 3 }
    }

    /// Adds an argument of the program's command line.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.program.arguments.push(argument.into());
        self
    }

    /// Adds a variable to the program's environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.program.environment.push((name.into(), value.into()));
        self
    }

    /// Adds a `GET` request for this path. The same as `request(Request::get(path))`.
    pub fn path(self, path: impl Into<String>) -> Self {
        self.request(Request::get(path))
    }

    /// Adds a request that every client sends, again and again.
    pub fn request(self, request: Request) -> Self {
        self.request_with(move |_: u64| request.clone())
    }

    /// Adds a request that is another one each time. `make` is given a number that no other request of the run has: for a name that must
    /// not be taken, say.
    pub fn request_with(mut self, make: impl Fn(u64) -> Request + Send + Sync + 'static) -> Self {
        self.asks.push(Arc::new(make));
        self
    }

    /// Adds WebSockets that talk throughout.
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self, talk: Talk) -> Self {
        self.talks.push(Arc::new(move |address: SocketAddr, crowd: &mut Crowd| talk.join(address, crowd)));
        self
    }

    /// Sets the number of clients at once: 16 without this.
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// Sets the number of workers: 2 without this.
    pub fn workers(mut self, workers: u32) -> Self {
        self.program.workers = workers;
        self
    }

    /// Sets the number of restarts, one after the other: 3 without this.
    pub fn restarts(mut self, restarts: u32) -> Self {
        self.restarts = restarts;
        self
    }

    /// Sets more configuration of the program, as TOML: any section but `[supervisor]` and `[server]`.
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.program.config = toml.into();
        self
    }

    /// Runs the program, and returns the outcome.
    ///
    /// # Panics
    /// If the supervisor does not start, or a restart fails: with what it said.
    pub async fn run(&self) -> Outcome {
        let supervisor = Supervisor::start(&self.program).await.unwrap_or_else(|error| panic!("{error}"));
        let mut crowd = self.crowd(supervisor.address);
        let mut restarts = Vec::new();
        for _ in 0..self.restarts {
            crowd.goes_round().await;
            restarts.push(supervisor.restart().await.unwrap_or_else(|error| panic!("{error}")));
        }
        crowd.goes_round().await;
        let outcome = crowd.end().await;
        supervisor.stop().await;
        Outcome { restarts, ..outcome }
    }

    /// Everybody who uses the program at this address.
    pub(super) fn crowd(&self, address: SocketAddr) -> Crowd {
        let (mut crowd, mut asks) = (Crowd::new(), self.asks.clone());
        if asks.is_empty() && self.talks.is_empty() {
            asks.push(Arc::new(|_: u64| Request::get("/")));
        }
        if !asks.is_empty() {
            crowd.ask(address, &asks, self.clients);
        }
        for join in &self.talks {
            join(address, &mut crowd);
        }
        crowd
    }
}

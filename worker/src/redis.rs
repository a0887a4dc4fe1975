//! Redis, for whatever is kept there: the cache, sessions, the rate limit. They share one [`Redis`], which is opened by its first use.
//!
//! Nobody hangs: a connection is there within `redis.dial_timeout` and an answer within `redis.read_timeout`, and the first question that
//! has none ends all others, too. From then on nobody asks, each question fails at once, and the circuit ([`circuit`]) looks each second
//! whether the server is back. What is done without Redis is the user's: the cache asks the source, the rate limit counts in this host, a
//! session answers 503.

#![cfg_attr(not(feature = "cache"), allow(dead_code, unused_imports, reason = "the cache uses all of it"))]

mod circuit;
mod connections;
#[cfg(test)]
pub(crate) mod stub;
mod tls;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use ::redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use ::redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation, ServerErrorKind};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::config;
use crate::observed::doing::{Doing, doing};
use crate::traces::{self, Attributes, Call, SpanKind};
use circuit::Circuit;
pub(crate) use circuit::RETRY;
use connections::{Connections, Question};

/// A question without an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The server did not answer, or is known to be away.
    #[error("Redis at {address} is away: {why}")]
    Away { address: Arc<str>, why: String },
    /// The server has answered with an error, or with something else than was asked for.
    #[error("Redis has refused: {0}")]
    Refused(RedisError),
}

impl Failure {
    /// The attribute `error.type` of a span.
    fn kind(&self) -> &'static str {
        match self {
            Self::Away { .. } => "unavailable",
            Self::Refused(_) => "_OTHER",
        }
    }
}

/// Something that must be done when a server was away, before anybody asks it again.
pub(crate) trait Settle: Send + Sync {
    /// Does it. It may take long: each of its questions has `redis.read_timeout`.
    fn settle<'a>(&'a self, connection: &'a mut MultiplexedConnection) -> BoxFuture<'a, RedisResult<()>>;

    /// False if there is something to do already that has come up since.
    fn is_settled(&self) -> bool;
}

/// A server, with the connections to it. A clone is the same.
#[derive(Clone)]
pub(crate) struct Redis(Arc<Inner>);

struct Inner {
    address: Arc<str>,
    connections: Connections,
    /// Longest time until a look is answered.
    patience: Duration,
    circuit: watch::Sender<Circuit>,
    settle: Mutex<Vec<Weak<dyn Settle>>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl Redis {
    /// The server of `[redis]`. Nothing is opened yet.
    ///
    /// # Errors
    /// If the password's file or that of certificates cannot be read, or the address cannot be one: a sentence without secrets.
    pub(crate) fn new(config: &config::Redis) -> Result<Self, String> {
        let password = config.read_password()?;
        let connections = Connections::new(config, password.as_deref())?;
        let address: Arc<str> = if config.host.starts_with('/') {
            config.host.as_str().into()
        } else {
            format!("{}:{}", config.host, config.port).into()
        };
        Ok(Self(Arc::new(Inner {
            address,
            connections,
            patience: config.dial_timeout + config.read_timeout,
            circuit: watch::Sender::new(Circuit::Here),
            settle: Mutex::default(),
        })))
    }

    /// Opens the connections that are kept open, and asks over one.
    ///
    /// # Errors
    /// If the server does not answer, or refuses the password. Then it counts as away, and the looks have begun.
    pub(crate) async fn open(&self) -> Result<(), Failure> {
        if let Some(away) = self.away() {
            return Err(away);
        }
        self.0.connections.open().await.map_err(|error| self.failure(error))?;
        self.run(&::redis::cmd("PING")).await
    }

    /// Asks one command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        self.ask(Question::One(command)).await
    }

    /// Asks several commands in one round trip.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn run_all<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, Failure> {
        self.ask(Question::All(pipeline)).await
    }

    /// Runs a script, in one round trip once the server knows it.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn run_script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Failure> {
        self.ask(Question::Script(script)).await
    }

    /// A connection of its own that hears what is published on a channel. Its loss is no outage: ask [`Self::away`].
    ///
    /// # Errors
    /// If there is no such connection within `redis.dial_timeout`.
    pub(crate) async fn subscribe(&self, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
        self.0.connections.subscribe(channel).await
    }

    /// Waits until the server is away.
    pub(crate) async fn lost(&self) {
        lost(&mut self.0.circuit.subscribe()).await;
    }

    /// The failure of every question while the server is away. `None`: it may be asked.
    pub(crate) fn away(&self) -> Option<Failure> {
        let why = self.0.circuit.borrow().why().map(str::to_owned)?;
        Some(Failure::Away { address: Arc::clone(&self.0.address), why })
    }

    pub(crate) fn is_here(&self) -> bool {
        self.0.circuit.borrow().is_here()
    }

    /// Has `settle` done after each outage, before anybody else asks, for as long as it lives.
    pub(crate) fn settle_after_outages(&self, settle: Weak<dyn Settle>) {
        let mut all = self.0.settle.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(settle);
    }

    /// Nobody asks the server any more until a look has found it, and everything is settled.
    pub(crate) fn went_away(&self, why: &str) {
        if !self.0.circuit.send_if_modified(|circuit| circuit.fail(why, Instant::now())) {
            return;
        }
        tracing::warn!("Redis at {} is away: {why}; it is looked at each second", self.0.address);
        self.0.connections.close();
        tokio::spawn(look_until_it_is_back(Arc::downgrade(&self.0)));
    }

    /// Closes all connections. A later question opens one again.
    pub(crate) fn close(&self) {
        self.0.connections.close();
    }

    /// Figures for the private listener.
    pub(crate) fn details(&self) -> Value {
        let (why, since) = {
            let circuit = self.0.circuit.borrow();
            (circuit.why().map(str::to_owned), circuit.since())
        };
        json!({
            "address": &*self.0.address,
            "state": if why.is_none() { "here" } else { "away" },
            "why": why,
            "away_seconds": since.map(|since| since.elapsed().as_secs()),
            "connections": self.0.connections.open_count(),
            "questions": self.0.connections.asking(),
        })
    }

    /// Asks, in a span of its own where the request is traced.
    async fn ask<T: FromRedisValue>(&self, question: Question<'_>) -> Result<T, Failure> {
        let _doing = doing(Doing::Redis);
        let mut call = Call::begin(SpanKind::Client, || question.name());
        call.set(|attributes| self.0.describe(question, attributes));
        let answer = call.around(self.answer(question)).await;
        if let Err(failure) = &answer {
            call.fail(failure.kind(), || failure.to_string());
        }
        answer
    }

    async fn answer<T: FromRedisValue>(&self, question: Question<'_>) -> Result<T, Failure> {
        let mut circuit = self.0.circuit.subscribe();
        if let Some(away) = self.away() {
            return Err(away);
        }
        tokio::select! {
            biased;
            answer = self.0.connections.ask(question) => answer.map_err(|error| self.failure(error)),
            // Somebody else's question was not answered: this one would not be, either.
            why = lost(&mut circuit) => Err(Failure::Away { address: Arc::clone(&self.0.address), why }),
        }
    }

    fn failure(&self, error: RedisError) -> Failure {
        if !is_away(&error) {
            return Failure::Refused(error);
        }
        let why = error.to_string();
        self.went_away(&why);
        Failure::Away { address: Arc::clone(&self.0.address), why }
    }
}

/// Waits until the server is away. Returns why.
async fn lost(circuit: &mut watch::Receiver<Circuit>) -> String {
    let lost = circuit.wait_for(|circuit| !circuit.is_here()).await;
    lost.ok().and_then(|circuit| circuit.why().map(str::to_owned)).unwrap_or_default()
}

/// True for an error that another question would have, too: no connection, no answer, no login, a server that is not ready.
fn is_away(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
    let is_kind = matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain)
    );
    is_kind || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "MISCONF"))
}

async fn look_until_it_is_back(server: Weak<Inner>) {
    loop {
        tokio::time::sleep(RETRY).await;
        let Some(server) = server.upgrade() else { return };
        if server.look().await {
            return;
        }
    }
}

impl Inner {
    /// Attributes of a question's span.
    fn describe(&self, question: Question<'_>, attributes: &mut Attributes) {
        use traces::Value::{Integer, Text};
        attributes.set("db.system.name", Text("redis")).set("db.operation.name", Text(&question.name()));
        let is_socket = self.address.starts_with('/');
        let server = self.address.rsplit_once(':').filter(|_| !is_socket);
        attributes.set("server.address", Text(server.map_or(&*self.address, |(host, _)| host)));
        if let Some(port) = server.and_then(|(_, port)| port.parse().ok()) {
            attributes.set("server.port", Integer(port));
        }
    }

    /// Looks whether the server is back. Returns true when there is nothing more to look for.
    async fn look(&self) -> bool {
        if !self.circuit.send_if_modified(|circuit| circuit.begin_look(Instant::now())) {
            return self.circuit.borrow().is_here();
        }
        let since = self.circuit.borrow().since();
        let why = match tokio::time::timeout(self.patience, self.answers()).await {
            Ok(Ok(connection)) => match self.settle_all(connection).await {
                Ok(()) => {
                    let seconds = since.map_or(0, |since| since.elapsed().as_secs());
                    tracing::info!("Redis at {} is back after {seconds} s", self.address);
                    return true;
                }
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer in time".to_owned(),
        };
        self.circuit.send_modify(|circuit| circuit.look_failed(&why, Instant::now()));
        false
    }

    /// Asks over a new connection.
    async fn answers(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = self.connections.another().await?;
        ::redis::cmd("PING").exec_async(&mut connection).await?;
        Ok(connection)
    }

    /// Settles what must be done first, until nothing is left. Then the server is back.
    async fn settle_all(&self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        let all: Vec<_> = {
            let all = self.settle.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        loop {
            for settle in &all {
                settle.settle(&mut connection).await?;
            }
            // Whoever leaves something to settle looks at the circuit after that, and finds the server here, or is found by this.
            let is_settled = || all.iter().all(|settle| settle.is_settled());
            if self.circuit.send_if_modified(|circuit| is_settled() && circuit.found()) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn nobody() -> Redis {
        // A port that was free a moment ago, and on which nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Redis::new(&config::Redis { port, ..config::Redis::default() }).unwrap()
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_away_and_asked_no_more() {
        let redis = nobody();
        assert!(redis.is_here(), "nobody has asked yet");
        let first = redis.run::<()>(&::redis::cmd("PING")).await.unwrap_err();
        assert!(matches!(first, Failure::Away { .. }), "{first}");
        assert!(first.to_string().starts_with("Redis at 127.0.0.1:"), "{first}");
        assert!(!redis.is_here() && redis.away().is_some());
        assert!(redis.run::<()>(&::redis::cmd("PING")).await.is_err());
        assert!(redis.open().await.is_err());
        assert_eq!(redis.details()["state"], "away");
    }

    #[tokio::test]
    async fn a_server_that_is_no_redis_is_away() {
        let redis = stub::answered_by(|_| "HTTP/1.1 400 Bad Request\r\n\r\n");
        let failure = redis.run::<()>(&::redis::cmd("PING")).await.unwrap_err();
        assert!(matches!(failure, Failure::Away { .. }), "{failure}");
        assert!(!redis.is_here());
    }

    /// Takes longer than a look may, and something comes up meanwhile.
    struct Slow {
        patience: Duration,
        times: AtomicUsize,
    }

    impl Settle for Slow {
        fn settle<'a>(&'a self, _: &'a mut MultiplexedConnection) -> BoxFuture<'a, RedisResult<()>> {
            Box::pin(async move {
                // It stands for questions that are answered in time, and are many.
                tokio::time::sleep(self.patience).await;
                self.times.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        }

        fn is_settled(&self) -> bool {
            self.times.load(Ordering::SeqCst) > 1
        }
    }

    #[tokio::test]
    async fn a_server_is_back_once_all_is_settled_however_long_that_takes() {
        let redis = stub::answered_by(|_| stub::OK);
        let slow = Arc::new(Slow { patience: redis.0.patience, times: AtomicUsize::new(0) });
        let settle: Arc<dyn Settle> = Arc::<Slow>::clone(&slow);
        redis.settle_after_outages(Arc::downgrade(&settle));
        let mut circuit = redis.0.circuit.subscribe();
        redis.went_away("it was stopped");
        circuit.wait_for(Circuit::is_here).await.unwrap();
        assert!(slow.is_settled(), "what came up meanwhile was settled, too");
    }

    /// A server that takes connections and says nothing: as one that was stopped by SIGSTOP.
    #[tokio::test]
    async fn the_first_question_without_an_answer_ends_the_others() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let redis = Redis::new(&config::Redis { port, ..config::Redis::default() }).unwrap();
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let redis = redis.clone();
                tokio::spawn(async move { redis.run::<()>(&::redis::cmd("PING")).await })
            })
            .collect();
        tokio::task::yield_now().await;
        redis.went_away("it was stopped");
        for one in waiting {
            let failure = one.await.unwrap().unwrap_err();
            assert!(failure.to_string().ends_with("it was stopped"), "{failure}");
        }
    }

    #[test]
    fn errors_of_the_server_itself_mean_away_and_those_of_a_command_do_not() {
        let of = |kind| RedisError::from((kind, "said"));
        assert!(is_away(&of(ErrorKind::Io)) && is_away(&of(ErrorKind::AuthenticationFailed)));
        assert!(is_away(&of(ErrorKind::Server(ServerErrorKind::BusyLoading))));
        assert!(is_away(&std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        assert!(!is_away(&of(ErrorKind::UnexpectedReturnType)));
        assert!(!is_away(&of(ErrorKind::Server(ServerErrorKind::ResponseError))));
        assert!(is_away(&::redis::make_extension_error("NOAUTH".to_owned(), None)));
        assert!(!is_away(&::redis::make_extension_error("WRONGTYPE".to_owned(), None)));
    }

    #[test]
    fn a_password_file_that_is_missing_is_told_by_its_key() {
        let config = config::Redis { password_file: Some("/nowhere/word".into()), ..config::Redis::default() };
        let wrong = Redis::new(&config).unwrap_err();
        assert!(wrong.starts_with("redis.password_file: cannot read /nowhere/word"), "{wrong}");
    }
}

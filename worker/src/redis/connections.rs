//! Connections to Redis. Each carries many questions at once, in one stream: nobody waits until a connection is free, and a use costs no
//! round trip of its own, as the check of a pool would.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use ::redis::io::tcp::TcpSettings;
use ::redis::io::tcp::socket2::TcpKeepalive;
use ::redis::{
    Arg, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult, ScriptInvocation,
};

use super::{is_away, tls};
use crate::config::{self, RedisTls};

/// Questions under way on each connection before another connection is opened.
const BUSY: usize = 16;
/// An idle connection is probed by TCP after this time, so that a server that is gone without a word is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Something to ask.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    One(&'a Cmd),
    All(&'a Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Question<'_> {
    /// Its name in traces: the command alone, for arguments may be anybody's data.
    pub(super) fn name(self) -> Cow<'static, str> {
        match self {
            Self::One(command) => match command.args_iter().next() {
                Some(Arg::Simple(word)) => String::from_utf8_lossy(word).to_ascii_uppercase().into(),
                Some(_) | None => "COMMAND".into(),
            },
            Self::All(_) => "PIPELINE".into(),
            Self::Script(_) => "EVALSHA".into(),
        }
    }

    async fn put<T: FromRedisValue>(self, connection: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::All(pipeline) => pipeline.query_async(connection).await,
            Self::Script(script) => script.invoke_async(connection).await,
        }
    }
}

/// The connections of a process: `redis.min_idle_conns` from the start on, and up to `redis.pool_size` when all are busy.
pub(super) struct Connections {
    client: Client,
    how: AsyncConnectionConfig,
    dial_timeout: Duration,
    slots: Box<[Slot]>,
    /// The number of slots that are used, from the first one on.
    used: AtomicUsize,
    /// Number of the next connection.
    next: AtomicU64,
}

/// A place for a connection.
#[derive(Default)]
struct Slot {
    /// Questions under way.
    asking: AtomicUsize,
    open: Mutex<Option<Open>>,
    /// Held by the one who opens it.
    dialing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Open {
    number: u64,
    connection: MultiplexedConnection,
}

/// Counts a question until it is dropped.
struct Asking<'a>(&'a AtomicUsize);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("open", &self.open_count()).finish_non_exhaustive()
    }
}

impl Connections {
    /// # Errors
    /// If the address cannot be one, or no certificate can be trusted: a sentence that names the key.
    pub(super) fn new(config: &config::Redis, password: Option<&str>) -> Result<Self, String> {
        let how = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.dial_timeout))
            .set_response_timeout(Some(config.read_timeout));
        let most = config.pool_size.max(1);
        let least = config.min_idle_conns.clamp(1, most);
        Ok(Self {
            client: client(config, password)?,
            how,
            dial_timeout: config.dial_timeout,
            slots: (0..most).map(|_| Slot::default()).collect(),
            used: AtomicUsize::new(least as usize),
            next: AtomicU64::new(0),
        })
    }

    /// Opens those that are kept open.
    pub(super) async fn open(&self) -> RedisResult<()> {
        for slot in self.used() {
            self.connection(slot).await?;
        }
        Ok(())
    }

    /// Asks over the connection with the fewest questions.
    pub(super) async fn ask<T: FromRedisValue>(&self, question: Question<'_>) -> RedisResult<T> {
        let slot = self.slot();
        slot.asking.fetch_add(1, Ordering::Relaxed);
        let _asking = Asking(&slot.asking);
        let mut open = self.connection(slot).await?;
        match question.put(&mut open.connection).await {
            // The server was started again, or has closed a connection that was idle. All that is asked here may be asked twice: at
            // worst a rate limit counts a request twice.
            Err(error) if error.is_connection_dropped() => {
                slot.forget(open.number);
                let mut open = self.connection(slot).await?;
                question.put(&mut open.connection).await
            }
            answer => answer,
        }
    }

    /// A connection for a look: a new one.
    pub(super) async fn another(&self) -> RedisResult<MultiplexedConnection> {
        self.client.get_multiplexed_async_connection_with_config(&self.how).await
    }

    /// A connection of its own that hears what is published on a channel.
    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
        let subscribed = async {
            let (mut sink, stream) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(channel).await?;
            RedisResult::Ok((sink, stream))
        };
        let timed_out = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        tokio::time::timeout(self.dial_timeout, subscribed).await.map_err(timed_out)?
    }

    /// Closes all that are open, each when its last question is over. The next question opens it again.
    pub(super) fn close(&self) {
        self.slots.iter().for_each(|slot| *slot.open() = None);
    }

    pub(super) fn open_count(&self) -> usize {
        self.used().iter().filter(|slot| slot.open().is_some()).count()
    }

    /// Questions under way.
    pub(super) fn asking(&self) -> usize {
        self.used().iter().map(|slot| slot.asking.load(Ordering::Relaxed)).sum()
    }

    fn used(&self) -> &[Slot] {
        &self.slots[..self.used.load(Ordering::Relaxed).min(self.slots.len())]
    }

    fn slot(&self) -> &Slot {
        let asking = |slot: &&Slot| slot.asking.load(Ordering::Relaxed);
        let least = self.used().iter().min_by_key(asking).unwrap_or(&self.slots[0]);
        if asking(&least) < BUSY {
            return least;
        }
        let used = self.used.load(Ordering::Relaxed);
        let Some(another) = self.slots.get(used) else { return least };
        // If somebody else was faster, this question goes with the others.
        match self.used.compare_exchange(used, used + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => another,
            Err(_) => least,
        }
    }

    async fn connection(&self, slot: &Slot) -> RedisResult<Open> {
        if let Some(open) = slot.opened() {
            return Ok(open);
        }
        let _turn = slot.dialing.lock().await;
        if let Some(open) = slot.opened() {
            return Ok(open);
        }
        let connection = self.another().await.map_err(unconnected)?;
        let open = Open { number: self.next.fetch_add(1, Ordering::Relaxed), connection };
        *slot.open() = Some(open.clone());
        Ok(open)
    }
}

/// The error of a connection that was not made. Whatever it is, each further question would have it, and would connect anew for it.
fn unconnected(error: RedisError) -> RedisError {
    if is_away(&error) { error } else { RedisError::from((ErrorKind::Io, "no connection", error.to_string())) }
}

/// # Errors
/// See [`Connections::new`].
fn client(config: &config::Redis, password: Option<&str>) -> Result<Client, String> {
    let mut login = RedisConnectionInfo::default().set_db(i64::from(config.database));
    match (&config.username, password) {
        (Some(username), Some(password)) => login = login.set_username(username).set_password(password),
        (None, Some(password)) => login = login.set_password(password),
        (Some(_), None) => {
            return Err(
                "redis.username: it needs a password; write password_file, or set GIN_REDIS_PASSWORD".to_owned()
            );
        }
        (None, None) => {}
    }
    // What is sent and not acknowledged for so long is the end of a connection.
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(config.write_timeout)
        .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE));
    let unfit = |error: RedisError| format!("redis.host: {} cannot be connected to: {error}", config.host);
    let info = address(config).into_connection_info().map_err(unfit)?.set_redis_settings(login).set_tcp_settings(tcp);
    match config.tls {
        RedisTls::Disable => Client::open(info).map_err(unfit),
        RedisTls::Require => {
            let certificates = tls::certificates(config.ca_file.as_deref())?;
            Client::build_with_tls(info, certificates).map_err(|error| format!("redis.tls, redis.ca_file: {error}"))
        }
    }
}

fn address(config: &config::Redis) -> ConnectionAddr {
    let (host, port) = (config.host.clone(), config.port);
    match config.tls {
        _ if host.starts_with('/') => ConnectionAddr::Unix(host.into()),
        RedisTls::Disable => ConnectionAddr::Tcp(host, port),
        RedisTls::Require => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
    }
}

impl Slot {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> Option<Open> {
        self.open().clone()
    }

    /// Drops this connection, unless another one is in its place already.
    fn forget(&self, number: u64) {
        let mut open = self.open();
        if open.as_ref().is_some_and(|open| open.number == number) {
            *open = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_are_used_when_all_are_busy_and_never_more_than_the_pool_has() {
        let config = config::Redis { pool_size: 3, min_idle_conns: 2, ..config::Redis::default() };
        let connections = Connections::new(&config, None).unwrap();
        let mut used = Vec::new();
        for _ in 0..BUSY * 3 + 1 {
            connections.slot().asking.fetch_add(1, Ordering::Relaxed);
            used.push(connections.used().len());
        }
        assert_eq!((used[BUSY * 2 - 1], used[BUSY * 2], used[BUSY * 3]), (2, 3, 3));
        assert_eq!((connections.open_count(), connections.asking()), (0, BUSY * 3 + 1));
        for pool_size in [1, 0] {
            let small = config::Redis { pool_size, min_idle_conns: 9, ..config::Redis::default() };
            assert_eq!(Connections::new(&small, None).unwrap().used().len(), 1);
        }
    }

    #[test]
    fn a_question_is_named_by_its_command_alone() {
        let mut command = ::redis::cmd("hget");
        command.arg("session:hunter2");
        let pipeline = Pipeline::new();
        let script = ::redis::Script::new("return 1");
        assert_eq!(Question::One(&command).name(), "HGET");
        assert_eq!(Question::All(&pipeline).name(), "PIPELINE");
        assert_eq!(Question::Script(&script.prepare_invoke()).name(), "EVALSHA");
        assert_eq!(Question::One(&Cmd::new()).name(), "COMMAND");
    }

    #[test]
    fn a_host_is_a_name_or_the_path_of_a_socket() {
        let address = |host: &str| {
            let config = config::Redis { host: host.to_owned(), ..config::Redis::default() };
            Connections::new(&config, Some("hunter2")).unwrap().client.get_connection_info().addr().to_string()
        };
        assert_eq!(address("cache.internal"), "cache.internal:6379");
        assert_eq!(address("/run/redis/redis.sock"), "/run/redis/redis.sock");
    }

    #[test]
    fn tls_is_for_hosts_alone() {
        let of = |host: &str| {
            let config = config::Redis { host: host.to_owned(), tls: RedisTls::Require, ..config::Redis::default() };
            Connections::new(&config, None)
        };
        let connections = of("cache.internal").unwrap();
        let address = connections.client.get_connection_info().addr();
        assert!(matches!(address, ConnectionAddr::TcpTls { insecure: false, .. }), "{address}");
        assert!(of("/run/redis/redis.sock").unwrap_err().starts_with("redis.tls"));
    }

    #[test]
    fn a_user_of_the_access_list_has_a_password() {
        let config = config::Redis { username: Some("shop".to_owned()), ..config::Redis::default() };
        let connections = Connections::new(&config, Some("hunter2")).unwrap();
        assert_eq!(connections.client.get_connection_info().redis_settings().username(), Some("shop"));
        // Redis would take it for the default user.
        assert!(Connections::new(&config, None).unwrap_err().starts_with("redis.username: it needs a password"));
    }

    #[test]
    fn the_password_is_in_no_text() {
        let connections = Connections::new(&config::Redis::default(), Some("hunter2")).unwrap();
        let told = format!("{connections:?} {:?}", connections.client);
        assert!(!told.contains("hunter2"), "{told}");
    }
}

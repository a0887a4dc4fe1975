//! The pool of connections, whichever the driver.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbBackend, SqlxMySqlConnector, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::mysql::MySqlConnection;
use sqlx::pool::{CloseEvent, PoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlPool, PgPool, SqlitePool};
use tokio::time::timeout;

use super::figures::Sample;
use super::operation;
use super::state::State;
use super::target::{Kind, STATEMENT};

/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Time in which a doubtful connection must answer.
const ANSWER: Duration = Duration::from_secs(2);

/// A copy is the same pool.
#[derive(Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    MySql(MySqlPool),
    Postgres(PgPool),
}

/// Does the same with the pool of each driver.
macro_rules! each {
    ($pool:expr, $own:ident => $done:expr) => {
        match $pool {
            Pool::Sqlite($own) => $done,
            Pool::MySql($own) => $done,
            Pool::Postgres($own) => $done,
        }
    };
}

impl Pool {
    /// A pool without connections: they are made when they are needed. It must be called in a runtime.
    pub(super) fn new(state: &Arc<State>) -> Self {
        match &state.target.kind {
            Kind::Sqlite(own, file) => {
                let mut options = options::<sqlx::Sqlite>(state).after_connect(|_, _| {
                    operation::has_connection();
                    Box::pin(async { Ok(()) })
                });
                if file.is_none() {
                    // With its last connection a database in memory is gone.
                    options = options.idle_timeout(None).max_lifetime(None);
                }
                Self::Sqlite(options.connect_lazy_with((**own).clone()))
            }
            Kind::MySql(own) => {
                let options = options::<sqlx::MySql>(state).after_connect(|connection, _| {
                    operation::has_connection();
                    Box::pin(limit_statements(connection))
                });
                Self::MySql(options.connect_lazy_with((**own).clone()))
            }
            Kind::Postgres(own) => {
                let options = options::<sqlx::Postgres>(state).after_connect(|_, _| {
                    operation::has_connection();
                    Box::pin(async { Ok(()) })
                });
                Self::Postgres(options.connect_lazy_with((**own).clone()))
            }
        }
    }

    /// The pool as sea-orm's connection, whose queries are counted and timed.
    pub(super) fn connection(&self, state: &Arc<State>) -> DatabaseConnection {
        let mut connection = match self {
            Self::Sqlite(pool) => SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone()),
            Self::MySql(pool) => SqlxMySqlConnector::from_sqlx_mysql_pool(pool.clone()),
            Self::Postgres(pool) => SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone()),
        };
        let state = Arc::clone(state);
        connection.set_metric_callback(move |query| state.queried(query.elapsed, query.failed, &query.statement.sql));
        connection
    }

    pub(super) fn sample(&self, state: &State) -> Sample {
        let (open, idle) = each!(self, pool => (pool.size() as usize, pool.num_idle()));
        Sample { open, idle, waiting: state.waiting.load(Ordering::Relaxed) }
    }

    /// Closes so many idle connections, if there are as many.
    pub(super) async fn close_idle(&self, count: usize) {
        for _ in 0..count {
            let is_closed = each!(self, pool => match pool.try_acquire() {
                Some(connection) => timeout(ANSWER, connection.close()).await.is_ok(),
                None => false,
            });
            if !is_closed {
                return;
            }
        }
    }

    /// Closes the pool. Connections that are in use are waited for.
    pub(super) async fn close(&self) {
        each!(self, pool => pool.close().await);
    }

    /// Gives no more connections. Those that are idle are dropped with the pool.
    pub(super) fn begin_to_close(&self) {
        // It is marked as closed by the call.
        each!(self, pool => drop(pool.close()));
    }

    pub(super) fn close_event(&self) -> CloseEvent {
        each!(self, pool => pool.close_event())
    }
}

/// Options that all drivers have in common.
fn options<D: sqlx::Database>(state: &Arc<State>) -> PoolOptions<D> {
    let (asking, returning) = (Arc::clone(state), Arc::clone(state));
    // At the other end of a connection to SQLite is a thread of this process.
    let is_remote = state.target.backend() != DbBackend::Sqlite;
    PoolOptions::new()
        .max_connections(state.limits.open)
        .acquire_timeout(state.limits.acquire)
        .max_lifetime(state.limits.lifetime)
        .idle_timeout(IDLE)
        // Only doubtful ones are: see `trouble`.
        .test_before_acquire(false)
        .before_acquire(move |connection, past| {
            let state = Arc::clone(&asking);
            Box::pin(async move {
                let is_doubtful = is_remote && state.doubts_idle(past.idle_for);
                let is_fit = !is_doubtful || answers::<D>(connection, &state).await;
                if is_fit {
                    operation::has_connection();
                }
                Ok(is_fit)
            })
        })
        .after_release(move |connection, _| {
            let state = Arc::clone(&returning);
            // sqlx asks it, too, and waits for ever.
            Box::pin(async move {
                let is_doubtful = is_remote && state.doubts_returned();
                Ok(!is_doubtful || answers::<D>(connection, &state).await)
            })
        })
}

/// Asks whether the server is at the other end. One that answers has also ended what was asked of it before.
async fn answers<D: sqlx::Database>(connection: &mut D::Connection, state: &Arc<State>) -> bool {
    let is_here = matches!(timeout(ANSWER, connection.ping()).await, Ok(Ok(())));
    if !is_here {
        state.suspect();
    }
    is_here
}

/// Has the server end statements that take too long. MariaDB limits each, by seconds; MySQL a SELECT alone, by milliseconds; older ones
/// know no limit, and are used without.
async fn limit_statements(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let mariadb = format!("SET SESSION max_statement_time = {}", STATEMENT.as_secs());
    match (&mut *connection).execute(AssertSqlSafe(mariadb)).await {
        Err(sqlx::Error::Database(_)) => {
            let mysql = format!("SET SESSION max_execution_time = {}", STATEMENT.as_millis());
            match (&mut *connection).execute(AssertSqlSafe(mysql)).await {
                Err(sqlx::Error::Database(_)) => Ok(()),
                done => done.map(|_| ()),
            }
        }
        done => done.map(|_| ()),
    }
}

//! Databases by SQL: SQLite in a file of the service's own, MySQL, MariaDB, PostgreSQL. The feature `database`.
//!
//! `Server::database` registers the database of `[database]`, and handlers take it as an argument: [`Database`] is a connection of
//! [sea-orm](sea_orm), which is on [sqlx].
//!
//! ```
//! use gin_worker::axum::Json;
//! use gin_worker::database::{Database, is_unique_violation};
//! use gin_worker::sea_orm::{ActiveModelTrait, EntityTrait, Set};
//! use gin_worker::{Error, Result};
//!
//! mod user {
//!     use sea_orm::entity::prelude::*;
//!
//!     #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
//!     #[sea_orm(table_name = "users")]
//!     pub struct Model {
//!         #[sea_orm(primary_key)]
//!         pub id: i32,
//!         #[sea_orm(unique)]
//!         pub email: String,
//!     }
//!
//!     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
//!     pub enum Relation {}
//!
//!     impl ActiveModelBehavior for ActiveModel {}
//! }
//!
//! // Route::get("/users", count)
//! async fn count(db: Database) -> Result<Json<usize>> {
//!     Ok(Json(user::Entity::find().all(&db).await?.len()))
//! }
//!
//! async fn create(db: Database, email: String) -> Result {
//!     let user = user::ActiveModel { email: Set(email), ..Default::default() };
//!     user.insert(&db).await.map_err(|error| match is_unique_violation(&error) {
//!         true => Error::conflict("this e-mail is taken"),
//!         false => error.into(),
//!     })?;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result {
//! use gin_worker::sea_orm::ConnectionTrait;
//!
//! let mut config = gin_worker::config::Database::default();
//! config.database = Some(":memory:".to_owned());
//! let db = Database::open(&config).await?;
//! db.execute_unprepared("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE)").await?;
//! create(db.clone(), "ann@example.org".to_owned()).await?;
//! assert_eq!(create(db.clone(), "ann@example.org".to_owned()).await.unwrap_err().status(), 409);
//! assert_eq!(count(db).await?.0, 1);
//! # Ok(()) }
//! ```
//!
//! The derives of sea-orm name the crate by its path: an application has `sea-orm = "2"` in its own Cargo.toml, without default features,
//! and with those that its types need.
//!
//! # SQLite
//!
//! The default. Readers do not wait for a writer (WAL), and one writer at a time waits up to 5 s for another: so two generations use the
//! file at once without `database is locked`. That needs transactions that say at their beginning that they write, as those of
//! [`Database::begin`] do. The file is its user's alone (0600). A commit survives the death of the process; the last ones may be lost if
//! the machine loses its power. There are at most as many connections as processors, or four.
//!
//! # When the database is away
//!
//! `?` answers 503 with `Retry-After` if there is no connection, or it is lost ([`is_away`]); any other error is a 500, with its reason in
//! the log. A sign of trouble has the server asked on another connection. If that fails, the database is away: requests that need it are
//! answered at once, `/readyz` says so, and it is asked again until it is back. A server that has no room for one more connection is not
//! away: the connections of the pool go on, and a request that gets none of them waits for `database.acquire_timeout`.
//!
//! No operation outside of a transaction hangs. A request waits for a connection for `database.acquire_timeout`, the server ends a
//! statement after 30 s (MySQL a SELECT alone), and an operation that has no answer yet then is given up. A statement within a transaction
//! has the server's limit alone: if the server itself hangs, `timeouts.request` gives it up with its request, so set one. A transaction
//! that is longer may set another limit: `SET LOCAL statement_timeout = '5min'` on PostgreSQL, `SET STATEMENT max_statement_time = 300 FOR
//! ...` on MariaDB.
//! A pooled connection is tested if it was idle for 10 s, or if there was trouble since its last use.
//!
//! # Encryption
//!
//! With `database.tls = "require"` the connection is encrypted, and the server's certificate must be valid for `host`: signed by one of
//! `ca_file`, or by a public authority (Mozilla's list, which is built in). `"prefer"` encrypts if the server can, and looks at no
//! certificate: who can change the traffic can read it. A `url` may say more by `sslmode`.
//!
//! # Figures
//!
//! | metric, after the namespace | is |
//! |---|---|
//! | `_database_connections` | connections, by `state`: `idle`, `used` |
//! | `_database_connections_max` | connections that there may be |
//! | `_database_connections_waiting` | operations that wait for a connection |
//! | `_database_query_duration_seconds` | time of queries, without the wait for a connection |
//! | `_database_slow_queries_total` | queries above `database.slow` |
//! | `_database_errors_total` | queries that failed |
//!
//! Connections are looked at each second while some are in use. A query above `database.slow` is logged at WARN with its time, and
//! without values.

mod connection;
mod error;
mod figures;
pub(crate) mod migrate;
mod operation;
mod part;
mod pool;
mod spans;
mod state;
mod statement;
mod target;
#[cfg(test)]
mod tests;
mod trouble;

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts as RequestParts;
use gin_shared::config::Problem;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use tokio::time::timeout;

use crate::api::Argument;
use crate::parts::{Health, Parts};
use crate::{Error, config};
pub use error::{is_away, is_unique_violation};
use figures::Sample;
pub(crate) use part::DatabasePart;
use pool::Pool;
use state::{Limits, State};
use target::Target;

/// Time for connections in use to come back at the end.
const CLOSE: Duration = Duration::from_secs(4);

/// A database, as handlers and tasks take it. A clone is the same one.
///
/// Give it to sea-orm as `&db`: queries and transactions then fail at once while the database is away, and transactions of SQLite begin
/// as writers. It derefs to sea-orm's own connection.
///
/// ```
/// use gin_worker::database::Database;
/// use gin_worker::sea_orm::ConnectionTrait;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> gin_worker::Result {
/// let mut config = gin_worker::config::Database::default();
/// config.database = Some(":memory:".to_owned());
/// let db = Database::open(&config).await?;
/// db.execute_unprepared("CREATE TABLE cups (id INTEGER PRIMARY KEY)").await?;
///
/// let transaction = db.begin().await?;
/// transaction.execute_unprepared("INSERT INTO cups (id) VALUES (1)").await?;
/// transaction.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    state: Arc<State>,
    /// Once it was tried to open it.
    open: OnceLock<Open>,
}

struct Open {
    pool: Pool,
    connection: DatabaseConnection,
}

impl Database {
    /// Opens a database without a server: for a tool, or a test. It is closed with its last clone.
    ///
    /// ```
    /// use gin_worker::database::Database;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let mut config = gin_worker::config::Database::default();
    /// config.database = Some("/there/is/no/such/directory/shop.db".to_owned());
    /// let error = Database::open(&config).await.unwrap_err();
    /// assert!(error.to_string().contains("/there/is/no/such/directory/shop.db"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the configuration names no database, or a connection cannot be made within `acquire_timeout`.
    pub async fn open(config: &config::Database) -> Result<Self, Error> {
        let own = Self::new(config).map_err(|problem| Error::internal(problem.to_string()))?;
        own.try_to_open().await?;
        Ok(own)
    }

    /// sea-orm's own connection: the pool.
    ///
    /// ```
    /// use gin_worker::database::Database;
    /// use gin_worker::sea_orm::DatabaseConnection;
    ///
    /// fn pool(db: &Database) -> &DatabaseConnection {
    ///     db.connection()
    /// }
    /// ```
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        static CLOSED: LazyLock<DatabaseConnection> = LazyLock::new(DatabaseConnection::default);
        match self.0.open.get() {
            Some(open) => &open.connection,
            None => &CLOSED,
        }
    }

    /// Begins a transaction, which is rolled back unless it is committed. On SQLite it has the right to write from its beginning (`BEGIN
    /// IMMEDIATE`) and waits for other writers there: one that only reads needs none.
    ///
    /// ```
    /// use gin_worker::database::Database;
    /// use gin_worker::sea_orm::{ConnectionTrait, DbErr};
    ///
    /// async fn move_all(db: &Database) -> Result<(), DbErr> {
    ///     let transaction = db.begin().await?;
    ///     transaction.execute_unprepared("INSERT INTO sold SELECT * FROM cups").await?;
    ///     transaction.execute_unprepared("DELETE FROM cups").await?;
    ///     transaction.commit().await
    /// }
    /// ```
    ///
    /// # Errors
    /// If there is no connection, or SQLite's lock does not come within 5 s.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        TransactionTrait::begin(self).await
    }

    fn new(config: &config::Database) -> Result<Self, Problem> {
        let target = Target::read(config)?;
        let limits = Limits::of(config, &target);
        Ok(Self(Arc::new(Inner { state: Arc::new(State::new(target, limits)), open: OnceLock::new() })))
    }

    /// Counts in metrics whose names begin with this namespace, from now on.
    pub(crate) fn count_in(&self, namespace: &str) {
        self.0.state.count_in(namespace);
    }

    /// Makes a connection; the pool makes its own ones when they are needed.
    async fn try_to_open(&self) -> Result<(), Error> {
        let state = &self.0.state;
        let failed =
            |why: String| Error::internal(format!("cannot open {}: {why}; see [database]", state.target.place));
        state.target.make_file().map_err(|error| failed(error.to_string()))?;
        self.0.open.get_or_init(|| Open::new(state));
        let made = state.target.connect(state.limits.acquire).await;
        state.judge(made.as_ref().err().map(|refusal| refusal.why.clone()));
        made.map_err(|refusal| failed(refusal.why))
    }

    /// Waits for connections in use, but not for ever.
    async fn close(&self) {
        let Some(open) = self.0.open.get() else { return };
        if timeout(CLOSE, open.pool.close()).await.is_err() {
            tracing::warn!("the database is closed while {} connections are in use", self.sample().used());
        }
    }

    fn sample(&self) -> Sample {
        let state = &self.0.state;
        match self.0.open.get() {
            Some(open) => open.pool.sample(state),
            None => Sample { open: 0, idle: 0, waiting: 0 },
        }
    }
}

impl Open {
    fn new(state: &Arc<State>) -> Self {
        let pool = Pool::new(state);
        let connection = pool.connection(state);
        tokio::spawn(figures::keep(Arc::clone(state), pool.clone()));
        Self { pool, connection }
    }
}

/// Connections that others have of it, and the task that looks at it, end with it.
impl Drop for Open {
    fn drop(&mut self) {
        self.pool.begin_to_close();
    }
}

impl Deref for Database {
    type Target = DatabaseConnection;

    fn deref(&self) -> &DatabaseConnection {
        self.connection()
    }
}

/// Without its configuration, in which there is a password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_here = self.0.state.health() == Health::Here;
        f.debug_struct("Database").field("place", &self.0.state.target.place).field("is_here", &is_here).finish()
    }
}

/// The server's database. Without one it is a 500, whose line in the log says what to do.
impl<S: Send + Sync> FromRequestParts<S> for Database {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self, Error> {
        Parts::handle(&parts.extensions, "database")
    }
}

impl Argument for Database {}

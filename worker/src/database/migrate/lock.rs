//! The lock under which migrations run: one process at a time, and none that is dead.
//!
//! | database | lock | freed by the end of |
//! |---|---|---|
//! | PostgreSQL | an advisory lock | its connection, by which the migrations run, too |
//! | MySQL, MariaDB | `GET_LOCK`, named after the database | the same |
//! | SQLite | flock(2) on a file beside the database | the process |
//!
//! A connection that has the lock is never replaced by another one: a migration whose connection is lost fails, and does not go on
//! without the lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::future::ready;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, SqlxMySqlConnector, SqlxPostgresConnector, Statement};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{MySql, MySqlConnection, PgConnection, Postgres};

use super::{ANSWER, Kind, MigrateError, Target, answered};

/// The key of PostgreSQL's lock, which belongs to one database: "ginmigr".
const POSTGRES: &str = "SELECT pg_try_advisory_lock(29107845604140914) AS taken";
/// MySQL's lock belongs to the whole server. It waits for a second; the name has 64 characters at most.
const MYSQL: &str = "SELECT CAST(GET_LOCK(CONCAT('gin.', LEFT(IFNULL(DATABASE(), ''), 60)), 1) AS SIGNED) AS taken";
/// Pause between two tries on PostgreSQL. A wait inside of the database would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for all
/// older ones: both would wait for ever.
const TRY: Duration = Duration::from_millis(250);
/// Time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Interval between two lines of the log while the lock is awaited.
const TELL: Duration = Duration::from_secs(5);

/// The lock, and the connection to migrate by.
pub(super) struct Held {
    connection: DatabaseConnection,
    /// True if the connection was made for the migrations.
    is_own: bool,
    /// The file of SQLite's lock.
    _file: Option<File>,
}

impl Held {
    /// Waits for the lock, for as long as another process has it.
    pub(super) async fn take(target: &Target) -> Result<Self, MigrateError> {
        match &target.kind {
            Kind::Sqlite(file) => {
                let file = match file {
                    Some(database) => Some(lock_file(beside(database)).await?),
                    None => None,
                };
                Ok(Self { connection: target.connection.clone(), is_own: false, _file: file })
            }
            Kind::MySql(options) => {
                let connection = mysql(options).await?;
                told(take_mysql(&connection)).await?;
                Ok(Self { connection, is_own: true, _file: None })
            }
            Kind::Postgres(options) => {
                let connection = postgres(options).await?;
                told(take_postgres(&connection)).await?;
                Ok(Self { connection, is_own: true, _file: None })
            }
        }
    }

    /// The connection to migrate by.
    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Frees the lock. Without it, the lock is free a little later.
    pub(super) async fn free(self) {
        if self.is_own
            && let Err(error) = self.connection.close().await
        {
            tracing::debug!("migrations: the connection with the lock: {error}");
        }
    }
}

/// `app.db-migrations`, beside the file itself: each release may have a link of its own to it.
fn beside(database: &Path) -> PathBuf {
    let file = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let mut path = file.into_os_string();
    path.push("-migrations");
    path.into()
}

/// A thread waits, and not a task: nobody waits for the thread where the start is given up.
async fn lock_file(path: PathBuf) -> Result<File, MigrateError> {
    let failed = |error| MigrateError::LockFile { path: path.clone(), error };
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let wait = move || {
        let locked = file.lock().map(|()| file);
        drop(sender.send(locked));
    };
    std::thread::Builder::new().name("gin-migrations".to_owned()).spawn(wait).map_err(failed)?;
    let lost = |_| Err(io::Error::other("the thread that waits for it is gone"));
    told(receiver).await.unwrap_or_else(lost).map_err(failed)
}

/// Without the limit of time that a server may have for all statements.
async fn mysql(options: &MySqlConnectOptions) -> Result<DatabaseConnection, MigrateError> {
    let pool = single::<MySql>().after_connect(once::<MySqlConnection>()).connect_with(options.clone()).await?;
    let connection = SqlxMySqlConnector::from_sqlx_mysql_pool(pool);
    // MySQL itself has such a limit for a SELECT alone, and does not know this one.
    if let Err(error) = connection.execute_unprepared("SET SESSION max_statement_time = 0").await {
        tracing::debug!("migrations: the limit of a statement's time stays: {error}");
    }
    Ok(connection)
}

/// Without the limits of time that statements of requests have.
async fn postgres(options: &PgConnectOptions) -> Result<DatabaseConnection, MigrateError> {
    let pool = single::<Postgres>().after_connect(once::<PgConnection>()).connect_with(options.clone()).await?;
    let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    connection.execute_unprepared("SET statement_timeout = 0").await?;
    connection.execute_unprepared("SET idle_in_transaction_session_timeout = 0").await?;
    Ok(connection)
}

/// A pool of one connection that lasts.
fn single<D: sqlx::Database>() -> PoolOptions<D> {
    PoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT)
        .test_before_acquire(false)
        .max_lifetime(None::<Duration>)
        .idle_timeout(None::<Duration>)
}

type Made<'c> = BoxFuture<'c, Result<(), sqlx::Error>>;

/// Lets one connection be made, and no second one: that one would not have the lock.
fn once<C>() -> impl for<'c> Fn(&'c mut C, PoolConnectionMetadata) -> Made<'c> + Send + Sync + 'static {
    let is_made = AtomicBool::new(false);
    move |_, _| {
        let outcome = if is_made.swap(true, Ordering::Relaxed) {
            Err(sqlx::Error::Io(io::Error::other("the connection with the lock of the migrations is lost")))
        } else {
            Ok(())
        };
        Box::pin(ready(outcome))
    }
}

async fn take_postgres(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    while !ask::<bool>(connection, POSTGRES).await?.unwrap_or_default() {
        tokio::time::sleep(TRY).await;
    }
    Ok(())
}

async fn take_mysql(connection: &DatabaseConnection) -> Result<(), MigrateError> {
    loop {
        match ask::<i64>(connection, MYSQL).await? {
            Some(1) => return Ok(()),
            Some(_) => {}
            None => return Err(MigrateError::NoLock),
        }
    }
}

/// The value `taken`.
async fn ask<T>(connection: &DatabaseConnection, question: &str) -> Result<Option<T>, DbErr>
where
    Option<T>: sea_orm::TryGetable,
{
    let question = Statement::from_string(connection.get_database_backend(), question);
    match answered(ANSWER, connection.query_one_raw(question)).await? {
        Some(row) => row.try_get("", "taken"),
        None => Ok(None),
    }
}

/// Waits, and says so.
async fn told<T>(wait: impl Future<Output = T>) -> T {
    let (mut wait, began) = (pin!(wait), Instant::now());
    loop {
        match tokio::time::timeout(TELL, wait.as_mut()).await {
            Ok(done) => return done,
            Err(_) => tracing::info!(
                "migrations: another process has the lock; this one waits for it, for {} s now",
                began.elapsed().as_secs()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_links_to_a_database_have_one_lock() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        let (file, link) = (place.join("shop.db"), place.join("link.db"));
        assert_eq!(beside(&file), place.join("shop.db-migrations"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(beside(&link), beside(&file));
        assert_eq!(beside(&file), place.join("shop.db-migrations"));
    }
}

//! A file of SQLite in the state directory, for what is kept there if no other place is configured.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sea_orm::{DatabaseConnection, SqlxSqliteConnector};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::BoxError;

/// Connections of one worker. Reads go on while another connection writes.
const CONNECTIONS: u32 = 4;
/// Longest wait for another process that writes, and for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// Opens the file, and makes it if it is not there. All workers of all generations have it open at once: that is what WAL and the wait
/// are for.
pub(crate) async fn open(directory: &Path, file: &str) -> Result<DatabaseConnection, BoxError> {
    let path = directory.join(file);
    make(&path).map_err(|error| {
        format!("cannot open {}: {error}; the worker's user must be able to write to its directory", path.display())
    })?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .journal_mode(SqliteJournalMode::Wal)
        // A crash of this process loses nothing that was written. A power cut may lose the last moments.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(WAIT)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(WAIT).test_before_acquire(false);
    let pool = pool.connect_with(options).await.map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// SQLite gives the files beside it the same mode.
fn make(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

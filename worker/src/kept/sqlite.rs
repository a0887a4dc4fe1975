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
///
/// A crash of this process loses nothing that was written. `synchronous`: with `Full` a power cut does not either; with `Normal` it may
/// undo the last moments, and a write waits for no disk.
pub(crate) async fn open(
    directory: &Path,
    file: &str,
    synchronous: SqliteSynchronous,
) -> Result<DatabaseConnection, BoxError> {
    let path = directory.join(file);
    make(&path).map_err(|error| {
        format!("cannot open {}: {error}; the worker's user must be able to write to its directory", path.display())
    })?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
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

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, DbBackend, Statement};

    use super::*;

    #[tokio::test]
    async fn writes_outlast_a_power_cut_where_their_part_asks_for_it() {
        for (asked, number) in [(SqliteSynchronous::Normal, 1), (SqliteSynchronous::Full, 2)] {
            let directory = tempfile::tempdir().unwrap();
            let file = open(directory.path(), "a.db", asked).await.unwrap();
            let asks = Statement::from_string(DbBackend::Sqlite, "PRAGMA synchronous");
            let row = file.query_one_raw(asks).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<i32>(0).unwrap(), number, "{asked:?}");
        }
    }
}

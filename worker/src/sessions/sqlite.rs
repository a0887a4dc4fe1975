//! The file of SQLite that has the sessions where no other place is configured: `sessions.db` in the state directory.

use std::path::Path;

use sea_orm::DatabaseConnection;
use sqlx::sqlite::SqliteSynchronous;

use crate::BoxError;
use crate::kept::sqlite;

/// Opens the file, and makes it if it is not there. Sessions are written by each request that changes one: no write waits for the disk.
pub(super) async fn open(directory: &Path) -> Result<DatabaseConnection, BoxError> {
    sqlite::open(directory, "sessions.db", SqliteSynchronous::Normal).await
}

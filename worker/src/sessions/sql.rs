//! Sessions in a database: the table `gin_sessions`.
//!
//! Each change is one statement, which the database does whole or not at all. So there is no transaction, and no moment at which a session
//! that changes its id is not there.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement, Value};

use super::cookie::Id;
use super::record::{Millis, Row};
use crate::BoxError;
use crate::database::Database;

/// Rows that are removed by one statement. Each database takes more parameters.
const BATCH: usize = 500;
/// Attempts to make the table, as another process may make it at the same moment.
const ATTEMPTS: u32 = 3;

const SQLITE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS gin_sessions (id TEXT NOT NULL PRIMARY KEY, user_key TEXT, data TEXT NOT NULL, \
     created BIGINT NOT NULL, expires BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS gin_sessions_user ON gin_sessions (user_key)",
    "CREATE INDEX IF NOT EXISTS gin_sessions_expires ON gin_sessions (expires)",
];

const POSTGRES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS gin_sessions (id VARCHAR(32) NOT NULL PRIMARY KEY, user_key VARCHAR(32), \
     data TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS gin_sessions_user ON gin_sessions (user_key)",
    "CREATE INDEX IF NOT EXISTS gin_sessions_expires ON gin_sessions (expires)",
];

const MYSQL: &[&str] =
    &["CREATE TABLE IF NOT EXISTS gin_sessions (id VARCHAR(32) NOT NULL PRIMARY KEY, user_key VARCHAR(32), \
     data MEDIUMTEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL, version BIGINT NOT NULL, \
     INDEX gin_sessions_user (user_key), INDEX gin_sessions_expires (expires)) CHARACTER SET utf8mb4"];

const LOAD: &str = "SELECT user_key, data, created, expires, version FROM gin_sessions WHERE id = ?";

/// A database with the table.
pub(super) enum Sql {
    /// A pool for sessions alone.
    Own(DatabaseConnection),
    /// The service's, which limits, counts and logs what it is asked.
    OfTheService(Database),
}

/// Asks the database, whichever it is.
macro_rules! of {
    ($sql:ident, $connection:ident => $answer:expr) => {
        match $sql {
            Self::Own($connection) => $answer,
            Self::OfTheService($connection) => $answer,
        }
    };
}

impl Sql {
    /// Makes the table, if it is not there. It is no migration of the service's: those are listed in a table that must not name what the
    /// service does not know. A user who may not make tables needs no right to it where the table is there already.
    pub(super) async fn prepare(&self) -> Result<(), BoxError> {
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            match self.query(LOAD, vec!["".into()]).await {
                Ok(_) => return Ok(()),
                Err(unread) => why = self.make().await.err().unwrap_or(unread).to_string(),
            }
        }
        Err(format!("cannot make or use the table gin_sessions: {why}").into())
    }

    async fn make(&self) -> Result<(), DbErr> {
        let statements = match self.backend() {
            DbBackend::MySql => MYSQL,
            DbBackend::Postgres => POSTGRES,
            _ => SQLITE,
        };
        for statement in statements {
            of!(self, connection => connection.execute_unprepared(statement).await)?;
        }
        Ok(())
    }

    pub(super) async fn load(&self, id: Id) -> Result<Option<Row>, BoxError> {
        let rows = self.query(LOAD, vec![id.text().into()]).await?;
        Ok(rows.first().map(read).transpose()?)
    }

    pub(super) async fn create(&self, id: Id, row: &Row) -> Result<(), BoxError> {
        let sql = "INSERT INTO gin_sessions (id, user_key, data, created, expires, version) VALUES (?, ?, ?, ?, ?, ?)";
        let values = vec![
            id.text().into(),
            row.user_key.clone().into(),
            row.data.clone().into(),
            row.created.into(),
            row.expires.into(),
            row.version.into(),
        ];
        self.execute(sql, values).await?;
        Ok(())
    }

    pub(super) async fn update(&self, id: Id, new: Id, row: &Row) -> Result<bool, BoxError> {
        let sql = "UPDATE gin_sessions SET id = ?, user_key = ?, data = ?, created = ?, expires = ?, \
                   version = version + 1 WHERE id = ? AND version = ?";
        let values = vec![
            new.text().into(),
            row.user_key.clone().into(),
            row.data.clone().into(),
            row.created.into(),
            row.expires.into(),
            id.text().into(),
            row.version.into(),
        ];
        Ok(self.execute(sql, values).await? > 0)
    }

    pub(super) async fn touch(&self, id: Id, expires: Millis) -> Result<(), BoxError> {
        let sql = "UPDATE gin_sessions SET expires = ? WHERE id = ? AND expires < ?";
        self.execute(sql, vec![expires.into(), id.text().into(), expires.into()]).await?;
        Ok(())
    }

    pub(super) async fn delete(&self, ids: &[Id]) -> Result<u64, BoxError> {
        let mut deleted = 0;
        for batch in ids.chunks(BATCH) {
            let values = batch.iter().map(|id| id.text().into()).collect();
            deleted += self.execute(&deletion("", batch.len()), values).await?;
        }
        Ok(deleted)
    }

    pub(super) async fn of_user(&self, user_key: &str, then: Millis) -> Result<Vec<Id>, BoxError> {
        let sql = "SELECT id FROM gin_sessions WHERE user_key = ? AND expires > ? ORDER BY created DESC, id DESC";
        let rows = self.query(sql, vec![user_key.into(), then.into()]).await?;
        Ok(ids(&rows)?)
    }

    pub(super) async fn sweep(&self, now: Millis) -> Result<u64, BoxError> {
        let sql = format!("SELECT id FROM gin_sessions WHERE expires <= ? LIMIT {BATCH}");
        let mut removed = 0;
        loop {
            let expired = ids(&self.query(&sql, vec![now.into()]).await?)?;
            if expired.is_empty() {
                return Ok(removed);
            }
            // One that is used at this moment lives on.
            let mut values: Vec<Value> = vec![now.into()];
            values.extend(expired.iter().map(|id| Value::from(id.text())));
            removed += self.execute(&deletion("expires <= ? AND ", expired.len()), values).await?;
            if expired.len() < BATCH {
                return Ok(removed);
            }
        }
    }

    /// Number of all sessions. The database of a service is not asked: to count its rows can take long.
    pub(super) async fn count(&self) -> Result<Option<u64>, BoxError> {
        if let Self::OfTheService(_) = self {
            return Ok(None);
        }
        let rows = self.query("SELECT COUNT(*) FROM gin_sessions", Vec::new()).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get_by_index(0))?;
        Ok(u64::try_from(count).ok())
    }

    /// A file of SQLite is this host's alone.
    pub(super) fn is_shared(&self) -> bool {
        self.backend() != DbBackend::Sqlite
    }

    pub(super) async fn ping(&self) -> Result<(), BoxError> {
        self.query("SELECT 1", Vec::new()).await?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        if let Self::Own(connection) = self
            && let Err(error) = connection.close_by_ref().await
        {
            tracing::warn!("cannot close the store of sessions: {error}");
        }
    }

    fn backend(&self) -> DbBackend {
        of!(self, connection => connection.get_database_backend())
    }

    fn statement(&self, sql: &str, values: Vec<Value>) -> Statement {
        let backend = self.backend();
        Statement::from_sql_and_values(backend, placed(backend, sql), values)
    }

    async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        let statement = self.statement(sql, values);
        of!(self, connection => connection.query_all_raw(statement).await)
    }

    /// Returns how many rows were changed.
    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let statement = self.statement(sql, values);
        let done = of!(self, connection => connection.execute_raw(statement).await)?;
        Ok(done.rows_affected())
    }
}

fn read(row: &QueryResult) -> Result<Row, DbErr> {
    Ok(Row {
        user_key: row.try_get_by_index(0)?,
        data: row.try_get_by_index(1)?,
        created: row.try_get_by_index(2)?,
        expires: row.try_get_by_index(3)?,
        version: row.try_get_by_index(4)?,
    })
}

/// Ids in the first column. What is no id of ours was written by somebody else, and is left alone.
fn ids(rows: &[QueryResult]) -> Result<Vec<Id>, DbErr> {
    let texts: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, DbErr>>()?;
    Ok(texts.iter().filter_map(|text| Id::parse(text)).collect())
}

fn deletion(condition: &str, count: usize) -> String {
    let marks = vec!["?"; count].join(", ");
    format!("DELETE FROM gin_sessions WHERE {condition}id IN ({marks})")
}

/// The statement with this database's placeholders: PostgreSQL numbers them. No text in our statements has a question mark.
fn placed(backend: DbBackend, sql: &str) -> String {
    if backend != DbBackend::Postgres {
        return sql.to_owned();
    }
    let mut placed = String::with_capacity(sql.len() + 16);
    for (number, part) in sql.split('?').enumerate() {
        if number > 0 {
            placed.push_str(&format!("${number}"));
        }
        placed.push_str(part);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_the_databases_own() {
        let sql = deletion("expires <= ? AND ", 2);
        assert_eq!(placed(DbBackend::Sqlite, &sql), "DELETE FROM gin_sessions WHERE expires <= ? AND id IN (?, ?)");
        assert_eq!(placed(DbBackend::MySql, &sql), sql);
        assert_eq!(
            placed(DbBackend::Postgres, &sql),
            "DELETE FROM gin_sessions WHERE expires <= $1 AND id IN ($2, $3)"
        );
    }
}

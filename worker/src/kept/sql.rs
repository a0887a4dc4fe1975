//! A table of this library's in a database: a file of SQLite of its own, or the service's database.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement, Value};

use super::id::Id;
use crate::BoxError;
use crate::database::Database;

/// Attempts to make the table, as another process may make it at the same moment.
const ATTEMPTS: u32 = 3;

/// Rows that are removed by one statement. Each database takes more parameters.
const BATCH: usize = 500;

/// A table, and the statements that make it where it is missing.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// A query with one parameter that reads all columns: it tells whether the table can be used.
    pub(crate) load: &'static str,
    pub(crate) sqlite: &'static [&'static str],
    pub(crate) postgres: &'static [&'static str],
    pub(crate) mysql: &'static [&'static str],
}

/// A database.
pub(crate) enum Sql {
    /// A pool for this table alone, on a file of SQLite.
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
    /// True if it is the service's database.
    pub(crate) fn is_of_the_service(&self) -> bool {
        matches!(self, Self::OfTheService(_))
    }

    /// Makes the table, if it is not there. It is no migration of the service's: those are listed in a table that must not name what the
    /// service does not know. A user who may not make tables needs no right to it where the table is there already.
    pub(crate) async fn prepare(&self, table: &Table) -> Result<(), BoxError> {
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            match self.query(table.load, vec!["".into()]).await {
                Ok(_) => return Ok(()),
                Err(unread) => why = self.make(table).await.err().unwrap_or(unread).to_string(),
            }
        }
        Err(format!("cannot make or use the table {}: {why}", table.name).into())
    }

    async fn make(&self, table: &Table) -> Result<(), DbErr> {
        let statements = match self.backend() {
            DbBackend::MySql => table.mysql,
            DbBackend::Postgres => table.postgres,
            _ => table.sqlite,
        };
        for statement in statements {
            of!(self, connection => connection.execute_unprepared(statement).await)?;
        }
        Ok(())
    }

    /// Asks with `?` for each value, in whichever database.
    pub(crate) async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        let statement = self.statement(sql, values);
        of!(self, connection => connection.query_all_raw(statement).await)
    }

    /// Returns how many rows were changed.
    pub(crate) async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let statement = self.statement(sql, values);
        let done = of!(self, connection => connection.execute_raw(statement).await)?;
        Ok(done.rows_affected())
    }

    /// A file of SQLite is this host's alone.
    pub(crate) fn is_shared(&self) -> bool {
        self.backend() != DbBackend::Sqlite
    }

    pub(crate) async fn ping(&self) -> Result<(), BoxError> {
        self.query("SELECT 1", Vec::new()).await?;
        Ok(())
    }

    /// The service's is left open.
    pub(crate) async fn close(&self) {
        if let Self::Own(connection) = self
            && let Err(error) = connection.close_by_ref().await
        {
            tracing::warn!("cannot close a file of SQLite in the state directory: {error}");
        }
    }

    fn backend(&self) -> DbBackend {
        of!(self, connection => connection.get_database_backend())
    }

    fn statement(&self, sql: &str, values: Vec<Value>) -> Statement {
        let backend = self.backend();
        Statement::from_sql_and_values(backend, placed(backend, sql), values)
    }
}

/// The rows of a table. Among its columns are `id`, `user_key`, `created` and `expires`, the last two in milliseconds since 1970. Each
/// change is one statement, which the database does whole or not at all.
pub(crate) struct Rows {
    sql: Sql,
    table: &'static Table,
}

impl Rows {
    /// Makes the table, if it is not there.
    pub(crate) async fn open(sql: Sql, table: &'static Table) -> Result<Self, BoxError> {
        sql.prepare(table).await?;
        Ok(Self { sql, table })
    }

    /// The row of this id, as the table's `load` reads it.
    pub(crate) async fn row(&self, id: Id) -> Result<Option<QueryResult>, BoxError> {
        let rows = self.sql.query(self.table.load, vec![id.text().into()]).await?;
        Ok(rows.into_iter().next())
    }

    /// Returns how many rows were changed.
    pub(crate) async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, BoxError> {
        Ok(self.sql.execute(sql, values).await?)
    }

    /// Removes rows. Returns how many of them there were.
    pub(crate) async fn delete(&self, ids: &[Id]) -> Result<u64, BoxError> {
        let mut deleted = 0;
        for batch in ids.chunks(BATCH) {
            let values = batch.iter().map(|id| id.text().into()).collect();
            deleted += self.execute(&deletion(self.table.name, "", batch.len()), values).await?;
        }
        Ok(deleted)
    }

    /// The rows of the user with this key that live longer than until then, the newest first.
    pub(crate) async fn of_user(&self, user_key: &str, then: i64) -> Result<Vec<Id>, BoxError> {
        let sql = format!(
            "SELECT id FROM {} WHERE user_key = ? AND expires > ? ORDER BY created DESC, id DESC",
            self.table.name
        );
        let rows = self.sql.query(&sql, vec![user_key.into(), then.into()]).await?;
        Ok(ids(&rows)?)
    }

    /// Removes what has expired. Returns how many rows that were.
    pub(crate) async fn sweep(&self, now: i64) -> Result<u64, BoxError> {
        let sql = format!("SELECT id FROM {} WHERE expires <= ? LIMIT {BATCH}", self.table.name);
        let mut removed = 0;
        loop {
            let expired = ids(&self.sql.query(&sql, vec![now.into()]).await?)?;
            if expired.is_empty() {
                return Ok(removed);
            }
            // One that is used at this moment lives on.
            let mut values: Vec<Value> = vec![now.into()];
            values.extend(expired.iter().map(|id| Value::from(id.text())));
            removed += self.execute(&deletion(self.table.name, "expires <= ? AND ", expired.len()), values).await?;
            if expired.len() < BATCH {
                return Ok(removed);
            }
        }
    }

    /// Number of all rows. The database of a service is not asked: to count its rows can take long.
    pub(crate) async fn count(&self) -> Result<Option<u64>, BoxError> {
        if self.sql.is_of_the_service() {
            return Ok(None);
        }
        let rows = self.sql.query(&format!("SELECT COUNT(*) FROM {}", self.table.name), Vec::new()).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get_by_index(0))?;
        Ok(u64::try_from(count).ok())
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.sql.is_shared()
    }

    pub(crate) async fn ping(&self) -> Result<(), BoxError> {
        self.sql.ping().await
    }

    pub(crate) async fn close(&self) {
        self.sql.close().await;
    }
}

/// Ids in the first column. What is no id of ours was written by somebody else, and is left alone.
fn ids(rows: &[QueryResult]) -> Result<Vec<Id>, DbErr> {
    let texts: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, DbErr>>()?;
    Ok(texts.iter().filter_map(|text| Id::parse(text)).collect())
}

fn deletion(table: &str, condition: &str, count: usize) -> String {
    let marks = vec!["?"; count].join(", ");
    format!("DELETE FROM {table} WHERE {condition}id IN ({marks})")
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
    fn a_deletion_has_a_placeholder_for_each_id() {
        let deletion = deletion("gin_sessions", "expires <= ? AND ", 2);
        assert_eq!(deletion, "DELETE FROM gin_sessions WHERE expires <= ? AND id IN (?, ?)");
    }

    #[test]
    fn placeholders_are_the_databases_own() {
        let sql = "DELETE FROM gin_sessions WHERE expires <= ? AND id IN (?, ?)";
        assert_eq!(placed(DbBackend::Sqlite, sql), sql);
        assert_eq!(placed(DbBackend::MySql, sql), sql);
        assert_eq!(placed(DbBackend::Postgres, sql), "DELETE FROM gin_sessions WHERE expires <= $1 AND id IN ($2, $3)");
    }
}

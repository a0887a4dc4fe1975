//! Logins in a database: the table `gin_logins`. Each change is one statement, which the database does whole or not at all.

use sea_orm::{DbErr, QueryResult, Value};

use super::logins::{Millis, Row};
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::sql::{Sql, Table};

/// Rows that are removed by one statement. Each database takes more parameters.
const BATCH: usize = 500;

const SQLITE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS gin_logins (id TEXT NOT NULL PRIMARY KEY, user_key TEXT NOT NULL, data TEXT NOT NULL, \
     created BIGINT NOT NULL, expires BIGINT NOT NULL, version BIGINT NOT NULL, turned BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS gin_logins_user ON gin_logins (user_key)",
    "CREATE INDEX IF NOT EXISTS gin_logins_expires ON gin_logins (expires)",
];

const POSTGRES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS gin_logins (id VARCHAR(32) NOT NULL PRIMARY KEY, user_key VARCHAR(32) NOT NULL, \
     data TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL, version BIGINT NOT NULL, turned BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS gin_logins_user ON gin_logins (user_key)",
    "CREATE INDEX IF NOT EXISTS gin_logins_expires ON gin_logins (expires)",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS gin_logins (id VARCHAR(32) NOT NULL PRIMARY KEY, user_key VARCHAR(32) NOT NULL, \
     data TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL, version BIGINT NOT NULL, turned BIGINT NOT NULL, \
     INDEX gin_logins_user (user_key), INDEX gin_logins_expires (expires)) CHARACTER SET utf8mb4",
];

const LOAD: &str = "SELECT user_key, data, created, expires, version, turned FROM gin_logins WHERE id = ?";

const TABLE: Table = Table { name: "gin_logins", load: LOAD, sqlite: SQLITE, postgres: POSTGRES, mysql: MYSQL };

/// Logins in a database.
pub(super) struct InSql(Sql);

impl InSql {
    /// Makes the table, if it is not there.
    pub(super) async fn open(sql: Sql) -> Result<Self, BoxError> {
        sql.prepare(&TABLE).await?;
        Ok(Self(sql))
    }

    pub(super) async fn load(&self, id: Id) -> Result<Option<Row>, BoxError> {
        let rows = self.0.query(LOAD, vec![id.text().into()]).await?;
        Ok(rows.first().map(read).transpose()?)
    }

    pub(super) async fn create(&self, id: Id, row: &Row) -> Result<(), BoxError> {
        let sql = "INSERT INTO gin_logins (id, user_key, data, created, expires, version, turned) \
                   VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = vec![
            id.text().into(),
            row.user_key.clone().into(),
            row.data.clone().into(),
            row.created.into(),
            row.expires.into(),
            row.version.into(),
            row.turned.into(),
        ];
        self.0.execute(sql, values).await?;
        Ok(())
    }

    pub(super) async fn turn(&self, id: Id, version: i64, turned: Millis, expires: Millis) -> Result<bool, BoxError> {
        let sql = "UPDATE gin_logins SET version = version + 1, turned = ?, expires = ? WHERE id = ? AND version = ?";
        let values = vec![turned.into(), expires.into(), id.text().into(), version.into()];
        Ok(self.0.execute(sql, values).await? > 0)
    }

    pub(super) async fn delete(&self, ids: &[Id]) -> Result<u64, BoxError> {
        let mut deleted = 0;
        for batch in ids.chunks(BATCH) {
            let values = batch.iter().map(|id| id.text().into()).collect();
            deleted += self.0.execute(&deletion("", batch.len()), values).await?;
        }
        Ok(deleted)
    }

    pub(super) async fn of_user(&self, user_key: &str, then: Millis) -> Result<Vec<Id>, BoxError> {
        let sql = "SELECT id FROM gin_logins WHERE user_key = ? AND expires > ? ORDER BY created DESC, id DESC";
        let rows = self.0.query(sql, vec![user_key.into(), then.into()]).await?;
        Ok(ids(&rows)?)
    }

    pub(super) async fn sweep(&self, now: Millis) -> Result<u64, BoxError> {
        let sql = format!("SELECT id FROM gin_logins WHERE expires <= ? LIMIT {BATCH}");
        let mut removed = 0;
        loop {
            let expired = ids(&self.0.query(&sql, vec![now.into()]).await?)?;
            if expired.is_empty() {
                return Ok(removed);
            }
            let mut values: Vec<Value> = vec![now.into()];
            values.extend(expired.iter().map(|id| Value::from(id.text())));
            removed += self.0.execute(&deletion("expires <= ? AND ", expired.len()), values).await?;
            if expired.len() < BATCH {
                return Ok(removed);
            }
        }
    }

    /// Number of all logins. The database of a service is not asked: to count its rows can take long.
    pub(super) async fn count(&self) -> Result<Option<u64>, BoxError> {
        if self.0.is_of_the_service() {
            return Ok(None);
        }
        let rows = self.0.query("SELECT COUNT(*) FROM gin_logins", Vec::new()).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get_by_index(0))?;
        Ok(u64::try_from(count).ok())
    }

    pub(super) fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    pub(super) async fn ping(&self) -> Result<(), BoxError> {
        self.0.ping().await
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

fn read(row: &QueryResult) -> Result<Row, DbErr> {
    Ok(Row {
        user_key: row.try_get_by_index(0)?,
        data: row.try_get_by_index(1)?,
        created: row.try_get_by_index(2)?,
        expires: row.try_get_by_index(3)?,
        version: row.try_get_by_index(4)?,
        turned: row.try_get_by_index(5)?,
    })
}

/// Ids in the first column. What is no id of ours was written by somebody else, and is left alone.
fn ids(rows: &[QueryResult]) -> Result<Vec<Id>, DbErr> {
    let texts: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, DbErr>>()?;
    Ok(texts.iter().filter_map(|text| Id::parse(text)).collect())
}

fn deletion(condition: &str, count: usize) -> String {
    let marks = vec!["?"; count].join(", ");
    format!("DELETE FROM gin_logins WHERE {condition}id IN ({marks})")
}

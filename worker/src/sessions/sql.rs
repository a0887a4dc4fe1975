//! Sessions in a database: the table `gin_sessions`.
//!
//! Each change is one statement, which the database does whole or not at all. So there is no transaction, and no moment at which a session
//! that changes its id is not there.

use std::ops::Deref;

use sea_orm::{DbErr, QueryResult};

use super::record::{Millis, Row};
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::sql::{Rows, Sql, Table};

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

static TABLE: Table = Table { name: "gin_sessions", load: LOAD, sqlite: SQLITE, postgres: POSTGRES, mysql: MYSQL };

/// Sessions in a database.
pub(super) struct InSql(Rows);

impl Deref for InSql {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.0
    }
}

impl InSql {
    /// Makes the table, if it is not there.
    pub(super) async fn open(sql: Sql) -> Result<Self, BoxError> {
        Ok(Self(Rows::open(sql, &TABLE).await?))
    }

    pub(super) async fn load(&self, id: Id) -> Result<Option<Row>, BoxError> {
        let row = self.0.row(id).await?;
        Ok(row.as_ref().map(read).transpose()?)
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
        self.0.execute(sql, values).await?;
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
        Ok(self.0.execute(sql, values).await? > 0)
    }

    pub(super) async fn touch(&self, id: Id, expires: Millis) -> Result<(), BoxError> {
        let sql = "UPDATE gin_sessions SET expires = ? WHERE id = ? AND expires < ?";
        self.0.execute(sql, vec![expires.into(), id.text().into(), expires.into()]).await?;
        Ok(())
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

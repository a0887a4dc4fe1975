//! Logins in a database: the table `gin_logins`. Each change is one statement, which the database does whole or not at all.

use std::ops::Deref;

use sea_orm::{DbErr, QueryResult};

use super::logins::{Millis, Row};
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::sql::{Rows, Sql, Table};

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

static TABLE: Table = Table { name: "gin_logins", load: LOAD, sqlite: SQLITE, postgres: POSTGRES, mysql: MYSQL };

/// Logins in a database.
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

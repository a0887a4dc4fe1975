//! A row in the database for as long as a migration runs without a transaction: on MySQL always, for its statements on the schema end
//! each transaction; elsewhere where a migration says so (`use_transaction`).
//!
//! The row is written before the migration and removed behind it. So a start that finds it, and has the lock, knows that the migration was
//! killed or has failed, and that nobody has undone its first statements.
//!
//! | mark | in sea-orm-migration's table | so it |
//! |---|---|---|
//! | up | yes | has ended: the process died between the two |
//! | up | no | has ended half way |
//! | down | no | has ended |
//! | down | yes | has ended half way |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gin_shared::migration::Direction;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};

/// The table.
pub(super) const TABLE: &str = "gin_migrations_under_way";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS gin_migrations_under_way (name VARCHAR(255) NOT NULL PRIMARY KEY, \
                      journal VARCHAR(255) NOT NULL, direction VARCHAR(8) NOT NULL, began_at BIGINT NOT NULL)";

/// A migration that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its name.
    pub(super) name: String,
    /// True for `up`, false for `down`.
    pub(super) is_up: bool,
    /// The second since 1970 at which it was begun.
    pub(super) began_at: i64,
}

/// Outcome of a migration that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it was done.
    Whole,
    /// A part of it may be done.
    HalfWay,
}

impl Mark {
    /// Judges, under the lock: nobody is at it any more.
    pub(super) fn ended(&self, is_applied: bool) -> Ended {
        if self.is_up == is_applied { Ended::Whole } else { Ended::HalfWay }
    }

    /// Tells an operator what to do about a migration that has ended half way. `journal`: sea-orm-migration's table.
    pub(super) fn advice(&self, journal: &str) -> String {
        let Self { name, is_up, began_at } = self;
        let direction = if *is_up { Direction::Up } else { Direction::Down }.word();
        let began = time(*began_at);
        let quoted = name.replace('\'', "''");
        let finished = if *is_up {
            format!("INSERT INTO {journal} (version, applied_at) VALUES ('{quoted}', {})", now())
        } else {
            format!("DELETE FROM {journal} WHERE version = '{quoted}'")
        };
        format!(
            "migration {name} ({direction}) was begun at {began} and has ended half way: it failed, or its process was killed, and it had \
             no transaction. Look at what it has done. Once that is undone by hand, say so: DELETE FROM {TABLE} WHERE name = '{quoted}'. \
             Or finish it by hand, and say so: {finished}"
        )
    }
}

/// The mark of a migration of `journal`, if there is one.
pub(super) async fn read(connection: &DatabaseConnection, journal: &str) -> Result<Option<Mark>, DbErr> {
    let question = Query::select()
        .columns([Alias::new("name"), Alias::new("direction"), Alias::new("began_at")])
        .from(Alias::new(TABLE))
        .and_where(Expr::col(Alias::new("journal")).eq(journal))
        .to_owned();
    let Some(row) = connection.query_one(&question).await? else { return Ok(None) };
    let direction: String = row.try_get("", "direction")?;
    let is_up = direction == Direction::Up.word();
    Ok(Some(Mark { name: row.try_get("", "name")?, is_up, began_at: row.try_get("", "began_at")? }))
}

/// Notes that a migration is begun.
pub(super) async fn write(
    connection: &DatabaseConnection,
    journal: &str,
    direction: Direction,
    name: &str,
) -> Result<(), DbErr> {
    connection.execute_unprepared(CREATE).await?;
    let row = Query::insert()
        .into_table(Alias::new(TABLE))
        .columns([Alias::new("name"), Alias::new("journal"), Alias::new("direction"), Alias::new("began_at")])
        .values_panic([Expr::val(name), Expr::val(journal), Expr::val(direction.word()), Expr::val(now())])
        .to_owned();
    connection.execute(&row).await.map(drop)
}

/// Notes that a migration has ended.
pub(super) async fn remove(connection: &DatabaseConnection, name: &str) -> Result<(), DbErr> {
    let rows =
        Query::delete().from_table(Alias::new(TABLE)).and_where(Expr::col(Alias::new("name")).eq(name)).to_owned();
    connection.execute(&rows).await.map(drop)
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// A second since 1970, for people.
pub(super) fn time(second: i64) -> String {
    let since = Duration::from_secs(u64::try_from(second).unwrap_or_default());
    // What no clock can say is told as it is.
    match UNIX_EPOCH.checked_add(since).filter(|_| second < 253_402_300_800) {
        Some(at) => humantime::format_rfc3339_seconds(at).to_string(),
        None => second.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_and_the_table_tell_whether_a_migration_has_ended() {
        let mark = |is_up| Mark { name: "m1".to_owned(), is_up, began_at: 0 };
        assert_eq!(mark(true).ended(true), Ended::Whole);
        assert_eq!(mark(true).ended(false), Ended::HalfWay);
        assert_eq!(mark(false).ended(false), Ended::Whole);
        assert_eq!(mark(false).ended(true), Ended::HalfWay);
    }

    #[test]
    fn the_advice_names_the_migration_and_both_ways_out() {
        let mark = Mark { name: "m1".to_owned(), is_up: true, began_at: 0 };
        let advice = mark.advice("seaql_migrations");
        for part in ["m1 (up)", "1970-01-01T00:00:00Z", "DELETE FROM gin_migrations_under_way", "INSERT INTO seaql"] {
            assert!(advice.contains(part), "{part}: {advice}");
        }
        let advice = Mark { is_up: false, ..mark }.advice("seaql_migrations");
        assert!(advice.contains("DELETE FROM seaql_migrations WHERE version = 'm1'"), "{advice}");
    }
}

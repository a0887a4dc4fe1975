//! Errors of the database, as answers.

use sea_orm::{DbErr, RuntimeErr, SqlErr, SqlxMySqlError, SqlxPostgresError, SqlxSqliteError, TransactionError};
use sqlx::error::DatabaseError;

use crate::Error;

/// Codes of PostgreSQL (SQLSTATE) with which a server refuses everybody: it starts, ends, or has no room for a connection.
const POSTGRES: [&str; 4] = ["53300", "57P01", "57P02", "57P03"];
/// Numbers of MySQL and MariaDB with which a server refuses everybody: too many connections (of all, of this user), it ends, or it has
/// ended this connection.
const MYSQL: [u16; 9] = [1040, 1053, 1077, 1079, 1080, 1203, 1226, 1927, 4031];
/// Codes of the above with which a server refuses one more connection, and goes on with those that there are.
const POSTGRES_FULL: &str = "53300";
const MYSQL_FULL: [u16; 3] = [1040, 1203, 1226];
/// Result codes of SQLite: another connection has the lock for longer than the busy timeout.
const SQLITE: [i32; 2] = [5, 6];

/// Tells whether an error says that the database cannot be had now: no connection, a connection that is lost, a server that starts or
/// ends, a lock of SQLite that did not come in time. It is answered with 503.
///
/// ```
/// use gin_worker::database::is_away;
/// use gin_worker::sea_orm::{ConnAcquireErr, DbErr};
///
/// assert!(is_away(&DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
/// assert!(!is_away(&DbErr::RecordNotFound("user 7".to_owned())));
/// ```
#[must_use]
pub fn is_away(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => is_gone(error),
        _ => false,
    }
}

/// Tells whether an error says that a unique index has the value already, which is for the handler to answer: with 409, say.
///
/// ```
/// use gin_worker::Error;
/// use gin_worker::database::is_unique_violation;
/// use gin_worker::sea_orm::DbErr;
///
/// fn answer(error: DbErr) -> Error {
///     if is_unique_violation(&error) { Error::conflict("this e-mail is taken") } else { error.into() }
/// }
///
/// assert_eq!(answer(DbErr::RecordNotInserted).status(), 500);
/// ```
#[must_use]
pub fn is_unique_violation(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// The same for an error of the driver.
pub(super) fn is_gone(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => refuses_everybody(error.as_ref()) || is_busy(error.as_ref()),
        _ => false,
    }
}

/// Tells whether a server that was asked for a connection has said no by itself, and is there: for others, or for the connections that the
/// pool has.
pub(super) fn is_answer(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if is_full(database.as_ref()) || !is_gone(error))
}

/// True if the server has no room for one more connection.
fn is_full(error: &(dyn DatabaseError + 'static)) -> bool {
    if let Some(error) = error.try_downcast_ref::<SqlxMySqlError>() {
        return MYSQL_FULL.contains(&error.number());
    }
    error.try_downcast_ref::<SqlxPostgresError>().is_some_and(|error| error.code() == POSTGRES_FULL)
}

/// True if the server says that nobody is served.
fn refuses_everybody(error: &(dyn DatabaseError + 'static)) -> bool {
    if let Some(error) = error.try_downcast_ref::<SqlxMySqlError>() {
        return MYSQL.contains(&error.number());
    }
    if let Some(error) = error.try_downcast_ref::<SqlxPostgresError>() {
        // Class 08: the connection is lost.
        return error.code().starts_with("08") || POSTGRES.contains(&error.code());
    }
    false
}

/// True if SQLite did not get a lock in time.
pub(super) fn is_busy(error: &(dyn DatabaseError + 'static)) -> bool {
    if error.try_downcast_ref::<SqlxSqliteError>().is_none() {
        return false;
    }
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    // An extended code has the plain one in its last byte.
    code.is_some_and(|code| SQLITE.contains(&(code & 0xff)))
}

/// 503 if the database cannot be had ([`is_away`]), else 500. A record that is not there is a 500, too: only the handler knows whether
/// its client has asked for it.
impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if is_away(&error) { Self::away("database").caused_by(error) } else { Self::internal(error) }
    }
}

/// The error of the transaction's own steps, or the one that was returned in it.
impl<E> From<TransactionError<E>> for Error
where
    Self: From<E>,
{
    fn from(error: TransactionError<E>) -> Self {
        match error {
            TransactionError::Connection(error) => error.into(),
            TransactionError::Transaction(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn query(error: sqlx::Error) -> DbErr {
        DbErr::Query(RuntimeErr::SqlxError(error.into()))
    }

    #[test]
    fn a_database_that_cannot_be_had_is_a_503_and_anything_else_a_500() {
        let lost = || query(io::Error::from(io::ErrorKind::ConnectionReset).into());
        let status = |error: DbErr| Error::from(error).status().as_u16();
        assert_eq!((status(lost()), status(query(sqlx::Error::PoolTimedOut))), (503, 503));
        assert_eq!(status(DbErr::Conn(RuntimeErr::Internal("refused".to_owned()))), 503);
        assert_eq!(status(query(sqlx::Error::ColumnNotFound("email".to_owned()))), 500);
        assert_eq!(status(DbErr::RecordNotFound("user 7".to_owned())), 500);
        assert!(Error::from(lost()).is::<DbErr>(), "the log has the reason");
    }

    #[test]
    fn an_error_in_a_transaction_is_answered_as_outside() {
        let conflict = TransactionError::Transaction(Error::conflict("this e-mail is taken"));
        assert_eq!(Error::from(conflict).status(), 409);
        let gone: TransactionError<Error> = TransactionError::Connection(query(sqlx::Error::PoolClosed));
        assert_eq!(Error::from(gone).status(), 503);
    }
}

//! Spans of a database's operations, where their request is traced. All of them are made afterwards, of the time that was taken anyway.

use std::time::Duration;

use super::statement::{summary, without_values};
use super::target::{Kind, Target};
use crate::traces::{self, SpanKind, Value};

/// A shorter wait for a connection is no span.
const WAIT_LEAST: Duration = Duration::from_millis(1);

/// Failure of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The database has refused it, or was not there.
    Failed,
    /// There was no answer in time.
    TimedOut,
    /// Nobody waits for it any more.
    GivenUp,
}

impl Fault {
    /// The attribute `error.type`, and a sentence.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Failed => ("_OTHER", "the query failed"),
            Self::TimedOut => ("timeout", "no answer in time"),
            Self::GivenUp => ("cancelled", "nobody waited for the answer any more"),
        }
    }
}

/// An operation that ends now.
pub(super) fn query(target: &Target, elapsed: Duration, sql: &str, fault: Option<Fault>) {
    traces::ended(SpanKind::Client, elapsed, |span| {
        let text = without_values(sql, target.backend());
        let (operation, table) = summary(&text);
        match table {
            Some(table) => span.name(&format!("{operation} {table}")),
            None if operation.is_empty() => span.name(system(&target.kind)),
            None => span.name(operation),
        }
        span.set("db.system.name", Value::Text(system(&target.kind)));
        span.set("db.namespace", Value::Text(&target.name));
        if !operation.is_empty() {
            span.set("db.operation.name", Value::Text(operation));
        }
        if let Some(table) = table {
            span.set("db.collection.name", Value::Text(table));
        }
        span.set("db.query.text", Value::Text(&text));
        if let Some((address, port)) = server(&target.kind) {
            span.set("server.address", Value::Text(&address));
            if let Some(port) = port {
                span.set("server.port", Value::Integer(i64::from(port)));
            }
        }
        if let Some((kind, message)) = fault.map(Fault::words) {
            span.fail(kind, message);
        }
    });
}

/// A wait for a connection that ends now.
pub(super) fn wait(target: &Target, elapsed: Duration) {
    if elapsed < WAIT_LEAST {
        return;
    }
    traces::ended(SpanKind::Internal, elapsed, |span| {
        span.name("database: wait for a connection");
        span.set("db.namespace", Value::Text(&target.name));
    });
}

/// The attribute `db.system.name`. A server of MariaDB is told as MySQL, whose protocol it speaks.
fn system(kind: &Kind) -> &'static str {
    match kind {
        Kind::Sqlite(..) => "sqlite",
        Kind::MySql(_) => "mysql",
        Kind::Postgres(_) => "postgresql",
    }
}

/// Address of the server, and its port; of a Unix socket the path.
fn server(kind: &Kind) -> Option<(String, Option<u16>)> {
    let (host, port, socket) = match kind {
        Kind::Sqlite(..) => return None,
        Kind::MySql(options) => (options.get_host(), options.get_port(), options.get_socket()),
        Kind::Postgres(options) => (options.get_host(), options.get_port(), options.get_socket()),
    };
    Some(match socket {
        Some(socket) => (socket.display().to_string(), None),
        None => (host.to_owned(), Some(port)),
    })
}

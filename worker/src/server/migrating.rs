//! A program that is asked to migrate its database, and not to serve: by `--migrate` on its command line, or by `GIN_MIGRATE`, as
//! `gin-ctl migrate` has the supervisor set it.
//!
//! A program without the feature `database` refuses `GIN_MIGRATE`, for it would serve instead.

use std::ffi::OsString;
use std::io::{self, Write};
#[cfg(feature = "database")]
use std::pin::pin;

use gin_shared::inherit::GIN_MIGRATE;
use gin_shared::migration::{Order, WrongOrder, greeting};
#[cfg(feature = "database")]
use tokio::signal::unix::{SignalKind, signal};

use super::Server;
use crate::StartError;
use crate::config::Output;
#[cfg(feature = "database")]
use crate::database::DatabasePart;
#[cfg(feature = "database")]
use crate::database::migrate::{MigrateError, carry_out};
#[cfg(feature = "database")]
use crate::parts::Part;

/// The flag.
const FLAG: &str = "--migrate";

/// The order, if this process has one.
///
/// # Errors
/// If it makes no sense.
pub(super) fn asked() -> Result<Option<Order>, StartError> {
    let args = std::env::args_os().skip(1);
    order(variable(), args).map_err(|wrong| StartError::Migrate(wrong.to_string()))
}

/// The supervisor's order.
fn variable() -> Option<String> {
    std::env::var_os(GIN_MIGRATE).map(|order| order.to_string_lossy().into_owned())
}

fn order(variable: Option<String>, args: impl Iterator<Item = OsString>) -> Result<Option<Order>, WrongOrder> {
    match variable {
        Some(text) => text.parse().map(Some),
        // What an application without a database does with this flag is its own business.
        None if cfg!(feature = "database") => on_command_line(args),
        None => Ok(None),
    }
}

/// `--migrate up 2`, `--migrate=status`. What follows `--` is the application's.
fn on_command_line(args: impl Iterator<Item = OsString>) -> Result<Option<Order>, WrongOrder> {
    let mut args = args.map_while(|arg| (arg != "--").then(|| arg.to_string_lossy().into_owned()));
    while let Some(arg) = args.next() {
        let direction = match arg.strip_prefix(FLAG) {
            Some("") => args.next().unwrap_or_default(),
            Some(rest) if rest.starts_with('=') => rest[1..].to_owned(),
            Some(_) | None => continue,
        };
        let count = args.next().filter(|count| count.parse::<i64>().is_ok());
        return [direction, count.unwrap_or_default()].join(" ").parse().map(Some);
    }
    Ok(None)
}

impl Server {
    /// Does what the order says, and serves nothing. The log goes to stderr where it would go to stdout, which has the outcome.
    ///
    /// # Errors
    /// If it fails, or `status` finds that a migration has ended half way.
    pub(super) async fn migrate(mut self, order: Order) -> Result<(), StartError> {
        let is_supervised = variable().is_some();
        if is_supervised {
            say(&greeting(order));
        }
        let logging = &mut self.config.logging;
        if logging.output == Output::Stdout {
            logging.output = Output::Stderr;
        }
        let _log = if tracing::dispatcher::has_been_set() {
            None
        } else {
            Some(crate::logging::start(logging).map_err(StartError::Log)?)
        };
        let outcome = self.migrated(order).await;
        // By hand it is told by `main`, on stderr.
        if let (true, Err(error)) = (is_supervised, &outcome) {
            say(&format!("error: {error}"));
        }
        outcome
    }

    #[cfg(feature = "database")]
    async fn migrated(self, order: Order) -> Result<(), StartError> {
        let none = |what: &str| {
            StartError::Migrate(format!(
                "there is no database to migrate: the program registers {what} by Server::migrations"
            ))
        };
        let part = self.asked.into_database(&self.config)?.ok_or_else(|| none("none"))?;
        let migrations = part.migrations().ok_or_else(|| none("one, and no migrations"))?;
        let opened = part.open().await;
        opened.map_err(|error| StartError::Part { name: part.name(), why: error.in_a_line() })?;
        let target = part.target();
        let outcome = unless_stopped(carry_out(order, migrations, &target), &part).await?;
        part.close().await;
        let told = outcome.map_err(|error| StartError::Migrate(error.to_string()))?;
        say(&told.text);
        if told.is_marked {
            let text = "a migration runs without a transaction now, or has ended half way: `up` of the program that has it \
                        waits for it, and tells what to do";
            return Err(StartError::Migrate(text.to_owned()));
        }
        Ok(())
    }

    #[cfg(not(feature = "database"))]
    async fn migrated(self, _: Order) -> Result<(), StartError> {
        let text = format!(
            "{GIN_MIGRATE}: there is no database to migrate: gin-worker was built without its feature \"database\""
        );
        Err(StartError::Migrate(text))
    }
}

/// The outcome of a migration, also if the process is asked to stop (SIGTERM, SIGINT): what would remain half done is ended first, and a
/// second signal does not wait for that.
///
/// # Errors
/// If the signals cannot be caught.
#[cfg(feature = "database")]
async fn unless_stopped<T>(
    migration: impl Future<Output = Result<T, MigrateError>>,
    part: &DatabasePart,
) -> Result<Result<T, MigrateError>, StartError> {
    let caught = |kind| signal(kind).map_err(StartError::Signals);
    let (mut term, mut int) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    let mut migration = pin!(migration);
    tokio::select! {
        biased;
        outcome = migration.as_mut() => return Ok(outcome),
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tokio::select! {
        biased;
        outcome = migration.as_mut() => Ok(outcome),
        () = part.leave() => Ok(Err(MigrateError::Stopped)),
        _ = term.recv() => Ok(Err(MigrateError::Stopped)),
        _ = int.recv() => Ok(Err(MigrateError::Stopped)),
    }
}

/// A line of the outcome. Nobody is left to be told if there is no reader.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variable: Option<&str>, args: &[&str]) -> Result<Option<String>, WrongOrder> {
        let order = order(variable.map(str::to_owned), args.iter().map(OsString::from))?;
        Ok(order.map(|order| order.to_string()))
    }

    #[test]
    fn the_supervisors_order_goes_before_the_command_line() {
        assert_eq!(read(Some("up 2"), &["--migrate", "down"]).unwrap().as_deref(), Some("up 2"));
        read(Some("serve"), &[]).unwrap_err();
        assert_eq!(read(None, &["--port", "81"]), Ok(None));
    }

    #[cfg(feature = "database")]
    #[test]
    fn the_command_line_has_an_order_behind_the_flag() {
        let text = |args: &[&str]| read(None, args).map(Option::unwrap_or_default);
        assert_eq!(text(&["--port", "81", "--migrate", "status"]).unwrap(), "status");
        assert_eq!(text(&["--migrate=up", "3", "--mode", "debug"]).unwrap(), "up 3");
        assert_eq!(text(&["--migrate", "down", "--port", "81"]).unwrap(), "down");
        assert_eq!(text(&["--", "--migrate", "down"]).unwrap(), "");
        assert_eq!(text(&["--migrated", "down"]).unwrap(), "");
        for wrong in
            [&["--migrate"] as &[&str], &["--migrate", "now"], &["--migrate", "up", "0"], &["--migrate=down", "-1"]]
        {
            assert!(text(wrong).is_err(), "{wrong:?}");
        }
    }
}

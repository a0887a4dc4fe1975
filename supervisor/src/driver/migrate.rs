//! `gin-ctl migrate`: the workers' program is run once beside the workers, with an order to migrate its database.
//!
//! It is the program that the next restart would run, with the user, environment, configuration and sandbox of the generation that serves.
//! It is told the order by a variable, so a program that knows nothing of that would begin to serve: it is ended if it has not greeted
//! within `ready_timeout`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::time::Duration;

use gin_shared::control::Step;
use gin_shared::exit;
use gin_shared::generation::Generation;
use gin_shared::inherit::GIN_MIGRATE;
use gin_shared::migration::{Order, greeting};
use nix::sys::signal::Signal;

use super::Driver;
use crate::inbox::MigrateRequest;
use crate::inbox::migration::Migration;
use crate::machine::event::{Event, StopBy};
use crate::machine::failure::CommandError;
use crate::moment::Moment;
use crate::os::child::Child;
use crate::os::{memfd, time};
use crate::task;
use crate::workers::command::Command;

/// The longest time that a migration may take.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The most output that a program can write, in bytes.
const OUTPUT_MAX: usize = 64 * 1024;
/// The beginning of the line with which a program tells its error.
const ERROR: &str = "error: ";

/// An exit code of gin-ctl, and the sentence for people.
type End = (u8, String);

/// A program that was started.
struct Started {
    order: Order,
    command: Command,
    output: File,
    /// The time in which it has to greet.
    patience: Duration,
    /// The time that it has to end when the supervisor stops.
    grace: Duration,
}

impl Driver {
    /// Starts the program. Its end is the operation's.
    pub(super) fn migrate(&mut self, request: &MigrateRequest) {
        if let Err((exit, text)) = self.try_migrate(request) {
            self.reporter.operations.end(time::now(), request.operation, exit, text);
        }
    }

    fn try_migrate(&mut self, request: &MigrateRequest) -> Result<(), End> {
        let MigrateRequest { operation, order } = *request;
        if !self.machine.reexec_operations().is_empty() {
            return Err((exit::BUSY, "the supervisor is being upgraded; try again when that is done".to_owned()));
        }
        let Some(current) = self.machine.current().map(|run| run.id) else {
            let text = "no generation serves yet; run the program by hand with --migrate, as its user and with its configuration";
            return Err((exit::FAILED, text.to_owned()));
        };
        let migration = self.handle.migration.clone();
        let busy = |other| (exit::BUSY, format!("operation {other} migrates already; gin-ctl cancel calls it off"));
        migration.begin(operation).map_err(busy)?;
        match self.start_migration(current, order) {
            Ok(started) => {
                let operations = self.handle.operations.clone();
                task::spawn(async move {
                    let (lines, (exit, text)) = started.end(&migration).await;
                    migration.end();
                    tracing::info!(operation = operation.0, "migrate {order}: {text}");
                    operations.step(&[operation], &Step::Output { lines });
                    operations.end(time::now(), operation, exit, text);
                });
                Ok(())
            }
            Err(error) => {
                migration.end();
                Err((exit::FAILED, format!("the program cannot be started: {error}")))
            }
        }
    }

    /// Forks, saves, and gives the program its orders.
    fn start_migration(&mut self, current: Generation, order: Order) -> io::Result<Started> {
        let output = memfd::limited("gin-migrate", OUTPUT_MAX as u64)?;
        let gone = || io::Error::other("its generation is gone");
        let frozen = self.generations.get(current).ok_or_else(gone)?;
        let (patience, grace) = (frozen.config.ready_timeout, frozen.config.drain_timeout);
        let found = frozen.program_anew(vec![(GIN_MIGRATE, order.to_string())]);
        let (program, spec) = found.map_err(|error| io::Error::other(error.to_string()))?;
        let command = self.workers.fork_command_writing_to(output.try_clone()?)?;
        self.save();
        command.start(&spec, &program)?;
        Ok(Started { order, command, output, patience, grace })
    }

    /// Has a migration that is under way end with the supervisor: at once, if that stops fast.
    pub(super) fn end_migration(&self, event: &Event) {
        let Event::Stop { by, .. } = event else { return };
        match by {
            StopBy::FastCommand => {
                let _ = self.handle.migration.cancel(None, "the supervisor stops");
            }
            StopBy::Command | StopBy::Signal => self.handle.migration.ask_to_end(),
        }
    }

    /// Waits for the end of a migration, at the supervisor's own: half of it would remain otherwise. It has as long as workers have.
    pub(super) async fn until_migrated(&self) {
        self.handle.migration.ask_to_end();
        self.handle.migration.ended().await;
    }

    /// Calls the migration off, if this event asks for that. One that names no operation means an upgrade first.
    pub(super) fn cancel_migration(&self, now: Moment, event: &Event) -> bool {
        let Event::Cancel { operation, target, because } = event else { return false };
        let is_meant = target.is_some() || self.machine.candidate().is_none();
        let is_cancelled = is_meant && self.handle.migration.cancel(*target, because);
        if let (true, Some(operation)) = (is_cancelled, operation) {
            self.reporter.operations.end(now, *operation, exit::DONE, "cancelled".to_owned());
        }
        is_cancelled
    }
}

impl Started {
    /// Waits for the end of the program; gives what it has printed, and how it ended.
    async fn end(self, migration: &Migration) -> (Vec<String>, End) {
        let Self { order, command, output, patience, grace } = self;
        let child = command.child();
        let mut end = pin!(command.end(LONGEST));
        let (result, stopped) = tokio::select! {
            biased;
            result = end.as_mut() => (result, None),
            why = stopped(migration, order, &output, patience) => {
                let _ = child.kill_group();
                (end.await, Some(why))
            }
            () = supervisor_stops(migration, &child, grace) => {
                let _ = child.kill_group();
                (end.await, None)
            }
        };
        let (lines, judged) = judge(order, &read(&output), &result);
        (lines, stopped.unwrap_or(judged))
    }
}

/// Waits until the supervisor stops, asks the program to end, and waits for as long as workers have for their requests.
async fn supervisor_stops(migration: &Migration, child: &Child, grace: Duration) {
    migration.asked_to_end().await;
    tracing::info!("a migration is under way: its program is asked to end, and waited for");
    let _ = child.signal(Signal::SIGTERM);
    tokio::time::sleep(grace).await;
}

/// Waits until the program is to be ended before its time; gives the reason.
async fn stopped(migration: &Migration, order: Order, output: &File, patience: Duration) -> End {
    let is_foreign = async {
        tokio::time::sleep(patience).await;
        if has_greeted(order, &read(output)) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        because = migration.cancelled() => (exit::TIMED_OUT, format!("cancelled: {because}")),
        () = is_foreign => (exit::FAILED, foreign()),
    }
}

fn foreign() -> String {
    format!(
        "the program knows nothing of {GIN_MIGRATE}, or did not come to Server::run within ready_timeout: only a program on gin-worker \
         migrates by gin-ctl"
    )
}

/// Reads the output of a program so far.
fn read(output: &File) -> String {
    let mut bytes = vec![0; OUTPUT_MAX];
    // Its length cannot change.
    let _ = output.read_exact_at(&mut bytes, 0);
    let written = bytes.iter().position(|byte| *byte == 0).unwrap_or(OUTPUT_MAX);
    String::from_utf8_lossy(&bytes[..written]).into_owned()
}

fn has_greeted(order: Order, output: &str) -> bool {
    let greeting = greeting(order);
    output.lines().any(|line| line == greeting)
}

/// The lines for the caller, and the end, by what a program has printed and how it has ended.
fn judge(order: Order, output: &str, result: &Result<(), CommandError>) -> (Vec<String>, End) {
    let greeting = greeting(order);
    let mut lines: Vec<String> = output.lines().filter(|line| *line != greeting).map(str::to_owned).collect();
    let end = match result {
        // It may have been ended by itself, or by a signal, before.
        _ if !has_greeted(order, output) && !matches!(result, Err(CommandError::NotStarted(_))) => {
            (exit::FAILED, foreign())
        }
        Ok(()) => (exit::DONE, format!("migrate {order}: done")),
        Err(error) => {
            let at = lines.iter().rposition(|line| line.starts_with(ERROR));
            let why = match at.map(|at| lines.split_off(at).join("\n")) {
                Some(told) => told[ERROR.len()..].to_owned(),
                None => error.to_string(),
            };
            (exit::FAILED, format!("migrate {order} failed: {why}"))
        }
    };
    (lines, end)
}

#[cfg(test)]
mod tests {
    use gin_shared::migration::Direction;

    use super::*;
    use crate::exit_status::Exit;

    const UP: Order = Order { direction: Direction::Up, count: None };

    fn failed() -> Result<(), CommandError> {
        Err(CommandError::Failed(Exit::Code(1)))
    }

    #[test]
    fn the_callers_lines_are_the_programs_and_its_error_is_the_end() {
        let (lines, end) = judge(UP, "migrate: up\napplied: m1\n", &Ok(()));
        assert_eq!((lines, end), (vec!["applied: m1".to_owned()], (exit::DONE, "migrate up: done".to_owned())));

        let (lines, (code, text)) = judge(UP, "migrate: up\nm1\nerror: m2 failed\n  because: x\n", &failed());
        assert_eq!((lines, code), (vec!["m1".to_owned()], exit::FAILED));
        assert_eq!(text, "migrate up failed: m2 failed\n  because: x");

        let (_, (code, text)) = judge(UP, "migrate: up\n", &failed());
        assert_eq!((code, text.as_str()), (exit::FAILED, "migrate up failed: it exited with status 1"));
    }

    #[test]
    fn a_program_that_does_not_greet_has_not_migrated() {
        for result in [Ok(()), failed()] {
            let (_, (code, text)) = judge(UP, "listening\nmigrate: down\n", &result);
            assert!(code == exit::FAILED && text.contains("only a program on gin-worker"), "{text}");
        }
        let never = Err(CommandError::NotStarted("user nobody2: unknown".to_owned()));
        let (_, (code, text)) = judge(UP, "", &never);
        assert!(code == exit::FAILED && text.ends_with("user nobody2: unknown"), "{text}");
    }

    #[test]
    fn the_output_is_read_while_it_is_written_and_has_an_end() {
        use std::io::Write;

        let output = memfd::limited("gin-test", OUTPUT_MAX as u64).unwrap();
        let mut theirs = output.try_clone().unwrap();
        assert_eq!(read(&output), "");
        theirs.write_all(b"migrate: up\n").unwrap();
        assert!(has_greeted(UP, &read(&output)));
        theirs.write_all(b"more\n").unwrap();
        assert_eq!(read(&output), "migrate: up\nmore\n");
        theirs.write_all(&vec![b'x'; OUTPUT_MAX]).unwrap_err();
        assert!(read(&output).starts_with("migrate: up\nmore\n"));
    }
}

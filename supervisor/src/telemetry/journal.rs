//! To journald, with fields to search by: GIN_INSTANCE, GIN_GENERATION, GIN_SLOT, GIN_OPERATION and more.
//!
//! A thread of its own speaks to journald, from a bounded queue: its socket may take nothing for a while, and the master
//! waits for nobody. So each event travels as a [`Record`], and is told anew there.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Lines that wait to be told; more are dropped.
const QUEUE: usize = 1024;
/// How long the last lines may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whether this process's stderr is connected to the journal: then lines there would arrive as text (systemd.exec(5)).
#[must_use]
pub fn has_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// One event.
#[derive(Debug)]
struct Record {
    level: Level,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Record {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Takes events in.
#[derive(Debug)]
pub struct Journal(SyncSender<Option<Record>>);

/// Waits, when dropped, until what was logged is told.
#[derive(Debug)]
pub struct Guard(Receiver<()>, SyncSender<Option<Record>>);

impl Drop for Guard {
    fn drop(&mut self) {
        // The layer, which has a sender too, lives as long as the process: so the end is said.
        let until = Instant::now() + FAREWELL;
        while self.1.try_send(None).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.recv_timeout(FAREWELL);
    }
}

impl Journal {
    /// Connects.
    ///
    /// # Errors
    /// If there is no journald.
    pub fn connect(instance: &str) -> io::Result<(Self, Guard)> {
        let journald = tracing_journald::layer()?
            .with_field_prefix(Some("GIN".to_owned()))
            .with_syslog_identifier("gin-supervisor".to_owned())
            .with_custom_fields([("GIN_INSTANCE", instance)]);
        let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(journald));
        let (sender, records) = sync_channel::<Option<Record>>(QUEUE);
        let (ended, end) = sync_channel(1);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || {
                for record in records.iter().map_while(|record| record) {
                    tell(&record);
                }
            });
            let _ = ended.send(());
        })?;
        Ok((Self(sender.clone()), Guard(end, sender)))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut record = Record { level: *event.metadata().level(), message: String::new(), fields: Vec::new() };
        event.record(&mut record);
        let _ = self.0.try_send(Some(record));
    }
}

/// Every name of a field that the master logs with: an event's fields are fixed when it is compiled.
macro_rules! known {
    ($with:ident, $level:expr, $record:expr) => {
        $with!(
            $level, $record, generation, slot, pid, operation, took_ms, release, workers, asked_by, missing, said,
            command, user, uid, name, address, from, to, code, worker, pid_file, control
        )
    };
}

macro_rules! tell_at {
    ($level:expr, $record:expr, $($name:ident),*) => {
        tracing::event!(target: "gin_supervisor", $level, $($name = $record.get(stringify!($name)),)* "{}", $record.message)
    };
}

fn tell(record: &Record) {
    match record.level {
        Level::ERROR => known!(tell_at, Level::ERROR, record),
        Level::WARN => known!(tell_at, Level::WARN, record),
        Level::INFO => known!(tell_at, Level::INFO, record),
        Level::DEBUG => known!(tell_at, Level::DEBUG, record),
        Level::TRACE => known!(tell_at, Level::TRACE, record),
    }
}

//! To journald, with fields to search by: GIN_INSTANCE, GIN_GENERATION, GIN_SLOT, GIN_OPERATION and more.
//!
//! A thread of its own speaks to journald, from a bounded queue: its socket may take nothing for a while, and the master
//! waits for nobody. So each event travels as a [`Record`], and is told anew there.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use gin_shared::log_line::{Form, LENGTH_MAX, Shape};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Lines that wait to be told; more are dropped.
const QUEUE: usize = 1024;
/// Each text that is told: journalctl writes it to a terminal.
const SHAPE: Shape = Shape { form: Form::Text { has_colours: false }, length_max: LENGTH_MAX };
/// Longest wait for the last lines at the end of the process.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Whether this process's stderr is connected to the journal: then lines there would arrive as text (systemd.exec(5)).
#[must_use]
pub fn has_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// What the thread is given.
#[derive(Debug)]
enum Message {
    Record(Record),
    /// Answered when all before it is told.
    Flush(SyncSender<()>),
    End,
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
        let value = SHAPE.fit(value).into_owned();
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Takes events in.
#[derive(Debug)]
pub struct Journal(SyncSender<Message>);

/// Waits, when dropped, until what was logged is told.
#[derive(Debug)]
pub struct Guard(Receiver<()>, SyncSender<Message>);

/// Waits, when asked, until what was logged is told.
#[derive(Debug)]
pub struct Flusher(SyncSender<Message>);

impl Guard {
    /// For those who cannot drop it.
    #[must_use]
    pub fn flusher(&self) -> Flusher {
        Flusher(self.1.clone())
    }
}

impl Flusher {
    /// For so long at most.
    pub fn flush(&self, patience: Duration) {
        let (told, waits) = sync_channel(1);
        if self.0.try_send(Message::Flush(told)).is_ok() {
            let _ = waits.recv_timeout(patience);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The layer, which has a sender too, lives as long as the process: so the end is said.
        let until = Instant::now() + SHUTDOWN_GRACE;
        while self.1.try_send(Message::End).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.recv_timeout(SHUTDOWN_GRACE);
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
        let (sender, records) = sync_channel::<Message>(QUEUE);
        let (ended, end) = sync_channel(1);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || {
                for message in records {
                    match message {
                        Message::Record(record) => tell(&record),
                        Message::Flush(told) => drop(told.try_send(())),
                        Message::End => break,
                    }
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
        let _ = self.0.try_send(Message::Record(record));
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

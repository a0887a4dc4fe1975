//! The master's log: text on a terminal, fields in the journal where stderr is connected to it, JSON elsewhere.
//!
//! Written by a thread of its own from a bounded queue: a terminal or pipe that takes nothing costs lines, never time.

mod journal;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gin_shared::log_line::{Form, LENGTH_MAX, Shape};
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that wait to be written.
const QUEUE: usize = 1024;
/// Lines remembered, to tell them from the workers' in a file that both write to.
const REMEMBERED: usize = 256;

/// Time for the lines that wait, before another program takes over.
const FLUSH: Duration = Duration::from_millis(500);

static LEVEL: AtomicU8 = AtomicU8::new(3);
static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static JOURNAL: OnceLock<journal::Flusher> = OnceLock::new();
/// Lines given to the writer, and lines that it has written.
static GIVEN: AtomicU64 = AtomicU64::new(0);
static WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Counts the lines that found no place in the queue.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Held while the master logs. Lines that wait are written when it is dropped.
#[derive(Debug)]
pub struct Guard {
    _stderr: Option<WorkerGuard>,
    _journal: Option<journal::Guard>,
}

/// Starts logging.
///
/// # Errors
/// If journald is asked for and not there.
pub fn start(format: Option<&str>, level: &str, instance: &str) -> io::Result<Guard> {
    set_level(level);
    let filter = dynamic_filter_fn(|metadata, _| rank(*metadata.level()) <= LEVEL.load(Ordering::Relaxed));
    if format == Some("journald") || (format.is_none() && journal::has_stderr()) {
        match journal::Journal::connect(instance) {
            Ok((journal, guard)) => {
                tracing_subscriber::registry().with(journal.with_filter(filter)).init();
                let _ = JOURNAL.set(guard.flusher());
                return Ok(Guard { _stderr: None, _journal: Some(guard) });
            }
            Err(error) if format.is_some() => return Err(error),
            // As text, then.
            Err(_) => {}
        }
    }
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .thread_name("log")
        .finish(Counting(io::stderr()));
    let _ = LOST.set(writer.error_counter());
    let terminal = io::stderr().is_terminal();
    let json = format.map_or(!terminal, |format| format == "json");
    let colour = !json && terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let form = if json { Form::Json } else { Form::Text { has_colours: colour } };
    let remembering = Remembering { writer, shape: Shape { form, length_max: LENGTH_MAX } };
    // It tells its own errors by a macro that panics where stderr is on a full disk.
    let base = tracing_subscriber::fmt::layer().with_target(false).with_writer(remembering).log_internal_errors(false);
    if json {
        tracing_subscriber::registry().with(base.json().flatten_event(true).with_filter(filter)).init();
    } else {
        tracing_subscriber::registry().with(base.with_ansi(colour).with_filter(filter)).init();
    }
    Ok(Guard { _stderr: Some(guard), _journal: None })
}

/// Waits until what was logged is written, for half a second at most.
pub fn flush() {
    if let Some(journal) = JOURNAL.get() {
        return journal.flush(FLUSH);
    }
    let until = Instant::now() + FLUSH;
    let lost = || LOST.get().map_or(0, |lost| lost.dropped_lines() as u64);
    while WRITTEN.load(Ordering::Acquire) + lost() < GIVEN.load(Ordering::Acquire) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Counts the lines that are written.
#[derive(Debug)]
struct Counting(io::Stderr);

impl Write for Counting {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Who has closed it does not want it.
        let written = self.0.write_all(line);
        WRITTEN.fetch_add(1, Ordering::Release);
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The words of the levels.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The level of the log.
#[must_use]
pub fn level() -> &'static str {
    let rank = usize::from(LEVEL.load(Ordering::Relaxed));
    LEVELS.get(rank.wrapping_sub(1)).copied().unwrap_or("info")
}

/// Changes what is logged, from the next line on.
pub fn set_level(level: &str) {
    LEVEL.store(level.parse().map_or(3, rank), Ordering::Relaxed);
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// True if the master itself has logged this line of late.
#[must_use]
pub fn is_ours(line: &str) -> bool {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|own| own == line.trim_end())
}

/// Makes lines fit to be written, and remembers them.
#[derive(Debug, Clone)]
struct Remembering {
    writer: NonBlocking,
    shape: Shape,
}

impl<'a> MakeWriter<'a> for Remembering {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Remembering {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len();
        let line = String::from_utf8_lossy(line);
        let line = self.shape.fit(&line);
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(line.trim_end().to_owned());
        drop(recent);
        GIVEN.fetch_add(1, Ordering::Release);
        // The writer takes each line whole, or drops it.
        self.writer.write(line.as_bytes()).map(|_| length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

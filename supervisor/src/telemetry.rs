//! The master's log: text on a terminal, fields in the journal where stderr is connected to it, JSON elsewhere.
//!
//! Written by a thread of its own from a bounded queue: a terminal or pipe that takes nothing costs lines, never time.

mod journal;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that wait to be written.
const QUEUE: usize = 1024;
/// Lines remembered, to tell them from the workers' in a file that both write to.
const REMEMBERED: usize = 256;

static LEVEL: AtomicU8 = AtomicU8::new(3);
static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// What waits is written when it is dropped.
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
                return Ok(Guard { _stderr: None, _journal: Some(guard) });
            }
            Err(error) if format.is_some() => return Err(error),
            // As text, then.
            Err(_) => {}
        }
    }
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).thread_name("log").finish(io::stderr());
    let terminal = io::stderr().is_terminal();
    let json = format.map_or(!terminal, |format| format == "json");
    let base = tracing_subscriber::fmt::layer().with_target(false).with_writer(Remembering(writer));
    if json {
        tracing_subscriber::registry().with(base.json().flatten_event(true).with_filter(filter)).init();
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        tracing_subscriber::registry().with(base.with_ansi(colour).with_filter(filter)).init();
    }
    Ok(Guard { _stderr: Some(guard), _journal: None })
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

/// Whether the master itself has logged this line of late.
#[must_use]
pub fn is_ours(line: &str) -> bool {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|own| own == line.trim_end())
}

#[derive(Debug, Clone)]
struct Remembering(NonBlocking);

impl<'a> MakeWriter<'a> for Remembering {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Remembering {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
        drop(recent);
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

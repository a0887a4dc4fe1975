//! Where log lines go, and how they look: `[logging]`.
//!
//! A thread of its own writes them, from a bounded queue: an output that takes nothing costs lines, and stops no request. An
//! application that has a subscriber of `tracing` already keeps it.
//!
//! Each line that is logged while a handler runs has the name of the request, `request_id`, as the line of the request has. With another
//! subscriber, and in journald, it is in a span `request` of the target `gin_worker::request`, with the fields `id`, `method` and `route`.
//! Where requests are traced (feature `otel`), a line has `trace_id` and `span_id`, too, but for a line of text in a terminal; the span
//! `request` has them as fields.
//! A task that a handler spawns is no part of the request: pass it the [`crate::RequestId`], and log `request_id = id.as_str()` there.

#[cfg(test)]
pub(crate) mod captured;
mod clock;
mod file;
mod line;
mod order;
mod queue;
mod text;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use gin_shared::log_line::{self, Shape};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, reload};

use crate::config::{Format, Level, Levels, Logging, Output};
use crate::request_scope;
use file::LogFile;
pub(crate) use line::Direct;
use line::JsonLine;
use queue::{Flusher, Queue};
use text::TextLine;

/// Bytes at once to a pipe, which several workers may share: so many are never mixed with another's (`PIPE_BUF`, pipe(7)).
const TO_PIPE: usize = 4096;
/// And to a file.
const TO_FILE: usize = 64 << 10;

/// Changes what is logged.
type SetFilter = Box<dyn Fn(Targets) + Send + Sync>;

static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
/// Levels of single targets. Whoever changes the filter holds it.
static TARGETS: Mutex<Levels> = Mutex::new(Levels::new());
static FILE: OnceLock<LogFile> = OnceLock::new();
/// Where lines of JSON go, if they do.
static LINES: OnceLock<Queue> = OnceLock::new();

/// What waits is written when it is dropped.
#[derive(Debug, Default)]
pub struct Guard {
    _flusher: Option<Flusher>,
}

/// Begins to log as `config` says, for the whole process. [`crate::Server::run`] does so, if nobody has before: this is for a program that
/// logs before it serves.
///
/// ```no_run
/// # fn f() -> Result<(), gin_worker::BoxError> {
/// let config = gin_worker::load()?;
/// // What waits is written when it is dropped: at the end of `main`.
/// let _log = gin_worker::logging::start(&config.logging)?;
/// tracing::info!("the tables are being migrated");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the file cannot be opened, or journald is asked for and not there; [`io::ErrorKind::AlreadyExists`] if somebody logs already.
pub fn start(config: &Logging) -> io::Result<Guard> {
    start_with(config, false)
}

/// The same. `traces`: spans and events of `tracing` go to the traces, too.
///
/// # Errors
/// As [`start`].
pub(crate) fn start_with(config: &Logging, traces: bool) -> io::Result<Guard> {
    let Opened { guard, output, lines } = match config.output {
        Output::Journald => journald()?,
        Output::Stdout => written(config, io::stdout(), TO_PIPE, io::stdout().is_terminal())?,
        Output::Stderr => written(config, io::stderr(), TO_PIPE, io::stderr().is_terminal())?,
        Output::File => {
            let path = config.file_path.as_deref().ok_or(io::ErrorKind::InvalidInput)?;
            let file = LogFile::open(path, config)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            file.keep()?;
            let _ = FILE.set(file.clone());
            written(config, file, TO_FILE, false)?
        }
    };
    let (filtered, handle) = reload::Layer::new(filter(config.level, &config.targets));
    let subscriber = tracing_subscriber::registry().with(filtered).with(output);
    // Another type, so that an event passes through no layer that does nothing.
    #[cfg(feature = "otel")]
    let set = if traces { subscriber.with(crate::traces::layer()).try_init() } else { subscriber.try_init() };
    #[cfg(not(feature = "otel"))]
    let set = {
        let _ = traces;
        subscriber.try_init()
    };
    set.map_err(|error| io::Error::new(io::ErrorKind::AlreadyExists, error))?;
    LEVEL.store(config.level as u8, Ordering::Relaxed);
    targets().clone_from(&config.targets);
    if config.output != Output::Journald {
        request_scope::write_names();
    }
    if let Some(lines) = lines {
        let _ = LINES.set(lines);
    }
    // Fails only without a subscriber.
    let _ = SET_FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
    Ok(guard)
}

/// What is logged to.
struct Opened {
    guard: Guard,
    output: Box<dyn Layer<Leveled> + Send + Sync>,
    lines: Option<Queue>,
}

#[cfg(feature = "journald")]
fn journald() -> io::Result<Opened> {
    Ok(Opened { guard: Guard::default(), output: Box::new(tracing_journald::layer()?), lines: None })
}

#[cfg(not(feature = "journald"))]
fn journald() -> io::Result<Opened> {
    let text = "logging.output = \"journald\": this program was built without the feature \"journald\" of gin-worker";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// Where a [`Direct`] line goes: nowhere, unless this module logs, and lines of JSON.
pub(crate) fn lines() -> Option<&'static Queue> {
    LINES.get()
}

type Leveled = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;

fn written(
    config: &Logging,
    output: impl Write + Send + 'static,
    piece: usize,
    is_terminal: bool,
) -> io::Result<Opened> {
    let format = config.format.unwrap_or(if is_terminal { Format::Text } else { Format::Json });
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let has_colours = is_terminal && !is_plain;
    let form = match format {
        Format::Json => log_line::Form::Json,
        Format::Text => log_line::Form::Text { has_colours },
    };
    let shape = Shape { form, length_max: usize::try_from(config.max_line).unwrap_or(usize::MAX) };
    let (queue, flusher) = Queue::start(output, piece, shape)?;
    let lines = (format == Format::Json).then(|| queue.clone());
    // It tells its own errors by a macro that panics where stderr is on a full disk.
    let base = tracing_subscriber::fmt::layer().with_writer(queue).log_internal_errors(false);
    let output: Box<dyn Layer<Leveled> + Send + Sync> = match format {
        Format::Json => Box::new(base.fmt_fields(line::fields()).event_format(JsonLine)),
        Format::Text => Box::new(base.with_ansi(false).event_format(TextLine { is_terminal, has_colours })),
    };
    Ok(Opened { guard: Guard { _flusher: Some(flusher) }, output, lines })
}

/// What is logged from now on. Targets that have a level of their own (`logging.targets`) keep it.
pub fn set_level(level: Level) {
    let Some(set) = SET_FILTER.get() else { return };
    let targets = targets();
    set(filter(level, &targets));
    LEVEL.store(level as u8, Ordering::Relaxed);
    drop(targets);
    tracing::info!("the log level is {} now", word(level));
}

/// Levels of single targets from now on.
pub(crate) fn set_targets(new: &Levels) {
    let Some(set) = SET_FILTER.get() else { return };
    let mut targets = targets();
    targets.clone_from(new);
    set(filter(level(), &targets));
}

fn targets() -> MutexGuard<'static, Levels> {
    TARGETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is logged.
#[must_use]
pub fn level() -> Level {
    let now = LEVEL.load(Ordering::Relaxed);
    Logging::LEVELS.iter().map(|(_, level)| *level).find(|level| *level as u8 == now).unwrap_or_default()
}

/// The level of this name.
pub(crate) fn named(word: &str) -> Option<Level> {
    Logging::LEVELS.iter().find(|(of, _)| *of == word).map(|(_, level)| *level)
}

/// The word for it.
pub(crate) fn word(level: Level) -> &'static str {
    Logging::LEVELS.iter().find(|(_, of)| *of == level).map_or("info", |(word, _)| word)
}

fn filter(level: Level, targets: &Levels) -> Targets {
    let all = targets.iter().map(|(target, level)| (target.clone(), level.map_or(LevelFilter::OFF, level_filter)));
    Targets::new().with_default(level_filter(level)).with_targets(all)
}

fn level_filter(level: Level) -> LevelFilter {
    match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    }
}

/// Goes on in a new file at the same path (SIGUSR1, as logrotate(8) wants it): the old one may have been renamed.
pub(crate) fn reopen() {
    let Some(file) = FILE.get() else { return };
    match file.reopen() {
        Ok(()) => tracing::info!("the log file is open anew"),
        Err(error) => tracing::error!("the log goes on where it was: {error}"),
    }
}

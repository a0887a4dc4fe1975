//! Logs and metrics.

use std::path::PathBuf;
use std::time::Duration;

use gin_shared::config::Section;

use super::levels::{self, Levels};

/// `[logging]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logging {
    /// What is logged.
    pub level: Level,
    /// Levels of single targets, by what their names begin with: the longest such name counts, and [`Self::level`] where there is none.
    /// `None`: nothing of it is logged.
    pub targets: Levels,
    /// A line each; `None`: text in a terminal, else JSON.
    pub format: Option<Format>,
    /// Where to.
    pub output: Output,
    /// The file, for [`Output::File`].
    pub file_path: Option<PathBuf>,
    /// Longest line, in bytes; a longer one is cut, and says so.
    pub max_line: u64,
    /// In megabytes.
    pub max_size: u64,
    /// So many old files; 0: all.
    pub max_backups: usize,
    /// In days; 0: none is too old.
    pub max_age: u64,
    /// Whether old files are gzipped.
    pub compress: bool,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "everybody knows them")]
#[non_exhaustive]
pub enum Level {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// For machines.
    Json,
    /// For people.
    Text,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "everybody knows them")]
#[non_exhaustive]
pub enum Output {
    Stdout,
    #[default]
    Stderr,
    File,
    Journald,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: Level::default(),
            targets: Levels::new(),
            format: None,
            output: Output::default(),
            file_path: None,
            max_line: gin_shared::log_line::LENGTH_MAX as u64,
            max_size: 100,
            max_backups: 3,
            max_age: 28,
            compress: false,
        }
    }
}

/// Least value of `logging.max_line`: the usual fields of a request's line must fit.
const LINE_MIN: u64 = 1 << 10;

impl Logging {
    /// The words of its levels.
    pub(crate) const LEVELS: [(&'static str, Level); 5] = [
        ("trace", Level::Trace),
        ("debug", Level::Debug),
        ("info", Level::Info),
        ("warn", Level::Warn),
        ("error", Level::Error),
    ];

    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let outputs = [
            ("stdout", Output::Stdout),
            ("stderr", Output::Stderr),
            ("file", Output::File),
            ("journald", Output::Journald),
        ];
        let number = |key, range| section.integer(key, range).and_then(|number| u64::try_from(number).ok());
        let max_line = section.size("max_line").inspect(|size| {
            if *size < LINE_MIN {
                section.problem("max_line", "it must be at least 1KiB");
            }
        });
        let backups = number("max_backups", 0..=10_000).and_then(|count| usize::try_from(count).ok());
        let own = Self {
            level: section.choice("level", &Self::LEVELS).unwrap_or(base.level),
            targets: levels::read(section),
            format: section.choice("format", &[("json", Format::Json), ("text", Format::Text)]),
            output: section.choice("output", &outputs).unwrap_or(base.output),
            file_path: section.path("file_path"),
            max_line: max_line.unwrap_or(base.max_line),
            max_size: number("max_size", 1..=1 << 20).unwrap_or(base.max_size),
            max_backups: backups.unwrap_or(base.max_backups),
            max_age: number("max_age", 0..=36_500).unwrap_or(base.max_age),
            compress: section.boolean("compress").unwrap_or(base.compress),
        };
        if own.output == Output::File && own.file_path.is_none() {
            section.problem("output", "\"file\" needs file_path");
        }
        own
    }
}

/// `[monitoring]`, without the tables of [`super::Tracing`] and [`super::Profiling`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Monitoring {
    /// Path of the metrics.
    pub path: String,
    /// Beginning of the names of this library's metrics. Names of the application's own stand as they are given.
    pub namespace: String,
    /// Upper bounds of the histogram of requests' durations: 1 to 40, ascending. Most answers take less than 5 ms, so there are finer ones
    /// below than Prometheus' usual ones.
    pub buckets: Vec<Duration>,
    /// True if `prometheus.enable` is written.
    pub(super) is_asked_for: bool,
}

impl Default for Monitoring {
    fn default() -> Self {
        let micros = [500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000];
        Self {
            path: "/metrics".to_owned(),
            namespace: "gin_server".to_owned(),
            buckets: micros.into_iter().chain([5_000_000, 10_000_000]).map(Duration::from_micros).collect(),
            is_asked_for: false,
        }
    }
}

impl Monitoring {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let mut own = Self::default();
        if let Some(prometheus) = section.table("prometheus") {
            match prometheus.boolean("enable") {
                Some(false) => prometheus.problem("enable", "the switch is features.metrics"),
                enable => own.is_asked_for = enable == Some(true),
            }
            let path = |text: &str| {
                if text.starts_with('/') { Ok(text.to_owned()) } else { Err(format!("\"{text}\" must begin with /")) }
            };
            let name = |text: &str| {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                let wrong = || format!("\"{text}\" cannot begin a metric's name; use letters, digits and _");
                if begins && text.chars().all(is_name) { Ok(text.to_owned()) } else { Err(wrong()) }
            };
            own.path = prometheus.parsed("path", "a path", path).unwrap_or(own.path);
            own.namespace = prometheus.parsed("namespace", "a name", name).unwrap_or(own.namespace);
            prometheus.finish();
        }
        if let Some(seconds) = section.numbers("buckets") {
            match bounds(&seconds) {
                Ok(buckets) => own.buckets = buckets,
                Err(text) => section.problem("buckets", &text),
            }
        }
        own
    }
}

/// Most buckets of the requests' histogram: each route, method and status has as many.
const BUCKETS_MAX: usize = 40;

/// Bounds of buckets, which stand in seconds.
fn bounds(seconds: &[f64]) -> Result<Vec<Duration>, String> {
    if seconds.is_empty() || seconds.len() > BUCKETS_MAX {
        return Err(format!("there are {}; it must be 1 to {BUCKETS_MAX} numbers", seconds.len()));
    }
    let bound = |seconds: &f64| {
        let bound = Duration::try_from_secs_f64(*seconds).ok().filter(|bound| !bound.is_zero());
        bound.ok_or_else(|| format!("{seconds} is no bound; write seconds, more than 0 and finite"))
    };
    let bounds = seconds.iter().map(bound).collect::<Result<Vec<_>, _>>()?;
    match bounds.windows(2).position(|pair| pair[0] >= pair[1]) {
        Some(at) => Err(format!(
            "{} does not come before {}; each must be more than the one before",
            seconds[at],
            seconds[at + 1]
        )),
        None => Ok(bounds),
    }
}

/// `[metrics]`: the supervisor's memory for the metrics of all workers. A worker without it has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Series that a worker has room for: 4096.
    pub series: u32,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { series: 4096 }
    }
}

impl Metrics {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let series = section.integer("series", 16..=65_536).and_then(|series| u32::try_from(series).ok());
        series.map_or_else(Self::default, |series| Self { series })
    }
}

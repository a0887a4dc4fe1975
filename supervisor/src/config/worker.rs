//! The settings that count for the next generation.

use std::path::PathBuf;
use std::time::Duration;

use gin_shared::control::WORKERS_MAX;
use nix::sys::signal::Signal;
use rustix::thread::CapabilitySet;

use serde::{Deserialize, Serialize};

use super::{parse_signal, sandbox};
use crate::certificates::Wanted;
use crate::cli::Cli;
use crate::machine::plan::{Readiness, Strategy};
use crate::os::sandbox::Sandbox;
use gin_shared::config::Section;
use gin_shared::config::listen::ListenSettings;

/// The highest core that can be named: what the kernel's usual mask holds.
const CORES_MAX: usize = 1024;

/// The settings that count for the next generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerConfig {
    /// The command to run; `None`: the gin-server beside this program.
    pub command: Option<Vec<String>>,
    /// The directory to run it in; a symlink in it is resolved anew by each generation.
    pub directory: Option<PathBuf>,
    /// The number of workers.
    pub workers: u32,
    /// The way in which a worker shows that it is ready.
    pub ready: Readiness,
    /// The command of [`Readiness::Check`].
    pub check: Option<Vec<String>>,
    /// Time for a worker to get ready.
    pub ready_timeout: Duration,
    /// The command that is run for each ready worker before it serves.
    pub warm_up: Option<Vec<String>>,
    /// The probe of each worker before it serves.
    pub probe: Option<Probe>,
    /// Time for which both generations serve.
    pub soak: Duration,
    /// The way in which it takes the old generation's place.
    #[serde(rename = "rolling")]
    pub strategy: Strategy,
    /// Time for a worker to drain.
    pub drain_timeout: Duration,
    /// The signal that asks a worker without a channel to finish.
    #[serde(with = "crate::os_text::signal")]
    pub stop_signal: Signal,
    /// True if each worker is passed a channel at its start, and waits for `go`.
    pub channel: bool,
    /// Sockets for a worker that announces itself; `None`: it gets none.
    pub offered: Option<Offered>,
    /// True if each is passed a Unix socket of its own.
    pub private_listener: bool,
    /// The fate of workers when the master dies.
    #[serde(rename = "dies_with_master")]
    pub on_master_death: OnMasterDeath,
    /// Time for which a worker may be silent.
    pub watchdog: Option<Duration>,
    /// The user whose rights it gets.
    pub user: Option<String>,
    /// The group, instead of the user's own.
    pub group: Option<String>,
    /// File mode mask.
    pub umask: Option<u32>,
    /// Priority.
    pub nice: Option<i32>,
    /// The cores that it runs on.
    pub cores: Option<Vec<usize>>,
    /// The adjustment for the kernel when memory runs out, -1000 to 1000.
    pub oom_score_adjust: Option<i32>,
    /// The capabilities that it keeps, as bits.
    pub capabilities: Option<u64>,
    /// The steps that contain it.
    pub sandbox: Sandbox,
    /// The limits.
    pub limits: Limits,
    /// Variables that are added to the master's environment, those of `env_file` first.
    pub env: Vec<(String, String)>,
    /// The file with more variables.
    pub env_file: Option<PathBuf>,
    /// The variables of the master's environment that it gets, by name or by their start and `*`; `None`: all.
    pub env_pass: Option<Vec<String>>,
    /// Commands around a restart.
    pub hooks: Hooks,
    /// `features.hot_restart`: false refuses a restart.
    pub hot_restart: bool,
    /// Certificates that its listeners name. Empty: none speaks TLS.
    pub tls: Wanted,
    /// What each listener speaks, where that is more than cleartext. Workers read it themselves; here it shows that it has changed.
    pub listen: Vec<(String, ListenSettings)>,
}

/// Sockets for a worker that announces itself, besides a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// True if a private listener comes with the channel.
    pub private_listener: bool,
}

/// The fate of workers when the master dies. A boolean in the state file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum OnMasterDeath {
    /// They go on serving, and the next master adopts them.
    #[default]
    Serve,
    /// The kernel kills them.
    Exit,
}

impl From<bool> for OnMasterDeath {
    fn from(exit: bool) -> Self {
        if exit { Self::Exit } else { Self::Serve }
    }
}

impl From<OnMasterDeath> for bool {
    fn from(fate: OnMasterDeath) -> Self {
        fate == OnMasterDeath::Exit
    }
}

/// The limits of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// RLIMIT_NOFILE.
    pub nofile: Option<u64>,
    /// RLIMIT_NPROC.
    pub nproc: Option<u64>,
    /// RLIMIT_CORE, in bytes.
    pub core: Option<u64>,
    /// Resident memory of its processes, in bytes; above it is replaced.
    pub memory_restart: Option<u64>,
    /// Above it is replaced.
    pub max_age: Option<Duration>,
}

/// The question over the private listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The path, asked by GET.
    pub path: String,
    /// The expected status.
    pub status: u16,
    /// The text that the body must contain.
    pub body: Option<String>,
    /// The number of successes in a row that are enough.
    pub successes: u32,
    /// The number of failures in a row that are too many.
    pub failures: u32,
    /// The interval between two questions.
    pub interval: Duration,
    /// The time for one answer.
    pub timeout: Duration,
}

/// Commands around a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// Runs first; if it fails, so does the restart.
    pub before_restart: Option<Vec<String>>,
    /// Runs when a new generation serves.
    pub after_restart: Option<Vec<String>>,
    /// Runs when a new generation has failed.
    pub on_failure: Option<Vec<String>>,
    /// The time for each.
    pub timeout: Duration,
}

impl Default for WorkerConfig {
    /// What an empty file says, of a foreign program.
    fn default() -> Self {
        Self {
            command: None,
            directory: None,
            workers: 1,
            ready: Readiness::Notify,
            check: None,
            ready_timeout: Duration::from_secs(30),
            warm_up: None,
            probe: None,
            soak: Duration::from_secs(1),
            strategy: Strategy::Surge,
            drain_timeout: Duration::from_secs(60),
            stop_signal: Signal::SIGTERM,
            channel: false,
            offered: None,
            private_listener: false,
            on_master_death: OnMasterDeath::Serve,
            watchdog: None,
            user: None,
            group: None,
            umask: None,
            nice: None,
            cores: None,
            oom_score_adjust: None,
            capabilities: None,
            sandbox: Sandbox::default(),
            limits: Limits::default(),
            env: Vec::new(),
            env_file: None,
            env_pass: None,
            hooks: Hooks::default(),
            hot_restart: true,
            tls: Wanted::default(),
            listen: Vec::new(),
        }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self { before_restart: None, after_restart: None, on_failure: None, timeout: Duration::from_secs(30) }
    }
}

pub(super) fn read(section: &Section<'_>, features: &Section<'_>, cli: &Cli) -> WorkerConfig {
    let from_file = section.command("command");
    let command = if cli.command.is_empty() { from_file } else { Some(cli.command.clone()) };
    let foreign = command.is_some();
    let (ready, check) = read_ready(section);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = section.integer_or_auto("workers", 1..=i64::from(WORKERS_MAX)).map(|number| {
        number.map_or_else(|| u32::try_from(cores).unwrap_or(1), |number| u32::try_from(number).unwrap_or(1))
    });
    let ready_timeout = section.duration("ready_timeout").unwrap_or(Duration::from_secs(30));
    if matches!(ready, Readiness::After(after) if after >= ready_timeout) {
        section.problem("ready", "after must be shorter than ready_timeout, or no worker is ever ready");
    }
    let (channel_key, private_key) = (section.boolean("channel"), section.boolean("private_listener"));
    let channel = channel_key.unwrap_or(!foreign);
    // Whether a program is built on gin-worker only that program can tell.
    let is_offered = channel_key.is_none() && foreign;
    let offered = is_offered.then_some(Offered { private_listener: private_key.is_none() });
    let private_listener = private_key.unwrap_or(channel);
    let capabilities = read_capabilities(section);
    let probe = read_probe(section);
    let has_private = private_listener || offered.is_some_and(|offered| offered.private_listener);
    if probe.is_some() && !has_private {
        section.problem(
            "probe",
            "it is asked over the private listener; set private_listener = true if the program serves every socket that \
             it is passed, or use ready = { exec = [...] } or warm_up",
        );
    }
    WorkerConfig {
        command,
        directory: section.path("directory"),
        workers: cli.workers.or(workers).unwrap_or(1),
        ready,
        check,
        ready_timeout,
        warm_up: section.command("warm_up"),
        probe,
        soak: section.duration("soak").unwrap_or(Duration::from_secs(u64::from(foreign))),
        strategy: section
            .choice("strategy", &[("surge", Strategy::Surge), ("rolling", Strategy::Rolling)])
            .unwrap_or_default(),
        drain_timeout: section.duration("drain_timeout").unwrap_or(Duration::from_secs(60)),
        stop_signal: section.parsed("stop_signal", "a signal", parse_signal).unwrap_or(Signal::SIGTERM),
        channel,
        offered,
        private_listener,
        on_master_death: section
            .choice("on_master_death", &[("serve", OnMasterDeath::Serve), ("exit", OnMasterDeath::Exit)])
            .unwrap_or_default(),
        watchdog: at_least(section, "watchdog", Duration::from_millis(10)),
        user: section.string("user"),
        group: section.string("group"),
        umask: section.mode("umask"),
        nice: section.integer("nice", -20..=19).and_then(|nice| i32::try_from(nice).ok()),
        cores: read_cores(section),
        oom_score_adjust: section.integer("oom_score_adjust", -1000..=1000).and_then(|n| i32::try_from(n).ok()),
        capabilities,
        sandbox: sandbox::read(section, foreign, capabilities),
        limits: read_limits(section),
        env: section.map("env").unwrap_or_default(),
        env_file: section.path("env_file"),
        env_pass: sandbox::read_env_pass(section, foreign),
        hooks: read_hooks(section),
        hot_restart: features.boolean("hot_restart").unwrap_or(true),
        // Of [security] and the listeners: see `listeners`.
        tls: Wanted::default(),
        listen: Vec::new(),
    }
}

fn read_ready(section: &Section<'_>) -> (Readiness, Option<Vec<String>>) {
    if !section.is_table("ready") {
        section.choice("ready", &[("notify", ())]);
        return (Readiness::Notify, None);
    }
    let Some(table) = section.table("ready") else { return (Readiness::Notify, None) };
    let (after, check) = (table.duration("after"), table.command("exec"));
    let both = after.is_some() && check.is_some();
    table.finish();
    match (after, check) {
        _ if both => section.problem("ready", "give either after or exec"),
        (Some(after), _) => return (Readiness::After(after), None),
        (None, Some(check)) => return (Readiness::Check, Some(check)),
        (None, None) => section.problem("ready", "give { after = \"2s\" } or { exec = [\"check\"] }, or \"notify\""),
    }
    (Readiness::Notify, None)
}

fn read_probe(section: &Section<'_>) -> Option<Probe> {
    let table = section.table("probe")?;
    let count = |key, default| table.integer(key, 1..=100).and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    let path = table.parsed("path", "a path such as \"/readyz\"", |text| match text {
        text if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(format!("\"{text}\" is not a path; write it as \"/readyz\", without spaces")),
    });
    let status = table.integer("status", 100..=599).and_then(|status| u16::try_from(status).ok());
    let probe = Probe {
        path: path.unwrap_or_else(|| "/readyz".to_owned()),
        status: status.unwrap_or(200),
        body: table.string("body"),
        successes: count("successes", 2),
        failures: count("failures", 3),
        interval: table.duration("interval").unwrap_or(Duration::from_millis(200)),
        timeout: at_least(&table, "timeout", Duration::from_millis(1)).unwrap_or(Duration::from_secs(2)),
    };
    table.finish();
    Some(probe)
}

fn read_hooks(section: &Section<'_>) -> Hooks {
    let default = Hooks::default();
    let Some(table) = section.table("hooks") else { return default };
    let hooks = Hooks {
        before_restart: table.command("before_restart"),
        after_restart: table.command("after_restart"),
        on_failure: table.command("on_failure"),
        timeout: at_least(&table, "timeout", Duration::from_millis(1)).unwrap_or(default.timeout),
    };
    table.finish();
    hooks
}

fn read_limits(section: &Section<'_>) -> Limits {
    let Some(table) = section.table("limits") else { return Limits::default() };
    let count = |key, range| table.integer(key, range).and_then(|n| u64::try_from(n).ok());
    let limits = Limits {
        nofile: count("nofile", 16..=1 << 30),
        nproc: count("nproc", 1..=1 << 22),
        core: table.size("core"),
        memory_restart: table.size("memory_restart"),
        max_age: at_least(&table, "max_age", Duration::from_secs(1)),
    };
    if limits.memory_restart == Some(0) {
        table.problem("memory_restart", "every worker needs more than 0");
    }
    table.finish();
    limits
}

fn at_least(section: &Section<'_>, key: &'static str, least: Duration) -> Option<Duration> {
    let duration = section.duration(key)?;
    if duration < least {
        section.problem(key, &format!("it must be {} at least", humantime::format_duration(least)));
        return None;
    }
    Some(duration)
}

/// "0-3", "8".
fn read_cores(section: &Section<'_>) -> Option<Vec<usize>> {
    let parse = |text: &String| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last && last < CORES_MAX).then_some(first..=last)
    };
    let mut cores = Vec::new();
    for text in section.list("cpu_affinity")? {
        match parse(&text) {
            Some(range) => cores.extend(range),
            None => section.problem("cpu_affinity", &format!("\"{text}\" is not a core; write \"3\" or \"0-3\"")),
        }
    }
    if cores.is_empty() {
        section.problem("cpu_affinity", "a worker needs one core at least");
    }
    Some(cores)
}

/// Reads the key `capabilities`, of workers or of their sandbox.
pub(super) fn read_capabilities(section: &Section<'_>) -> Option<u64> {
    let mut set = CapabilitySet::empty();
    for name in section.list("capabilities")? {
        let upper = name.to_uppercase();
        match CapabilitySet::from_name(upper.strip_prefix("CAP_").unwrap_or(&upper)) {
            Some(one) => set |= one,
            None => {
                section.problem("capabilities", &format!("\"{name}\" is not a capability; see capabilities(7)"));
            }
        }
    }
    Some(set.bits())
}

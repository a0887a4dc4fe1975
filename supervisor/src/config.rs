//! The configuration: file, environment and flags into one validated [`Config`], once a generation.
//!
//! Read anew at every restart. A changed setting counts from the next generation on, or in place by a reload
//! ([`Live`]), or with a new start of the master ([`Fixed`]).

mod checks;
mod env_file;
mod listeners;
mod sandbox;
#[cfg(test)]
mod tests;
mod traces;
mod worker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use gin_shared::check::{Checked, CheckedListener};
use gin_shared::config::listen;
use gin_shared::config::{Entry, Place, Problem, Problems, Section, Value, environment, tree};
use gin_shared::listen::{Address, AddressError};
use gin_shared::reference;
use gin_shared::runtime_dir::instance_name;
use gin_shared::sections;
use gin_shared::trace_endpoint::Endpoint;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use crate::cli::Cli;
use crate::error_text::without_code;
use crate::machine::plan;
use crate::os::identity::lookup;
use crate::os::listener::ListenerSpec;
use checks::{check_identity, check_instance, check_metrics, check_places, check_sandbox, warn};
use listeners::read_listeners;
pub use worker::{Hooks, Limits, Offered, OnMasterDeath, Probe, WorkerConfig};

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, as it was read; also what the workers' snapshot is made of.
    pub file: Option<ConfigFile>,
    /// The instance's name.
    pub instance: String,
    /// The keys that count from the master's start.
    pub fixed: Fixed,
    /// The keys that a reload changes in place.
    pub live: Live,
    /// The listeners.
    pub listeners: Vec<ListenerSpec>,
    /// True if the listeners were configured; otherwise they are the default.
    pub listeners_asked_for: bool,
    /// The settings that count for the next generation.
    pub worker: WorkerConfig,
    /// Things that work but are likely not meant.
    pub warnings: Vec<String>,
    /// Settings of the file that variables of the environment go before.
    pub notes: Vec<String>,
    /// The file's sections, as they were read, and the environment over them.
    pub entries: Vec<Entry>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Its path.
    #[serde(with = "crate::os_text")]
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The keys that count from the master's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The PID file, if it is not in the runtime directory.
    pub pid_file: Option<PathBuf>,
    /// The control socket, if it is not in the runtime directory.
    pub control: Option<PathBuf>,
    /// The status socket, if it is not in the runtime directory.
    pub status: Option<PathBuf>,
    /// A group whose members may act.
    pub control_group: Option<String>,
    /// A group whose members may look.
    pub status_group: Option<String>,
    /// The address where scrapers are answered, if there is one.
    pub metrics: Option<SocketAddr>,
    /// `metrics.series`, for the memory in which workers count.
    pub metrics_series: u32,
    /// `rate_limit.clients`, for the memory that workers share.
    pub rate_limit_clients: u32,
}

impl Fixed {
    /// The keys in which `other` differs.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("pid_file", self.pid_file != other.pid_file),
            ("control", self.control != other.control),
            ("status", self.status != other.status),
            ("control_group", self.control_group != other.control_group),
            ("status_group", self.status_group != other.status_group),
            ("metrics", self.metrics != other.metrics),
            ("metrics.series", self.metrics_series != other.metrics_series),
            ("rate_limit.clients", self.rate_limit_clients != other.rate_limit_clients),
        ];
        pairs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// The keys that a reload changes in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The number of old generations that may drain at once.
    pub max_draining: usize,
    /// The signal that asks for a restart.
    pub restart_signal: Signal,
    /// The signals that ask for a stop.
    pub shutdown_signals: Vec<Signal>,
    /// True if a changed configuration file is a reload.
    pub reload_on_change: bool,
    /// True if workers share connections evenly.
    pub balance: bool,
    /// The receiver of the traces of restarts.
    pub traces: Option<Endpoint>,
}

/// The sections that the master reads.
const READ: [&str; 4] = [sections::SERVER, sections::SUPERVISOR, sections::FEATURES, sections::METRICS];

impl Config {
    /// Reads the file that the flags name, and puts the environment and the flags over it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(cli: &Cli) -> Result<Self, Vec<Problem>> {
        // What is not UTF-8 is no value that any key takes, and so an error there.
        let lookup = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let mut config = Self::load_with(cli, &lookup)?;
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        // [server] has keys that are the worker's.
        let own: Vec<_> =
            Self::from_environment().into_iter().filter(|(name, _)| *name == sections::SUPERVISOR).collect();
        config.warnings.extend(environment::unknown(names, &own));
        Ok(config)
    }

    /// The same for a text, as if it stood in a file of this name, and for nothing else.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_text(name: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let entries = tree::parse(name, text)?;
        let cli = Cli::parse_from(["gin-supervisor"]);
        Self::from_entries(&cli, None, entries, &|_| None, Problems::new(name))
    }

    fn load_with(cli: &Cli, lookup: environment::Lookup<'_>) -> Result<Self, Vec<Problem>> {
        let Some(path) = &cli.config else {
            return Self::from_entries(cli, None, Vec::new(), lookup, Problems::new(Path::new("command line")));
        };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let place = path.display().to_string();
        let text = read_file(&path)
            .map_err(|error| vec![Problem { place, text: format!("cannot read it: {}", without_code(&error)) }])?;
        Self::of_file(cli, ConfigFile { path, text }, lookup)
    }

    fn of_file(cli: &Cli, file: ConfigFile, lookup: environment::Lookup<'_>) -> Result<Self, Vec<Problem>> {
        let entries = tree::parse(&file.path, &file.text)?;
        let problems = Problems::new(&file.path);
        Self::from_entries(cli, Some(file), entries, lookup, problems)
    }

    /// The same for a file as it was read once, whatever it says now.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn reload(cli: &Cli, file: ConfigFile) -> Result<Self, Vec<Problem>> {
        let lookup = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::of_file(cli, file, &lookup)
    }

    /// The place where a key of `[supervisor]` is set; `None` if only the command line says so, or nothing.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<String> {
        let section = self.entries.iter().find(|entry| entry.key == sections::SUPERVISOR)?;
        let Value::Table(keys) = &section.node.value else { return None };
        let file = self.file.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default();
        keys.iter().find(|entry| entry.key == key).map(|entry| entry.place.of(&file))
    }

    /// The sections that the master takes from the environment.
    fn from_environment() -> Vec<(&'static str, &'static [reference::Key])> {
        let keys = reference::SECTIONS.iter().map(|section| (section.name, section.keys));
        keys.filter(|(name, _)| READ.contains(name)).chain(listen::security_from_environment()).collect()
    }

    fn from_entries(
        cli: &Cli,
        file: Option<ConfigFile>,
        mut entries: Vec<Entry>,
        environment: environment::Lookup<'_>,
        problems: Problems,
    ) -> Result<Self, Vec<Problem>> {
        problems.check_sections(&entries);
        let keys = Self::from_environment();
        let overridden = environment::overridden(&entries, &keys, environment);
        let (wrong, mut warnings) = environment::overlay(&mut entries, &keys, environment);
        let section = |name: &str| match entries.iter().find(|entry| entry.key == name).map(|entry| &entry.node.value) {
            Some(Value::Table(entries)) => Section::new(name, entries, &problems),
            _ => Section::new(name, &[], &problems),
        };
        let supervisor = section(sections::SUPERVISOR);
        let features = section(sections::FEATURES);
        let mut worker = worker::read(&supervisor, &features, cli);
        let server = section(sections::SERVER);
        // The rest of [security] is the workers', who tell of unknown keys.
        let security = section(sections::SECURITY);
        let (listeners, listeners_asked_for) =
            read_listeners(&supervisor, &server, &security, &mut worker, cli, &problems);
        let metrics = section(sections::METRICS);
        let fixed = read_fixed(&supervisor, &metrics, &section(sections::RATE_LIMIT), environment, cli);
        let live = read_live(&supervisor);
        supervisor.finish();
        metrics.finish();
        // The worker's, who looks at their values.
        for (section, keys) in [(&server, reference::SERVER), (&features, reference::FEATURES)] {
            keys.iter().for_each(|key| drop(section.place(key.name)));
        }
        server.finish();
        features.finish();
        let instance = cli.instance.clone().unwrap_or_else(|| instance_name(cli.config.as_deref()));
        for (key, group) in [("control_group", &fixed.control_group), ("status_group", &fixed.status_group)] {
            if let Err(error) = lookup(None, group.as_deref()) {
                problems.add(&place_of(&entries, key), format!("supervisor.{key}: {error}"));
            }
        }
        if let Some(text) = fixed.metrics.and_then(|address| check_metrics(address, &listeners)) {
            problems.add(&place_of(&entries, "metrics"), text);
        }
        let mut found = problems.into_vec();
        found.extend(wrong);
        let whole = file.as_ref().map_or("command line".to_owned(), |file| file.path.display().to_string());
        found.extend(check_instance(cli, &instance, &whole));
        found.extend(check_places(cli, &fixed, &entries, &whole));
        found.extend(check_identity(&worker, &entries, &whole));
        found.extend(check_sandbox(&worker, &entries, &whole));
        if let Some(path) = &worker.env_file {
            match env_file::read(path) {
                Ok(variables) => {
                    let own = std::mem::take(&mut worker.env);
                    worker.env = variables.into_iter().chain(own).collect();
                }
                Err(problems) => found.extend(problems),
            }
        }
        let notes = overridden.into_iter().map(|one| note(one, &whole)).collect();
        let reserved = |(name, _): &&(String, String)| gin_shared::inherit::STRIPPED.contains(&name.as_str());
        if let Some((name, _)) = worker.env.iter().find(reserved) {
            let text = format!("supervisor.env: {name} is set by the supervisor; choose another name");
            found.push(Problem { place: whole, text });
        }
        if !found.is_empty() {
            return Err(found);
        }
        warnings.extend(warn(&listeners, &worker));
        Ok(Self { file, instance, fixed, live, listeners, listeners_asked_for, worker, warnings, notes, entries })
    }
}

/// A variable that goes before a setting of the file, for people.
fn note(one: environment::Overridden, file: &str) -> String {
    let environment::Overridden { key, variable, number, place } = one;
    let value = number.map(|number| format!("={number}")).unwrap_or_default();
    format!("{variable}{value} of the environment goes before {key} ({})", place.of(file))
}

impl Config {
    /// The file that workers built on gin-worker log to, if the configuration names one.
    #[must_use]
    pub fn log_file(&self) -> Option<&Path> {
        let logging = self.entries.iter().find(|entry| entry.key == "logging")?;
        let Value::Table(keys) = &logging.node.value else { return None };
        let path = keys.iter().find(|entry| entry.key == "file_path")?;
        if let Value::String(path) = &path.node.value { Some(Path::new(path)) } else { None }
    }

    /// The text of the sections that are not the master's own, to tell whether it has changed.
    #[must_use]
    pub fn others(&self) -> String {
        let own = [sections::SUPERVISOR, sections::METRICS];
        let theirs = self.entries.iter().filter(|entry| !own.contains(&entry.key.as_str()));
        let mut text = String::new();
        theirs.for_each(|entry| tree::show(entry, &mut text));
        text
    }
}

/// Between our own deadlines and a service manager's.
const MARGIN: Duration = Duration::from_secs(15);

impl Config {
    /// The result of a check. The times that a start and a stop may take follow from the settings.
    #[must_use]
    pub fn checked(&self) -> Checked {
        let worker = &self.worker;
        let channel = u32::from(worker.channel || worker.offered.is_some());
        let gates = 1 + u32::from(worker.warm_up.is_some()) + u32::from(worker.probe.is_some()) + channel;
        let rounds = if worker.strategy == plan::Strategy::Rolling { worker.workers } else { 1 };
        let hooks = &worker.hooks;
        let hook = hooks.before_restart.as_ref().map_or(Duration::ZERO, |_| hooks.timeout);
        let start = (worker.ready_timeout * gates + worker.soak) * rounds + hook + MARGIN;
        // A candidate that is not fit is given some time to end, too.
        let stop = worker.drain_timeout + MARGIN;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let listener = |spec: &ListenerSpec| CheckedListener {
            name: spec.name.clone(),
            address: spec.address.clone(),
            backlog: spec.backlog,
            mode: spec.mode,
            owner: spec.owner.map(Uid::as_raw),
            group: spec.group.map(nix::unistd::Gid::as_raw),
        };
        Checked {
            instance: self.instance.clone(),
            file: self.file.as_ref().map(|file| file.path.display().to_string()),
            control: self.fixed.control.as_ref().map(|path| path.display().to_string()),
            listeners: self.listeners.iter().map(listener).collect(),
            start_ms: millis(start),
            stop_ms: millis(stop),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: false,
            warnings: self.warnings.clone(),
        }
    }
}

/// The place of a key of `[supervisor]`.
fn place_of(entries: &[Entry], key: &str) -> Place {
    let section = entries.iter().find(|entry| entry.key == sections::SUPERVISOR).map(|entry| &entry.node.value);
    let Some(Value::Table(entries)) = section else { return Place::Line(1) };
    entries.iter().find(|entry| entry.key == key).map_or(Place::Line(1), |entry| entry.place.clone())
}

/// A place for scrapers that cannot be configured.
#[derive(Debug, thiserror::Error)]
enum MetricsError {
    /// It is no address at all.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Scrapers speak HTTP over TCP.
    #[error(
        "{0} is no TCP address; write 127.0.0.1:9464 (over a Unix socket, /v1/metrics of the status socket tells the same)"
    )]
    NotTcp(Address),
}

/// Parses the address of `supervisor.metrics`.
fn parse_metrics(text: &str) -> Result<SocketAddr, MetricsError> {
    match text.parse::<Address>()? {
        Address::Tcp(address) => Ok(address),
        other @ (Address::Udp(_) | Address::Unix(_)) => Err(MetricsError::NotTcp(other)),
    }
}

fn read_fixed(
    section: &Section<'_>,
    metrics: &Section<'_>,
    rate_limit: &Section<'_>,
    environment: environment::Lookup<'_>,
    cli: &Cli,
) -> Fixed {
    let clients = rate_limit.integer("clients", 1024..=1 << 24).and_then(|clients| u32::try_from(clients).ok());
    // The section is the workers', who tell what is wrong with it.
    let of_variable = ["GIN_RATE_LIMIT_CLIENTS", "RATE_LIMIT_CLIENTS"].iter().find_map(|name| environment(name));
    let of_variable =
        of_variable.and_then(|text| text.parse().ok()).filter(|clients| (1024..=1 << 24).contains(clients));
    let pid_file = section.path("pid_file");
    let control = section.path("control");
    let series = metrics.integer("series", 16..=65_536).and_then(|series| u32::try_from(series).ok());
    Fixed {
        pid_file: cli.pid_file.clone().or(pid_file),
        control: cli.control.clone().or(control),
        status: section.path("status"),
        control_group: section.string("control_group"),
        status_group: section.string("status_group"),
        metrics: section.parsed("metrics", "an address", parse_metrics),
        metrics_series: series.unwrap_or(4096),
        rate_limit_clients: of_variable.or(clients).unwrap_or(65_536),
    }
}

fn read_live(section: &Section<'_>) -> Live {
    let signals = section.list("shutdown_signals").map(|names| {
        let parsed = names.iter().map(|name| parse_master_signal(name));
        parsed
            .filter_map(|signal| signal.map_err(|error| section.problem("shutdown_signals", &error.to_string())).ok())
            .collect()
    });
    let live = Live {
        max_draining: section.integer("max_draining", 1..=64).and_then(|n| usize::try_from(n).ok()).unwrap_or(4),
        restart_signal: section.parsed("restart_signal", "a signal", parse_master_signal).unwrap_or(Signal::SIGUSR2),
        reload_on_change: section.boolean("reload_on_change").unwrap_or(false),
        balance: section.boolean("balance").unwrap_or(true),
        traces: section.parsed("traces", "a URL", traces::parse),
        shutdown_signals: signals.unwrap_or_else(|| vec![Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT]),
    };
    let stops = &live.shutdown_signals;
    if stops.is_empty() {
        section.problem("shutdown_signals", "one at least must stop the supervisor");
    }
    if stops.contains(&live.restart_signal) {
        let text = format!("{} is among shutdown_signals", live.restart_signal);
        section.problem("restart_signal", &text);
    }
    live
}

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 2 * 1024 * 1024;

/// Anything but a file could keep the master waiting, which reads it between two events.
pub(super) fn read_file(path: &Path) -> std::io::Result<String> {
    match std::fs::metadata(path)? {
        metadata if !metadata.is_file() => Err(std::io::Error::other("not a file")),
        metadata if metadata.len() > FILE_MAX => Err(std::io::Error::other("larger than 2 MiB")),
        _ => std::fs::read_to_string(path),
    }
}

/// A signal that cannot be configured.
#[derive(Debug, thiserror::Error)]
enum SignalError {
    /// There is no signal of this name.
    #[error("\"{0}\" is not a signal; write it as \"SIGTERM\"")]
    Unknown(String),
    /// The master does not listen to it, or uses it otherwise.
    #[error("\"{0}\" cannot be used here; use SIGUSR2, SIGWINCH, SIGTERM, SIGINT or SIGQUIT")]
    Taken(String),
}

/// Parses "SIGTERM" or "TERM".
fn parse_signal(text: &str) -> Result<Signal, SignalError> {
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse().map_err(|_| SignalError::Unknown(text.to_owned()))
}

/// Parses a signal that the master listens to and has no other use for.
fn parse_master_signal(text: &str) -> Result<Signal, SignalError> {
    let signal = parse_signal(text)?;
    use Signal::{SIGCHLD, SIGHUP, SIGTTIN, SIGTTOU, SIGUSR1};
    let has_a_meaning = matches!(signal, SIGCHLD | SIGTTIN | SIGTTOU | SIGHUP | SIGUSR1);
    let is_free = crate::os::signal::TAKEN.contains(&signal) && !has_a_meaning;
    if is_free { Ok(signal) } else { Err(SignalError::Taken(text.to_owned())) }
}

//! The configuration: file and flags into one validated [`Config`], once a generation.
//!
//! Read anew at every restart; what the master alone uses ([`Master`]) counts from its start.

mod listeners;
pub mod read;
pub mod tree;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gin_shared::control::WORKERS_MAX;
use gin_shared::runtime_dir::{instance_name, is_instance_name};
use gin_shared::sections;
use nix::sys::signal::Signal;

use crate::cli::Cli;
use crate::exec_helper::lookup;
use crate::machine::plan::Readiness;
use crate::os::listener::ListenerSpec;
pub use listeners::parse_listener_name;
use listeners::read_listeners;
use read::{Problems, Section, nearest};
use tree::{Entry, Problem, Value, parse_toml};

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, as it was read; also what the workers' snapshot is made of.
    pub file: Option<ConfigFile>,
    /// The instance's name.
    pub instance: String,
    /// What counts from the master's start.
    pub master: Master,
    /// What counts for the next generation.
    pub worker: WorkerConfig,
    /// Things that work but are likely not meant.
    pub warnings: Vec<String>,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What counts from the master's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// What clients connect to.
    pub listeners: Vec<ListenerSpec>,
    /// Where the PID goes, if not into the runtime directory.
    pub pid_file: Option<PathBuf>,
    /// Where commands come in, if not in the runtime directory.
    pub control: Option<PathBuf>,
    /// Where it can be looked at, if not in the runtime directory.
    pub status: Option<PathBuf>,
    /// A group whose members may act.
    pub control_group: Option<String>,
    /// A group whose members may look.
    pub status_group: Option<String>,
    /// How many old generations may drain at once.
    pub max_draining: usize,
    /// Asks for a restart.
    pub restart_signal: Signal,
    /// Ask for a stop.
    pub shutdown_signals: Vec<Signal>,
}

/// What counts for the next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// What to run; `None`: the gin-server beside this program.
    pub command: Option<Vec<String>>,
    /// Where to run it; a symlink in it is resolved anew by each generation.
    pub directory: Option<PathBuf>,
    /// How many.
    pub workers: u32,
    /// When one counts as ready.
    pub ready: Readiness,
    /// The command of [`Readiness::Check`].
    pub check: Option<Vec<String>>,
    /// How long it may take to get there.
    pub ready_timeout: Duration,
    /// How long both generations serve.
    pub soak: Duration,
    /// How long a worker may drain.
    pub drain_timeout: Duration,
    /// Asks a worker without a channel to finish.
    pub stop_signal: Signal,
    /// Whether the worker waits for `go`.
    pub channel: bool,
    /// Whether workers end with the master.
    pub dies_with_master: bool,
    /// Whose rights it gets.
    pub user: Option<String>,
    /// Instead of the user's own.
    pub group: Option<String>,
    /// File mode mask.
    pub umask: Option<u32>,
    /// Priority.
    pub nice: Option<i32>,
    /// RLIMIT_NOFILE.
    pub nofile: Option<u64>,
    /// Added to the master's environment.
    pub env: Vec<(String, String)>,
    /// The seeds' `features.hot_restart`: false refuses a restart.
    pub hot_restart: bool,
}

impl Config {
    /// Reads the file that the flags name, and puts the flags over it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(cli: &Cli) -> Result<Self, Vec<Problem>> {
        let Some(path) = &cli.config else {
            return Self::from_entries(cli, None, &[], Problems::new(Path::new("command line")));
        };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let place = path.display().to_string();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| vec![Problem { place, text: format!("cannot read it: {}", without_code(&error)) }])?;
        let entries = parse_toml(&path, &text)?;
        let problems = Problems::new(&path);
        Self::from_entries(cli, Some(ConfigFile { path, text }), &entries, problems)
    }

    fn from_entries(
        cli: &Cli,
        file: Option<ConfigFile>,
        entries: &[Entry],
        problems: Problems,
    ) -> Result<Self, Vec<Problem>> {
        check_sections(entries, &problems);
        let section = |name: &str| match entries.iter().find(|entry| entry.key == name).map(|entry| &entry.node.value) {
            Some(Value::Table(entries)) => Section::new(name, entries, &problems),
            _ => Section::new(name, &[], &problems),
        };
        let supervisor = section(sections::SUPERVISOR);
        let worker = read_worker(&supervisor, &section(sections::FEATURES), cli);
        let server = section(sections::SERVER);
        let listeners = read_listeners(&supervisor, &server, &worker, cli, &problems);
        let master = read_master(&supervisor, listeners, cli);
        supervisor.finish();
        // The worker's, who looks at their values.
        for key in ["name", "mode"] {
            let _ = server.line(key);
        }
        server.finish();
        let instance = cli.instance.clone().unwrap_or_else(|| instance_name(cli.config.as_deref()));
        let mut found = problems.into_vec();
        if !is_instance_name(&instance) {
            let text = format!("\"{instance}\" cannot name an instance; use letters, digits and . _ - @, 64 at most");
            found.push(Problem { place: "--instance".to_owned(), text });
        }
        if let Err(text) = lookup(worker.user.as_deref(), worker.group.as_deref()) {
            let place = file.as_ref().map_or("command line".to_owned(), |file| file.path.display().to_string());
            found.push(Problem { place, text });
        }
        if !found.is_empty() {
            return Err(found);
        }
        let warnings = warnings(&master, &worker);
        Ok(Self { file, instance, master, worker, warnings })
    }
}

fn warnings(master: &Master, worker: &WorkerConfig) -> Vec<String> {
    let mut warnings: Vec<String> = master.listeners.iter().filter_map(crate::os::listener::backlog_warning).collect();
    if worker.soak.is_zero() && worker.command.is_some() && !worker.channel {
        warnings.push("soak = \"0s\": a program that says READY=1 and then fails takes the old one's place".to_owned());
    }
    warnings
}

fn check_sections(entries: &[Entry], problems: &Problems) {
    for entry in entries {
        if !sections::ALL.contains(&entry.key.as_str()) {
            let hint = nearest(&entry.key, sections::ALL.iter().copied());
            let hint = hint.map(|near| format!("; did you mean [{near}]?")).unwrap_or_default();
            problems.add(entry.line, format!("{}: unknown section{hint}", entry.key));
        } else if !matches!(entry.node.value, Value::Table(_)) {
            problems.add(entry.line, format!("{}: expected a section, [{}]", entry.key, entry.key));
        }
    }
}

fn read_worker(section: &Section<'_>, features: &Section<'_>, cli: &Cli) -> WorkerConfig {
    let from_file = section.command("command");
    let command = if cli.command.is_empty() { from_file } else { Some(cli.command.clone()) };
    let foreign = command.is_some();
    let (ready, check) = read_ready(section);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = section.integer_or_auto("workers", 1..=i64::from(WORKERS_MAX)).map(|number| {
        number.map_or_else(|| u32::try_from(cores).unwrap_or(1), |number| u32::try_from(number).unwrap_or(1))
    });
    section.choice("strategy", &[("surge", ())]);
    let limits = section.table("limits");
    let nofile = limits.as_ref().and_then(|limits| limits.integer("nofile", 16..=1 << 30));
    if let Some(limits) = limits {
        limits.finish();
    }
    WorkerConfig {
        command,
        directory: section.path("directory"),
        workers: cli.workers.or(workers).unwrap_or(1),
        ready,
        check,
        ready_timeout: section.duration("ready_timeout").unwrap_or(Duration::from_secs(30)),
        soak: section.duration("soak").unwrap_or(Duration::from_secs(u64::from(foreign))),
        drain_timeout: section.duration("drain_timeout").unwrap_or(Duration::from_secs(60)),
        stop_signal: section.parsed("stop_signal", "a signal", parse_signal).unwrap_or(Signal::SIGTERM),
        channel: section.boolean("channel").unwrap_or(!foreign),
        dies_with_master: section.choice("on_master_death", &[("serve", false), ("exit", true)]).unwrap_or(false),
        user: section.string("user"),
        group: section.string("group"),
        umask: section.mode("umask"),
        nice: section.integer("nice", -20..=19).and_then(|nice| i32::try_from(nice).ok()),
        nofile: nofile.and_then(|nofile| u64::try_from(nofile).ok()),
        env: section.map("env").unwrap_or_default(),
        hot_restart: features.boolean("hot_restart").unwrap_or(true),
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

fn read_master(section: &Section<'_>, listeners: Vec<ListenerSpec>, cli: &Cli) -> Master {
    let signals = section.list("shutdown_signals").map(|names| {
        let parsed = names.iter().map(|name| parse_master_signal(name));
        parsed.filter_map(|signal| signal.map_err(|error| section.problem("shutdown_signals", &error)).ok()).collect()
    });
    let pid_file = section.path("pid_file");
    let control = section.path("control");
    Master {
        listeners,
        pid_file: cli.pid_file.clone().or(pid_file),
        control: cli.control.clone().or(control),
        status: section.path("status"),
        control_group: section.string("control_group"),
        status_group: section.string("status_group"),
        max_draining: section.integer("max_draining", 1..=64).and_then(|n| usize::try_from(n).ok()).unwrap_or(4),
        restart_signal: section.parsed("restart_signal", "a signal", parse_master_signal).unwrap_or(Signal::SIGUSR2),
        shutdown_signals: signals.unwrap_or_else(|| vec![Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT]),
    }
}

/// "SIGTERM" or "TERM".
fn parse_signal(text: &str) -> Result<Signal, String> {
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse().map_err(|_| format!("\"{text}\" is not a signal; write it as \"SIGTERM\""))
}

/// One that the master listens to and has no other use for.
fn parse_master_signal(text: &str) -> Result<Signal, String> {
    let signal = parse_signal(text)?;
    let free = crate::os::signal::TAKEN.contains(&signal)
        && !matches!(signal, Signal::SIGCHLD | Signal::SIGTTIN | Signal::SIGTTOU);
    if free {
        Ok(signal)
    } else {
        Err(format!(
            "\"{text}\" cannot be used here; use SIGUSR2, SIGHUP, SIGUSR1, SIGTERM, SIGINT, SIGQUIT or SIGWINCH"
        ))
    }
}

/// The error's words without "(os error 2)".
#[must_use]
pub fn without_code(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;

    fn load(text: &str) -> Result<Config, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.toml");
        std::fs::write(&path, text).unwrap();
        let cli = Cli::parse_from(["gin-supervisor", "-c", path.to_str().unwrap()]);
        let short = |p: Problem| p.to_string().replace(&format!("{}/", dir.path().display()), "");
        Config::load(&cli).map_err(|problems| problems.into_iter().map(short).collect())
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_place() {
        let problems = load(
            "[supervisor]\ncommand = \"/bin/app --x\"\nworkerz = 2\nready_timeout = \"30 parsecs\"\nworkers = 0\n\
             nice = \"high\"\n[server]\nport = 70000\n[superviser]\n",
        );
        assert_eq!(
            problems.unwrap_err(),
            [
                "shop.toml:9: superviser: unknown section; did you mean [supervisor]?",
                "shop.toml:2: supervisor.command: a command is a list, not a string: command = [\"/bin/app\", \"--x\"]",
                "shop.toml:5: supervisor.workers: 0 is out of range; it must be 1 to 1024",
                "shop.toml:4: supervisor.ready_timeout: \"30 parsecs\" is not a duration (unknown time unit \"parsecs\", \
                 supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)); write it \
                 as \"30s\", \"500ms\" or \"1m 30s\"",
                "shop.toml:6: supervisor.nice: expected a whole number, found a string",
                "shop.toml:8: server.port: 70000 is out of range; it must be 0 to 65535",
                "shop.toml:3: supervisor.workerz: unknown key; did you mean \"workers\"?",
            ]
        );
    }

    #[test]
    fn listeners_have_names_and_addresses_of_their_own() {
        let listen = |address: &str| format!("[[supervisor.listen]]\nname = \"a\"\naddress = \"{address}\"\n");
        let two = format!("{}{}", listen("127.0.0.1:1"), listen("127.0.0.1:1"));
        assert_eq!(
            load(&two).unwrap_err(),
            ["shop.toml:1: two listeners are named \"a\"", "shop.toml:1: two listeners have the address 127.0.0.1:1"]
        );
        let beside = format!("{}[server]\nport = 1\n", listen("127.0.0.1:1"));
        assert!(load(&beside).unwrap_err()[0].contains("shorthand"));
        assert!(
            load(&format!("{}backlogg = 1\n", listen("127.0.0.1:1"))).unwrap_err()[0]
                .contains("did you mean \"backlog\"?")
        );
        assert!(load("[server]\nprot = 1\n").unwrap_err()[0].contains("did you mean \"port\"?"));
        assert!(load("[server]\nmode = \"debug\"\nname = \"x\"\n").is_ok());
        assert!(load(&listen("nowhere")).unwrap_err()[0].contains("is not an address"));
    }

    #[test]
    fn defaults_depend_on_whose_worker_it_is() {
        let ours = load("").unwrap();
        assert_eq!((ours.worker.channel, ours.worker.soak), (true, Duration::ZERO));
        assert_eq!(ours.master.listeners[0].address.to_string(), "127.0.0.1:8080");
        let foreign = load("[supervisor]\ncommand = [\"/bin/app\"]\nready = { after = \"2s\" }\n").unwrap();
        assert_eq!((foreign.worker.channel, foreign.worker.soak), (false, Duration::from_secs(1)));
        assert_eq!(foreign.worker.ready, Readiness::After(Duration::from_secs(2)));
        assert_eq!(foreign.master.listeners[0].address.to_string(), "127.0.0.1:8080");
        assert!(load("[supervisor]\nlisten = []\n").unwrap().master.listeners.is_empty());
    }

    #[test]
    fn a_user_that_does_not_exist_is_named() {
        let problems = load("[supervisor]\nuser = \"no-such-user-here\"\n").unwrap_err();
        assert_eq!(problems, ["shop.toml: user no-such-user-here: unknown"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if std::env::var_os("GIN_SOAK").is_some() { 20_000 } else { 500 },
            ..ProptestConfig::default()
        })]

        /// Whatever stands in a file: it is read or refused, with a place for each problem, and never a panic.
        #[test]
        fn any_file_is_read_or_refused(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("[supervisor]".to_owned()),
                    Just("[server]".to_owned()),
                    Just("[[supervisor.listen]]".to_owned()),
                    ("[a-z_]{1,12}|workers|command|ready|listen|host|port|env|limits|umask|address|name|mode",
                     "[0-9]{1,20}|-1|1e9|true|\"\\PC{0,20}\"|\"unix:/.{0,120}\"|\\[\\]|\\[1, \"x\"\\]|\\{ after = \"1s\" \\}|\\{\\}|1979-05-27")
                        .prop_map(|(key, value)| format!("{key} = {value}")),
                    "\\PC{0,40}",
                ],
                0..12,
            ),
        ) {
            let text = lines.join("\n");
            let path = Path::new("shop.toml");
            let cli = Cli::parse_from(["gin-supervisor"]);
            if let Ok(entries) = parse_toml(path, &text)
                && let Err(problems) = Config::from_entries(&cli, None, &entries, Problems::new(path))
            {
                prop_assert!(problems.iter().all(|problem| !problem.place.is_empty() && !problem.text.is_empty()));
            }
        }
    }

    #[test]
    fn broken_toml_tells_its_line() {
        let problems = load("[supervisor]\nworkers = \n").unwrap_err();
        assert!(problems[0].starts_with("shop.toml:2: "), "{problems:?}");
    }
}

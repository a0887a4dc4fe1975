//! The command line. Its comments are the help, the man page and the completions.

mod profile;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use gin_shared::control::{ScaleRequest, WORKERS_MAX};
pub use profile::Profile;

/// Asks a gin-supervisor to do something, or how it is.
///
/// Exit codes: 0 done; 1 failed, and what served before still serves (status: degraded); 2 wrong usage or configuration;
/// 3 no supervisor there; 4 busy; 5 refused or not allowed; 6 timed out or cancelled.
#[derive(Debug, Parser)]
#[command(name = "gin-ctl", version, about, long_about, disable_help_subcommand = true)]
pub struct Cli {
    /// The control socket, instead of looking for the instance
    #[arg(short, long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// For everything printed from here on.
    pub fn apply(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the state of an instance; exit code 1 if it is degraded
    Status {
        /// Again every second
        #[arg(short, long)]
        watch: bool,
        /// For the health check of a container: exit code 0 if a worker serves, degraded or not; 1 if none does
        #[arg(long, conflicts_with = "watch")]
        alive: bool,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// The instances that run, and those whose supervisor is gone
    List,
    /// Bring up a new generation, and retire the old one when the new one is fit to serve
    Restart(Restart),
    /// Read the configuration anew: what counts in place is changed in place, anything else is a restart
    Reload {
        /// Exit with 4 rather than wait for another upgrade
        #[arg(long)]
        no_queue: bool,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Call off the upgrade under way and those that wait
    Cancel {
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Bring the last generation back that was good, as it was frozen then: its program, though replaced or deleted, its
    /// release, its configuration
    ///
    /// After an upgrade that failed it refuses, for what serves then is the last good one already.
    Rollback {
        /// Bring this generation back, one of those that gin-ctl history names
        #[arg(long, value_name = "GENERATION")]
        to: Option<u64>,
        /// Bring the last good one back also after an upgrade that failed
        #[arg(long)]
        force: bool,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Replace the supervisor itself by the program that lies at its path now, in place: same PID, no worker is touched
    UpgradeSupervisor {
        /// Exit with 4 rather than wait for workers that are on their way
        #[arg(long)]
        no_queue: bool,
        /// Every instance that can be reached from here: for a package's post-install
        #[arg(long, conflicts_with_all = ["instance", "socket"])]
        all: bool,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Change the number of workers
    Scale {
        /// How many: 4; or so many more or fewer: +1, -1
        #[arg(allow_negative_numbers = true, value_parser = scale)]
        workers: ScaleRequest,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Drain all workers and end the supervisor; without a supervisor: end the workers that one has left. A second stop
    /// joins the one under way
    Stop {
        /// Do not wait for requests in flight, also in a stop that is under way
        #[arg(long)]
        fast: bool,
        /// For ExecStopPost=: ends what a stop has left; nothing, if the service is to be started again ($SERVICE_RESULT)
        #[arg(long)]
        left_over: bool,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Migrate the database of a service on gin-worker, by its program as the next restart would run it, beside the workers that serve
    ///
    /// A service does so itself at its start: this is to look, to take a migration back, or to migrate before a restart. The program has
    /// the user, the environment and the configuration of the workers. Exit code 1: it failed, or a migration has ended half way.
    Migrate(Migrate),
    /// The certificates of listeners that speak TLS: name, issuer, end, file; exit code 1 if one has ended, or is bad on disk
    Certs {
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// The upgrades so far, newest first
    History {
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// The routes of a worker that says them (gin-server, and services on its library)
    Routes {
        /// As a radix tree a method, with priorities
        #[arg(long)]
        tree: bool,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Show the level of the log; with a level: set it from now on, for the supervisor and for the workers of ours that run now
    LogLevel {
        /// The level
        #[arg(value_enum)]
        level: Option<LogLevel>,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// The metrics, as Prometheus reads them: those of the supervisor, and the sums over all workers
    Metrics {
        /// The metrics of each worker that lives, with its generation and slot
        #[arg(long, value_name = "WHAT")]
        by: Option<By>,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
    /// Profile all workers at once, and merge it: where their processor time goes, or with --heap their memory
    ///
    /// For services on gin-worker that are built with its feature profile, and set features.pprof = true. The file is for go tool pprof.
    Profile(Profile),
    /// Check a configuration file; exit code 2 if it cannot be used
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the service and socket units for a configuration, with the time-outs that follow from it
    Unit(Unit),
    /// Write a service on gin-worker: its source, its tests, its configuration, its units and a README, in a directory of its name
    New(New),
    /// Print what there is to configure: a commented default file, a JSON Schema, the reference page
    Config {
        /// Which
        #[arg(value_enum)]
        what: ConfigText,
    },
    /// Print completions for a shell
    Completions {
        /// Which
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print a man page, as groff source: gin-ctl man gin.toml | man -l -
    Man {
        /// Which
        #[arg(value_enum, default_value = "gin-ctl")]
        page: Page,
    },
    /// Show events as they happen, until Ctrl-C
    Events {
        /// Go on until Ctrl-C (it always does)
        #[arg(short, long)]
        follow: bool,
        /// Which instance; may be left out when one runs
        instance: Option<String>,
    },
}

/// Which units.
#[derive(Debug, Args)]
pub struct Unit {
    /// The instance's name: its configuration is /etc/gin/NAME.toml (or .yaml, .yml, .json)
    pub name: String,
    /// The configuration file, if it is elsewhere
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The service alone
    #[arg(long, conflicts_with = "only_socket")]
    pub only_service: bool,
    /// The socket alone
    #[arg(long)]
    pub only_socket: bool,
}

/// Which service.
#[derive(Debug, Args)]
pub struct New {
    /// The service's name, and its directory's: lower-case letters, digits, - and _
    pub name: String,
    /// Build it with gin's sources in this directory [default: those that gin-ctl lies in, else the release of its version]
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
}

/// What to do with the migrations.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Tell which are applied, apply those that are pending, or take applied ones back
    #[arg(value_enum)]
    pub what: MigrateWhat,
    /// How many: of up all without it, of down one
    #[arg(value_name = "N")]
    pub number: Option<String>,
    /// Which instance; may be left out when one runs
    pub instance: Option<String>,
}

/// A direction.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum MigrateWhat {
    /// Which are applied, and which are pending.
    Status,
    /// Apply those that are pending.
    Up,
    /// Take applied ones back, the last one first.
    Down,
}

/// A way to tell metrics apart.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum By {
    /// By worker.
    Worker,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs, reason = "everybody knows them")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// What there is to configure.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ConfigText {
    /// Every key with its default, commented out.
    Default,
    /// For editors.
    Schema,
    /// Markdown.
    Reference,
}

/// A man page.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Page {
    /// gin-ctl(1)
    #[value(name = "gin-ctl")]
    Ctl,
    /// gin-supervisor(8)
    #[value(name = "gin-supervisor")]
    Supervisor,
    /// gin-server(8)
    #[value(name = "gin-server")]
    Server,
    /// gin.toml(5)
    #[value(name = "gin.toml")]
    Toml,
}

/// How to restart.
#[derive(Debug, Args)]
pub struct Restart {
    /// Do not wait for the outcome
    #[arg(long)]
    pub no_wait: bool,
    /// Wait until the old generations are gone, too
    #[arg(long, conflicts_with = "no_wait")]
    pub wait_drained: bool,
    /// Exit with 4 rather than wait for another upgrade
    #[arg(long)]
    pub no_queue: bool,
    /// Wait for so long, such as 90s; a new generation that does not serve by then is called off
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "no_wait")]
    pub timeout: Option<Duration>,
    /// Which instance; may be left out when one runs
    pub instance: Option<String>,
}

/// Reads a number of workers: `4`, `+1`, `-1`. Relative numbers are reckoned by the supervisor, so that two of them at once
/// both count.
fn scale(text: &str) -> Result<ScaleRequest, String> {
    let Ok(number) = text.parse::<i32>() else {
        return Err(format!(
            "it is no number of workers, such as 4, +1 or -1; the number comes before the instance: gin-ctl scale 4 {text}"
        ));
    };
    if text.starts_with(['+', '-']) {
        return Ok(ScaleRequest { by: Some(number), ..ScaleRequest::default() });
    }
    let workers = u32::try_from(number).ok().filter(|workers| (1..=WORKERS_MAX).contains(workers));
    let workers = workers.ok_or_else(|| format!("it must be 1 to {WORKERS_MAX}"))?;
    Ok(ScaleRequest { workers: Some(workers), ..ScaleRequest::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<ScaleRequest, String> {
        let cli = Cli::try_parse_from(["gin-ctl", "scale"].iter().chain(args));
        match cli.map_err(|error| error.to_string())?.command {
            Command::Scale { workers, .. } => Ok(workers),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_number_with_a_sign_is_relative() {
        let request = |workers, by| Ok(ScaleRequest { workers, by });
        assert_eq!(read(&["4", "shop"]), request(Some(4), None));
        assert_eq!(read(&["+1"]), request(None, Some(1)));
        assert_eq!(read(&["-2", "shop"]), request(None, Some(-2)));
        assert!(read(&["0"]).unwrap_err().contains("1 to 1024"));
        assert!(read(&["1025"]).unwrap_err().contains("1 to 1024"));
    }

    #[test]
    fn an_instance_in_the_place_of_the_number_is_told_where_it_belongs() {
        assert!(read(&["shop", "3"]).unwrap_err().contains("gin-ctl scale 4 shop"));
    }
}

//! The master: holds the listeners, the PID file and the control socket; starts, gates, drains and retires workers of any
//! language.
//!
//! > A reload loses no request, refuses no connection and closes no connection that could have been kept. If the new
//! > version is not fit to serve, nothing changes and the command that asked for it says so.
//!
//! | you want | go to |
//! |---|---|
//! | what can happen, and what follows | [`machine`] |
//! | the loop | [`driver`] |
//! | what talks to the kernel | [`os`] |
//! | what runs between fork and the worker | [`exec_helper`] |
//! | keys and flags | [`config`], [`cli`] |
//! | commands | [`control`] |

mod banner;
pub mod cli;
pub mod config;
pub mod control;
pub mod driver;
pub mod exec_helper;
pub mod machine;
pub mod os;
mod telemetry;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use gin_shared::exit;
use gin_shared::runtime_dir::{self, Surroundings};
use gin_shared::status::Status;
use tokio::sync::watch;
use tokio::task::LocalSet;

use cli::Cli;
use config::Config;
use config::tree::Problem;
use control::ControlSocket;
use driver::{Driver, Parts};
use os::listener::{Existing, ListenError, Listener};
use os::pidfile::{Lock, PidFile, PidFileError};

/// How long callers have to read the last answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// The program.
#[must_use]
pub fn run() -> ExitCode {
    if exec_helper::is_helper() {
        return exec_helper::run();
    }
    let cli = Cli::parse();
    match check(&cli) {
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("error: {problem}"));
            ExitCode::from(exit::USAGE)
        }
        Ok(config) if cli.config_check => tell_checked(&cli, &config),
        Ok(config) => supervise(cli, config),
    }
}

fn check(cli: &Cli) -> Result<Config, Vec<Problem>> {
    if cli.config.is_none() && cli.command.is_empty() && std::env::var_os("NOTIFY_SOCKET").is_some() {
        let text = "under a service manager give a configuration (-c FILE) or a command (-- COMMAND)".to_owned();
        return Err(vec![Problem { place: "command line".to_owned(), text }]);
    }
    Config::load(cli)
}

/// The worker is asked for its part, where it is ours.
fn tell_checked(cli: &Cli, config: &Config) -> ExitCode {
    if let Err(text) = driver::check_worker(config) {
        eprintln!("{}", text.trim_end());
        return ExitCode::from(exit::USAGE);
    }
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&config.checked()).unwrap_or_default());
    } else {
        config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        println!("the configuration is fine");
    }
    ExitCode::from(exit::DONE)
}

fn supervise(cli: Cli, config: Config) -> ExitCode {
    // Before any thread is made: they inherit the mask.
    if let Err(error) = os::signal::block() {
        eprintln!("error: cannot block signals: {error}");
        return ExitCode::from(exit::FAILED);
    }
    let person = io::stdout().is_terminal() && io::stderr().is_terminal();
    let level = if person { "warn" } else { &cli.log_level };
    let guard = match telemetry::start(cli.log_format.as_deref(), level, &config.instance) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("error: --log-format journald: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let code = hold(cli, config, person).unwrap_or_else(|stop| {
        // Straight to stderr, for it is the last word and must not be lost.
        eprintln!("error: {}", stop.text);
        stop.exit
    });
    drop(guard);
    ExitCode::from(code)
}

/// Why the master does not start.
struct Stop {
    text: String,
    exit: u8,
}

impl Stop {
    fn usage(error: impl std::fmt::Display) -> Self {
        Self { text: error.to_string(), exit: exit::USAGE }
    }

    /// Who holds an address may be gone in a moment; a file that lies there stays.
    fn listen(error: &ListenError) -> Self {
        let exit = if let ListenError::NotASocket(_) = error { exit::USAGE } else { exit::FAILED };
        Self { text: error.to_string(), exit }
    }

    fn pid_file(error: PidFileError) -> Self {
        let exit = match &error {
            PidFileError::Running { .. } => exit::FAILED,
            PidFileError::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull => exit::FAILED,
            PidFileError::Unsafe { .. } | PidFileError::Io { .. } => exit::USAGE,
        };
        Self { text: error.to_string(), exit }
    }

    fn failed(what: &str, error: impl std::fmt::Display) -> Self {
        Self { text: format!("{what}: {error}"), exit: exit::FAILED }
    }
}

/// Takes hold of everything, runs, and lets go of it.
fn hold(cli: Cli, mut config: Config, person: bool) -> Result<u8, Stop> {
    os::orphan::become_subreaper().map_err(|e| Stop::failed("subreaper", e))?;
    os::limits::raise_nofile().map_err(|e| Stop::failed("RLIMIT_NOFILE", e))?;
    let runtime = os::runtime::prepare(&config.instance, &Surroundings::from_env()).map_err(Stop::usage)?;
    let pid_file_path = config.fixed.pid_file.clone().unwrap_or_else(|| runtime.join(runtime_dir::PID_FILE));
    // Exit code 2 is for what stays wrong until somebody changes it: a service manager does not try that again. Who holds
    // an address or a lock may be gone in a moment.
    let _instance = Lock::take(&runtime.join("instance.lock"), &pid_file_path).map_err(Stop::pid_file)?;
    let _pid_file = PidFile::create(&pid_file_path).map_err(Stop::pid_file)?;
    let passed = os::activation::take().map_err(Stop::usage)?;
    let asked_for = config.listeners_asked_for;
    let passed_any = !passed.is_empty();
    let passed = os::activation::assign(passed, &mut config.listeners, !asked_for).map_err(Stop::usage)?;
    let passed_sockets: Vec<Existing> =
        passed.into_iter().map(|socket| Existing { socket, names: Vec::new() }).collect();
    let listeners = os::listener::gather(&config.listeners, &passed_sockets).map_err(|error| Stop::listen(&error))?;
    let passed = (passed_any && !asked_for).then(|| config.listeners.clone());
    let listeners: Vec<Rc<Listener>> = listeners.into_iter().map(|listening| listening.socket).collect();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tokio = tokio.map_err(|e| Stop::failed("runtime", e))?;
    let control = config.fixed.control.clone().unwrap_or_else(|| runtime.join(runtime_dir::CONTROL));
    let on_boot = if person && is_demo(&cli) {
        greet_demo
    } else if person {
        greet
    } else {
        log_boot
    };
    let log_level = cli.log_level.clone();
    let status = config.fixed.status.clone().unwrap_or_else(|| runtime.join(runtime_dir::STATUS));
    let sockets = {
        let _context = tokio.enter();
        let bind = |path: &Path, group: &Option<String>| {
            let place = path.display().to_string();
            let failed = |error: io::Error| {
                let listen = error.get_ref().and_then(|inner| inner.downcast_ref::<ListenError>());
                let exit = listen.map_or(exit::FAILED, |error| Stop::listen(error).exit);
                Stop { text: format!("{place}: {}", config::without_code(&error)), exit }
            };
            ControlSocket::bind(path, group.as_deref()).map_err(failed)
        };
        [bind(&control, &config.fixed.control_group)?, bind(&status, &config.fixed.status_group)?]
    };
    let parts = Parts { cli, config, listeners, passed, runtime, pid_file: pid_file_path, control, on_boot };
    let code = LocalSet::new().block_on(&tokio, serve(parts, sockets)).map_err(|e| Stop::failed("supervisor", e))?;
    telemetry::set_level(&log_level);
    tracing::info!(code, "gone");
    Ok(code)
}

async fn serve(parts: Parts, [control, status]: [ControlSocket; 2]) -> io::Result<u8> {
    let driver = Driver::new(parts)?;
    let handle = driver.handle();
    let (over, is_over) = watch::channel(false);
    let servers = LocalSet::new();
    servers.spawn_local(control.serve(control::acting(handle.clone()), is_over.clone()));
    servers.spawn_local(status.serve(control::looking(handle.clone()), is_over));
    drop(handle);
    let code = servers.run_until(driver.run()).await?;
    over.send_replace(true);
    // Callers read their last answer; one that does not is not waited for.
    let _ = tokio::time::timeout(FAREWELL, servers).await;
    Ok(code)
}

fn is_demo(cli: &Cli) -> bool {
    cli.config.is_none() && cli.command.is_empty()
}

fn greet_demo(status: &Status, took_ms: f64) {
    banner::print(status, took_ms, true);
    telemetry::set_level("info");
}

fn greet(status: &Status, took_ms: f64) {
    banner::print(status, took_ms, false);
    telemetry::set_level("info");
}

fn log_boot(status: &Status, took_ms: f64) {
    for listener in &status.listeners {
        tracing::info!(name = listener.name, address = listener.address, "listening on {}", listener.address);
    }
    tracing::info!(took_ms, pid_file = status.pid_file, control = status.control, "serving");
}

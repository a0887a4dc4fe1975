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
//! | what outlives the master | [`state`] |

mod adopt;
mod banner;
pub mod cli;
pub mod config;
pub mod control;
pub mod descriptor_name;
pub mod driver;
pub mod error_text;
pub mod exec_helper;
pub mod exit_status;
mod foundation;
pub mod generations;
pub mod inbox;
pub mod listener_name;
pub mod machine;
pub mod moment;
pub mod os;
pub mod os_text;
pub mod private_client;
pub mod reporter;
pub mod socket_record;
pub mod state;
pub mod store;
mod task;
mod telemetry;
pub mod view;
pub mod workers;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use gin_shared::check::Checked;
use gin_shared::exit;
use gin_shared::status::Status;
use tokio::sync::watch;
use tokio::task::LocalSet;

use adopt::Succession;
use cli::Cli;
use config::Config;
use driver::{Driver, DriverError as Gone, Parts};
use foundation::Foundation;
use gin_shared::config::Problem;
use os::control_socket::ControlSocket;
use os::listener::{Existing, ListenError, Listener};
use os::pidfile::PidFileError;
use os::shared_memory::SharedMemory;
use os::state_file::StateFile;
use os::succession::Descriptors;
use reporter::Boot;
use socket_record::SocketRecord;
use state::State;

/// How long callers have to read the last answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// The program.
#[must_use]
pub fn run() -> ExitCode {
    if exec_helper::is_helper() {
        return exec_helper::run();
    }
    let cli = Cli::parse();
    if cli.config_check {
        return match check(&cli) {
            Ok(config) => tell_checked(&cli, &config),
            Err(problems) => refuse(&problems),
        };
    }
    let before = match adopt::in_place() {
        Ok(before) => before,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match configuration(&cli, before.as_ref()) {
        Ok((config, doubt)) => supervise(cli, config, before, doubt),
        Err(problems) if before.is_some() => {
            refuse(&problems);
            ExitCode::from(exit::FAILED)
        }
        Err(problems) => refuse(&problems),
    }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    problems.iter().for_each(|problem| eprintln!("error: {problem}"));
    ExitCode::from(exit::USAGE)
}

/// What to start with: what lies there now; for a program that takes over, what is in force. Workers that live are not left
/// alone because what lies there now cannot be used: then it is what was in force, and the second says what is wrong.
fn configuration(
    cli: &Cli,
    before: Option<&(State<'static>, Descriptors)>,
) -> Result<(Config, Option<String>), Vec<Problem>> {
    if let Some(file) = before.and_then(|(state, _)| state.config.clone())
        && let Ok(config) = Config::reload(cli, file.into_owned())
    {
        return Ok((config, None));
    }
    check(cli).map(|config| (config, None)).or_else(|problems| {
        let config = adopt::configuration_of_the_dead(cli).ok_or_else(|| problems.clone())?;
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Ok((config, Some(lines.join("; "))))
    })
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
    if let Err(text) = generations::worker_program::check(config) {
        eprintln!("{}", text.to_string().trim_end());
        return ExitCode::from(exit::USAGE);
    }
    if let Some(Err(text)) = cli.state.as_ref().map(|state| adopt::check(cli, state)) {
        eprintln!("error: {text}");
        return ExitCode::from(exit::FAILED);
    }
    if cli.json {
        let checked = Checked { state: cli.state.is_some(), ..config.checked() };
        println!("{}", serde_json::to_string_pretty(&checked).unwrap_or_default());
    } else {
        config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        println!("the configuration is fine");
    }
    ExitCode::from(exit::DONE)
}

fn supervise(
    cli: Cli,
    config: Config,
    before: Option<(State<'static>, Descriptors)>,
    doubt: Option<String>,
) -> ExitCode {
    // Before any thread is made: they inherit the mask.
    if let Err(error) = os::signal::block() {
        eprintln!("error: cannot block signals: {error}");
        return ExitCode::from(exit::FAILED);
    }
    let person = io::stdout().is_terminal() && io::stderr().is_terminal();
    // A person is greeted by a banner before the first lines; not when another program takes over.
    let level = if person && before.is_none() { "warn" } else { &cli.log_level };
    let guard = match telemetry::start(cli.log_format.as_deref(), level, &config.instance) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("error: --log-format journald: {error}");
            // A service manager is to start it again if it took over from another program: workers live.
            return ExitCode::from(if before.is_some() { exit::FAILED } else { exit::USAGE });
        }
    };
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Some(doubt) = doubt {
        tracing::error!("the configuration cannot be used, so what was in force before goes on: {doubt}");
    }
    let code = hold(cli, config, person, before).unwrap_or_else(|stop| {
        // Straight to stderr, for it is the last word and must not be lost.
        eprintln!("error: {}", stop.text);
        stop.exit
    });
    drop(guard);
    ExitCode::from(code)
}

/// Why the master does not start.
#[derive(Debug)]
pub struct Stop {
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
fn hold(cli: Cli, mut config: Config, person: bool, before: Option<(State<'static>, Descriptors)>) -> Result<u8, Stop> {
    if let Some(nofile) = before.as_ref().and_then(|(state, _)| state.nofile) {
        os::limits::resume_inherited(nofile);
    }
    os::orphan::become_subreaper().map_err(|e| Stop::failed("subreaper", e))?;
    os::limits::raise_nofile().map_err(|e| Stop::failed("RLIMIT_NOFILE", e))?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tokio = tokio.map_err(|e| Stop::failed("runtime", e))?;
    let on_boot = if person && is_demo(&cli) {
        greet_demo
    } else if person {
        greet
    } else {
        log_boot
    };
    let log_level = cli.log_level.clone();
    let (parts, sockets, succession) = match before {
        // Whoever was greeted is not greeted again.
        Some((state, descriptors)) => go_on(cli, config, on_boot, &tokio, state, descriptors)?,
        None => start(cli, &mut config, on_boot, &tokio)?,
    };
    let code = LocalSet::new().block_on(&tokio, serve(parts, sockets, succession));
    let code = code.map_err(|e| Stop::failed("supervisor", e))?;
    telemetry::set_level(&log_level);
    tracing::info!(code, "gone");
    Ok(code)
}

type Standing = (Parts, [ControlSocket; 2], Option<Succession>);

/// From nothing, or from what a master that died has left.
fn start(
    cli: Cli,
    config: &mut Config,
    on_boot: fn(&Status, Boot),
    tokio: &tokio::runtime::Runtime,
) -> Result<Standing, Stop> {
    let paths = foundation::paths(config)?;
    let locks = foundation::lock(&paths)?;
    let passed = os::activation::take().map_err(Stop::usage)?;
    let (mut passed, stored) = adopt::split(passed).map_err(Stop::usage)?;
    let names: BTreeSet<String> = stored.names().cloned().collect();
    let (mut succession, state_file) = adopt::adopt(&paths.runtime, &config.instance, stored, &mut passed)?;
    let stored = if succession.is_some() { names } else { BTreeSet::new() };
    if let Some(succession) = &succession {
        foundation::clear_moved(&succession.state, &paths);
    }
    let asked_for = config.listeners_asked_for;
    let passed_any = !passed.is_empty();
    let passed = os::activation::assign(passed, &mut config.listeners, !asked_for).map_err(Stop::usage)?;
    let listeners: Vec<Rc<Listener>> = match &mut succession {
        // Those that it has are taken up with it; what is new is for the next generation.
        Some(succession) if !succession.alive.is_empty() => passed,
        dead => {
            // What a service manager has kept of one whose workers are dead, too, is better than a new one: clients wait there.
            let kept = dead.as_mut().map(Succession::take_sockets).unwrap_or_default();
            let all = passed.into_iter().chain(kept.into_iter().map(Rc::new));
            let existing: Vec<Existing> = all.map(|socket| Existing { socket, names: Vec::new() }).collect();
            let gathered = os::listener::gather(&config.listeners, &existing).map_err(|error| Stop::listen(&error))?;
            gathered.into_iter().map(|listening| listening.socket).collect()
        }
    };
    let before =
        succession.as_ref().and_then(|succession| succession.state.passed.clone().map(std::borrow::Cow::into_owned));
    let passed = (passed_any && !asked_for).then(|| config.listeners.clone()).or(before);
    let (foundation, sockets) = {
        let _context = tokio.enter();
        Foundation::lay(locks, &paths, config)?
    };
    let (config, started) = (config.clone(), os::time::now());
    let memory = memory(succession.as_mut(), &config)?;
    let parts = Parts {
        cli,
        config,
        listeners,
        passed,
        paths,
        files: foundation,
        state_file,
        memory,
        started,
        stored,
        on_boot,
    };
    Ok((parts, sockets, succession))
}

/// As another program in the same process.
fn go_on(
    cli: Cli,
    config: Config,
    on_boot: fn(&Status, Boot),
    tokio: &tokio::runtime::Runtime,
    state: State<'static>,
    mut descriptors: Descriptors,
) -> Result<Standing, Stop> {
    let paths = state.paths.clone().into_owned();
    let (foundation, sockets) = {
        let _context = tokio.enter();
        Foundation::resume(&mut descriptors, &paths, &config)?
    };
    let state_file = StateFile::resume(&mut descriptors, &paths.runtime)
        .map_err(|error| Stop::failed("upgrade in place: the state", error))?;
    let of_manager = |socket: &SocketRecord| socket.passed;
    let passed: Vec<String> = state.sockets.iter().filter(|s| of_manager(s)).map(SocketRecord::name).collect();
    let kept =
        state.descriptors.keys().filter(|name| name.starts_with(descriptor_name::PREFIX) && !passed.contains(name));
    let stored = kept.cloned().collect();
    let (passed, started) =
        (state.passed.clone().map(std::borrow::Cow::into_owned), state.started.unwrap_or_else(os::time::now));
    let mut succession = adopt::go_on(state, descriptors).map_err(|error| Stop::failed("upgrade in place", error))?;
    let listeners = Vec::new();
    let memory = memory(Some(&mut succession), &config)?;
    let parts = Parts {
        cli,
        config,
        listeners,
        passed,
        paths,
        files: foundation,
        state_file,
        memory,
        started,
        stored,
        on_boot,
    };
    Ok((parts, sockets, Some(succession)))
}

/// That of the master before this one, else a new one.
fn memory(before: Option<&mut Succession>, config: &Config) -> Result<SharedMemory, Stop> {
    match before.and_then(|before| before.memory.take()) {
        Some(memory) => {
            if !memory.has_room_for(config.fixed.rate_limit_clients) {
                tracing::warn!("rate_limit.clients counts once all workers and the supervisor were stopped together");
            }
            Ok(memory)
        }
        None => SharedMemory::create(config.fixed.rate_limit_clients).map_err(|e| Stop::failed("shared memory", e)),
    }
}

async fn serve(parts: Parts, [control, status]: [ControlSocket; 2], succession: Option<Succession>) -> io::Result<u8> {
    let mut driver = Driver::new(parts)?;
    let handle = driver.handle();
    let (over, is_over) = watch::channel(false);
    let servers = LocalSet::new();
    let [acts, looks] = handle.connections.each_ref().map(std::sync::Arc::clone);
    let paused = || handle.paused.subscribe();
    servers.spawn_local(control::serve(control, control::acting(handle.clone()), acts, is_over.clone(), paused()));
    servers.spawn_local(control::serve(status, control::looking(handle.clone()), looks, is_over, paused()));
    drop(handle);
    let code = match servers.run_until(task::until_panic(driver.run(succession))).await {
        Ok(code) => code,
        Err(Gone::NotResumed(error)) => leave_as_found(&Gone::NotResumed(error)),
        Err(Gone::Events(error)) => return Err(error),
    };
    drop(driver);
    over.send_replace(true);
    // Callers read their last answer; one that does not is not waited for.
    let _ = tokio::time::timeout(FAREWELL, servers).await;
    Ok(code)
}

/// Ends without tidying up: the files of sockets are the living workers', and the next try needs them.
fn leave_as_found(error: &Gone) -> ! {
    telemetry::flush();
    eprintln!("error: {error}");
    std::process::exit(exit::FAILED.into())
}

fn is_demo(cli: &Cli) -> bool {
    cli.config.is_none() && cli.command.is_empty()
}

fn greet_demo(status: &Status, boot: Boot) {
    banner::print(status, boot, true);
    telemetry::set_level("info");
}

fn greet(status: &Status, boot: Boot) {
    banner::print(status, boot, false);
    telemetry::set_level("info");
}

fn log_boot(status: &Status, boot: Boot) {
    for listener in &status.listeners {
        tracing::info!(name = listener.name, address = listener.address, "listening on {}", listener.address);
    }
    let Status { pid_file, control, .. } = status;
    match boot {
        Boot::Served { took_ms } => tracing::info!(took_ms, pid_file, control, "serving"),
        Boot::Adopted { workers, .. } => tracing::info!(workers, pid_file, control, "serving"),
    }
}

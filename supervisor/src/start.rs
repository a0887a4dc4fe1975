//! The start of the master, step by step.
//!
//! 1. Look whether the program before this one left a state in this process (an upgrade in place).
//! 2. Read the configuration; if it cannot be used and workers of a dead master live, go on with the one in force.
//! 3. Prepare the process: signals, log, subreaper, limits.
//! 4. Gather what the master stands on: from nothing, from a dead master's leftovers, or from the program before this one.
//! 5. Serve the control API and run the loop, until nothing is left.

mod error;
mod greeting;
mod memories;
mod scrapes;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gin_shared::check::Checked;
use gin_shared::config::Problem;
use gin_shared::exit;
use gin_shared::metrics::Memory;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;

use crate::adopt::{self, Succession, in_place};
use crate::certificates;
use crate::cli::Cli;
use crate::config::Config;
use crate::control::scrapes::Scrapes;
use crate::control::{self, Doors, scrapers};
use crate::descriptor_name::PREFIX;
use crate::driver::{Driver, DriverError, Parts};
use crate::failed_start::FailedStart;
use crate::generations::freeze_error::FreezeError;
use crate::generations::{frozen, worker_program};
use crate::instance_files::{self, InstanceFiles};
use crate::os::control_socket::ControlSocket;
use crate::os::listener::{Existing, ListenError, Listener, gather};
use crate::os::state_file::StateFile;
use crate::os::succession::Descriptors;
use crate::os::{activation, core_filter, limits, orphan, signal, time};
use crate::socket_record::SocketRecord;
use crate::state::State;
use crate::task::until_panic;
use crate::telemetry;
pub use error::StartError;
use greeting::Greeting;

/// Time for callers to read the last answer.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// The state and descriptors of the program before this one.
type InPlace = (State<'static>, Descriptors);

/// Everything that the loop needs.
struct Standing {
    parts: Parts,
    sockets: [ControlSocket; 2],
    /// The listener for scrapers, if there is one.
    scrapes: Option<TcpListener>,
    /// The memory in which the workers count.
    counted: Memory,
    succession: Option<Succession>,
}

/// Checks the configuration, gin-server's part of it, what it runs, and a state if one is named.
///
/// A unit can be made before there is a program for it: then what is missing is a warning.
///
/// # Errors
/// The first fault that is found, with its place.
pub fn check(cli: &Cli) -> Result<ExitCode, StartError> {
    let mut config = load(cli).map_err(StartError::Config)?;
    worker_program::check(&config)?;
    match &cli.state {
        Some(state) => in_place::check(cli, state)?,
        None => match frozen::check(&config) {
            Err(error) if cli.json || error.is_hidden() => config.warnings.push(error.to_string()),
            found => found.map_err(|error| missing(&config, error))?,
        },
    }
    if cli.json {
        let checked = Checked { state: cli.state.is_some(), ..config.checked() };
        println!("{}", serde_json::to_string_pretty(&checked).unwrap_or_default());
    } else {
        config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        config.notes.iter().for_each(|note| eprintln!("note: {note}"));
        println!("the configuration is fine");
    }
    Ok(ExitCode::from(exit::DONE))
}

/// The error for something that the configuration names and that is not there, with the place of its key.
fn missing(config: &Config, error: FreezeError) -> StartError {
    match error.key().and_then(|key| Some((key, config.place(key)?))) {
        Some((key, place)) => StartError::Config(vec![Problem { place, text: format!("supervisor.{key}: {error}") }]),
        None => error.into(),
    }
}

/// Runs the master until nothing is left; gives its exit code.
///
/// # Errors
/// See [`StartError`].
pub fn run(cli: Cli) -> Result<ExitCode, StartError> {
    let before = in_place::inherited()?;
    let (config, doubt) = configuration(&cli, before.as_ref())?;
    // Before any thread is made: threads inherit the mask.
    signal::block().map_err(|error| StartError::System { step: "cannot block signals", error })?;
    let greeting = Greeting::of(&cli, before.is_some());
    let _log = start_log(&cli, &config, before.is_some())?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    config.notes.iter().for_each(|note| tracing::info!("{note}"));
    if let Some(doubt) = doubt {
        tracing::error!("the configuration cannot be used, so what was in force before goes on: {doubt}");
    }
    prepare_process(before.as_ref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::System { step: "runtime", error })?;
    let log_level = cli.log_level.clone();
    let standing = match before {
        Some(before) => take_over_in_place(cli, config, greeting, &runtime, before)?,
        None => start(cli, config, greeting, &runtime)?,
    };
    let code = LocalSet::new().block_on(&runtime, serve(standing))?;
    telemetry::set_level(&log_level);
    tracing::info!(code, "gone");
    Ok(ExitCode::from(code))
}

fn start_log(cli: &Cli, config: &Config, in_place: bool) -> Result<telemetry::Guard, StartError> {
    let person = io::stdout().is_terminal() && io::stderr().is_terminal();
    // A person is greeted by a banner before the first lines; not when another program takes over.
    let level = if person && !in_place { "warn" } else { &cli.log_level };
    telemetry::start(cli.log_format.as_deref(), level, &config.instance)
        .map_err(|error| StartError::Journal { error, in_place })
}

/// The configuration to start with: as it lies there now; for a program that takes over, the one in force.
///
/// Workers that live are not left alone because what lies there now cannot be used: then the one that was in force goes on,
/// and the second value says what is wrong.
fn configuration(cli: &Cli, before: Option<&InPlace>) -> Result<(Config, Option<String>), StartError> {
    if let Some(file) = before.and_then(|(state, _)| state.config.clone())
        && let Ok(config) = Config::reload(cli, file.into_owned())
    {
        return Ok((config, None));
    }
    let problems = match load(cli) {
        Ok(config) => return Ok((config, None)),
        Err(problems) => problems,
    };
    match adopt::configuration_of_the_dead(cli) {
        Some(config) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Ok((config, Some(lines.join("; "))))
        }
        None if before.is_some() => Err(StartError::ConfigInPlace(problems)),
        None => Err(StartError::Config(problems)),
    }
}

fn load(cli: &Cli) -> Result<Config, Vec<Problem>> {
    if cli.config.is_none() && cli.command.is_empty() && std::env::var_os("NOTIFY_SOCKET").is_some() {
        let text = "under a service manager give a configuration (-c FILE) or a command (-- COMMAND)".to_owned();
        return Err(vec![Problem { place: "command line".to_owned(), text }]);
    }
    Config::load(cli)
}

/// Orphans among our descendants fall to this process, and it may have as many descriptors as it is allowed.
fn prepare_process(before: Option<&InPlace>) -> Result<(), StartError> {
    if let Some(nofile) = before.and_then(|(state, _)| state.nofile) {
        limits::resume_inherited(nofile);
    }
    if let Some(filter) = before.and_then(|(state, _)| state.core_filter) {
        core_filter::resume_inherited(filter);
    }
    orphan::become_subreaper().map_err(|error| StartError::System { step: "subreaper", error })?;
    limits::raise_nofile().map_err(|error| StartError::System { step: "RLIMIT_NOFILE", error: error.into() })
}

/// Starts from nothing, or from what a master that died has left.
fn start(cli: Cli, mut config: Config, greeting: Greeting, runtime: &Runtime) -> Result<Standing, StartError> {
    let paths = instance_files::paths(&config)?;
    let locks = instance_files::lock(&paths)?;
    let (mut passed, kept) = adopt::split(activation::take()?)?;
    let names: BTreeSet<String> = kept.names().cloned().collect();
    let (mut succession, state_file) = adopt::adopt(&paths.runtime, &config.instance, kept, &mut passed)?;
    let stored = if succession.is_some() { names } else { BTreeSet::new() };
    if let Some(succession) = &succession {
        instance_files::clear_moved(&succession.state, &paths);
    }
    let asked_for = config.listeners_asked_for;
    let adopts = succession.as_ref().is_some_and(|succession| !succession.alive.is_empty());
    if !adopts {
        certificates::check(&config.worker.tls, SystemTime::now()).map_err(FreezeError::from)?;
    }
    let passed_any = !passed.is_empty();
    let passed = activation::assign(passed, &mut config.listeners, !asked_for)?;
    let failed = FailedStart::read(&paths.runtime);
    let waits = failed.as_ref().is_some_and(|failed| failed.next_try(time::now()).is_some());
    let listeners = open_listeners(&config, passed, succession.as_mut(), waits)
        .inspect_err(|error| FailedStart::after(failed.as_ref(), error.to_string()).keep(&paths.runtime))?;
    let before = succession.as_ref().and_then(|succession| succession.state.passed.clone());
    let passed = (passed_any && !asked_for).then(|| config.listeners.clone());
    let passed = passed.or(before.map(Cow::into_owned));
    let (listener, scrapes) = scrapes::open(&config, None, adopts)?;
    let (files, sockets) = {
        let _context = runtime.enter();
        InstanceFiles::create(locks, &paths, &config, listener)?
    };
    let (memories, counted) = memories::make(succession.as_mut(), &config)?;
    let (started, on_boot) = (time::now(), greeting.on_boot());
    let parts =
        Parts { cli, config, listeners, passed, paths, files, state_file, memories, started, stored, failed, on_boot };
    Ok(Standing { parts, sockets, scrapes, counted, succession })
}

/// Opens the sockets for the first generation. Sockets that adopted workers have are taken up with them; what is new is for
/// the next generation. If the first generation `waits`, nothing is bound before it: clients are refused meanwhile, and need
/// not wait for a program that may not come.
fn open_listeners(
    config: &Config,
    passed: Vec<Rc<Listener>>,
    succession: Option<&mut Succession>,
    waits: bool,
) -> Result<Vec<Rc<Listener>>, ListenError> {
    let kept = match succession {
        Some(succession) if !succession.alive.is_empty() => return Ok(passed),
        // Sockets that a service manager has kept of dead workers are better than new ones: clients wait there.
        dead => dead.map(Succession::take_sockets).unwrap_or_default(),
    };
    let all = passed.into_iter().chain(kept.into_iter().map(Rc::new));
    let existing: Vec<Existing> = all.map(|socket| Existing { socket, names: Vec::new() }).collect();
    if waits {
        return Ok(existing.into_iter().map(|existing| existing.socket).collect());
    }
    let gathered = gather(&config.listeners, &existing)?;
    Ok(gathered.into_iter().map(|listening| listening.socket).collect())
}

/// Goes on as another program in the same process.
fn take_over_in_place(
    cli: Cli,
    config: Config,
    greeting: Greeting,
    runtime: &Runtime,
    (state, mut descriptors): InPlace,
) -> Result<Standing, StartError> {
    let paths = state.paths.clone().into_owned();
    let (listener, scrapes) = scrapes::open(&config, descriptors.take(instance_files::SCRAPES), true)?;
    let (files, sockets) = {
        let _context = runtime.enter();
        InstanceFiles::resume(&mut descriptors, &paths, &config, listener)?
    };
    let state_file = StateFile::resume(&mut descriptors, &paths.runtime)
        .map_err(|error| StartError::System { step: "upgrade in place: the state", error })?;
    let passed: Vec<String> = state.sockets.iter().filter(|socket| socket.passed).map(SocketRecord::name).collect();
    let kept = state.descriptors.keys().filter(|name| name.starts_with(PREFIX) && !passed.contains(name));
    let stored = kept.cloned().collect();
    let (passed, started) = (state.passed.clone(), state.started.unwrap_or_else(time::now));
    let passed = passed.map(Cow::into_owned);
    let mut succession = in_place::take_up(state, descriptors)?;
    let (memories, counted) = memories::make(Some(&mut succession), &config)?;
    let (listeners, failed, on_boot) = (Vec::new(), None, greeting.on_boot());
    let parts =
        Parts { cli, config, listeners, passed, paths, files, state_file, memories, started, stored, failed, on_boot };
    Ok(Standing { parts, sockets, scrapes, counted, succession: Some(succession) })
}

/// Serves the control API and runs the loop, until nothing is left.
async fn serve(standing: Standing) -> Result<u8, StartError> {
    let Standing { parts, sockets: [control, status], scrapes: listener, counted, succession } = standing;
    let instance = parts.config.instance.clone();
    let mut driver = Driver::new(parts).map_err(|error| StartError::System { step: "supervisor", error })?;
    let handle = driver.handle();
    let (over, is_over) = watch::channel(false);
    let servers = LocalSet::new();
    let doors = |slots: &Arc<Semaphore>| {
        let slots = Arc::clone(slots);
        Doors { slots, over: is_over.clone(), paused: handle.paused.subscribe() }
    };
    let [acts, looks] = handle.connections.each_ref().map(doors);
    let scrapes = Scrapes::new(handle.clone(), counted, instance);
    if let Some(listener) = listener {
        let failed = |error| StartError::System { step: "supervisor.metrics", error };
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        servers.spawn_local(scrapers::serve(listener, scrapes.clone(), doors(&handle.scrapers)));
    }
    servers.spawn_local(control::serve(control, control::acting(handle.clone(), scrapes.clone()), acts));
    servers.spawn_local(control::serve(status, control::looking(handle.clone(), scrapes), looks));
    drop(handle);
    let code = match servers.run_until(until_panic(driver.run(succession))).await {
        Ok(code) => code,
        Err(error @ DriverError::NotResumed(_)) => leave_as_found(&error.into()),
        Err(error @ DriverError::Events(_)) => return Err(error.into()),
    };
    drop(driver);
    over.send_replace(true);
    // Callers read their last answer; a caller that does not is not waited for.
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, servers).await;
    Ok(code)
}

/// Ends without tidying up: the files of sockets are the living workers', and the next try needs them.
fn leave_as_found(error: &StartError) -> ! {
    telemetry::flush();
    error.print();
    std::process::exit(error.exit().into())
}

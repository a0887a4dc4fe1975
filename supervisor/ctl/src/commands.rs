//! The dispatch of all commands; one file a command, but for those that are a few lines.

mod certs;
mod check;
mod events;
mod list;
mod logs;
mod migrate;
mod new;
mod operation;
mod profile;
mod routes;
mod status;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use gin_shared::control::{CancelRequest, RestartRequest, RollbackRequest, StopRequest};
use gin_shared::exit;
use gin_shared::generation::Generation;
use gin_shared::process::Pidfd;
use gin_shared::status::{Status, Upgrade};

use crate::cli::{By, Cli, Command, ConfigText, Page, Restart};
use crate::client::Client;
use crate::failure::Failure;
use crate::instance::find;
use crate::left::{self, Orphaned};
use crate::render::status::{phases_line, print_said, upgrade_line};
use crate::render::{journal, man, reference};
use operation::{Operation, Patience};

/// Time for a supervisor that has answered its last caller to end.
const LAST_LINES: Duration = Duration::from_secs(10);
/// The most failed upgrades for which the journal is asked.
const QUOTED: usize = 5;
/// Set by systemd for `ExecStop=` and `ExecStopPost=`: how the service has fared (systemd.exec(5)).
const SERVICE_RESULT: &str = "SERVICE_RESULT";

/// Does what was asked for; gives the exit code.
///
/// # Errors
/// See [`Failure`].
pub async fn run(cli: Cli) -> Result<u8, Failure> {
    let (socket, json) = (cli.socket.as_deref(), cli.json);
    match cli.command {
        Command::Status { watch, alive, instance } => {
            let shown = match client(socket, instance.as_deref()) {
                Ok(client) if alive => status::alive(&client, json).await,
                Ok(client) if watch => status::watch(&client, json).await,
                Ok(client) => status::once(&client, json).await,
                Err(failure) => Err(failure),
            };
            status::or_left(shown, socket, instance.as_deref(), json)
        }
        Command::List => list::list(socket, json).await,
        Command::Restart(restart) => self::restart(socket, json, restart).await,
        Command::Reload { no_queue, instance } => {
            let operation = Operation::new(socket, instance.as_deref(), json)?;
            operation.run("/v1/reload", &RestartRequest { no_queue }, Patience::default()).await
        }
        Command::Profile(asked) => profile::take(socket, json, &asked).await,
        Command::Check { file } => check::check(&file),
        Command::Unit(unit) => check::unit(&unit),
        Command::New(service) => new::new(&service),
        Command::Config { what } => text(&match what {
            ConfigText::Default => reference::default_file(),
            ConfigText::Schema => reference::schema(),
            ConfigText::Reference => reference::page(),
        }),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gin-ctl", &mut script);
            text(&String::from_utf8_lossy(&script))
        }
        Command::Man { page } => man(page),
        Command::Cancel { instance } => {
            let operation = Operation::new(socket, instance.as_deref(), json)?;
            operation.run("/v1/cancel", &CancelRequest::default(), Patience::default()).await
        }
        Command::Rollback { to, force, instance } => {
            let operation = Operation::new(socket, instance.as_deref(), json)?;
            let request = RollbackRequest { to: to.map(Generation), force };
            operation.run("/v1/rollback", &request, Patience::default()).await
        }
        Command::UpgradeSupervisor { no_queue, all, instance } => {
            upgrade_supervisor(socket, json, no_queue, all, instance.as_deref()).await
        }
        Command::Scale { workers, instance } => {
            let operation = Operation::new(socket, instance.as_deref(), json)?;
            operation.run("/v1/scale", &workers, Patience::default()).await
        }
        Command::Migrate(asked) => {
            let (order, instance) = migrate::read(asked)?;
            let operation = Operation::new(socket, instance.as_deref(), json)?;
            operation.run("/v1/migrate", &order, Patience::default()).await
        }
        Command::Stop { left_over: true, instance, .. } => stop_left_over(socket, instance.as_deref()),
        Command::Stop { fast, instance, .. } => {
            let outcome = stop(socket, json, fast, instance.as_deref()).await;
            match (&outcome, left::find(socket, instance.as_deref())) {
                (Err(Failure { exit: exit::NO_SUPERVISOR, .. }), Some(left)) => stop_left(&left, fast),
                _ => outcome,
            }
        }
        Command::Metrics { by, instance } => {
            let path = match by {
                None => "/v1/metrics",
                Some(By::Worker) => "/v1/metrics?by=worker",
            };
            text(&client(socket, instance.as_deref())?.metrics(path).await?)
        }
        Command::Routes { tree, instance } => routes::show(&client(socket, instance.as_deref())?, json, tree).await,
        Command::LogLevel { level, instance } => logs::level(&client(socket, instance.as_deref())?, json, level).await,
        Command::Certs { instance } => certs::show(&client(socket, instance.as_deref())?, json).await,
        Command::History { instance } => history(&client(socket, instance.as_deref())?, json).await,
        Command::Events { follow: _, instance } => events::follow(&client(socket, instance.as_deref())?, json).await,
    }
}

/// What goes into a file: half of it would be worse than nothing, so here an output that fails is told.
fn text(text: &str) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(exit::FAILED, format!("stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(exit::DONE),
    }
}

fn man(page: Page) -> Result<u8, Failure> {
    match page {
        Page::Ctl => text(&man::page().map_err(|error| Failure::new(exit::FAILED, error.to_string()))?),
        Page::Supervisor => text(include_str!("commands/gin-supervisor.8")),
        Page::Server => text(include_str!("commands/gin-server.8")),
        Page::Toml => text(&reference::man()),
    }
}

fn client(socket: Option<&Path>, instance: Option<&str>) -> Result<Client, Failure> {
    Ok(Client::new(&find(socket, instance)?))
}

async fn restart(socket: Option<&Path>, json: bool, restart: Restart) -> Result<u8, Failure> {
    let operation = Operation::new(socket, restart.instance.as_deref(), json)?;
    let request = RestartRequest { no_queue: restart.no_queue };
    let patience = Patience { no_wait: restart.no_wait, until_drained: restart.wait_drained, timeout: restart.timeout };
    operation.run("/v1/restart", &request, patience).await
}

/// Ends only when the supervisor's process has: then its sockets and PID file are gone, too.
async fn stop(socket: Option<&Path>, json: bool, fast: bool, instance: Option<&str>) -> Result<u8, Failure> {
    if std::env::var_os(SERVICE_RESULT).is_some() {
        left::mark_stopping(socket, instance);
    }
    let status: Status = client(socket, instance)?.get("/v1/status").await?;
    let process = Pidfd::open(status.pid).ok().flatten();
    let operation = Operation::new(socket, instance, json)?.ending_with(process.as_ref());
    let outcome = operation.run("/v1/stop", &StopRequest { fast }, Patience::default()).await;
    // It may have ended before it could be asked how it goes: its end is the answer, too.
    let over = matches!(&outcome, Ok(exit::DONE) | Err(Failure { exit: exit::NO_SUPERVISOR, .. }));
    // The supervisor is on its last lines.
    if let (Some(process), true) = (process, over)
        && process.has_ended(LAST_LINES)
        && outcome.is_err()
    {
        crate::say!("stopped");
        return Ok(exit::DONE);
    }
    outcome
}

/// There is no supervisor to ask.
fn stop_left(left: &Orphaned, fast: bool) -> Result<u8, Failure> {
    let ended = left.stop(fast)?;
    let (noun, verb) = if ended == 1 { ("worker", "was") } else { ("workers", "were") };
    crate::say!(
        "stopped: there was no supervisor; {ended} {noun} of {} that it had left {verb} ended",
        left.instance()
    );
    Ok(exit::DONE)
}

/// A service that has failed is started again, and adopts them; one that was stopped is not (systemd.exec(5)).
fn stop_left_over(socket: Option<&Path>, instance: Option<&str>) -> Result<u8, Failure> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let Ok(result) = std::env::var(SERVICE_RESULT) else {
        let text =
            format!("--left-over is for ExecStopPost=: {SERVICE_RESULT} is not set; gin-ctl stop ends what is left");
        return Err(Failure::new(exit::USAGE, text));
    };
    let left = left::find(socket, instance);
    let over = match result.as_str() {
        "success" => true,
        // A start that takes too long is tried again.
        "timeout" => left.as_ref().is_some_and(Orphaned::was_to_stop),
        // Exit code 2 is not tried again (RestartPreventExitStatus=).
        "exit-code" => variable("EXIT_STATUS") == exit::USAGE.to_string(),
        _ => false,
    };
    match left {
        Some(left) if over => stop_left(&left, true),
        Some(_) | None => Ok(exit::DONE),
    }
}

/// Of one instance, or of all; then the worst exit code counts.
async fn upgrade_supervisor(
    socket: Option<&Path>,
    json: bool,
    no_queue: bool,
    all: bool,
    instance: Option<&str>,
) -> Result<u8, Failure> {
    let request = RestartRequest { no_queue };
    if !all {
        let operation = Operation::new(socket, instance, json)?;
        return operation.run("/v1/upgrade-supervisor", &request, Patience::default()).await;
    }
    let mut worst = exit::DONE;
    for instance in crate::instance::all() {
        let operation = Operation::of(&instance, json);
        let outcome = operation.run("/v1/upgrade-supervisor", &request, Patience::default()).await;
        let code = outcome.unwrap_or_else(|failure| {
            crate::complain!("{}: {}", instance.name, failure.text);
            failure.exit
        });
        worst = worst.max(code);
    }
    Ok(worst)
}

async fn history(client: &Client, json: bool) -> Result<u8, Failure> {
    let mut history: Vec<Upgrade> = client.get("/v1/history").await?;
    history.iter_mut().filter(|upgrade| !upgrade.done).take(QUOTED).for_each(journal::complete);
    if json {
        print_json(&history);
    } else {
        for upgrade in &history {
            crate::say!("{}", upgrade_line(upgrade));
            if !upgrade.phases.is_empty() {
                crate::say!("  {}", phases_line(upgrade));
            }
            print_said(upgrade, usize::MAX);
        }
    }
    Ok(exit::DONE)
}

fn print_json(value: &impl serde::Serialize) {
    crate::say!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}

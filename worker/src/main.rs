//! gin-server: the ready-made worker, driven by configuration alone.

mod endpoints;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use gin_worker::{Config, Error, Server};
use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use endpoints::About;

/// Serves over HTTP by configuration alone; under gin-supervisor, or by itself.
#[derive(Debug, Parser)]
#[command(name = "gin-server", version, about)]
struct Cli {
    /// Configuration file (TOML) [default: $GIN_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// IP address to listen on, without a supervisor [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, without a supervisor [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// What to log
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: Level,
    /// Check the configuration, say what is wrong, and exit with 0 or 2
    #[arg(short = 't', long)]
    config_check: bool,
}

/// Lines that wait to be written.
const LOG_QUEUE: usize = 4096;

/// Wrong usage or configuration.
const USAGE: u8 = gin_shared::exit::USAGE;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match load(&cli) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(USAGE);
        }
    };
    if cli.config_check {
        println!("the configuration is fine");
        return ExitCode::SUCCESS;
    }
    let _log = start_log(&cli);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(gin_shared::exit::FAILED)
        }
    }
}

fn load(cli: &Cli) -> Result<Config, Error> {
    let mut config = match &cli.config {
        Some(path) => Config::load_from(Some(path))?,
        None => Config::load()?,
    };
    if let Some(host) = &cli.host {
        config.server.host.clone_from(host);
    }
    if let Some(port) = cli.port {
        config.server.port = port;
    }
    Ok(config)
}

/// Under a supervisor in a terminal, the terminal is the supervisor's: only what is wrong is told there.
///
/// Written by a thread of its own from a bounded queue: an output that takes nothing costs lines, and stops no request.
fn start_log(cli: &Cli) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_QUEUE)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let terminal = io::stderr().is_terminal();
    let supervised = gin_worker::identity().is_some();
    let level = if terminal && supervised { cli.log_level.min(Level::WARN) } else { cli.log_level };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(writer);
    if terminal {
        log.init();
    } else {
        log.json().flatten_event(true).init();
    }
    guard
}

#[tokio::main]
async fn run(config: &Config) -> Result<(), Error> {
    let life = gin_worker::Life::default();
    let about = About::new(config.server.name.clone(), gin_worker::identity(), life.clone());
    Server::new(config, endpoints::router().with_state(Arc::new(about))).with_life(life).run().await
}

//! gin-server: the ready-made worker, driven by configuration alone.

mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gin_worker::axum::Json;
use gin_worker::config::{self, Invalid, Overrides};
use gin_worker::serde_json::{Value, json};
use gin_worker::{Config, Route, Server, StartError};

#[cfg(feature = "profile-heap")]
gin_worker::heap_profiles!();

/// Serves over HTTP by configuration alone; under gin-supervisor, or by itself.
#[derive(Debug, Parser)]
#[command(name = "gin-server", version, about)]
struct Cli {
    /// Configuration file (TOML, YAML or JSON) [default: $GIN_CONFIG, $CONFIG_FILE, ./config.{yaml,yml,toml,json}]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// IP address to listen on, without a supervisor [default: 127.0.0.1]
    #[arg(long, global = true)]
    host: Option<String>,
    /// Port to listen on, without a supervisor [default: 8080]
    #[arg(long, global = true)]
    port: Option<u16>,
    /// debug, release or test [default: release]
    #[arg(long, global = true)]
    mode: Option<String>,
    /// What to log [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Check the configuration, say what is wrong, and exit with 0 or 2
    #[arg(short = 't', long)]
    config_check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// About the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Each setting in force, and where it is from; secrets and `[app]` are masked
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Wrong usage or configuration.
const USAGE: u8 = gin_shared::exit::USAGE;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match load(&cli) {
        Ok(config) => config,
        Err(invalid) => {
            eprint!("{}", report::report(&invalid));
            return ExitCode::from(USAGE);
        }
    };
    if let Some(Command::Config { command: ConfigCommand::Show { json } }) = cli.command {
        println!("{}", shown(&config, json));
        return ExitCode::SUCCESS;
    }
    if let Err(invalid) = config.check() {
        eprint!("{}", report::report(&invalid));
        return ExitCode::from(USAGE);
    }
    if cli.config_check {
        return check(&config);
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(gin_shared::exit::FAILED)
        }
    }
}

/// Looks at the certificates, and makes all that a start makes of valid settings, but for sockets: two routes may exclude one another.
fn check(config: &Config) -> ExitCode {
    let unread = match config.check_certificates() {
        Ok(warnings) => warnings,
        Err(invalid) => {
            eprint!("{}", report::report(&invalid));
            return ExitCode::from(USAGE);
        }
    };
    for warning in config.warnings.iter().chain(&unread) {
        eprintln!("warning: {warning}");
    }
    if let Err(error) = server(config).into_router() {
        eprintln!("error: {error}");
        return ExitCode::from(USAGE);
    }
    match config.file() {
        Some(file) => println!("{}: the configuration is fine", file.display()),
        None => println!("the configuration is fine: no file, only the environment and the command line"),
    }
    ExitCode::SUCCESS
}

fn load(cli: &Cli) -> Result<Config, Invalid> {
    let flags = Overrides::default()
        .text("server", "host", "--host", cli.host.clone())
        .integer("server", "port", "--port", cli.port.map(i64::from))
        .text("server", "mode", "--mode", cli.mode.clone())
        .text("logging", "level", "--log-level", cli.log_level.clone());
    Config::load_with(cli.config.as_deref(), flags)
}

fn shown(config: &Config, json: bool) -> String {
    let all = config::show(config);
    if json {
        let setting = |shown: &config::Shown| json!({ "key": shown.key, "value": shown.value, "source": shown.source });
        return Value::from_iter(all.iter().map(setting)).to_string();
    }
    let width =
        |of: fn(&config::Shown) -> &str| all.iter().map(|shown| of(shown).chars().count()).max().unwrap_or_default();
    let (key, value) = (width(|shown| &shown.key), width(|shown| &shown.value).min(48));
    let line = |shown: &config::Shown| {
        let set = if shown.value.is_empty() { "-" } else { shown.value.as_str() };
        format!("{:<key$}  {set:<value$}  {}", shown.key, shown.source)
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::main]
async fn run(config: &Config) -> Result<(), StartError> {
    server(config).run().await
}

fn server(config: &Config) -> Server {
    let name = config.server.name.clone();
    let greeting = async move || Json::<Value>(json!({ "message": "hello from gin", "name": name }));
    let server = Server::new(config);
    // The directory's own index stands there instead.
    let is_root = |prefix: &str| prefix.trim_end_matches('/').is_empty();
    let shows_files = (config.files.dir.is_some() && is_root(&config.files.url_prefix))
        || config.files.mounts.iter().any(|mount| is_root(&mount.url_prefix));
    if shows_files { server } else { server.route(Route::get("/", greeting).named("greeting")) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// gin-server(8), which gin-ctl prints, is made of this very command line; `GIN_BLESS=1` writes it anew. A second such run, with a
    /// gin-ctl that has the new page, writes the file in `systemd/man/`.
    #[test]
    fn the_man_page_is_of_this_command_line() {
        // A list of subcommands would name pages that there are not: `more.8` has them.
        let command = Cli::command().disable_help_subcommand(true).subcommand_value_name("COMMAND");
        let command = command.mut_subcommand("config", |config| config.hide(true));
        let mut page = Vec::new();
        clap_mangen::Man::new(command).section("8").manual("System administration").render(&mut page).unwrap();
        let page = format!("{}{}", String::from_utf8(page).unwrap(), include_str!("more.8"));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../supervisor/ctl/src/commands/gin-server.8");
        if std::env::var_os("GIN_BLESS").is_some() {
            std::fs::write(file, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), page, "GIN_BLESS=1 cargo nextest run makes it anew");
        for command in Cli::command().get_subcommands().flat_map(clap::Command::get_subcommands) {
            let name = command.get_name();
            assert!(page.contains(&format!("config {name} ")), "more.8 does not tell of gin-server config {name}");
        }
    }
}

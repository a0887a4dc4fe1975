//! The command line, as it was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use gin_shared::listen::{Address, AddressError};

use crate::listener_name::{self, ListenerNameError};

/// Holds the listeners and the PID file, starts workers, and replaces them without losing a request.
#[derive(Debug, Clone, Parser)]
#[command(name = "gin-supervisor", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file: TOML, or YAML or JSON by its ending [default: $CONFIG_FILE]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of this instance [default: the file's stem, or "default"]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Listen here: `127.0.0.1:8080`, `[::]:8080`, `:8080` or `unix:/path`; port 0 chooses one
    #[arg(long, value_name = "[NAME=]ADDR", value_parser = parse_listen)]
    pub listen: Vec<Listen>,
    /// Number of workers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Where to write the PID
    #[arg(long, value_name = "PATH", value_parser = parse_absolute)]
    pub pid_file: Option<PathBuf>,
    /// Where to take commands
    #[arg(long, value_name = "PATH", value_parser = parse_absolute)]
    pub control: Option<PathBuf>,
    /// What to log
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log_level: String,
    /// How to log [default: text on a terminal, to the journal if stderr is connected to it, json elsewhere]
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json", "journald"])]
    pub log_format: Option<String>,
    /// Check the configuration, say what is wrong, and exit with 0 or 2
    #[arg(short = 't', long)]
    pub config_check: bool,
    /// With --config-check: check that this state of a running supervisor can be taken over, too
    #[arg(long, value_name = "FILE", requires = "config_check")]
    pub state: Option<PathBuf>,
    /// With --config-check: say what was found, as JSON
    #[arg(long, requires = "config_check")]
    pub json: bool,
    /// Restart when the program's file has become another one, for development; with PATHs, also when these files have, or
    /// files in these directories
    #[arg(long, value_name = "PATH", num_args = 0.., value_parser = parse_absolute)]
    pub watch: Option<Vec<PathBuf>>,
    /// The program to run and its arguments, after --
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl Cli {
    /// The command line of this process. Where it names no file, `CONFIG_FILE` does; an empty one counts as unset.
    #[must_use]
    pub fn of_process() -> Self {
        Self::parse().with_file(std::env::var_os("CONFIG_FILE"))
    }

    fn with_file(self, variable: Option<OsString>) -> Self {
        let named = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
        Self { config: self.config.or(named), ..self }
    }
}

/// A listener on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// `http`, if it was left out.
    pub name: String,
    /// Where.
    pub address: Address,
}

/// A value of `--listen` that is no listener.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    /// The part before `=` cannot name one.
    #[error(transparent)]
    Name(#[from] ListenerNameError),
    /// The rest is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
}

fn parse_listen(text: &str) -> Result<Listen, ListenError> {
    let (name, address) = match text.split_once('=') {
        Some((name, address)) if !name.contains([':', '/']) => (listener_name::parse(name)?, address),
        _ => ("http".to_owned(), text),
    };
    Ok(Listen { name, address: address.parse()? })
}

fn parse_absolute(text: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn an_empty_variable_names_no_file() {
        let of = |args: &[&str], variable: &str| Cli::parse_from(args).with_file(Some(variable.into())).config;
        assert_eq!(of(&["gin-supervisor"], ""), None);
        assert_eq!(of(&["gin-supervisor"], "a.toml"), Some("a.toml".into()));
        assert_eq!(of(&["gin-supervisor", "-c", "b.toml"], "a.toml"), Some("b.toml".into()));
    }

    #[test]
    fn watch_stands_alone_or_names_paths() {
        let of = |args: &[&str]| Cli::try_parse_from(args).map(|cli| (cli.watch, cli.command)).unwrap();
        let path = |path: &str| parse_absolute(path).unwrap();
        assert_eq!(of(&["gin-supervisor", "--", "./app"]), (None, vec!["./app".to_owned()]));
        assert_eq!(of(&["gin-supervisor", "--watch", "--", "./app"]), (Some(Vec::new()), vec!["./app".to_owned()]));
        assert_eq!(of(&["gin-supervisor", "--watch", "-c", "a.toml"]), (Some(Vec::new()), Vec::new()));
        let both = of(&["gin-supervisor", "--watch", "src", "/b.py", "--", "python3", "b.py"]);
        assert_eq!(both.0, Some(vec![path("src"), "/b.py".into()]));
    }

    /// gin-supervisor(8), which gin-ctl prints, is made of this very command line; `GIN_BLESS=1` writes it anew. A second such run, with
    /// a gin-ctl that has the new page, writes the file in `systemd/man/`.
    #[test]
    fn the_man_page_is_of_this_command_line() {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).section("8").manual("System administration").render(&mut page).unwrap();
        let page = format!("{}{}", String::from_utf8(page).unwrap(), include_str!("cli/more.8"));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/ctl/src/commands/gin-supervisor.8");
        if std::env::var_os("GIN_BLESS").is_some() {
            std::fs::write(file, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), page, "GIN_BLESS=1 cargo nextest run makes it anew");
    }
}

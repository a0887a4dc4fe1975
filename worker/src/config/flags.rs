//! The command line of a program that has none of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use gin_shared::config::{Problem, nearest};

use super::{Config, Invalid, Overrides};

/// What is ours of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Flags {
    pub(super) config: Option<PathBuf>,
    pub(super) overrides: Overrides,
    /// Whether it is to be checked alone.
    pub(super) is_check: bool,
    /// Whether the flags are to be listed.
    pub(super) is_help: bool,
    /// Flags that are none of ours.
    pub(super) unknown: Vec<String>,
}

/// The flag, the section, and the key.
const FLAGS: [(&str, &str, &str); 4] = [
    ("--host", "server", "host"),
    ("--port", "server", "port"),
    ("--mode", "server", "mode"),
    ("--log-level", "logging", "level"),
];

/// The flags without a setting of their own.
#[cfg(not(feature = "database"))]
const OTHERS: [&str; 6] = ["--config", "-c", "--config-check", "-t", "--help", "-h"];
/// The same, with the one that `Server::run` reads.
#[cfg(feature = "database")]
const OTHERS: [&str; 7] = ["--config", "-c", "--config-check", "-t", "--help", "-h", "--migrate"];
/// Its line in the text of `--help`.
#[cfg(not(feature = "database"))]
const MIGRATE: &str = "";
#[cfg(feature = "database")]
const MIGRATE: &str = "      --migrate ORDER    status, up [N] or down [N]: migrate the database instead of serving\n";

/// Flags of Rust's test runner, which a test that reads a configuration is started with.
const TEST_RUNNER: [&str; 22] = [
    "--bench",
    "--color",
    "--ensure-time",
    "--exact",
    "--exclude-should-panic",
    "--force-run-in-process",
    "--format",
    "--ignored",
    "--include-ignored",
    "--list",
    "--logfile",
    "--no-capture",
    "--nocapture",
    "--quiet",
    "--report-time",
    "--show-output",
    "--shuffle",
    "--skip",
    "--test",
    "--test-threads",
    "-Z",
    "-q",
];

/// The text of `--help`.
pub(super) fn help(program: &str) -> String {
    format!(
        "Usage: {program} [FLAGS]

  -c, --config FILE      Configuration file [default: $GIN_CONFIG, $CONFIG_FILE, ./config.{{yaml,yml,toml,json}}]
      --host ADDRESS     IP address to listen on, without a supervisor [default: 127.0.0.1]
      --port PORT        Port to listen on, without a supervisor [default: 8080]
      --mode MODE        debug, release or test [default: release]
      --log-level LEVEL  What to log: trace, debug, info, warn or error [default: info]
{MIGRATE}  -t, --config-check     Check the configuration, say what is wrong, and exit with 0 or 2
  -h, --help             List these flags
"
    )
}

impl Flags {
    /// Passes over what is no flag. `--` ends it.
    pub(super) fn read(args: impl Iterator<Item = OsString>) -> Self {
        let (mut own, mut args) = (Self::default(), args.map_while(|arg| (arg != "--").then_some(arg)));
        while let Some(arg) = args.next() {
            let Some(text) = arg.to_str() else { continue };
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (text, None),
            };
            if ["--config-check", "-t"].contains(&name) {
                own.is_check = true;
            } else if ["--help", "-h"].contains(&name) {
                own.is_help = true;
            } else if ["--config", "-c"].contains(&name) {
                own.config = value.or_else(|| args.next()).map(PathBuf::from);
            } else if name == "--migrate" && OTHERS.contains(&name) {
                // The words behind it are no flags.
            } else if let Some((flag, section, key)) = FLAGS.iter().find(|(flag, ..)| *flag == name) {
                let value = value.or_else(|| args.next()).unwrap_or_default().to_string_lossy().into_owned();
                own.overrides = match value.parse() {
                    Ok(number) if *key == "port" => own.overrides.integer(section, key, flag, Some(number)),
                    _ => own.overrides.text(section, key, flag, Some(value)),
                };
            } else if name.len() > 1 && name.starts_with('-') && !TEST_RUNNER.contains(&name) {
                own.unknown.push(name.to_owned());
            }
        }
        own
    }
}

/// The same with the unknown flags, each of which is an error.
pub(super) fn with_unknown<A>(loaded: Result<Config<A>, Invalid>, unknown: &[String]) -> Result<Config<A>, Invalid> {
    if unknown.is_empty() {
        return loaded;
    }
    let mut invalid = loaded.err().unwrap_or_else(|| Invalid { problems: Vec::new(), file: None });
    invalid.problems.splice(0..0, unknown.iter().map(|flag| problem(flag)));
    Err(invalid)
}

fn problem(flag: &str) -> Problem {
    let ours = FLAGS.iter().map(|(flag, ..)| *flag).chain(OTHERS);
    let hint = nearest(flag, ours)
        .map_or_else(|| "--help lists those there are".to_owned(), |near| format!("did you mean {near}?"));
    Problem { place: flag.to_owned(), text: format!("unknown flag; {hint}") }
}

/// Says how it is; gives the exit code.
pub(super) fn checked<A>(loaded: Result<Config<A>, Invalid>) -> i32 {
    let checked = loaded.and_then(|config| {
        config.check()?;
        let unread = config.check_certificates()?;
        Ok((config, unread))
    });
    match checked {
        Ok((config, unread)) => {
            for warning in config.warnings.iter().chain(&unread) {
                eprintln!("warning: {warning}");
            }
            println!("{}", config.fine());
            gin_shared::exit::DONE.into()
        }
        Err(invalid) => {
            for (place, text) in invalid.problems() {
                eprintln!("error: {place}: {text}");
            }
            gin_shared::exit::USAGE.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Flags {
        Flags::read(args.iter().map(OsString::from))
    }

    #[test]
    fn ours_are_read_and_what_is_no_flag_is_passed_over() {
        let flags = read(&[
            "--exact",
            "-",
            "-c",
            "a.toml",
            "--port=81",
            "--mode",
            "debug",
            "name",
            "--config-check",
            "--",
            "--port",
            "1",
        ]);
        let overrides = Overrides::default().integer("server", "port", "--port", Some(81)).text(
            "server",
            "mode",
            "--mode",
            Some("debug".to_owned()),
        );
        assert_eq!(flags, Flags { config: Some("a.toml".into()), overrides, is_check: true, ..Flags::default() });
        let wrong = Config::<()>::load_with(None, read(&["--port", "x"]).overrides).unwrap_err();
        assert!(wrong.to_string().contains("--port"), "{wrong}");
        assert_eq!(checked(Err::<Config, _>(wrong)), 2);
        assert_eq!(checked(Ok(Config::<()>::default())), 0);
    }

    #[test]
    fn a_flag_that_nobody_knows_is_an_error_and_help_lists_ours() {
        let Flags { unknown, is_help, .. } = read(&["--prot", "1", "-x=2", "-h", "--test-threads=1"]);
        assert!(is_help);
        let told = with_unknown(Ok(Config::<()>::default()), &unknown).unwrap_err().to_string();
        assert_eq!(told, "--prot: unknown flag; did you mean --port?\n-x: unknown flag; --help lists those there are");
        let both = with_unknown(Config::<()>::from_text("a.toml".as_ref(), "a = 1\n"), &unknown).unwrap_err();
        assert_eq!(both.problems().len(), 3);
        with_unknown(Ok(Config::<()>::default()), &[]).unwrap();
        let help = help("shop");
        for flag in FLAGS.iter().map(|(flag, ..)| *flag).chain(OTHERS) {
            assert!(help.contains(flag), "{flag}");
        }
    }
}

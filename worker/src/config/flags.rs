//! The command line of a program that has none of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Config, Invalid, Overrides};

/// What is ours of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Flags {
    pub(super) config: Option<PathBuf>,
    pub(super) overrides: Overrides,
    /// Whether it is to be checked alone.
    pub(super) is_check: bool,
}

/// The flag, the section, and the key.
const FLAGS: [(&str, &str, &str); 4] = [
    ("--host", "server", "host"),
    ("--port", "server", "port"),
    ("--mode", "server", "mode"),
    ("--log-level", "logging", "level"),
];

impl Flags {
    /// Passes over what is not ours. `--` ends it.
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
            } else if ["--config", "-c"].contains(&name) {
                own.config = value.or_else(|| args.next()).map(PathBuf::from);
            } else if let Some((flag, section, key)) = FLAGS.iter().find(|(flag, ..)| *flag == name) {
                let value = value.or_else(|| args.next()).unwrap_or_default().to_string_lossy().into_owned();
                own.overrides = match value.parse() {
                    Ok(number) if *key == "port" => own.overrides.integer(section, key, flag, Some(number)),
                    _ => own.overrides.text(section, key, flag, Some(value)),
                };
            }
        }
        own
    }
}

/// Says how it is; gives the exit code.
pub(super) fn checked<A>(loaded: Result<Config<A>, Invalid>) -> i32 {
    match loaded.and_then(|config| config.check().map(|()| config)) {
        Ok(config) => {
            for warning in &config.warnings {
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
    fn ours_are_read_and_the_applications_passed_over() {
        let flags = read(&[
            "--exact",
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
        assert_eq!(flags, Flags { config: Some("a.toml".into()), overrides, is_check: true });
        let wrong = Config::<()>::load_with(None, read(&["--port", "x"]).overrides).unwrap_err();
        assert!(wrong.to_string().contains("--port"), "{wrong}");
        assert_eq!(checked(Err::<Config, _>(wrong)), 2);
        assert_eq!(checked(Ok(Config::<()>::default())), 0);
    }
}

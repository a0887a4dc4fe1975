//! Levels of single targets (modules, mostly): `logging.targets`, and `RUST_LOG`.
//!
//! | form | means | allowed in |
//! |---|---|---|
//! | `my_app=debug` | the level of every target that begins so; `off`: nothing of it | both |
//! | `debug` | the level of everything else | `RUST_LOG`; a file has `logging.level` for it |
//! | `my_app` | `my_app=trace` | `RUST_LOG` |

use std::collections::BTreeMap;

use gin_shared::config::environment::Lookup;
use gin_shared::config::{Entry, Node, Place, Section, Value, nearest, tree};

use super::source::set;
use super::{Level, Logging};

/// The level of each target; `None`: nothing of it is logged.
pub(crate) type Levels = BTreeMap<String, Option<Level>>;

/// The variable that other programs on tracing read, too.
const RUST_LOG: &str = "RUST_LOG";

/// One part of a text with commas.
#[derive(Debug, PartialEq)]
enum Directive {
    Target(String, Option<Level>),
    Everything(Level),
    NoLevel(String),
}

/// Reads `logging.targets`: a table, or a text.
pub(super) fn read(section: &Section<'_>) -> Levels {
    if section.is_table("targets") {
        return section
            .map("targets")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|pair| pair_of(section, pair))
            .collect();
    }
    section.parsed("targets", "a text such as \"my_app=debug,hyper=warn\", or a table", targets).unwrap_or_default()
}

fn pair_of(section: &Section<'_>, (target, word): (String, String)) -> Option<(String, Option<Level>)> {
    let read = name(&target).and_then(|target| Ok((target, level(&word)?)));
    read.inspect_err(|text| section.problem("targets", &format!("{target}: {text}"))).ok()
}

fn targets(text: &str) -> Result<Levels, String> {
    let one = |directive| match directive {
        Directive::Target(target, level) => Ok((target, level)),
        Directive::Everything(_) => Err("a level without a target is logging.level".to_owned()),
        Directive::NoLevel(target) => Err(format!("\"{target}\" has no level; write {target}=debug")),
    };
    directives(text)?.into_iter().map(one).collect()
}

fn directives(text: &str) -> Result<Vec<Directive>, String> {
    let directive = |part: &str| match part.split_once('=') {
        Some((target, word)) => Ok(Directive::Target(name(target)?, level(word)?)),
        None => match level(part) {
            Ok(Some(level)) => Ok(Directive::Everything(level)),
            Ok(None) => Err("\"off\" needs a target, as in hyper=off".to_owned()),
            Err(_) => Ok(Directive::NoLevel(name(part)?)),
        },
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(directive).collect()
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_name = |c: char| c.is_alphanumeric() || "_-:./".contains(c);
    if !text.is_empty() && text.chars().all(is_name) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "\"{text}\" is no target; a target is a module such as my_app::db, and spans and fields are not looked at"
    ))
}

fn level(word: &str) -> Result<Option<Level>, String> {
    let small = word.trim().to_ascii_lowercase();
    if small == "off" {
        return Ok(None);
    }
    let known = Logging::LEVELS.iter().find(|(known, _)| *known == small);
    known.map(|(_, level)| Some(*level)).ok_or_else(|| {
        let near = nearest(&small, Logging::LEVELS.iter().map(|(known, _)| *known));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("\"{word}\" is no level; a level is trace, debug, info, warn, error or off{hint}")
    })
}

/// The word of a level.
fn word(level: Option<Level>) -> &'static str {
    let named = |level| Logging::LEVELS.iter().find(|(_, known)| *known == level).map(|(word, _)| *word);
    level.and_then(named).unwrap_or("off")
}

/// Lays `RUST_LOG` over `logging.level` and `logging.targets` of the file, each if it says something about it. This library's own
/// variables are laid over both later. Returns a warning if `RUST_LOG` cannot be read: other programs may understand more of it.
pub(super) fn lay_rust_log(entries: &mut Vec<Entry>, lookup: Lookup<'_>) -> Option<String> {
    let text = lookup(RUST_LOG)?;
    let all = match directives(&text) {
        Ok(all) => all,
        Err(error) => return Some(format!("environment variable {RUST_LOG}={text} is passed over: {error}")),
    };
    let (mut everything, mut levels) = (None, Levels::new());
    for directive in all {
        match directive {
            Directive::Target(target, level) => drop(levels.insert(target, level)),
            Directive::NoLevel(target) => drop(levels.insert(target, Some(Level::Trace))),
            Directive::Everything(level) => everything = Some(level),
        }
    }
    let mut say = |key, text: String| {
        let place = Place::Variable(RUST_LOG.to_owned());
        set(tree::section(entries, "logging"), key, Node { value: Value::String(text), place });
    };
    if let Some(level) = everything {
        say("level", word(Some(level)).to_owned());
    }
    if !levels.is_empty() {
        let pairs: Vec<String> = levels.iter().map(|(target, level)| format!("{target}={}", word(*level))).collect();
        say("targets", pairs.join(","));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::source::{Overrides, Read};
    use super::super::{Config, Invalid};
    use super::*;

    fn with(variables: &[(&str, &str)], text: &str, flags: Overrides) -> Result<Config, Invalid> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::of(Read::from_text(Path::new("shop.toml"), text, flags, &find)?)
    }

    fn levels(pairs: &[(&str, Option<Level>)]) -> Levels {
        pairs.iter().map(|(target, level)| ((*target).to_owned(), *level)).collect()
    }

    #[test]
    fn targets_are_a_text_or_a_table_and_what_is_wrong_is_told() {
        let expected = levels(&[("hyper", None), ("my_app::db", Some(Level::Debug))]);
        for text in [
            "[logging]\ntargets = \"my_app::db=debug, hyper=OFF\"\n",
            "[logging.targets]\nhyper = \"off\"\n\"my_app::db\" = \"debug\"\n",
        ] {
            assert_eq!(with(&[], text, Overrides::default()).unwrap().logging.targets, expected, "{text}");
        }
        for (written, told) in [
            ("\"my_app=loud\"", "shop.toml:2: logging.targets: \"loud\" is no level; a level is trace, "),
            ("\"my_app=debgu\"", "; did you mean debug?"),
            ("\"debug\"", "a level without a target is logging.level"),
            ("\"my_app\"", "\"my_app\" has no level; write my_app=debug"),
            ("\"my_app[span]=debug\"", "\"my_app[span]\" is no target"),
            ("{ my_app = \"loud\" }", "shop.toml:2: logging.targets: my_app: \"loud\" is no level"),
            ("7", "logging.targets: expected a text such as \"my_app=debug,hyper=warn\", or a table"),
        ] {
            let error = with(&[], &format!("[logging]\ntargets = {written}\n"), Overrides::default()).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn rust_log_counts_over_the_file_and_below_everything_of_our_own() {
        let file = "[logging]\nlevel = \"error\"\ntargets = \"my_app=info\"\n";
        let of = |variables: &[(&str, &str)], flags| {
            let Logging { level, targets, .. } = with(variables, file, flags).unwrap().logging;
            (level, targets)
        };
        let none = Overrides::default;
        let (in_file, debug) = (levels(&[("my_app", Some(Level::Info))]), levels(&[("my_app", Some(Level::Debug))]));
        assert_eq!(of(&[("RUST_LOG", "")], none()), (Level::Error, in_file.clone()));
        assert_eq!(of(&[("RUST_LOG", "warn")], none()), (Level::Warn, in_file.clone()));
        assert_eq!(of(&[("RUST_LOG", "my_app=debug")], none()), (Level::Error, debug.clone()));
        let both = [("RUST_LOG", "trace,hyper"), ("LOGGING_LEVEL", "info"), ("GIN_LOGGING_TARGETS", "my_app=debug")];
        assert_eq!(of(&both[..1], none()), (Level::Trace, levels(&[("hyper", Some(Level::Trace))])));
        assert_eq!(of(&both, none()), (Level::Info, debug));
        let flag = none().text("logging", "level", "--log-level", Some("warn".to_owned()));
        assert_eq!(of(&both, flag).0, Level::Warn);
        // Another program's may have more in it: that stops nothing.
        let config = with(&[("RUST_LOG", "my_app[{id=7}]=debug")], file, none()).unwrap();
        assert_eq!((config.logging.level, config.logging.targets), (Level::Error, in_file));
        assert!(config.warnings[0].starts_with("environment variable RUST_LOG=my_app[{id=7}]=debug is passed over"));
    }
}

//! `gin-ctl new`: a service on gin-worker, to begin with. Its files are those of `template/`, with its name put in.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gin_shared::exit;
use serde_json::json;

use super::check::{DIRECTORY, units};
use crate::cli::New;
use crate::failure::Failure;

/// Each file of a service: its path, and its text. `NAME` in a path is the service's.
const FILES: [(&str, &str); 7] = [
    ("Cargo.toml", include_str!("../../template/Cargo.toml.template")),
    ("src/main.rs", include_str!("../../template/src/main.rs")),
    ("tests/restart.rs", include_str!("../../template/tests/restart.rs")),
    ("gin.toml", include_str!("../../template/gin.toml")),
    (CONFIGURATION, include_str!("../../template/deploy/service.toml")),
    (".gitignore", include_str!("../../template/gitignore")),
    ("README.md", include_str!("../../template/README.md")),
];
/// The configuration that the units are made for.
const CONFIGURATION: &str = "deploy/NAME.toml";

/// The longest name, in bytes: it also names units and directories.
const NAME_MAX: usize = 64;
/// Names that Cargo refuses for a package or its program, or that would be those of a dependency.
const TAKEN: [&str; 14] = [
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "gin-shared",
    "gin-worker",
    "gin_worker",
    "incremental",
    "proc_macro",
    "serde",
    "std",
    "test",
    "tokio",
];
/// Words of the language.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if \
                        impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true \
                        try type typeof unsafe unsized use virtual where while yield";

/// Writes the service.
pub(super) fn new(asked: &New) -> Result<u8, Failure> {
    let name = asked.name.as_str();
    if let Some(why) = unfit(name) {
        let text = format!(
            "\"{name}\" cannot name a service: {why}; use lower-case letters, digits, - and _, as in \"web-shop\""
        );
        return Err(Failure::new(exit::USAGE, text));
    }
    let sources = sources(asked.path.as_deref())?;
    let place = std::path::absolute(name).map_err(|error| Failure::new(exit::FAILED, format!("{name}: {error}")))?;
    check_place(&place)?;
    for (path, text) in FILES {
        write(&place.join(path.replace("NAME", name)), &filled(text, name, &place, sources.as_deref()))?;
    }
    write_units(name, &place)?;
    let from = sources.map_or_else(String::new, |sources| format!(", with gin-worker from {}", sources.display()));
    crate::say!("{name}/ has a service{from}; README.md says how to go on:");
    crate::say!("  cd {name} && cargo build && gin-supervisor --instance {name} -c gin.toml --watch");
    Ok(exit::DONE)
}

/// The reason why a service cannot have this name; `None` if it can.
fn unfit(name: &str) -> Option<&'static str> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    match name {
        "" => Some("it is empty"),
        name if name.len() > NAME_MAX => Some("it has more than 64 characters"),
        name if !name.chars().all(is_allowed) => {
            Some("it has a character that Cargo, systemd or a shell could not take")
        }
        name if !name.starts_with(|c: char| c.is_ascii_lowercase()) => Some("it does not begin with a letter"),
        name if KEYWORDS.split_whitespace().any(|word| word == name) => Some("it is a word of Rust"),
        name if TAKEN.contains(&name) => Some("Cargo needs this name for something else"),
        _ => None,
    }
}

/// Refuses a place where something lies already.
fn check_place(place: &Path) -> Result<(), Failure> {
    let shown = place.display();
    match fs::read_dir(place).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let text = format!(
                "{shown} is there, and is not empty; nothing was written: choose another name, or go elsewhere"
            );
            Err(Failure::new(exit::USAGE, text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::new(exit::USAGE, format!("{shown}: {error}; nothing was written"))),
    }
}

/// The directory of gin's sources to build with; `None` for a release.
fn sources(named: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let Some(named) = named else {
        // A gin-ctl that was built there lies in `target`.
        let own = std::env::current_exe().unwrap_or_default();
        return Ok(own.ancestors().find(|directory| has_sources(directory)).map(Path::to_owned));
    };
    match named.canonicalize() {
        Ok(directory) if has_sources(&directory) => Ok(Some(directory)),
        Ok(directory) => {
            let text = format!(
                "{}/worker has no gin-worker; --path takes the directory of gin's sources",
                directory.display()
            );
            Err(Failure::new(exit::USAGE, text))
        }
        Err(error) => Err(Failure::new(exit::USAGE, format!("--path {}: {error}", named.display()))),
    }
}

fn has_sources(directory: &Path) -> bool {
    fs::read_to_string(directory.join("worker/Cargo.toml")).is_ok_and(|text| text.contains("name = \"gin-worker\""))
}

/// A file's text, of a service at this place.
fn filled(text: &str, name: &str, place: &Path, sources: Option<&Path>) -> String {
    // A package in the directory of another workspace must say that it is none of it.
    let is_inside = sources.is_some_and(|sources| place.starts_with(sources));
    let workspace =
        if is_inside { "\n# Not one of gin's own packages, in whose directory it lies.\n[workspace]" } else { "" };
    let text = text
        .replace("{{name}}", name)
        .replace("{{rust_version}}", env!("CARGO_PKG_RUST_VERSION"))
        .replace("{{gin_worker}}", &dependency(sources))
        .replace("{{workspace}}", workspace);
    format!("{}\n", text.trim_end())
}

/// gin-worker, as a dependency in Cargo.toml.
fn dependency(sources: Option<&Path>) -> String {
    let (version, repository) = (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_REPOSITORY"));
    // A text of JSON is one of TOML, as far as a path goes.
    match sources {
        Some(sources) => format!("{{ path = {} }}", json!(sources.join("worker").display().to_string())),
        None if repository.is_empty() => json!(version).to_string(),
        None => format!("{{ git = {}, tag = {} }}", json!(repository), json!(format!("v{version}"))),
    }
}

/// Writes the units, as `gin-ctl unit` makes them for the configuration at its place on a host.
fn write_units(name: &str, place: &Path) -> Result<(), Failure> {
    let configuration = place.join(CONFIGURATION.replace("NAME", name));
    let at = PathBuf::from(format!("{DIRECTORY}/{name}.toml"));
    let units = units(name, &configuration, &at).map_err(|failure| {
        let text = format!("{name}/ has all but its units, which gin-ctl unit {name} makes: {}", failure.text);
        Failure::new(failure.exit, text)
    })?;
    write(&configuration.with_extension("service"), &units.service)?;
    write(&configuration.with_extension("socket"), &units.socket)
}

/// Writes a file that is not there yet, and the directories above it.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let written = fs::create_dir_all(directory).and_then(|()| File::create_new(path)?.write_all(text.as_bytes()));
    written.map_err(|error| Failure::new(exit::FAILED, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_and_systemd_take() {
        for name in ["shop", "web-shop", "a1_b"] {
            assert_eq!(unfit(name), None, "{name}");
        }
        for name in [
            "",
            "Shop",
            "9lives",
            "-x",
            "a b",
            "a.b",
            "../shop",
            "caf\u{e9}",
            "match",
            "test",
            "tokio",
            &"a".repeat(65),
        ] {
            assert!(unfit(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_dependency_is_a_path_or_a_release() {
        let path = dependency(Some(Path::new("/srv/gin \"1\"")));
        assert_eq!(path, r#"{ path = "/srv/gin \"1\"/worker" }"#);
        assert!(dependency(None).contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn only_a_service_in_the_directory_of_the_sources_is_a_workspace() {
        let text =
            |place: &str| filled("{{name}}{{workspace}}\n", "shop", Path::new(place), Some(Path::new("/srv/gin")));
        assert_eq!(text("/home/shop"), "shop\n");
        assert!(text("/srv/gin/shop").ends_with("\n[workspace]\n"));
    }

    #[test]
    fn everything_in_the_template_is_filled_in() {
        for (path, text) in FILES {
            let text = filled(text, "shop", Path::new("/home/shop"), None);
            assert!(!text.contains("{{"), "{path}: {text}");
        }
    }
}

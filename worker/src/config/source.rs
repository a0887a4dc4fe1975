//! Where settings come from: the file, the environment over it, the command line over both; and what is wrong with them.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use gin_shared::config::environment::{self, Lookup};
use gin_shared::config::listen::{self, ListenSettings};
use gin_shared::config::{Entry, Node, Place, Problem, Problems, Section, Value, tree};
use gin_shared::inherit::{GIN_CONFIG, STRIPPED};
use gin_shared::reference::{Key, SECTIONS};
use gin_shared::sections;
use serde::de::DeserializeOwned;

use super::{
    Config, Features, Monitoring, Profiling, Security, Tracing, app_read, left_out, levels, otel_variables,
    tells_no_address, tracing,
};

/// A common variable for the place of the file, which counts where `GIN_CONFIG` is not set.
const CONFIG_FILE: &str = "CONFIG_FILE";

/// Files that are found in the current directory where nobody names one. The first that is there counts.
const FOUND: [&str; 4] = ["config.yaml", "config.yml", "config.toml", "config.json"];

/// Settings of the command line.
#[derive(Clone, Default, PartialEq)]
pub struct Overrides(Vec<(&'static str, &'static str, &'static str, Value)>);

impl Overrides {
    /// `section.key`, as `flag` says it; `None`: the flag was not there.
    #[must_use]
    pub fn text(mut self, section: &'static str, key: &'static str, flag: &'static str, value: Option<String>) -> Self {
        self.0.extend(value.map(|value| (section, key, flag, Value::String(value))));
        self
    }

    /// The same for a whole number.
    #[must_use]
    pub fn integer(mut self, section: &'static str, key: &'static str, flag: &'static str, value: Option<i64>) -> Self {
        self.0.extend(value.map(|value| (section, key, flag, Value::Integer(value))));
        self
    }
}

/// The names alone: a value may be a secret.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(section, key, ..)| format!("{section}.{key}"))).finish()
    }
}

/// What is needed to read the same again.
#[derive(Clone, Default, PartialEq)]
pub struct Origins {
    /// Its place, and what it said.
    pub(crate) file: Option<(PathBuf, String)>,
    pub(super) entries: Vec<Entry>,
    pub(super) flags: Overrides,
    /// What each variable of `[app]` means.
    app: Vec<(String, Vec<String>)>,
}

impl Origins {
    /// The place in `[app]` that a variable means, as it was understood before.
    pub(super) fn app_path(&self, name: &str) -> Vec<String> {
        let known = self.app.iter().find(|(known, _)| known == name).map(|(_, path)| path.clone());
        known.unwrap_or_else(|| vec![name.to_owned()])
    }
}

/// Secrets stand in the rest.
impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins").field("file", &self.file.as_ref().map(|(path, _)| path)).finish_non_exhaustive()
    }
}

/// A configuration that cannot be used: everything that is wrong with it.
///
/// ```
/// use gin_worker::Config;
///
/// let invalid = Config::<()>::from_text("shop.toml".as_ref(), "[server]\nprot = 1\n").unwrap_err();
/// let all: Vec<(&str, &str)> = invalid.problems().collect();
/// assert_eq!(all, [("shop.toml:2", "server.prot: unknown key; did you mean \"port\"?")]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Invalid {
    pub(super) problems: Vec<Problem>,
    /// The file's place and text, to point into.
    pub(super) file: Option<(PathBuf, String)>,
}

impl Invalid {
    /// The file's place and text, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<(&Path, &str)> {
        self.file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// Each thing that is wrong: where, and what.
    #[must_use]
    pub fn problems(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.problems.iter().map(|problem| (problem.place.as_str(), problem.text.as_str()))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// As [`fmt::Display`], for a `main` that returns it, or unwraps: the file's text has passwords.
impl fmt::Debug for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Invalid {}

/// What was read, not looked at yet.
pub(super) struct Read {
    file: Option<(PathBuf, String)>,
    entries: Vec<Entry>,
    flags: Overrides,
    problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    app: Vec<(String, Vec<String>)>,
}

/// Gives the place in `[app]` that a variable means: see `app_path`.
pub(super) type AppPath<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// The file that a variable names. An empty variable names none: that is how compose files and units unset one.
fn named() -> Option<PathBuf> {
    let set = [GIN_CONFIG, CONFIG_FILE].iter().filter_map(std::env::var_os);
    set.map(PathBuf::from).find(|path| !path.as_os_str().is_empty())
}

/// The file in the current directory.
fn found() -> Option<PathBuf> {
    FOUND.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// The sections of a worker.
fn own() -> Vec<(&'static str, &'static [Key])> {
    let all = SECTIONS.iter().filter(|section| section.name != sections::SUPERVISOR);
    all.map(|section| (section.name, section.keys)).collect()
}

impl Read {
    pub(super) fn from_surroundings(
        path: Option<&Path>,
        flags: Overrides,
        app_path: AppPath<'_>,
    ) -> Result<Self, Invalid> {
        let path = path.map(Path::to_owned).or_else(named).or_else(found);
        // What is not UTF-8 is no value that any key takes, and so an error there.
        let lookup = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let mut read = match path {
            None => Self::over(None, Vec::new(), flags, &lookup),
            Some(path) => {
                let text = std::fs::read_to_string(&path).map_err(|error| Invalid {
                    problems: vec![Problem {
                        place: path.display().to_string(),
                        text: format!("cannot read it: {error}"),
                    }],
                    file: None,
                })?;
                Self::from_text(&path, &text, flags, &lookup)?
            }
        };
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        // The supervisor's variables are no settings, though one begins as those of [metrics] do.
        let names = names.filter(|name| !STRIPPED.contains(&name.as_str()));
        read.warnings.extend(environment::unknown(names, &own()));
        read.app_from(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
            app_path,
        );
        Ok(read)
    }

    pub(super) fn from_text(path: &Path, text: &str, flags: Overrides, lookup: Lookup<'_>) -> Result<Self, Invalid> {
        let file = Some((path.to_owned(), text.to_owned()));
        match tree::parse(path, text) {
            Ok(entries) => Ok(Self::over(file, entries, flags, lookup)),
            Err(problems) => Err(Invalid { problems, file }),
        }
    }

    fn over(file: Option<(PathBuf, String)>, mut entries: Vec<Entry>, flags: Overrides, lookup: Lookup<'_>) -> Self {
        let passed_over = levels::lay_rust_log(&mut entries, lookup);
        let mut keys = own();
        let otel = otel_variables::lay(&mut entries, &keys, lookup);
        keys.push(listen::listeners_from_environment());
        let (problems, mut warnings) = environment::overlay(&mut entries, &keys, lookup);
        warnings.extend(passed_over);
        warnings.extend(otel);
        for (section, key, flag, value) in &flags.0 {
            let (place, value) = (Place::Flag(flag), value.clone());
            set(tree::section(&mut entries, section), key, Node { value, place });
        }
        warnings.extend(tracing::replace_old_endpoint(&mut entries));
        Self { file, entries, flags, problems, warnings, app: Vec::new() }
    }

    /// `GIN_APP_KEY` sets `app.key`, and `GIN_APP_TABLE_KEY` `app.table.key`, if the application's type has such a table: as TOML writes
    /// it, or a text.
    pub(super) fn app_from(&mut self, variables: impl Iterator<Item = (String, String)>, app_path: AppPath<'_>) {
        for (name, text) in variables {
            let Some(key) = name.strip_prefix("GIN_APP_").map(str::to_lowercase).filter(|key| !key.is_empty()) else {
                continue;
            };
            let place = Place::Variable(name);
            let value = tree::parse_toml_value(&text, &place).unwrap_or(Value::String(text));
            let path = app_path(&key);
            set_at(tree::section(&mut self.entries, sections::APP), &path, Node { value, place });
            self.app.push((key, path));
        }
    }

    pub(super) fn sections(&self) -> Sections<'_> {
        let path = self.file.as_ref().map_or(Path::new("command line"), |(path, _)| path);
        let problems = Problems::new(path);
        problems.check_sections(&self.entries);
        left_out::check(&self.entries, &problems);
        Sections { read: self, problems, app: RefCell::default() }
    }

    pub(super) fn into_origins(self) -> Origins {
        Origins { file: self.file, entries: self.entries, flags: self.flags, app: self.app }
    }
}

/// The sections, while they are looked at.
pub(super) struct Sections<'a> {
    read: &'a Read,
    problems: Problems,
    /// What the application says is wrong with its own.
    app: RefCell<Vec<Problem>>,
}

impl Sections<'_> {
    pub(super) fn read<T>(&mut self, name: &'static str, read: fn(&Section<'_>) -> T) -> T {
        let section = self.section(name);
        let value = read(&section);
        section.finish();
        value
    }

    fn section(&self, name: &'static str) -> Section<'_> {
        let entries = match find(&self.read.entries, name).map(|entry| &entry.node.value) {
            Some(Value::Table(entries)) => entries.as_slice(),
            _ => &[],
        };
        Section::new(name, entries, &self.problems)
    }

    /// `[features]` and `[monitoring]`: switches of the one are for tables of the other.
    pub(super) fn observability(&mut self) -> (Features, Monitoring, Tracing, Profiling) {
        let (features, monitoring) = (self.section(sections::FEATURES), self.section("monitoring"));
        let tracing = Tracing::read(&features, &monitoring);
        let profiling = Profiling::read(&features, &monitoring);
        let read = (Features::read(&features), Monitoring::read(&monitoring), tracing, profiling);
        features.finish();
        monitoring.finish();
        read
    }

    /// `[security]`, and what each listener of the supervisor speaks, with what any other one does.
    pub(super) fn security(&mut self) -> (Security, Vec<(String, ListenSettings)>, ListenSettings) {
        let section = self.section(sections::SECURITY);
        let security = Security::read(&section);
        // The rest of that section is the supervisor's.
        let tables = self.section(sections::SUPERVISOR).tables("listen");
        let listeners = listen::read(&section, tables.as_deref(), &self.problems);
        let default = match tables {
            Some(_) => listen::default_beside_tables(&section),
            None => listen::default_for(&section),
        };
        section.finish();
        (security, listeners, default)
    }

    /// `[app]`: whatever the application's own type takes.
    pub(super) fn app<A: DeserializeOwned + Default>(&mut self) -> A {
        let Some(entry) = find(&self.read.entries, sections::APP) else { return A::default() };
        if size_of::<A>() == 0 {
            // Nobody asks for it.
            return A::default();
        }
        app_read::read(entry).unwrap_or_else(|(place, text)| {
            self.problems.add(&place, text);
            A::default()
        })
    }

    /// True if something sets this key.
    pub(super) fn says(&self, section: &str, key: &str) -> bool {
        let section = find(&self.read.entries, section).map(|entry| &entry.node.value);
        matches!(section, Some(Value::Table(keys)) if find(keys, key).is_some())
    }

    pub(super) fn finish<A>(self, config: &Config<A>) -> Result<Vec<String>, Invalid> {
        if let Some(address) = unix_listener(&self.read.entries).filter(|_| config.refuses_unix_sockets()) {
            self.problems.add(&self.place_of_limit(), tells_no_address(address));
        }
        let tracing =
            if self.says(sections::FEATURES, "tracing") { "features.tracing" } else { "monitoring.jaeger.enable" };
        let mut problems = self.problems.into_vec();
        problems.extend(self.read.problems.iter().cloned());
        problems.extend(self.app.into_inner());
        if !problems.is_empty() {
            return Err(Invalid { problems, file: self.read.file.clone() });
        }
        Ok(left_out::warnings([(config.tracing.is_on, tracing), (config.profiling.is_on, "features.pprof")]))
    }

    /// The place of `rate_limit.enable`.
    fn place_of_limit(&self) -> Place {
        let section = find(&self.read.entries, sections::RATE_LIMIT).map(|entry| &entry.node.value);
        let Some(Value::Table(entries)) = section else { return Place::Line(1) };
        find(entries, "enable").map_or(Place::Line(1), |entry| entry.place.clone())
    }
}

/// Address of the first Unix socket among the supervisor's listeners, which its workers accept on.
fn unix_listener(entries: &[Entry]) -> Option<&str> {
    let Value::Table(supervisor) = &find(entries, sections::SUPERVISOR)?.node.value else { return None };
    let Value::Array(listeners) = &find(supervisor, "listen")?.node.value else { return None };
    listeners.iter().find_map(|listener| {
        let Value::Table(keys) = &listener.value else { return None };
        match &find(keys, "address")?.node.value {
            Value::String(address) if address.starts_with("unix:") => Some(address.as_str()),
            _ => None,
        }
    })
}

fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// Sets a value, in place of one that was there.
pub(super) fn set(entries: &mut Vec<Entry>, key: &str, node: Node) {
    entries.retain(|entry| entry.key != key);
    entries.push(Entry { key: key.to_owned(), place: node.place.clone(), node });
}

/// Sets a value in a table of tables, which are made if they are not there.
fn set_at(entries: &mut Vec<Entry>, path: &[String], node: Node) {
    match path {
        [] => {}
        [key] => set(entries, key, node),
        [table, rest @ ..] => set_at(tree::section(entries, table), rest, node),
    }
}

/// As serde's types take it.
pub(super) fn json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::String(text) => Json::String(text.clone()),
        Value::Integer(number) | Value::Octal(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(value) => Json::Bool(*value),
        Value::Array(nodes) => nodes.iter().map(|node| json(&node.value)).collect(),
        Value::Table(entries) => {
            Json::Object(entries.iter().map(|entry| (entry.key.clone(), json(&entry.node.value))).collect())
        }
        Value::Other(_) => Json::Null,
    }
}

//! The effective configuration, and where each value is from.

use gin_shared::config::{Entry, Place, Value};
use gin_shared::reference::{Applies, Key, Kind, SECTIONS};
use gin_shared::sections;

use super::{Config, source};

/// One setting, in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown {
    /// `section.key`
    pub key: String,
    /// As TOML writes it; of a secret, and of what the application has not declared public, only that there is one; empty: unset.
    pub value: String,
    /// `default`, or the file and line, the variable or the flag.
    pub source: String,
}

/// In place of a secret.
const MASK: &str = "\"********\"";

/// One setting, unmasked.
struct Setting<'a> {
    name: String,
    key: &'a Key,
    value: String,
    place: Option<&'a Place>,
}

/// Every setting of a worker, in the order of the reference, then the application's own, of which only the names are shown: see
/// [`show_public`].
#[must_use]
pub fn show<A>(config: &Config<A>) -> Vec<Shown> {
    show_public(config, &[])
}

/// As [`show`], with the values of those keys of `[app]` that are public. What any other key of it means is not known here, so
/// its value is masked as a secret's is. A key below a table is named with the table: `smtp.host`.
///
/// ```
/// use gin_worker::{Config, config};
///
/// const PUBLIC: [&str; 2] = ["greeting", "smtp.host"];
///
/// let text = "[app]\ngreeting = \"hello\"\nsalt = \"x7\"\n[app.smtp]\nhost = \"mail\"\nlogin = \"shop\"\n";
/// let config = Config::<()>::from_text("shop.toml".as_ref(), text)?;
/// let shown = config::show_public(&config, &PUBLIC);
/// let value = |key: &str| shown.iter().find(|shown| shown.key == key).map(|shown| shown.value.as_str());
/// assert_eq!((value("app.greeting"), value("app.smtp.host")), (Some("\"hello\""), Some("\"mail\"")));
/// assert_eq!((value("app.salt"), value("app.smtp.login")), (Some("\"********\""), Some("\"********\"")));
/// # Ok::<(), gin_worker::config::Invalid>(())
/// ```
#[must_use]
pub fn show_public<A>(config: &Config<A>, public: &[&str]) -> Vec<Shown> {
    let source::Origins { file, entries, .. } = &config.origin;
    let file = file.as_ref().map(|(file, _)| file.display().to_string()).unwrap_or_default();
    let shown = |Setting { name, key, value, place }: Setting<'_>| {
        let value = if key.secret && !value.is_empty() { MASK.to_owned() } else { value };
        Shown { key: name, value, source: place.map_or_else(|| "default".to_owned(), |place| place.of(&file)) }
    };
    let mut all: Vec<Shown> = settings(entries).into_iter().map(shown).collect();
    application("", table(entries, sections::APP), &file, public, &mut all);
    all
}

/// The application's own, table by table.
fn application(prefix: &str, entries: &[Entry], file: &str, public: &[&str], all: &mut Vec<Shown>) {
    for entry in entries {
        let own = format!("{prefix}{}", entry.key);
        match &entry.node.value {
            Value::Table(inner) => application(&format!("{own}."), inner, file, public, all),
            value => {
                let is_public = public.contains(&own.as_str());
                let value = if is_public { source::json(value).to_string() } else { MASK.to_owned() };
                all.push(Shown { key: format!("{}.{own}", sections::APP), value, source: entry.place.of(file) });
            }
        }
    }
}

/// The settings that are not the same in both, and when each counts; of the application's own, that something is.
pub(crate) fn difference(one: &Config, other: &Config) -> Vec<(String, Applies)> {
    let (one, other) = (&one.origin.entries, &other.origin.entries);
    let both = settings(one).into_iter().zip(settings(other));
    let different = both.filter(|(one, other)| one.value != other.value);
    let mut all: Vec<_> = different.map(|(one, _)| (one.name, one.key.applies)).collect();
    let app = |entries: &[Entry]| {
        let own = table(entries, sections::APP).iter();
        own.map(|entry| (entry.key.clone(), source::json(&entry.node.value))).collect::<Vec<_>>()
    };
    if app(one) != app(other) {
        all.push((sections::APP.to_owned(), Applies::Restart));
    }
    all
}

fn own_sections() -> impl Iterator<Item = &'static gin_shared::reference::Section> {
    SECTIONS.iter().filter(|section| section.name != sections::SUPERVISOR)
}

fn settings(entries: &[Entry]) -> Vec<Setting<'_>> {
    let mut all = Vec::new();
    for section in own_sections() {
        keys(section.name, section.keys, table(entries, section.name), &mut all);
    }
    all
}

fn keys<'a>(prefix: &str, keys_of: &'a [Key], entries: &'a [Entry], all: &mut Vec<Setting<'a>>) {
    for key in keys_of {
        let name = format!("{prefix}.{}", key.name);
        let entry = entries.iter().find(|entry| entry.key == key.name);
        if let Kind::Table(inner) = key.kind {
            keys(&name, inner, entry.map_or(&[], |entry| entries_of(&entry.node.value)), all);
            continue;
        }
        let (value, place) = match entry {
            Some(entry) => (source::json(&entry.node.value).to_string(), Some(&entry.place)),
            None => (key.default.to_owned(), None),
        };
        all.push(Setting { name, key, value, place });
    }
}

/// Every key that may have another value, with one, as TOML writes it.
#[cfg(test)]
pub(crate) fn samples() -> Vec<(String, String, Applies)> {
    let mut all = Vec::new();
    let is_left_out =
        |name: &str| ["database", "redis", "cache", "sessions", "auth", "uploads", "monitoring"].contains(&name);
    for section in own_sections().filter(|section| !is_left_out(section.name)) {
        for key in section.keys {
            let value = match (key.name, key.kind) {
                // Other values of these are errors, or need a second key, or a feature.
                ("enable_https" | "enable_csrf" | "hot_restart" | "output" | "store", _) => continue,
                ("cert_file" | "key_file" | "certificates" | "client_auth", _) => continue,
                ("tls_versions", _) => "[\"1.3\"]".to_owned(),
                ("alpn", _) => "[\"h2\"]".to_owned(),
                ("allow_credentials", _) => "true".to_owned(),
                ("public", _) => "[\"/info\"]".to_owned(),
                ("trusted_proxies", _) => "[\"10.0.0.0/8\"]".to_owned(),
                ("enable", _) if section.name == "cors" => "true\nallow_origins = [\"*\"]".to_owned(),
                ("allow_origins", _) => "[\"*\"]".to_owned(),
                ("csrf_origins", _) => "[\"https://seven.org\"]".to_owned(),
                ("url_prefix", _) => "\"/files\"".to_owned(),
                ("mounts", _) => "[{ url_prefix = \"/more\", dir = \"/\" }]".to_owned(),
                ("fallback", _) => "\"index.html\"".to_owned(),
                (_, Kind::Boolean) => (key.default != "true").to_string(),
                (_, Kind::Integer(least, most)) => {
                    let least = least.max(1);
                    if key.default == least.to_string() { most.to_string() } else { least.to_string() }
                }
                (_, Kind::Duration) => "\"7s\"".to_owned(),
                (_, Kind::Size) => "\"7MiB\"".to_owned(),
                (_, Kind::Words) => "[\"X\"]".to_owned(),
                (_, Kind::Levels) => "\"my_app=debug\"".to_owned(),
                (_, Kind::Choice(words)) => {
                    let other = words.iter().map(|word| format!("\"{word}\"")).find(|word| *word != key.default);
                    other.unwrap_or_default()
                }
                (_, _) => "\"/seven\"".to_owned(),
            };
            all.push((format!("{}.{}", section.name, key.name), value, key.applies));
        }
    }
    all
}

fn table<'a>(entries: &'a [Entry], name: &str) -> &'a [Entry] {
    entries.iter().find(|entry| entry.key == name).map_or(&[], |entry| entries_of(&entry.node.value))
}

fn entries_of(value: &Value) -> &[Entry] {
    match value {
        Value::Table(entries) => entries,
        _ => &[],
    }
}

//! The reference of the configuration in four shapes, all of `gin_shared::reference`.

use std::fmt::Write;

use gin_shared::reference::peers::{PEERS, Peer};
use gin_shared::reference::{Key, Kind, SECTIONS};
use serde_json::{Map, Value, json};

/// Every key with its default, commented out.
#[must_use]
pub fn default_file() -> String {
    let mut text = String::from(
        "# Configuration of a gin instance: every key, with its default. What has no default stands there as an example.\n\
         # An unknown key is an error. Check a file with: gin-ctl check FILE\n",
    );
    for section in SECTIONS {
        let _ = write!(text, "\n# {}\n[{}]\n", section.doc, section.name);
        keys(&mut text, section.name, section.keys);
        for key in section.keys {
            match key.kind {
                Kind::Table(inner) => {
                    let _ = write!(text, "\n# {}\n#[{}.{}]\n", key.doc, section.name, key.name);
                    keys(&mut text, key.name, inner);
                }
                Kind::Tables(inner) => {
                    let _ = write!(text, "\n# {}\n#[[{}.{}]]\n", key.doc, section.name, key.name);
                    keys(&mut text, key.name, inner);
                }
                _ => {}
            }
        }
    }
    text
}

fn keys(text: &mut String, _section: &str, keys: &[Key]) {
    for key in keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_) | Kind::Tables(_))) {
        for line in wrap(key.doc, 100) {
            let _ = writeln!(text, "# {line}");
        }
        if key.default.is_empty() {
            let _ = writeln!(text, "#{} = {}    # an example; unset by default", key.name, key.example);
        } else {
            let _ = writeln!(text, "#{} = {}", key.name, key.default);
        }
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.len() + word.len() >= width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// JSON Schema, draft 2020-12.
#[must_use]
pub fn schema() -> String {
    let mut sections: Map<String, Value> =
        SECTIONS.iter().map(|section| (section.name.to_owned(), table(section.keys, section.doc))).collect();
    for name in gin_shared::sections::ALL {
        sections.entry(*name).or_insert_with(|| json!({ "type": "object" }));
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a gin instance",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    });
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

fn table(keys: &[Key], doc: &str) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({ "type": "object", "description": doc, "additionalProperties": false, "properties": properties })
}

fn property(key: &Key) -> Value {
    let mut value = kind(key.kind, key.doc);
    value["description"] = json!(key.doc);
    if let Some(default) = literal(key.default) {
        value["default"] = default;
    }
    value
}

/// Simple values are the same in TOML and JSON.
fn literal(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// What humantime reads, with its many names for units.
const DURATION: &str = r"^\s*(0|(\d+\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\s*)+)$";

fn kind(kind: Kind, doc: &str) -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    match kind {
        Kind::Text | Kind::Signal | Kind::Address => json!({ "type": "string" }),
        Kind::Path => json!({ "type": "string", "pattern": "^/" }),
        Kind::Duration => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size => json!({ "type": "string", "pattern": "^\\s*\\d+\\s*(k|kB|[KMGT](iB|B)?|B)?\\s*$" }),
        Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::IntegerOr(least, most, word) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": most }, { "const": word }] })
        }
        Kind::Fraction => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Mode => json!({ "type": "string", "pattern": "^(0o)?[0-7]{1,4}$" }),
        Kind::Command => json!({ "type": "array", "minItems": 1, "items": { "type": "string" } }),
        Kind::Texts | Kind::Signals => texts,
        Kind::Numbers => json!({ "type": "array", "items": { "type": "number" } }),
        Kind::Words => json!({ "anyOf": [texts, { "type": "string" }] }),
        Kind::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Levels => {
            let level = json!({ "enum": ["trace", "debug", "info", "warn", "error", "off"] });
            json!({ "anyOf": [{ "type": "object", "additionalProperties": level }, { "type": "string" }] })
        }
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Table(keys) => table(keys, doc),
        Kind::Tables(keys) => {
            let mut item = table(keys, doc);
            let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
            item["required"] = json!(required);
            json!({ "type": "array", "items": item })
        }
        Kind::ChoiceOrTable(words, keys) => {
            let mut table = table(keys, doc);
            (table["minProperties"], table["maxProperties"]) = (json!(1), json!(1));
            json!({ "anyOf": [{ "enum": words }, table] })
        }
        Kind::BooleanOrTable(keys) => json!({ "anyOf": [{ "type": "boolean" }, table(keys, doc)] }),
    }
}

/// What a key takes, in words.
fn takes(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Path => "absolute path".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Integer(least, most) => format!("{least} to {most}"),
        Kind::IntegerOr(least, most, word) => format!("{least} to {most}, or \"{word}\""),
        Kind::Fraction => "0 to 1".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Mode => "mode".to_owned(),
        Kind::Signal => "signal".to_owned(),
        Kind::Address => "address".to_owned(),
        Kind::Command => "list: program and arguments".to_owned(),
        Kind::Texts => "list of texts".to_owned(),
        Kind::Numbers => "list of numbers".to_owned(),
        Kind::Words => "list of texts, or a text with commas".to_owned(),
        Kind::Signals => "list of signals".to_owned(),
        Kind::Map => "table of texts".to_owned(),
        Kind::Levels => "text, or table of levels".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "),
        Kind::Table(_) => "table, see below".to_owned(),
        Kind::Tables(_) => "tables, see below".to_owned(),
        Kind::ChoiceOrTable(words, _) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("{}, or a table, see below", words.join(" or "))
        }
        Kind::BooleanOrTable(_) => "true or false, or a table, see below".to_owned(),
    }
}

/// All tables: their name as a file writes it, what they are for, their keys.
fn tables() -> Vec<(String, &'static str, &'static [Key])> {
    let mut tables = Vec::new();
    for section in SECTIONS {
        tables.push((format!("[{}]", section.name), section.doc, section.keys));
        add_tables(section.name, section.keys, &mut tables);
    }
    tables
}

/// The tables in a table, each followed by those in it.
fn add_tables(prefix: &str, keys: &'static [Key], tables: &mut Vec<(String, &'static str, &'static [Key])>) {
    for key in keys {
        let name = format!("{prefix}.{}", key.name);
        let (title, keys) = match key.kind {
            Kind::Table(keys) | Kind::ChoiceOrTable(_, keys) | Kind::BooleanOrTable(keys) => {
                (format!("[{name}]"), keys)
            }
            Kind::Tables(keys) => (format!("[[{name}]]"), keys),
            _ => continue,
        };
        tables.push((title, key.doc, keys));
        add_tables(&name, keys, tables);
    }
}

const GENERAL: [&str; 5] = [
    "One file, in TOML, or in YAML or JSON if its name ends so. gin-supervisor and its workers read the sections that are \
     theirs; [app] is the application's own.",
    "Precedence: command line, environment, file, defaults. A key is read from GIN_SECTION_KEY, then from SECTION_KEY; keys \
     of a table are joined in the same way (GIN_SUPERVISOR_LIMITS_NOFILE). GIN_APP_SMTP_HOST is app.smtp.host where the \
     application's type has such a table, else app.smtp_host. PORT is server.port. Lists and tables are written there as in \
     TOML. A port that a container platform has set for a service (tcp://10.0.0.1:6379) is passed over, with a warning.",
    "A duration is a text such as \"30s\", \"500ms\" or \"1m 30s\". A size is a text such as \"512MiB\"; units are powers \
     of 1024. A mode is octal: \"0640\". A signal is \"SIGTERM\" or \"TERM\". A command is a list, never split.",
    "A generation runs with the configuration as it was when it began: its workers read a snapshot of the file (GIN_CONFIG). \
     A restart or reload reads the file anew; one that cannot be used changes nothing.",
    "Unknown keys are errors that name the nearest known one. gin-ctl check FILE tells of every problem at once.",
];

/// The reference page, in Markdown.
#[must_use]
pub fn page() -> String {
    let mut text = String::from("# Configuration reference\n\nMade by `gin-ctl config reference`; do not edit.\n");
    for paragraph in GENERAL {
        let _ = write!(text, "\n{paragraph}\n");
    }
    for (name, doc, keys) in tables() {
        let _ = write!(
            text,
            "\n## `{name}`\n\n{doc}\n\n| key | takes | default | | a change counts |\n|---|---|---|---|---|\n"
        );
        for key in keys {
            let cell = |text: &str| text.replace('|', "\\|");
            let default = if key.default.is_empty() { String::new() } else { format!("`{}`", cell(key.default)) };
            let _ = writeln!(
                text,
                "| `{}` | {} | {default} | {} | {} |",
                key.name,
                cell(&takes(key.kind)),
                cell(key.doc),
                key.applies.words()
            );
        }
    }
    text.push_str(&peers());
    text
}

/// The limits of a connection, beside those of nginx and Go.
fn peers() -> String {
    let mut text = String::from(
        "\n## Time and size of a connection\n\n\
         The defaults, beside those of nginx (its documentation) and of Go (`http.Server{}`; gorilla/websocket for WebSockets).\n\n\
         | key | default | nginx | Go |\n|---|---|---|---|\n",
    );
    for Peer { section, key, nginx, go } in PEERS {
        let of_section = SECTIONS.iter().find(|other| other.name == *section).map_or(&[][..], |section| section.keys);
        let default = of_section.iter().find(|other| other.name == *key).map_or("", |key| key.default);
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        let _ = writeln!(text, "| `{section}.{key}` | {default} | {nginx} | {go} |");
    }
    text
}

/// gin.toml(5), in groff's man macros.
#[must_use]
pub fn man() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        ".TH gin.toml 5 \"\" \"gin {version}\" \"File formats\"\n.SH NAME\ngin.toml \\- configuration of a gin instance\n"
    );
    text.push_str(".SH SYNOPSIS\n.B gin-supervisor --config\n.I /etc/gin/NAME.toml\n.SH DESCRIPTION\n");
    for paragraph in GENERAL {
        let _ = writeln!(text, "{}\n.PP", roff(paragraph));
    }
    for (name, doc, keys) in tables() {
        let _ = writeln!(text, ".SH \"{}\"\n{}", roff(&name), roff(doc));
        for key in keys {
            let default = if key.default.is_empty() { String::new() } else { format!(" Default: {}.", key.default) };
            let _ = writeln!(
                text,
                ".TP\n.B {}\n({}) {}{} A change counts {}.",
                roff(key.name),
                roff(&takes(key.kind)),
                roff(key.doc),
                roff(&default),
                key.applies.words()
            );
        }
    }
    text.push_str(".SH SEE ALSO\n.BR gin-supervisor (8),\n.BR gin-server (8),\n.BR gin-ctl (1)\n");
    text
}

fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // A line that begins so would be a request.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

//! What a worker reads of the configuration: its own sections, strictly; the others' it passes over.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gin_shared::inherit::GIN_CONFIG;
use gin_shared::reference::SECTIONS;
use serde::{Deserialize, Deserializer};

use crate::Error;

/// Settings of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[limits]`
    pub limits: Limits,
}

/// `[server]`: under a supervisor host and port are the master's to use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// A name for people.
    pub name: String,
    /// An IP address.
    pub host: String,
    /// 0 chooses one.
    pub port: u16,
    /// debug, release or test.
    pub mode: Mode,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { name: "Gin Web Server".to_owned(), host: "127.0.0.1".to_owned(), port: 8080, mode: Mode::default() }
    }
}

/// Gin's modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// For development.
    Debug,
    /// For production.
    #[default]
    Release,
    /// For tests.
    Test,
}

/// `[timeouts]`, each a text such as "30s".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For the first byte of a new connection, and again for a complete request head: 30s.
    #[serde(deserialize_with = "some_duration")]
    pub read: Duration,
    /// For a client that takes nothing of a response: 30s.
    #[serde(deserialize_with = "some_duration")]
    pub write: Duration,
    /// Between two requests on a connection: 60s.
    #[serde(deserialize_with = "some_duration")]
    pub idle: Duration,
    /// From the stop of accepting until what is left is closed: 30s. The supervisor's `drain_timeout` must be longer.
    #[serde(deserialize_with = "duration")]
    pub shutdown: Duration,
    /// On a stop, `/readyz` says 503 and accepting goes on for so long, for a balancer to notice: 0s.
    #[serde(deserialize_with = "duration")]
    pub lame_duck: Duration,
    /// A connection that is idle for so long gives its memory back, and waits as a bare descriptor: 100ms.
    #[serde(deserialize_with = "duration")]
    pub park_after: Duration,
    /// How long a drain without a worker that takes connections over waits for one more request on an idle connection, to answer it with `Connection: close`: 5s.
    #[serde(deserialize_with = "duration")]
    pub idle_grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            read: seconds(30),
            write: seconds(30),
            idle: seconds(60),
            shutdown: seconds(30),
            lame_duck: Duration::ZERO,
            park_after: Duration::from_millis(100),
            idle_grace: seconds(5),
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once, 1 at least; more wait in the listener's queue: 10000.
    #[serde(deserialize_with = "at_least_one")]
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000 }
    }
}

impl Config {
    /// The file that `GIN_CONFIG` names, if it is set (a supervisor sets it to the snapshot of this generation), with the
    /// environment over it.
    ///
    /// # Errors
    /// If the file cannot be read, has an unknown key in one of these sections, or a value of the wrong kind.
    pub fn load() -> Result<Self, Error> {
        let path = std::env::var_os(GIN_CONFIG).map(PathBuf::from);
        Self::load_from(path.as_deref())
    }

    /// The same for a file of one's own choice.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_from(path: Option<&Path>) -> Result<Self, Error> {
        let mut config = match path {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Error::ConfigFile { path: path.to_owned(), error })?;
                let error = |error: String| Error::Config { path: path.to_owned(), error };
                match path.extension().and_then(|ending| ending.to_str()) {
                    Some("json") => serde_json::from_str(&text).map_err(|e| error(e.to_string()))?,
                    // An empty document is no mapping, but says as little as one.
                    Some("yaml" | "yml") => {
                        let read: Result<Option<Self>, _> = serde_saphyr::from_str(&text);
                        read.map_err(|e| error(e.to_string()))?.unwrap_or_default()
                    }
                    _ => toml::from_str(&text).map_err(|e| error(e.to_string()))?,
                }
            }
        };
        config.overlay(&|name| std::env::var(name).ok())?;
        Ok(config)
    }

    /// Puts the environment over it: `GIN_SECTION_KEY`, else `SECTION_KEY`; `PORT` and `GIN_MODE`, too.
    fn overlay(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Error> {
        let (server, timeouts, limits) = (&mut self.server, &mut self.timeouts, &mut self.limits);
        for section in SECTIONS {
            for key in section.keys {
                let name = format!("{}_{}", section.name, key.name).to_uppercase();
                let names = match name.as_str() {
                    "SERVER_PORT" => vec![format!("GIN_{name}"), name, "PORT".to_owned()],
                    "SERVER_MODE" => vec![format!("GIN_{name}"), "GIN_MODE".to_owned(), name],
                    _ => vec![format!("GIN_{name}"), name],
                };
                let found = names.into_iter().find_map(|name| lookup(&name).map(|value| (name, value)));
                // Kubernetes sets SERVER_PORT=tcp://10.0.0.1:80 in every container, if a service is named "server".
                let Some((name, value)) = found.filter(|(_, value)| !value.starts_with("tcp://")) else { continue };
                let result = match (section.name, key.name) {
                    ("server", "port") => set(&mut server.port, number(&value)),
                    ("server", "host") => set(&mut server.host, Ok(value.clone())),
                    ("server", "name") => set(&mut server.name, Ok(value.clone())),
                    ("server", "mode") => set(&mut server.mode, text(&value, Mode::deserialize)),
                    ("timeouts", "read") => set(&mut timeouts.read, text(&value, some_duration)),
                    ("timeouts", "write") => set(&mut timeouts.write, text(&value, some_duration)),
                    ("timeouts", "idle") => set(&mut timeouts.idle, text(&value, some_duration)),
                    ("timeouts", "shutdown") => set(&mut timeouts.shutdown, text(&value, duration)),
                    ("timeouts", "lame_duck") => set(&mut timeouts.lame_duck, text(&value, duration)),
                    ("timeouts", "park_after") => set(&mut timeouts.park_after, text(&value, duration)),
                    ("timeouts", "idle_grace") => set(&mut timeouts.idle_grace, text(&value, duration)),
                    ("limits", "connections") => match number(&value) {
                        Ok(0) => Err("it must be 1 at least".to_owned()),
                        other => set(&mut limits.connections, other),
                    },
                    _ => Ok(()),
                };
                result.map_err(|error| Error::Variable { name, value, error })?;
            }
        }
        Ok(())
    }
}

fn set<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    value.map(|value| *place = value)
}

fn number<T: std::str::FromStr<Err = std::num::ParseIntError>>(value: &str) -> Result<T, String> {
    value.trim().parse().map_err(|error: std::num::ParseIntError| error.to_string())
}

/// As it would be read from a file.
fn text<'de, T>(
    value: &'de str,
    read: fn(serde::de::value::StrDeserializer<'de, serde::de::value::Error>) -> Result<T, serde::de::value::Error>,
) -> Result<T, String> {
    read(serde::de::IntoDeserializer::into_deserializer(value)).map_err(|error| error.to_string())
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;
    impl serde::de::Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"30s\"")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text).map_err(|error| E::custom(format!("\"{text}\" is not a duration: {error}")))
        }
    }
    deserializer.deserialize_str(Text)
}

/// One that is not zero: every connection would be closed at once.
fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = duration(deserializer)?;
    if duration.is_zero() { Err(serde::de::Error::custom("it must be more than 0s")) } else { Ok(duration) }
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("it must be 1 at least")),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_sections_are_strict_and_others_are_passed_over() {
        let config: Config = toml::from_str("[supervisor]\nx = 1\n[timeouts]\nidle = \"2s\"\n").unwrap();
        assert_eq!(config.timeouts.idle, Duration::from_secs(2));
        let error = |text: &str| toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error("[timeouts]\nidel = \"2s\"\n").contains("unknown field `idel`"));
        assert!(error("[timeouts]\nidle = 2\n").contains("a duration such as"));
        assert!(error("[server]\nport = 70000\n").contains("line 2"));
        assert!(error("[timeouts]\nread = \"0s\"\n").contains("more than 0s"));
        assert!(error("[limits]\nconnections = 0\n").contains("1 at least"));
    }

    #[test]
    fn the_environment_counts_over_the_file() {
        let overlay = |variables: &[(&str, &str)]| {
            let mut config = Config::default();
            let find =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            config.overlay(&find).map(|()| config).map_err(|error| error.to_string())
        };
        let config = overlay(&[
            ("GIN_TIMEOUTS_IDLE", "3s"),
            ("TIMEOUTS_IDLE", "4s"),
            ("LIMITS_CONNECTIONS", "7"),
            ("GIN_MODE", "debug"),
            ("SERVER_PORT", "tcp://10.0.0.1:80"),
        ]);
        let config = config.unwrap();
        assert_eq!((config.timeouts.idle, config.limits.connections), (Duration::from_secs(3), 7));
        assert_eq!((config.server.mode, config.server.port), (Mode::Debug, 8080));
        assert_eq!(overlay(&[("PORT", "9")]).unwrap().server.port, 9);
        for (name, value) in
            [("PORT", "x"), ("GIN_TIMEOUTS_IDLE", "bogus"), ("GIN_LIMITS_CONNECTIONS", "0"), ("GIN_MODE", "bogus")]
        {
            assert!(overlay(&[(name, value)]).unwrap_err().starts_with(&format!("{name}={value}: ")));
        }
    }

    #[test]
    fn documented_defaults_are_those_in_force() {
        let mut text = String::new();
        for section in SECTIONS.iter().filter(|section| ["server", "timeouts", "limits"].contains(&section.name)) {
            text.push_str(&format!("[{}]\n", section.name));
            section.keys.iter().for_each(|key| text.push_str(&format!("{} = {}\n", key.name, key.default)));
        }
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.yaml", "supervisor: {x: 1}\ntimeouts:\n  idle: 2s\n"),
            ("a.json", "{\"timeouts\": {\"idle\": \"2s\"}}"),
            ("a.toml", "[timeouts]\nidle = \"2s\"\n"),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let config = Config::load_from(Some(&path)).unwrap();
            assert_eq!(config.timeouts.idle, Duration::from_secs(2), "{name}");
        }
        std::fs::write(dir.path().join("b.yaml"), "timeouts: {idel: 2s}\n").unwrap();
        let error = Config::load_from(Some(&dir.path().join("b.yaml"))).unwrap_err().to_string();
        assert!(error.contains("idel") && error.contains("b.yaml"), "{error}");
        std::fs::write(dir.path().join("c.yaml"), "# nothing\n").unwrap();
        assert!(Config::load_from(Some(&dir.path().join("c.yaml"))).is_ok());
    }
}

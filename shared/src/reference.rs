//! Every key of the configuration, once: what the schema, the commented default file, the reference page and gin.toml(5)
//! are made of, how the environment is read, and what the reader is tested against.

mod accounts;
mod data;
pub mod flat;
mod key;
mod limits;
mod listener;
mod logging;
mod monitoring;
pub mod peers;
mod security;
mod server;
mod static_files;
mod supervisor;
mod tls;
mod uploads;

use accounts::{AUTH, SESSIONS};
use data::{CACHE, DATABASE, REDIS};
pub use key::{Applies, Key, Kind, Section};
use limits::{LIMITS, RATE_LIMIT, TIMEOUTS, WEBSOCKET};
use logging::LOGGING;
use monitoring::{METRICS, MONITORING};
use security::CORS;
pub use security::SECURITY;
pub use server::{FEATURES, SERVER};
use static_files::STATIC;
pub use supervisor::{PROBE, SUPERVISOR};
use uploads::UPLOADS;

/// All sections that this version reads, in the order of the default file.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "server",
        doc: "Host and port, for the supervisor and for a worker that runs alone.",
        keys: SERVER,
    },
    Section { name: "supervisor", doc: "The supervisor's own.", keys: SUPERVISOR },
    Section { name: "features", doc: "Switches.", keys: FEATURES },
    Section { name: "timeouts", doc: "Of workers built on gin-worker.", keys: TIMEOUTS },
    Section { name: "limits", doc: "Of workers built on gin-worker.", keys: LIMITS },
    Section {
        name: "websocket",
        doc: "WebSockets of `gin_worker::websocket`. Each kind of them may have its own by the program.",
        keys: WEBSOCKET,
    },
    Section { name: "static", doc: "Files, of workers built on gin-worker.", keys: STATIC },
    Section {
        name: "cors",
        doc: "Cross-origin requests (Fetch standard), of workers built on gin-worker.",
        keys: CORS,
    },
    Section { name: "rate_limit", doc: "Of workers built on gin-worker.", keys: RATE_LIMIT },
    Section {
        name: "metrics",
        doc: "The memory in which workers built on gin-worker count. A change needs a full stop and start.",
        keys: METRICS,
    },
    Section { name: "logging", doc: "Of workers built on gin-worker.", keys: LOGGING },
    Section { name: "monitoring", doc: "Of workers built on gin-worker.", keys: MONITORING },
    Section { name: "security", doc: "Of workers built on gin-worker.", keys: SECURITY },
    Section {
        name: "database",
        doc: "Of programs that register a database (`Server::database`). gin-server checks it and opens nothing.",
        keys: DATABASE,
    },
    Section {
        name: "redis",
        doc: "Of programs whose cache, sessions or rate limit are in Redis. gin-server checks it and opens nothing.",
        keys: REDIS,
    },
    Section { name: "cache", doc: "Of programs that register a cache (`Server::cache`).", keys: CACHE },
    Section { name: "sessions", doc: "Of programs that register sessions (`Server::sessions`).", keys: SESSIONS },
    Section { name: "auth", doc: "Of programs that register logins by tokens (`Server::auth`).", keys: AUTH },
    Section { name: "uploads", doc: "Of programs that register uploads (`Server::uploads`).", keys: UPLOADS },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: &str, keys: &[Key]) {
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].iter().any(|other| other.name == key.name), "{place}.{} twice", key.name);
            assert!(key.doc.ends_with(['.', ']']), "{place}.{}: {}", key.name, key.doc);
            assert_ne!(key.default.is_empty(), key.example.is_empty(), "{place}.{}", key.name);
            if let Kind::Table(keys) | Kind::Tables(keys) | Kind::ChoiceOrTable(_, keys) | Kind::BooleanOrTable(keys) =
                key.kind
            {
                check(&format!("{place}.{}", key.name), keys);
            }
        }
    }

    #[test]
    fn each_key_stands_once_and_says_what_it_does() {
        for section in SECTIONS {
            assert!(crate::sections::ALL.contains(&section.name));
            check(section.name, section.keys);
        }
    }
}

//! The supervisor's patience with a worker that starts.

use std::time::Duration;

use gin_shared::config::read::parse_duration;
use gin_shared::config::{Entry, Value};
use gin_shared::sections;

use super::Config;

/// The default of the supervisor.
const DEFAULT: Duration = Duration::from_secs(30);
/// Variables that set it, the first one first.
const VARIABLES: [&str; 2] = ["GIN_SUPERVISOR_READY_TIMEOUT", "SUPERVISOR_READY_TIMEOUT"];

impl<A> Config<A> {
    /// `supervisor.ready_timeout`, as the supervisor of this worker reads it.
    pub(crate) fn ready_timeout(&self) -> Duration {
        read(&self.origin.entries, |name| std::env::var(name).ok())
    }
}

fn read(entries: &[Entry], variable: impl Fn(&str) -> Option<String>) -> Duration {
    let said = VARIABLES.iter().find_map(|name| variable(name)).or_else(|| written(entries));
    said.and_then(|text| parse_duration(&text).ok()).unwrap_or(DEFAULT)
}

/// The value in the file.
fn written(entries: &[Entry]) -> Option<String> {
    let find = |entries: &[Entry], key: &str| {
        entries.iter().find(|entry| entry.key == key).map(|entry| entry.node.value.clone())
    };
    let Value::Table(supervisor) = find(entries, sections::SUPERVISOR)? else { return None };
    let Value::String(text) = find(&supervisor, "ready_timeout")? else { return None };
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gin_shared::config::tree;

    use super::*;

    #[test]
    fn it_is_the_variables_or_the_files_or_the_default() {
        let of = |text: &str, variable: Option<&str>| {
            let entries = tree::parse(Path::new("a.toml"), text).unwrap();
            read(&entries, |name| variable.filter(|_| name == VARIABLES[1]).map(str::to_owned))
        };
        let file = "[supervisor]\nready_timeout = \"1m\"\n";
        assert_eq!(of("", None), DEFAULT);
        assert_eq!(of(file, None), Duration::from_secs(60));
        assert_eq!(of(file, Some("5s")), Duration::from_secs(5));
        assert_eq!(of("[supervisor]\nready_timeout = 7\n", None), DEFAULT);
    }
}

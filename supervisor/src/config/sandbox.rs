//! The containment of workers: `[supervisor.sandbox]` and the environment's allow-list.

use std::path::PathBuf;

use gin_shared::config::Section;
use gin_shared::sections;

use super::worker::read_capabilities;
use crate::os::file_access::Files;
use crate::os::sandbox::Sandbox;
use crate::os::seccomp;

/// The variables that any program may need. A `*` stands at the end alone.
const ENV_COMMON: [&str; 19] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TERM",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "OTEL_*",
    "SSL_CERT_*",
    "CREDENTIALS_DIRECTORY",
    "STATE_DIRECTORY",
    "XDG_STATE_HOME",
];

/// Reads the steps. All are on for gin-server (`foreign` is false), and off for any other program, unless the table says
/// otherwise. `kept` are the capabilities that workers keep: those are never taken away.
pub(super) fn read(section: &Section<'_>, foreign: bool, kept: Option<u64>) -> Sandbox {
    let owned = section.table("sandbox");
    let table = owned.as_ref();
    let flag = |key: &'static str| table.and_then(|table| table.boolean(key));
    let enable = flag("enable").unwrap_or(!foreign);
    let no_new_privs = flag("no_new_privs").unwrap_or(enable);
    let seccomp = flag("seccomp").unwrap_or(enable && no_new_privs && seccomp::IS_KNOWN);
    let most = table.and_then(read_capabilities).or(enable.then_some(0));
    let paths = |key: &'static str| table.and_then(|table| read_paths(table, key));
    let (read, write) = (paths("read"), paths("write"));
    let files = (read.is_some() || write.is_some())
        .then(|| Files { read: read.unwrap_or_default(), write: write.unwrap_or_default() });
    if let Some(table) = owned {
        check(&table, no_new_privs, seccomp, files.is_some());
        table.finish();
    }
    Sandbox { no_new_privs, capabilities: most.map(|most| most | kept.unwrap_or(0)), seccomp, files }
}

fn check(table: &Section<'_>, no_new_privs: bool, seccomp: bool, files: bool) {
    let needs = "it needs no_new_privs = true: the kernel asks for that";
    if seccomp && !no_new_privs {
        table.problem("seccomp", needs);
    }
    if files && !no_new_privs {
        table.problem("no_new_privs", "read and write need it: the kernel asks for that");
    }
    if seccomp && !seccomp::IS_KNOWN {
        table.problem("seccomp", "there is no filter for this machine; set seccomp = false");
    }
}

fn read_paths(table: &Section<'_>, key: &'static str) -> Option<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = table.list(key)?.into_iter().map(PathBuf::from).collect();
    for path in paths.iter().filter(|path| !path.is_absolute()) {
        let text = format!("\"{}\" is not absolute; it would depend on where a worker runs", path.display());
        table.problem(key, &text);
    }
    Some(paths)
}

/// Reads the names of the variables that workers get of the supervisor's environment; `None`: all.
pub(super) fn read_env_pass(section: &Section<'_>, foreign: bool) -> Option<Vec<String>> {
    let named = section.list("env_pass");
    let clear = section.boolean("env_clear").unwrap_or(!foreign || named.is_some());
    for name in named.iter().flatten().filter(|name| !is_pattern(name)) {
        let text = format!("\"{name}\" cannot name variables; write \"NAME\", or \"START*\" for all that begin so");
        section.problem("env_pass", &text);
    }
    if !clear && named.is_some() {
        section.problem("env_pass", "it counts with env_clear = true alone");
    }
    clear.then(|| named.unwrap_or_else(default_env_pass))
}

fn is_pattern(name: &str) -> bool {
    let start = name.strip_suffix('*').unwrap_or(name);
    !name.is_empty() && !start.contains(['*', '='])
}

/// Variables that any program may need, and all variables that name a key of the configuration.
fn default_env_pass() -> Vec<String> {
    let common = ENV_COMMON.iter().map(|name| (*name).to_owned());
    let ours = ["PORT", "CONFIG_FILE", "GIN_*"].iter().map(|name| (*name).to_owned());
    let of_sections = sections::ALL.iter().filter(|name| **name != sections::SUPERVISOR);
    common.chain(ours).chain(of_sections.map(|name| format!("{}_*", name.to_uppercase()))).collect()
}

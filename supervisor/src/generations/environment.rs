//! The environment of a generation's workers.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gin_shared::generation::Generation;
use gin_shared::inherit;
use nix::unistd::User;

use crate::config::Config;

/// The variables in order; each name stands once.
pub type Environment = Vec<(OsString, OsString)>;

/// The master's own environment, as far as it is passed on, what the configuration adds, and the worker's identity.
#[must_use]
pub fn of_generation(config: &Config, id: Generation, directory: Option<&Path>) -> Environment {
    let added: Environment = config.worker.env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    let of_user = of_user(config.worker.user.as_deref());
    let stripped = |key: &OsString| inherit::STRIPPED.iter().any(|name| key == name);
    let passed = |key: &OsString| config.worker.env_pass.as_ref().is_none_or(|names| is_named(names, key));
    let inherited = std::env::vars_os().filter(|(key, _)| !stripped(key) && passed(key));
    // The later one counts.
    let mut environment = Environment::new();
    for (key, value) in inherited.chain(of_user).chain(added) {
        set(&mut environment, key, value);
    }
    set(&mut environment, inherit::GIN_INSTANCE, config.instance.clone().into());
    set(&mut environment, inherit::GIN_GENERATION, id.to_string().into());
    if let Some(release) = directory.and_then(Path::file_name) {
        set(&mut environment, inherit::GIN_RELEASE, release.to_owned());
    }
    environment
}

/// True if one of `names` is this variable's, or its start with a `*` behind it.
fn is_named(names: &[String], variable: &OsStr) -> bool {
    let variable = variable.as_bytes();
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => variable.starts_with(start.as_bytes()),
        None => variable == name.as_bytes(),
    })
}

/// Sets a variable, once: programs disagree which of two counts.
pub fn set(environment: &mut Environment, name: impl Into<OsString>, value: OsString) {
    let name = name.into();
    environment.retain(|(other, _)| *other != name);
    environment.push((name, value));
}

/// The variables that systemd sets for `User=`.
fn of_user(user: Option<&str>) -> Environment {
    let Some(entry) = user.and_then(|name| User::from_name(name).ok().flatten()) else { return Environment::new() };
    let name = OsString::from(entry.name);
    vec![("HOME".into(), entry.dir.into()), ("USER".into(), name.clone()), ("LOGNAME".into(), name)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_whole_or_by_its_start() {
        let names = ["LANG".to_owned(), "LC_*".to_owned()];
        let is_passed = |variable: &str| is_named(&names, OsStr::new(variable));
        assert!(is_passed("LANG") && is_passed("LC_ALL") && is_passed("LC_"));
        assert!(!is_passed("LANGUAGE") && !is_passed("LC") && !is_passed("XLC_ALL") && !is_passed("lang"));
    }
}

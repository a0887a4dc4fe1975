//! The environment of a generation's workers.

use std::ffi::OsString;
use std::path::Path;

use gin_shared::generation::Generation;
use gin_shared::inherit;
use nix::unistd::User;

use crate::config::Config;

/// The variables in order; each name stands once.
pub type Environment = Vec<(OsString, OsString)>;

/// The master's own environment, what the configuration adds, and the worker's identity.
#[must_use]
pub fn of_generation(config: &Config, id: Generation, directory: Option<&Path>) -> Environment {
    let added: Environment = config.worker.env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    let of_user = of_user(config.worker.user.as_deref());
    let stripped = |key: &OsString| inherit::STRIPPED.iter().any(|name| key == name);
    let inherited = std::env::vars_os().filter(|(key, _)| !stripped(key));
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

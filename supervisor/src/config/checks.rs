//! Checks of what each setting alone cannot tell: of several together, and of the machine.

use std::net::SocketAddr;
use std::path::Path;

use gin_shared::config::{Entry, Problem};
use gin_shared::listen::Address;
use gin_shared::runtime_dir::is_instance_name;
use nix::unistd::Uid;

use super::{Fixed, WorkerConfig, place_of};
use crate::cli::Cli;
use crate::os::control_socket;
use crate::os::identity::{Database, is_other, lookup, may_change_identity};
use crate::os::listener::{ListenerSpec, backlog_warning};
use crate::os::pidfile;
use crate::os::sandbox::may_bound;

/// A name that can be one of files, sockets and units.
pub(super) fn check_instance(cli: &Cli, instance: &str, file: &str) -> Option<Problem> {
    if is_instance_name(instance) {
        return None;
    }
    let text = format!("\"{instance}\" cannot name an instance; use letters, digits and . _ - @, 64 at most");
    Some(match cli.instance {
        Some(_) => Problem { place: "--instance".to_owned(), text },
        None => Problem { place: file.to_owned(), text: format!("{text}; or say --instance NAME") },
    })
}

/// An address for scrapers at which no worker listens.
pub(super) fn check_metrics(address: SocketAddr, listeners: &[ListenerSpec]) -> Option<String> {
    let address = Address::Tcp(address);
    let taken = listeners.iter().find(|listener| !address.is_any_port() && listener.address == address)?;
    let name = &taken.name;
    Some(format!("supervisor.metrics: the listener \"{name}\" has {address} already; choose another port"))
}

/// Directories where nobody else can put a PID file, the lock beside it, or a control socket.
pub(super) fn check_places(cli: &Cli, fixed: &Fixed, entries: &[Entry], file: &str) -> Vec<Problem> {
    let pid_file = |path: &Path| pidfile::check(path).err().map(|error| error.to_string());
    let socket = |path: &Path| control_socket::check(path).err().map(|error| error.to_string());
    let wrong = [
        ("pid_file", cli.pid_file.as_ref().map(|_| "--pid-file"), fixed.pid_file.as_deref().and_then(pid_file)),
        ("control", cli.control.as_ref().map(|_| "--control"), fixed.control.as_deref().and_then(socket)),
        ("status", None, fixed.status.as_deref().and_then(socket)),
    ];
    let problem = |(key, flag, error): (&str, Option<&str>, Option<String>)| {
        let error = error?;
        Some(match flag {
            Some(flag) => Problem { place: flag.to_owned(), text: error },
            None => Problem { place: place_of(entries, key).of(file), text: format!("supervisor.{key}: {error}") },
        })
    };
    wrong.into_iter().filter_map(problem).collect()
}

/// Users and groups that are there, and capabilities that mean something.
pub(super) fn check_identity(worker: &WorkerConfig, entries: &[Entry], file: &str) -> Option<Problem> {
    let at = |key: &str| place_of(entries, key).of(file);
    match lookup(worker.user.as_deref(), worker.group.as_deref()) {
        Err(error) => {
            let key = match error.database {
                Database::User => "user",
                Database::Group => "group",
            };
            Some(Problem { place: at(key), text: format!("supervisor.{key}: {error}") })
        }
        Ok((uid, _)) if worker.capabilities.is_some() && uid.unwrap_or(Uid::effective()).is_root() => {
            let text = "supervisor.capabilities: a worker of root has them all, whatever is said; set user".to_owned();
            Some(Problem { place: at("capabilities"), text })
        }
        Ok((uid, gid)) if is_other(uid, gid) && !may_change_identity() => {
            let key = if worker.user.is_some() { "user" } else { "group" };
            let own = Uid::effective();
            let text = format!(
                "supervisor.{key}: only root can give workers another {key}, and this is uid {own}; run gin-supervisor as \
                 root, and gin-ctl check, too, or remove {key}"
            );
            Some(Problem { place: at(key), text })
        }
        Ok(_) => None,
    }
}

/// A bounding set that this process can reduce. A start finds it out when it is too late to say what to do.
pub(super) fn check_sandbox(worker: &WorkerConfig, entries: &[Entry], file: &str) -> Option<Problem> {
    if may_bound() || !worker.sandbox.needs_setpcap() {
        return None;
    }
    let own = Uid::effective();
    let text = format!(
        "supervisor.sandbox: without no_new_privs the bounding set is reduced, which takes CAP_SETPCAP, and this is uid {own} \
         without it; set no_new_privs = true, or run gin-supervisor with it, and gin-ctl check, too"
    );
    Some(Problem { place: place_of(entries, "sandbox").of(file), text })
}

/// Settings that are accepted, and surprise people.
pub(super) fn warn(listeners: &[ListenerSpec], worker: &WorkerConfig) -> Vec<String> {
    let mut warnings: Vec<String> = listeners.iter().filter_map(backlog_warning).collect();
    if worker.soak.is_zero() && worker.command.is_some() && !worker.channel {
        let known = "soak = \"0s\": a program that says READY=1 and then fails takes the old one's place";
        let unknown = if worker.offered.is_some() { ", unless it is built on gin-worker" } else { "" };
        warnings.push(format!("{known}{unknown}"));
    }
    if !worker.tls.pairs.is_empty() && worker.command.is_some() && !worker.channel {
        let text = "a listener is to speak TLS, which only workers built on gin-worker do: a foreign program speaks it itself, or \
                    not at all; set channel = true if it is built on gin-worker";
        warnings.push(text.to_owned());
    }
    let is_proxied = worker.listen.iter().any(|(_, settings)| settings.proxy.is_some());
    if is_proxied && worker.command.is_some() && !worker.channel {
        let text = "a listener has proxy_protocol, which only workers built on gin-worker read: a foreign program gets the headers \
                    itself; set channel = true if it is built on gin-worker";
        warnings.push(text.to_owned());
    }
    warnings
}

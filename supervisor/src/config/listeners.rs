//! `[[supervisor.listen]]`, and the shorthand for one listener in `[server]`; and what of `[security]` the master must know of them.

use std::path::PathBuf;

use gin_shared::config::listen::{self, ListenSettings};
use gin_shared::listen::Address;

use super::WorkerConfig;
use crate::certificates::Wanted;
use crate::cli::Cli;
use crate::listener_name;
use crate::os::identity::{Database, lookup};
use crate::os::listener::ListenerSpec;
use gin_shared::config::{Place, Problems, Section};

/// The kernel passes 253 descriptors at once (SCM_MAX_FD), of which the helper needs two, and the private listener, the channel, the
/// two shared memories and the certificates one each.
const LISTENERS_MAX: usize = 246;

pub(super) fn read_listeners(
    section: &Section<'_>,
    server: &Section<'_>,
    security: &Section<'_>,
    worker: &mut WorkerConfig,
    cli: &Cli,
    problems: &Problems,
) -> (Vec<ListenerSpec>, bool) {
    let host = server.string("host");
    let port = server.integer("port", 0..=65535).and_then(|port| u16::try_from(port).ok());
    let spec = |name: &str, address: Address| ListenerSpec {
        name: name.to_owned(),
        address,
        backlog: 4096,
        mode: None,
        owner: None,
        group: None,
        nonblocking: worker.channel,
    };
    let tables = section.tables("listen");
    let listeners = match &tables {
        Some(tables) => tables.iter().filter_map(|table| read_listener(table, worker.channel)).collect(),
        None => Vec::new(),
    };
    let has_tables = tables.is_some();
    let settings = listen::read(security, tables.as_deref(), problems);
    tables.into_iter().flatten().for_each(Section::finish);
    let shorthand = server.place("host").or(server.place("port"));
    // PORT is set in many a container for other reasons; in the file it is a contradiction.
    if let (true, Some(place @ Place::Line(_))) = (has_tables, shorthand.clone()) {
        problems.add(&place, "server.host and server.port are the shorthand for one listener; leave them out beside [[supervisor.listen]]".to_owned());
    }
    let listeners: Vec<ListenerSpec> = if !cli.listen.is_empty() {
        cli.listen.iter().map(|listen| spec(&listen.name, listen.address.clone())).collect()
    } else if has_tables {
        listeners
    } else {
        match Address::from_host_port(host.as_deref().unwrap_or("127.0.0.1"), port.unwrap_or(8080)) {
            Ok(address) => vec![spec("http", address)],
            Err(error) => {
                server.problem("host", &error.to_string());
                Vec::new()
            }
        }
    };
    if listeners.len() > LISTENERS_MAX {
        let text = format!("{} listeners; {LISTENERS_MAX} at most can be passed on", listeners.len());
        problems.add(&section.place("listen").unwrap_or(Place::Line(1)), text);
    }
    for (index, listener) in listeners.iter().enumerate() {
        let place = section.place("listen").unwrap_or(Place::Line(1));
        if listeners[..index].iter().any(|other| other.name == listener.name) {
            problems.add(&place, format!("two listeners are named \"{}\"", listener.name));
        }
        let fixed = !listener.address.is_any_port();
        if fixed && listeners[..index].iter().any(|other| other.address == listener.address) {
            problems.add(&place, format!("two listeners have the address {}", listener.address));
        }
    }
    read_tls(security, worker, settings, &listeners);
    (listeners, has_tables || !cli.listen.is_empty() || shorthand.is_some())
}

/// Notes what workers need for TLS: the files of all listeners that speak it, and what each listener speaks.
fn read_tls(
    security: &Section<'_>,
    worker: &mut WorkerConfig,
    tables: Vec<(String, ListenSettings)>,
    listeners: &[ListenerSpec],
) {
    let has_table = |listener: &&ListenerSpec| tables.iter().any(|(name, _)| *name == listener.name);
    let is_tcp = |listener: &&ListenerSpec| matches!(listener.address, Address::Tcp(_));
    // Only a listener that has no table can lack a certificate there.
    let needs_default = listeners.iter().filter(is_tcp).any(|listener| !has_table(&listener));
    let default = if needs_default { listen::default_for(security) } else { ListenSettings::default() };
    let secret = security.path("ticket_secret_file");
    let core_dumps = security.boolean("core_dumps").unwrap_or(false);
    let cleartext = ListenSettings::default();
    let settings = |listener: &ListenerSpec| {
        let default = if is_tcp(&listener) { &default } else { &cleartext };
        let settings = listen::settings_of(&listener.name, &tables, default);
        (listener.name.clone(), settings.clone())
    };
    let all: Vec<_> = listeners.iter().map(settings).collect();
    let tls = || all.iter().filter_map(|(_, settings)| settings.tls.as_ref());
    worker.tls = Wanted {
        pairs: tls().flat_map(|tls| tls.pairs.iter().cloned()).collect(),
        authorities: tls().filter_map(|tls| tls.client.as_ref().map(|(file, _)| file.clone())).collect(),
        ticket_secret: secret.filter(|_| tls().any(|tls| tls.tickets)),
        core_dumps: core_dumps && tls().next().is_some(),
    };
    // An older build's state has none: what says nothing must not look like a change.
    worker.listen = all.into_iter().filter(|(_, settings)| *settings != cleartext).collect();
}

fn read_listener(table: &Section<'_>, channel: bool) -> Option<ListenerSpec> {
    let name = table.parsed("name", "a name", listener_name::parse);
    let address = table.parsed("address", "an address", str::parse::<Address>);
    if address.is_none() && table.place("address").is_none() {
        table.problem("address", "missing; write address = \"0.0.0.0:8080\" or \"unix:/path\"");
    }
    let (owner, group) = (table.string("owner"), table.string("group"));
    let ids = lookup(owner.as_deref(), group.as_deref());
    if let Err(error) = &ids {
        let key = match error.database {
            Database::User => "owner",
            Database::Group => "group",
        };
        table.problem(key, &error.to_string());
    }
    let (uid, gid) = ids.unwrap_or_default();
    let spec = ListenerSpec {
        name: name.clone().unwrap_or_else(|| "http".to_owned()),
        address: address.clone().unwrap_or(Address::Unix(PathBuf::new())),
        backlog: table.integer("backlog", 1..=1 << 20).and_then(|n| u32::try_from(n).ok()).unwrap_or(4096),
        mode: table.mode("mode"),
        owner: uid,
        group: gid.filter(|_| group.is_some()),
        nonblocking: table.boolean("nonblocking").unwrap_or(channel),
    };
    if !matches!(spec.address, Address::Unix(_)) {
        for key in ["mode", "owner", "group"] {
            if table.place(key).is_some() {
                table.problem(key, "only a Unix socket has one");
            }
        }
    }
    let named = name.is_some() || table.place("name").is_none();
    address.filter(|_| named).map(|_| spec)
}

//! Settings of each listener that workers keep to: whether it speaks TLS and with which certificates, whether it only redirects, and who
//! may send a PROXY header. The master and the worker read them here, out of `[security]` and `[[supervisor.listen]]`.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Place, Problems, Section};
use crate::listen::Address;
use crate::reference::{self, Key};
use crate::sections;

/// Settings of one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenSettings {
    /// `None`: cleartext.
    pub tls: Option<TlsSettings>,
    /// Networks whose members must send a PROXY header, each as "10.0.0.0/8". `None`: nobody sends one.
    pub proxy: Option<Vec<String>>,
    /// All requests are answered with a redirect.
    pub redirect: Option<Redirect>,
}

/// TLS of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSettings {
    /// Certificates with their keys, one at least. The first is for clients that name no other.
    pub pairs: Vec<PairFiles>,
    /// Versions that it speaks.
    pub versions: Versions,
    /// Protocols that it offers, the best first: "h2", "http/1.1".
    pub alpn: Vec<String>,
    /// File of the authorities that sign client certificates, and whether a client needs one. `None`: no client is asked.
    pub client: Option<(PathBuf, ClientAuth)>,
    /// True if clients get session tickets.
    pub tickets: bool,
}

/// Files of a certificate with its chain, and of its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PairFiles {
    /// The certificate first, then its chain, in PEM.
    pub cert: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    From12,
    /// 1.3 alone.
    Only13,
}

/// Treatment of clients without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientAuth {
    /// They are served.
    Optional,
    /// They are refused.
    Required,
}

/// Redirect of all requests to a listener that speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Port to name in the address. `None`: 443, which needs no name.
    pub port: Option<u16>,
}

/// Protocols that can be offered.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The problem of authorities that sign the certificates of clients whom nobody asks.
const UNASKED: &str =
    "no client is asked for a certificate; write client_auth = \"required\" or \"optional\" beside it";

/// Keys of `[security]` that are read here.
const SECURITY: [&str; 8] =
    ["enable_https", "cert_file", "key_file", "certificates", "tls_versions", "alpn", "client_ca_file", "client_auth"];
/// Further keys of `[security]` that the master reads.
const OF_MASTER: [&str; 3] = ["session_tickets", "ticket_secret_file", "core_dumps"];

/// Keys that the master takes from the environment beside those of its own sections.
#[must_use]
pub fn security_from_environment() -> Vec<(&'static str, &'static [Key])> {
    let keys = SECURITY.iter().chain(&OF_MASTER);
    keys.map(|name| (sections::SECURITY, one(reference::SECURITY, name))).collect()
}

/// The key that a worker takes from the environment beside those of its own sections: the listeners.
#[must_use]
pub fn listeners_from_environment() -> (&'static str, &'static [Key]) {
    (sections::SUPERVISOR, one(reference::SUPERVISOR, "listen"))
}

/// The key of this name alone.
fn one(keys: &'static [Key], name: &str) -> &'static [Key] {
    keys.iter().find(|key| key.name == name).map_or(&[], std::slice::from_ref)
}

/// Reads the settings of all listeners that have a table, each with its name. What is wrong is told with its place.
///
/// Keys that are no setting of workers (an address, a mode) are left to the master's reader, who tells of unknown ones, too.
pub fn read(
    security: &Section<'_>,
    tables: Option<&[Section<'_>]>,
    problems: &Problems,
) -> Vec<(String, ListenSettings)> {
    let base = Base::read(security);
    let tables = tables.unwrap_or_default();
    let all: Vec<(String, ListenSettings)> = tables
        .iter()
        .map(|table| {
            let name = table.peek("name").unwrap_or("http").to_owned();
            let settings = read_listener(table, &name, &base, problems);
            (name, settings)
        })
        .collect();
    base.check_authority(security, &all);
    let has_tls = base.is_on || all.iter().any(|(_, settings)| settings.tls.is_some());
    for (table, (_, settings)) in tables.iter().zip(&all) {
        if settings.redirect.is_some() && !has_tls {
            table.problem("redirect", "no listener speaks TLS; set tls = true on one, or take this out");
        }
    }
    all
}

/// Settings of a TCP listener without a table: of `--listen`, and of the host and port of `[server]`. Those of other sockets are the
/// default ones.
pub fn default_for(security: &Section<'_>) -> ListenSettings {
    let base = Base::read(security);
    if base.is_on && base.lacks_pair() {
        let place = security.place("enable_https").unwrap_or(Place::Line(1));
        security.problem_at("cert_file", &place, "missing; with enable_https = true it is needed, and key_file");
    }
    ListenSettings { tls: base.is_on.then(|| base.settings()).flatten(), ..ListenSettings::default() }
}

/// The same where all listeners may have a table: no certificate is missing then, and such a listener speaks cleartext.
pub fn default_beside_tables(security: &Section<'_>) -> ListenSettings {
    let base = Base::read(security);
    ListenSettings { tls: base.is_on.then(|| base.settings()).flatten(), ..ListenSettings::default() }
}

/// The settings of the listener `name`: those of its table, else `default`.
#[must_use]
pub fn settings_of<'a>(
    name: &str,
    tables: &'a [(String, ListenSettings)],
    default: &'a ListenSettings,
) -> &'a ListenSettings {
    tables.iter().find(|(other, _)| other == name).map_or(default, |(_, settings)| settings)
}

/// Settings of TLS that one table may have: of `[security]`, and of a listener.
#[derive(Debug, Clone)]
struct Base {
    is_on: bool,
    own: Option<PairFiles>,
    pairs: Vec<PairFiles>,
    /// True if files are named, though they cannot be used: that is told where they stand.
    names_pair: bool,
    versions: Option<Versions>,
    alpn: Option<Vec<String>>,
    authority: Option<PathBuf>,
    /// `Some(None)`: no client is asked, whatever `[security]` says.
    auth: Option<Option<ClientAuth>>,
    tickets: bool,
}

impl Base {
    /// `[security]`.
    fn read(section: &Section<'_>) -> Self {
        let own = Self::of_table(section);
        let more = section.tables("certificates").unwrap_or_default();
        let more: Vec<PairFiles> = more
            .into_iter()
            .filter_map(|table| {
                let pair = pair(&table);
                if pair.is_none() && table.place("cert_file").is_none() && table.place("key_file").is_none() {
                    section.problem("certificates", "each needs cert_file and key_file");
                }
                table.finish();
                pair
            })
            .collect();
        let tickets = section.boolean("session_tickets").unwrap_or(true);
        let is_on = section.boolean("enable_https").unwrap_or(false);
        let pairs = own.own.iter().cloned().chain(more).collect();
        let all = Self { is_on, pairs, tickets, ..own };
        all.check_client(section, &all);
        all
    }

    /// The keys that `[security]` and a listener's table have in common.
    fn of_table(section: &Section<'_>) -> Self {
        let words =
            [("none", None), ("optional", Some(ClientAuth::Optional)), ("required", Some(ClientAuth::Required))];
        Self {
            is_on: true,
            own: pair(section),
            pairs: Vec::new(),
            names_pair: section.place("cert_file").or_else(|| section.place("key_file")).is_some(),
            versions: versions(section),
            alpn: protocols(section),
            authority: section.path("client_ca_file"),
            auth: section.choice("client_auth", &words),
            tickets: true,
        }
    }

    /// Settings of a listener: those of `table` over `self`. Its pair takes the place of the default one; the further ones stay.
    fn with(&self, table: &Self) -> Self {
        let further = self.pairs.iter().filter(|pair| table.own.is_none() || self.own.as_ref() != Some(*pair));
        Self {
            is_on: true,
            own: table.own.clone().or_else(|| self.own.clone()),
            pairs: table.own.iter().chain(further).cloned().collect(),
            names_pair: self.names_pair || table.names_pair,
            versions: table.versions.or(self.versions),
            alpn: table.alpn.clone().or_else(|| self.alpn.clone()),
            authority: table.authority.clone().or_else(|| self.authority.clone()),
            auth: table.auth.or(self.auth),
            tickets: self.tickets,
        }
    }

    /// Tells of client certificates that nobody could check. `section` has said so, and `whole` is what counts with the rest.
    fn check_client(&self, section: &Section<'_>, whole: &Self) {
        if self.auth.flatten().is_some() && whole.authority.is_none() {
            section.problem("client_auth", "it needs client_ca_file: the authorities that sign client certificates");
        }
    }

    /// Tells of authorities in `[security]` that are there for nothing: neither it nor a listener asks a client for a certificate.
    fn check_authority(&self, section: &Section<'_>, listeners: &[(String, ListenSettings)]) {
        let mut asked = listeners.iter().filter_map(|(_, settings)| settings.tls.as_ref()?.client.as_ref());
        let Some(authority) = &self.authority else { return };
        if self.auth.is_none() && asked.all(|(file, _)| file != authority) {
            section.problem("client_ca_file", UNASKED);
        }
    }

    /// True if no certificate is named.
    fn lacks_pair(&self) -> bool {
        self.pairs.is_empty() && !self.names_pair
    }

    /// `None` without a certificate.
    fn settings(&self) -> Option<TlsSettings> {
        let client = self.auth.flatten().and_then(|auth| Some((self.authority.clone()?, auth)));
        let alpn = self.alpn.clone().unwrap_or_else(|| PROTOCOLS.map(str::to_owned).to_vec());
        (!self.pairs.is_empty()).then(|| TlsSettings {
            pairs: self.pairs.clone(),
            versions: self.versions.unwrap_or_default(),
            alpn,
            client,
            tickets: self.tickets,
        })
    }
}

/// The kind of a listener's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    Tcp,
    Udp,
    Unix,
}

/// An address that cannot be read is told by the master's reader.
fn socket(table: &Section<'_>) -> Socket {
    match table.peek("address").and_then(|address| address.parse::<Address>().ok()) {
        Some(Address::Udp(_)) => Socket::Udp,
        Some(Address::Unix(_)) => Socket::Unix,
        Some(Address::Tcp(_)) | None => Socket::Tcp,
    }
}

fn read_listener(table: &Section<'_>, name: &str, base: &Base, problems: &Problems) -> ListenSettings {
    let socket = socket(table);
    let redirect = table.parsed("redirect", "\"https\" or \"https:8443\"", parse_redirect);
    let proxy = read_networks(table);
    let asked = read_tls(table, base);
    let place = table.place("tls").or_else(|| table.place("address")).unwrap_or(Place::Line(1));
    if matches!(asked, Asked::Yes(_)) && socket != Socket::Tcp {
        table.problem("tls", "only a TCP listener speaks TLS");
    }
    if matches!(asked, Asked::Yes(_)) && redirect.is_some() {
        table.problem("redirect", "a listener that speaks TLS redirects nobody to it; take out redirect or tls");
    }
    if redirect.is_some() && socket == Socket::Udp {
        table.problem("redirect", "a UDP socket has no requests");
    }
    if proxy.is_some() && socket != Socket::Tcp {
        table.problem("proxy_protocol", "only over TCP a client has an address that a proxy could tell");
    }
    // Without a word a redirect is what cleartext is left for.
    let base = match asked {
        Asked::Yes(base) => Some(*base),
        Asked::Unsaid if base.is_on && redirect.is_none() => Some(base.clone()),
        Asked::Unsaid | Asked::No => None,
    };
    let base = base.filter(|_| socket == Socket::Tcp);
    if base.as_ref().is_some_and(Base::lacks_pair) {
        let text = format!("security.cert_file: missing; listener \"{name}\" speaks TLS; set it and key_file");
        problems.add(&place, text);
    }
    ListenSettings { tls: base.and_then(|base| base.settings()), proxy, redirect }
}

/// The value of a listener's `tls`.
enum Asked {
    Unsaid,
    No,
    Yes(Box<Base>),
}

fn read_tls(table: &Section<'_>, base: &Base) -> Asked {
    if table.is_table("tls") {
        let Some(section) = table.table("tls") else { return Asked::Unsaid };
        let own = Base::of_table(&section);
        let whole = base.with(&own);
        own.check_client(&section, &whole);
        if own.authority.is_some() && whole.auth.is_none() {
            section.problem("client_ca_file", UNASKED);
        }
        section.finish();
        return Asked::Yes(Box::new(whole));
    }
    match table.boolean("tls") {
        None => Asked::Unsaid,
        Some(false) => Asked::No,
        Some(true) => Asked::Yes(Box::new(base.clone())),
    }
}

/// `cert_file` and `key_file`, both or none.
fn pair(section: &Section<'_>) -> Option<PairFiles> {
    let (cert, key) = (section.path("cert_file"), section.path("key_file"));
    for (there, missing) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if let (Some(place), None) = (section.place(there), section.place(missing)) {
            section.problem_at(missing, &place, &format!("missing beside {there}"));
        }
    }
    Some(PairFiles { cert: cert?, key: key? })
}

fn versions(section: &Section<'_>) -> Option<Versions> {
    let words = section.texts("tls_versions")?;
    let has = |version: &str| words.iter().any(|word| word == version);
    match (has("1.2"), has("1.3"), words.len()) {
        (true, true, 2) => Some(Versions::From12),
        (false, true, 1) => Some(Versions::Only13),
        _ => {
            section.problem("tls_versions", "write [\"1.2\", \"1.3\"] or [\"1.3\"]");
            None
        }
    }
}

fn protocols(section: &Section<'_>) -> Option<Vec<String>> {
    let words = section.texts("alpn")?;
    let is_known = words.iter().all(|word| PROTOCOLS.contains(&word.as_str()));
    let is_twice = words.iter().enumerate().any(|(index, word)| words[..index].contains(word));
    if words.is_empty() || !is_known || is_twice {
        section.problem("alpn", "write [\"h2\", \"http/1.1\"], or one of the two");
        return None;
    }
    Some(words)
}

fn read_networks(table: &Section<'_>) -> Option<Vec<String>> {
    let words = table.texts("proxy_protocol")?;
    if words.is_empty() {
        table.problem("proxy_protocol", "name who may send a PROXY header, or take this out; [] is nobody");
    }
    let network = |word: &String| {
        let network = network(word);
        if network.is_none() {
            table.problem("proxy_protocol", &format!("\"{word}\" is no network; write it as \"10.0.0.0/8\""));
        }
        network
    };
    Some(words.iter().filter_map(network).collect())
}

/// A network as "10.0.0.0/8"; an address alone is a network of one. A network of IPv4 in IPv6 (`::ffff:10.0.0.0/104`) is that of IPv4, as
/// the addresses of clients are, too. `None`: the text is none.
#[must_use]
pub fn network(text: &str) -> Option<String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse::<u8>().ok()?,
        Some(_) => return None,
        None => most,
    };
    let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(MAPPED)) {
        (own @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => (own, prefix),
        // It has no address that a client could have.
        (IpAddr::V4(_), None) if address.is_ipv6() => return None,
        _ => (address, prefix),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= most).then(|| format!("{address}/{prefix}"))
}

/// Bits before an address of IPv4 in IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED: u8 = 96;

/// Parses "https" or "https:8443".
fn parse_redirect(text: &str) -> Result<Redirect, String> {
    let wrong = || format!("\"{text}\" is no redirect; write \"https\" or \"https:8443\"");
    match text.strip_prefix("https").ok_or_else(wrong)? {
        "" => Ok(Redirect { port: None }),
        rest => {
            let port = rest.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
            let port = port.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0).ok_or_else(wrong)?;
            Ok(Redirect { port: (port != 443).then_some(port) })
        }
    }
}

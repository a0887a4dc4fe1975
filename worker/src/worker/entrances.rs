//! The listeners of a worker as the configuration has them: the beginning of their connections, and the certificates for that.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use gin_shared::config::listen::ListenSettings;

use crate::config::IpNet;
use crate::connections::{Entrances, Listener, ListenerFacts};
use crate::tls::{Profile, Source, keep_out_of_cores};
use crate::{Config, StartError};

/// The listeners with their certificates.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) entrances: Entrances,
    /// The source of the certificates. `None`: no listener speaks TLS.
    pub(super) source: Option<Arc<Source>>,
}

/// Tells each listener what it speaks, and opens the certificates. `memory`: those that the master has passed.
///
/// # Errors
/// If a certificate cannot be used.
pub(super) fn open(listeners: &mut [Listener], config: &Config, memory: Option<OwnedFd>) -> Result<Opened, StartError> {
    for listener in listeners.iter_mut() {
        let facts = facts(&listener.name, config.listener(&listener.name));
        // Over a Unix socket nobody speaks TLS, and a client has no address.
        let is_unix = listener.is_unix();
        listener.set_facts(if is_unix { ListenerFacts { tls: None, proxy: None, ..facts } } else { facts });
    }
    // Before the first key is in memory.
    if listeners.iter().any(Listener::speaks_tls) && !config.security.core_dumps {
        keep_out_of_cores();
    }
    let facts: Vec<_> = listeners.iter().map(|listener| Arc::clone(listener.facts())).collect();
    let source = Source::open(&facts, memory, config.security.ticket_secret_file.as_deref())
        .map_err(|error| StartError::Tls(error.to_string()))?;
    let tls = source.as_ref().map(|source| Arc::clone(source.context()));
    let entrances = Entrances::new(facts, tls);
    if let Some(source) = &source {
        source.follow().map_err(StartError::Signals)?;
    }
    Ok(Opened { entrances, source })
}

fn facts(name: &str, settings: &ListenSettings) -> ListenerFacts {
    let ListenSettings { proxy, redirect, .. } = settings;
    // The reader of the configuration has looked at each.
    let networks = |texts: &Vec<String>| texts.iter().filter_map(|text| text.parse::<IpNet>().ok()).collect();
    ListenerFacts {
        name: name.into(),
        tls: Profile::of(settings),
        proxy: proxy.as_ref().map(networks),
        redirect: *redirect,
    }
}

#[cfg(test)]
mod tests {
    use gin_shared::config::listen::Redirect;

    use super::*;

    #[test]
    fn a_listener_is_as_the_configuration_has_it() {
        let settings = ListenSettings {
            proxy: Some(vec!["10.0.0.0/8".to_owned(), "::1/128".to_owned()]),
            redirect: Some(Redirect { port: Some(8443) }),
            ..ListenSettings::default()
        };
        let facts = facts("http", &settings);
        assert_eq!((&*facts.name, facts.tls.is_some(), facts.redirect), ("http", false, settings.redirect));
        assert_eq!(facts.proxy.map(|networks| networks.len()), Some(2));
    }
}

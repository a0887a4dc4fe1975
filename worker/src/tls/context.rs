//! Settings of TLS of a worker: for each listener that speaks it an s2n configuration, with certificates and ticket keys.
//!
//! New certificates replace all configurations at once, or none. A connection keeps the configuration of its handshake until its end.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use gin_shared::tls::material::{Material, TicketKey};
use s2n_tls::config::Config;
use s2n_tls::error::Error;
use tokio::sync::Notify;

use super::chains::Chains;
use super::error::{TlsError, why};
use super::profile::{self, Profile};
use super::tickets;
use crate::connections::ListenerFacts;

/// Settings of TLS of a worker.
pub(crate) struct TlsContext {
    /// Settings of the listeners, each once.
    profiles: Vec<Profile>,
    current: ArcSwap<Configs>,
    /// Told by a handshake that finds ticket keys of an earlier period.
    stale: Arc<Notify>,
    /// For connections that go on from keys: the same one for all, made for the first.
    taken: OnceLock<Config>,
}

/// What is made of one material.
#[derive(Default)]
struct Configs {
    number: u64,
    /// End of the period of ticket keys that go by the clock. `None`: they are the master's.
    keys_until: Option<SystemTime>,
    /// In the order of the profiles.
    by_profile: Vec<Config>,
}

impl TlsContext {
    /// The settings of a worker of which no listener speaks TLS.
    pub(crate) fn none() -> Self {
        Self::of_profiles(Vec::new(), Configs::default())
    }

    /// Settings for these listeners.
    ///
    /// # Errors
    /// If a certificate is missing, or cannot be used: the worker does not start.
    pub(crate) fn make(listeners: &[Arc<ListenerFacts>], material: &Material) -> Result<Self, TlsError> {
        let mut profiles = Vec::new();
        for profile in listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
            if !profiles.contains(profile) {
                profiles.push(profile.clone());
            }
        }
        let configs = Configs::make(&profiles, material, SystemTime::now())?;
        Ok(Self::of_profiles(profiles, configs))
    }

    fn of_profiles(profiles: Vec<Profile>, configs: Configs) -> Self {
        Self { profiles, current: ArcSwap::from_pointee(configs), stale: Arc::default(), taken: OnceLock::new() }
    }

    /// Goes on with this material, for handshakes that begin from now on.
    ///
    /// # Errors
    /// As [`Self::make`]. Then nothing has changed.
    pub(crate) fn replace(&self, material: &Material) -> Result<(), TlsError> {
        self.current.store(Arc::new(Configs::make(&self.profiles, material, SystemTime::now())?));
        Ok(())
    }

    /// The configuration for a handshake at this listener. `None` if it speaks cleartext, or is none of this worker's.
    pub(crate) fn of(&self, listener: &ListenerFacts) -> Option<Config> {
        let profile = listener.tls.as_ref()?;
        let place = self.profiles.iter().position(|own| own == profile)?;
        if self.has_old_keys(SystemTime::now()) {
            self.stale.notify_one();
        }
        self.current.load().by_profile.get(place).cloned()
    }

    /// True if ticket keys that go by the clock are those of a period that is over at `now`: the machine has slept, or its clock was set.
    pub(super) fn has_old_keys(&self, now: SystemTime) -> bool {
        self.current.load().keys_until.is_some_and(|until| until <= now)
    }

    /// Told by a handshake that finds such keys.
    pub(super) fn stale(&self) -> Arc<Notify> {
        Arc::clone(&self.stale)
    }

    /// Lets the period of the ticket keys end long ago.
    #[cfg(test)]
    pub(super) fn sleep_over_a_period(&self) {
        let current = self.current.load_full();
        let by_profile = current.by_profile.clone();
        let keys_until = Some(SystemTime::UNIX_EPOCH);
        self.current.store(Arc::new(Configs { number: current.number, keys_until, by_profile }));
    }

    /// The configuration of a connection that goes on from keys.
    pub(super) fn taken(&self) -> Result<Config, Error> {
        if let Some(config) = self.taken.get() {
            return Ok(config.clone());
        }
        let config = profile::taken()?.build()?;
        Ok(self.taken.get_or_init(|| config).clone())
    }

    /// Number of the material that counts.
    pub(crate) fn number(&self) -> u64 {
        self.current.load().number
    }
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext").field("profiles", &self.profiles).field("number", &self.number()).finish()
    }
}

impl Configs {
    fn make(profiles: &[Profile], material: &Material, now: SystemTime) -> Result<Self, TlsError> {
        let named = profiles.iter().flat_map(|profile| &profile.settings().pairs);
        let chains = Chains::load(material, named)?;
        let tickets = tickets::keys(material, now);
        let by_profile = profiles.iter().map(|profile| config(profile, material, &chains, &tickets));
        let by_profile = by_profile.collect::<Result<_, _>>()?;
        let keys_until = material.ticket_secret.as_ref().map(|_| now + tickets::until_next(now));
        Ok(Self { number: material.number, keys_until, by_profile })
    }
}

fn config(profile: &Profile, material: &Material, chains: &Chains, tickets: &[TicketKey]) -> Result<Config, TlsError> {
    let settings = profile.settings();
    let mut builder = match &settings.client {
        None => profile.builder(None)?,
        Some((file, _)) => {
            let refused = |why| TlsError::Authority { file: file.clone(), why };
            let authority = material.authorities.iter().find(|authority| authority.file == *file);
            let authority = authority.ok_or_else(|| refused("it has not come; restart the supervisor"))?;
            profile.builder(Some(&authority.pem)).map_err(|error| refused(why(&error)))?
        }
    };
    chains.add(&settings.pairs, &mut builder)?;
    if profile.has_tickets() {
        tickets::add(tickets, &mut builder)?;
    }
    Ok(builder.build()?)
}

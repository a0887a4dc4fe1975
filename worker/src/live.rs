//! Settings in force, and what is made of them. A request takes them once, and they are replaced as one: none sees half of a change.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use axum::extract::Request;
#[cfg(feature = "watch")]
pub(crate) use gin_shared::config::watch::Watch;
use gin_shared::reference::Applies;

use crate::config::{self, Config};
use crate::mount::{Mount, Mounted};
use crate::parts::Parts;
use crate::request_id::Name;
use crate::shared_memory::Buckets;
use crate::traces::Tracer;
#[cfg(not(feature = "watch"))]
pub(crate) use crate::without::Watch;
use crate::{StartError, logging};

/// Settings, and what is made of them.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) config: Config,
    /// Directories and files that are served. Each has the place in this list that its definition has in `mounts`.
    pub(crate) mounted: Arc<[Mounted]>,
    mounts: Arc<[Mount]>,
    /// Of `[rate_limit]`.
    pub(crate) buckets: Arc<Buckets>,
    /// Parts that hear of a change before it counts, and that requests take.
    parts: Parts,
    /// Address of a Unix socket that this worker accepts on, if it has one.
    unix_listener: Arc<OnceLock<String>>,
    /// The maker of spans, if requests are traced.
    tracer: Option<&'static Tracer>,
}

/// Those in force.
pub(crate) type Settings = Arc<ArcSwap<Live>>;

/// Those that a request goes by: an extension of it.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot(pub(crate) Arc<Live>, pub(crate) Option<Name>);

impl Snapshot {
    /// This request goes by these from here on, under this name. A router without parts in a server that has some leaves its requests
    /// these.
    pub(crate) fn put(live: &Arc<Live>, name: Option<Name>, request: &mut Request) {
        let extensions = request.extensions_mut();
        if !live.parts.is_empty() {
            extensions.insert(live.parts.clone());
        }
        extensions.insert(Self(Arc::clone(live), name));
    }
}

/// What became of a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that counts here.
    Nothing,
    /// So many settings are others now; those that are named need a restart.
    Applied { changed: Vec<String>, later: Vec<String> },
}

impl Live {
    /// # Errors
    /// If there is no such directory or file.
    pub(crate) fn open(
        config: Config,
        mounts: Vec<Mount>,
        buckets: Arc<Buckets>,
        parts: Parts,
    ) -> Result<Self, StartError> {
        let mounted = opened(&mounts, &config)?;
        let (mounts, unix_listener) = (mounts.into(), Arc::default());
        Ok(Self { config, mounted, mounts, buckets, parts, unix_listener, tracer: None })
    }

    /// Tells the maker of spans of changes, too.
    pub(crate) fn traced(self, tracer: Option<&'static Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Says that this worker accepts on a Unix socket.
    ///
    /// # Errors
    /// If clients are limited by their addresses, which this socket does not tell.
    pub(crate) fn accepts_on(&self, address: &str) -> Result<(), StartError> {
        let _ = self.unix_listener.set(address.to_owned());
        self.check(&self.config)
    }

    /// # Errors
    /// If these settings do not go with what this worker accepts on.
    fn check(&self, config: &Config) -> Result<(), StartError> {
        match self.unix_listener.get().filter(|_| config.refuses_unix_sockets()) {
            Some(address) => Err(StartError::RateLimit { address: address.clone() }),
            None => Ok(()),
        }
    }

    /// What may change while it runs is as `new` says, the rest as it was.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::accepts_on`].
    fn after(&self, new: Config) -> Result<(Self, Change), StartError> {
        let different = config::difference(&self.config, &new);
        // Whether there are files at all decides about routes.
        let is_same_mount = self.config.files.dir.is_some() == new.files.dir.is_some();
        let is_live =
            |(key, applies): &(String, Applies)| *applies == Applies::Live && (key != "static.dir" || is_same_mount);
        let (changed, later): (Vec<_>, Vec<_>) = different.into_iter().partition(is_live);
        let names = |all: Vec<(String, Applies)>| all.into_iter().map(|(key, _)| key).collect();
        let (changed, later): (Vec<String>, Vec<String>) = (names(changed), names(later));
        if changed.is_empty() && later.is_empty() {
            return Ok((self.with(new, Arc::clone(&self.mounted)), Change::Nothing));
        }
        let mut config = self.config.clone().with_live(&new);
        if !is_same_mount {
            config.files.dir.clone_from(&self.config.files.dir);
        }
        self.check(&config)?;
        let remade = ["static.dir", "static.memory", "static.compression_level"];
        let is_remade = changed.iter().any(|key| remade.contains(&key.as_str()));
        let mounted = if is_remade { opened(&self.mounts, &config)? } else { self.renewed(&config)? };
        Ok((self.with(config, mounted), Change::Applied { changed, later }))
    }

    /// The same files by other settings.
    fn renewed(&self, config: &Config) -> Result<Arc<[Mounted]>, StartError> {
        self.mounts.iter().zip(self.mounted.iter()).map(|(mount, before)| mount.renewed(before, config)).collect()
    }

    /// The same with other settings and files.
    fn with(&self, config: Config, mounted: Arc<[Mounted]>) -> Self {
        let (buckets, unix_listener) = (Arc::clone(&self.buckets), Arc::clone(&self.unix_listener));
        let (mounts, parts, tracer) = (Arc::clone(&self.mounts), self.parts.clone(), self.tracer);
        Self { config, mounted, mounts, buckets, parts, unix_listener, tracer }
    }
}

/// Opens all. They share the memory for small files.
fn opened(mounts: &[Mount], config: &Config) -> Result<Arc<[Mounted]>, StartError> {
    let memory = config.files.memory / mounts.len().max(1) as u64;
    mounts.iter().map(|mount| mount.open(config, memory)).collect()
}

/// Reads the configuration anew from where it came from.
///
/// # Errors
/// Whatever is wrong with it; then nothing has changed.
pub(crate) fn reload(settings: &Settings) -> Result<Change, StartError> {
    let now = settings.load();
    let new = Config::<()>::again(&now.config).map_err(StartError::Config)?;
    let (next, change) = now.after(new)?;
    // Also where the configuration is the same: a file that it names may have other contents.
    next.parts.reconfigure(&next.config)?;
    if let Change::Applied { changed, later } = &change {
        if now.config.logging.targets != next.config.logging.targets {
            logging::set_targets(&next.config.logging.targets);
        }
        if let Some(tracer) = next.tracer {
            tracer.set_ratio(next.config.tracing.sample_rate);
        }
        // It is told while it is not too quiet for that, or once it is loud enough.
        let (before, after) = (now.config.logging.level, next.config.logging.level);
        if after < before {
            logging::set_level(after);
        }
        settings.store(Arc::new(next));
        tracing::info!(changed = changed.join(" "), "the configuration has changed");
        if !later.is_empty() {
            tracing::warn!("these count after a restart: {}", later.join(", "));
        }
        if after > before {
            logging::set_level(after);
        }
    }
    Ok(change)
}

/// The file is read on SIGHUP alone.
#[cfg(not(feature = "watch"))]
pub(crate) fn watch(_: &Settings) -> Option<Watch> {
    None
}

/// From now on the file is looked at whenever it changes. Without a file there is nothing to watch.
#[cfg(feature = "watch")]
pub(crate) fn watch(settings: &Settings) -> Option<Watch> {
    let (path, text) = settings.load().config.origin.file.clone()?;
    let own = Arc::clone(settings);
    Watch::new(&path, text.into_bytes(), move || reload_or_tell(&own))
        .inspect_err(|error| tracing::warn!("{}: changes will not be noticed: {error}", path.display()))
        .ok()
}

/// The same, where there is nobody to tell but the log.
pub(crate) fn reload_or_tell(settings: &Settings) {
    match reload(settings) {
        Ok(Change::Nothing) => tracing::info!("the configuration was read, and nothing of it is new"),
        Ok(Change::Applied { .. }) => {}
        Err(StartError::Config(invalid)) => {
            for (place, text) in invalid.problems() {
                tracing::error!("the configuration stays as it was: {place}: {text}");
            }
        }
        Err(error) => tracing::error!("the configuration stays as it was: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn live(config: Config) -> Live {
        Live::open(config, Vec::new(), Arc::new(Buckets::own(1024)), Parts::default()).unwrap()
    }

    fn of(text: &str) -> Config {
        Config::from_text(Path::new("a.toml"), text).unwrap()
    }

    #[test]
    fn what_may_change_changes_and_the_rest_is_named() {
        let live = live(of("[server]\nport = 1\n[cors]\nmax_age = \"1h\""));
        let (next, change) = live
            .after(of("[server]\nport = 2\ntrusted_proxies = [\"10.0.0.0/8\"]\n[rate_limit]\nenable = true\nclients = 2048\n[timeouts]\nrequest = \"1s\"\nread = \"1s\""))
            .unwrap();
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let changed = texts(&["server.trusted_proxies", "timeouts.request", "cors.max_age", "rate_limit.enable"]);
        let later = texts(&["server.port", "timeouts.read", "rate_limit.clients"]);
        assert_eq!(change, Change::Applied { changed, later });
        let config = &next.config;
        assert!(config.rate_limit.enable && config.timeouts.request.is_some() && config.server.port == 1);
        assert_eq!((config.rate_limit.clients, config.server.trusted_proxies.len()), (65_536, 1));
        assert_eq!(config.cors.max_age.as_secs(), 12 * 60 * 60);
        assert_eq!(next.after(next.config.clone()).unwrap().1, Change::Nothing);
    }

    #[test]
    fn a_limit_by_address_is_refused_where_a_socket_tells_none() {
        let live = live(of(""));
        live.accepts_on("unix:/run/shop.sock").unwrap();
        let refused = live.after(of("[rate_limit]\nenable = true")).unwrap_err().to_string();
        assert!(refused.contains("clients over unix:/run/shop.sock have no address"), "{refused}");
        for fitting in [
            "[rate_limit]\nenable = true\nwithout_address = \"one_bucket\"",
            "[rate_limit]\nenable = true\nwithout_address = \"unlimited\"",
            "[rate_limit]\nenable = true\n[server]\ntrusted_proxies = [\"127.0.0.1\"]",
        ] {
            live.after(of(fitting)).unwrap();
        }
    }

    /// A key that is said to change live and does not, or the other way round, is found here.
    #[test]
    fn each_key_does_what_the_reference_says() {
        let dir = std::env::temp_dir();
        let before = of(&format!("[static]\ndir = {:?}", dir.display().to_string()));
        let live = live(before.clone());
        for (key, value, _) in config::samples() {
            let (section, name) = key.split_once('.').unwrap();
            let text = match (section, name) {
                ("static", "dir") => "[static]\ndir = \"/\"".to_owned(),
                ("static", name) => format!("[static]\ndir = {:?}\n{name} = {value}", dir.display().to_string()),
                ("security", "client_ca_file") => {
                    format!(
                        "[static]\ndir = {:?}\n[security]\nclient_auth = \"required\"\n{name} = {value}",
                        dir.display().to_string()
                    )
                }
                _ => format!("[static]\ndir = {:?}\n[{section}]\n{name} = {value}", dir.display().to_string()),
            };
            let new = of(&text);
            let Change::Applied { changed, .. } = live.after(new.clone()).unwrap().1 else { panic!("{key}") };
            let after = before.clone().with_live(&new);
            let is_taken = Config { origin: before.origin.clone(), ..after } != before;
            assert_eq!(changed.contains(&key), is_taken, "{key} = {value}");
        }
    }
}

//! Names without a section, as other services write them (`enable_hot_restart`, `pid_file`), and the keys that they stand for here.

use super::SECTIONS;

/// Names whose key has another one. Of all others the section and the key are in the name (`static_dir`), or the key alone, if only
/// one section has it (`pid_file`).
const OTHERS: [(&str, &str); 17] = [
    ("name", "server.name"),
    ("host", "server.host"),
    ("port", "server.port"),
    ("mode", "server.mode"),
    ("enable_graceful_shutdown", "features.graceful_shutdown"),
    ("enable_hot_restart", "features.hot_restart"),
    ("enable_metrics", "features.metrics"),
    ("enable_pprof", "features.pprof"),
    ("enable_tracing", "features.tracing"),
    ("enable_cors", "cors.enable"),
    ("enable_rate_limit", "rate_limit.enable"),
    ("enable_prometheus", "monitoring.prometheus.enable"),
    ("read_timeout", "timeouts.read"),
    ("write_timeout", "timeouts.write"),
    ("idle_timeout", "timeouts.idle"),
    ("shutdown_timeout", "timeouts.shutdown"),
    ("log_level", "logging.level"),
];

/// The key that a name without a section stands for, with its section: `supervisor.pid_file`.
#[must_use]
pub fn key_of(name: &str) -> Option<String> {
    if let Some((_, key)) = OTHERS.iter().find(|(other, _)| *other == name) {
        return Some((*key).to_owned());
    }
    let all = || SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section.name, key.name)));
    let joined = |(section, key): &(&str, &str)| {
        name.strip_prefix(section).and_then(|rest| rest.strip_prefix('_')).is_some_and(|rest| rest == *key)
    };
    let found = all().find(joined).or_else(|| {
        let mut same = all().filter(|(_, key)| *key == name);
        same.next().filter(|_| same.next().is_none())
    });
    found.map(|(section, key)| format!("{section}.{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_section_leads_to_its_key() {
        for (name, key) in [
            ("enable_graceful_shutdown", "features.graceful_shutdown"),
            ("shutdown_timeout", "timeouts.shutdown"),
            ("shutdown_signals", "supervisor.shutdown_signals"),
            ("enable_hot_restart", "features.hot_restart"),
            ("pid_file", "supervisor.pid_file"),
            ("restart_signal", "supervisor.restart_signal"),
            ("static_dir", "static.dir"),
            ("static_url_prefix", "static.url_prefix"),
            ("enable_directory_listing", "static.enable_directory_listing"),
            ("static_cache_max_age", "static.cache_max_age"),
            ("enable_compression", "static.enable_compression"),
            ("compression_level", "static.compression_level"),
            ("index_files", "static.index_files"),
            ("cors_allow_origins", "cors.allow_origins"),
            ("rate_limit_window", "rate_limit.window"),
            ("enable_https", "security.enable_https"),
            ("cert_file", "security.cert_file"),
            ("key_file", "security.key_file"),
        ] {
            assert_eq!(key_of(name).as_deref(), Some(key));
        }
        // Several sections have the first; nobody knows the second.
        assert_eq!((key_of("enable"), key_of("statik")), (None, None));
    }

    #[test]
    fn each_key_that_is_named_is_one() {
        for (name, key) in OTHERS {
            let (section, rest) = key.split_once('.').unwrap();
            let first = rest.split('.').next().unwrap();
            let section = SECTIONS.iter().find(|known| known.name == section).unwrap();
            assert!(section.keys.iter().any(|known| known.name == first), "{name}: {key}");
        }
    }
}

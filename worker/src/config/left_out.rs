//! Settings that need a part of this library which the program was built without: see the table of features at the head of the
//! crate. What is on by default and left out says nothing; what somebody has written down and would not get is an error.
//!
//! Traces and profiles are the exception: they are only watched with, and a file that another service has is to start with fewer features.
//! There a warning names the feature.

use gin_shared::config::{Entry, Problems, Value};
use gin_shared::sections;

/// A setting that needs a feature.
struct Need {
    section: &'static str,
    key: &'static str,
    /// True for values that need it.
    needs: fn(&Value) -> bool,
    feature: &'static str,
    is_there: bool,
}

const NEEDS: [Need; 13] = [
    Need {
        section: "static",
        key: "dir",
        needs: is_text,
        feature: "static-files",
        is_there: cfg!(feature = "static-files"),
    },
    Need {
        section: "static",
        key: "mounts",
        needs: is_list,
        feature: "static-files",
        is_there: cfg!(feature = "static-files"),
    },
    Need {
        section: "static",
        key: "enable_compression",
        needs: is_on,
        feature: "compression",
        is_there: cfg!(feature = "compression"),
    },
    Need {
        section: sections::FEATURES,
        key: "metrics",
        needs: is_on,
        feature: "metrics",
        is_there: cfg!(feature = "metrics"),
    },
    Need {
        section: "logging",
        key: "compress",
        needs: is_on,
        feature: "compression",
        is_there: cfg!(feature = "compression"),
    },
    Need {
        section: "logging",
        key: "output",
        needs: is_journald,
        feature: "journald",
        is_there: cfg!(feature = "journald"),
    },
    Need {
        section: sections::RATE_LIMIT,
        key: "store",
        needs: is_in_redis,
        feature: "redis",
        is_there: cfg!(feature = "redis"),
    },
    // A program without a cache, or without sessions, passes their sections over.
    Need {
        section: "cache",
        key: "levels",
        needs: is_in_redis,
        feature: "redis",
        is_there: cfg!(any(feature = "redis", not(feature = "cache"))),
    },
    Need {
        section: "sessions",
        key: "store",
        needs: is_in_redis,
        feature: "redis",
        is_there: cfg!(any(feature = "redis", not(feature = "sessions"))),
    },
    Need {
        section: "auth",
        key: "store",
        needs: is_in_redis,
        feature: "redis",
        is_there: cfg!(any(feature = "redis", not(feature = "auth"))),
    },
    Need {
        section: sections::SECURITY,
        key: "enable_csrf",
        needs: is_on,
        feature: "csrf",
        is_there: cfg!(feature = "csrf"),
    },
    Need {
        section: sections::SECURITY,
        key: "enable_https",
        needs: is_on,
        feature: "tls",
        is_there: cfg!(feature = "tls"),
    },
    Need {
        section: sections::SUPERVISOR,
        key: "listen",
        needs: has_tls,
        feature: "tls",
        is_there: cfg!(feature = "tls"),
    },
];

fn is_on(value: &Value) -> bool {
    *value == Value::Boolean(true)
}

fn is_list(value: &Value) -> bool {
    matches!(value, Value::Array(items) if !items.is_empty())
}

/// True for a list of listeners of which one speaks TLS by a word of its own.
fn has_tls(value: &Value) -> bool {
    let Value::Array(listeners) = value else { return false };
    listeners.iter().any(|listener| {
        let Value::Table(keys) = &listener.value else { return false };
        find(keys, "tls").is_some_and(|entry| is_on(&entry.node.value) || matches!(entry.node.value, Value::Table(_)))
    })
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::String(_))
}

fn is_journald(value: &Value) -> bool {
    matches!(value, Value::String(text) if text == "journald")
}

fn is_in_redis(value: &Value) -> bool {
    matches!(value, Value::String(text) if text == "redis" || text == "both")
}

/// Features of the two switches that are no error without it: of traces and of profiles.
const WATCHING: [(&str, bool); 2] = [("otel", cfg!(feature = "otel")), ("profile", cfg!(feature = "profile"))];

/// Warnings of switches that are on, of traces and of profiles, each with its key, if this build has not their feature.
pub(super) fn warnings(switches: [(bool, &str); 2]) -> Vec<String> {
    warnings_of(WATCHING, switches)
}

fn warnings_of(watching: [(&str, bool); 2], switches: [(bool, &str); 2]) -> Vec<String> {
    let missing = watching.into_iter().zip(switches).filter(|((_, is_there), (is_on, _))| *is_on && !is_there);
    let warning = |((feature, _), (_, key)): ((&str, bool), (bool, &str))| {
        format!(
            "{key}: this program was built without the feature \"{feature}\" of gin-worker, and goes without; build it with that \
             feature, or take the key out"
        )
    };
    missing.map(warning).collect()
}

/// Adds each setting that this build cannot do.
pub(super) fn check(entries: &[Entry], problems: &Problems) {
    check_all(&NEEDS, entries, problems);
}

fn check_all(needs: &[Need], entries: &[Entry], problems: &Problems) {
    for Need { section, key, needs, feature, .. } in needs.iter().filter(|need| !need.is_there) {
        let Some(Value::Table(keys)) = find(entries, section).map(|entry| &entry.node.value) else { continue };
        if let Some(entry) = find(keys, key).filter(|entry| needs(&entry.node.value)) {
            problems.add(
                &entry.place,
                format!(
                    "{section}.{key}: this program was built without the feature \"{feature}\" of gin-worker; build it with that \
                     feature, or take the key out"
                ),
            );
        }
    }
}

fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gin_shared::config::tree;

    use super::*;

    #[test]
    fn what_was_left_out_is_an_error_where_it_is_asked_for() {
        let path = Path::new("a.toml");
        let told = |text: &str, is_there| {
            let entries = tree::parse(path, text).unwrap();
            let problems = Problems::new(path);
            let needs = NEEDS.map(|need| Need { is_there, ..need });
            check_all(&needs, &entries, &problems);
            problems.into_vec().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let asks = "[static]\ndir = \"/srv\"\nenable_compression = true\n[features]\nmetrics = true\n\
                    [logging]\ncompress = true\noutput = \"journald\"\n\
                    [[static.mounts]]\nurl_prefix = \"/a\"\ndir = \"/srv\"\n\
                    [rate_limit]\nstore = \"redis\"\n[cache]\nlevels = \"both\"\n[sessions]\nstore = \"redis\"\n\
                    [auth]\nstore = \"redis\"\n[security]\nenable_csrf = true\nenable_https = true\n\
                    [[supervisor.listen]]\naddress = \":80\"\n[[supervisor.listen]]\naddress = \":443\"\ntls = {}\n";
        let all = told(asks, false);
        assert_eq!(all.len(), NEEDS.len(), "{all:?}");
        let first = "a.toml:2: static.dir: this program was built without the feature \"static-files\" of gin-worker; build it \
                     with that feature, or take the key out";
        assert!(all.iter().any(|problem| problem == first), "{all:?}");
        assert!(told(asks, true).is_empty());
        let asks_not = "[static]\nenable_compression = false\n[features]\nmetrics = false\n[logging]\noutput = \"stderr\"\n\
                        [rate_limit]\nstore = \"local\"\n[cache]\nlevels = \"process\"\n[sessions]\nstore = \"sqlite\"\n\
                        [auth]\nstore = \"sqlite\"\n[security]\nenable_csrf = false\nenable_https = false\n\
                        [[supervisor.listen]]\naddress = \":80\"\ntls = false\n";
        assert!(told(asks_not, false).is_empty());
    }

    #[test]
    fn traces_and_profiles_that_were_left_out_are_warnings() {
        let told = |is_there, is_on| {
            let watching = WATCHING.map(|(feature, _)| (feature, is_there));
            warnings_of(watching, [(is_on, "features.tracing"), (is_on, "features.pprof")])
        };
        let all = told(false, true);
        assert!(all[0].starts_with("features.tracing: ") && all[0].contains("\"otel\""), "{all:?}");
        assert!(all[1].starts_with("features.pprof: ") && all[1].contains("\"profile\""), "{all:?}");
        for (is_there, is_on) in [(true, true), (false, false)] {
            assert!(told(is_there, is_on).is_empty());
        }
    }
}

//! Beyond one machine: the recipes for clusters, with real parts where a cluster is not at hand.

mod manifests;
mod race;
mod swarm;

use std::path::{Path, PathBuf};

/// A file or directory of the recipe for Kubernetes.
fn kubernetes(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/recipes/kubernetes").join(name)
}

/// The configuration that the recipe gives to its pods.
fn configuration() -> String {
    std::fs::read_to_string(kubernetes("base/gin.toml")).unwrap()
}

/// A duration of that configuration, which is written in seconds.
fn seconds(config: &str, key: &str) -> u64 {
    let value = config.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
    let value =
        value.and_then(|rest| rest.split_once("s\"")).unwrap_or_else(|| panic!("no {key} in seconds: {config}"));
    value.0.parse().unwrap()
}

//! Counts of what has happened since the instance was started. They outlive the master.

use gin_shared::channel::Fates;
use gin_shared::metrics::Family;

use crate::machine::counts::{Counts, Kills, Upgrades};

/// The families.
pub(super) fn families(counts: &Counts, fates: &Fates) -> Vec<Family> {
    let Counts { upgrades, respawns, kills } = *counts;
    let Upgrades { done, failed, cancelled } = upgrades;
    let Kills { drain_timeout, hangs, not_started, fast_stop } = kills;
    let by_reason =
        [("drain_timeout", drain_timeout), ("hangs", hangs), ("not_started", not_started), ("fast_stop", fast_stop)];
    let by_fate = [
        ("handed_over", fates.handed_over),
        ("finished", fates.finished),
        ("closed", fates.closed),
        ("cut", fates.cut),
    ];
    vec![
        by(
            "gin_upgrades",
            "Upgrades that ended, the first generation of a supervisor included.",
            "result",
            &[("done", done), ("failed", failed), ("cancelled", cancelled)],
        ),
        Family::counter("gin_worker_respawns", "Workers that ended unasked, and whose slots were given other ones.")
            .with(&[], respawns as f64),
        by("gin_worker_kills", "Workers that were sent SIGKILL.", "reason", &by_reason),
        by(
            "gin_connections_drained",
            "What became of the connections of draining workers built on gin-worker.",
            "fate",
            &by_fate,
        ),
    ]
}

/// A counter with a series for each value of a label.
fn by(name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> Family {
    let family = Family::counter(name, help);
    values.iter().fold(family, |family, (value, count)| family.with(&[(label, *value)], *count as f64))
}

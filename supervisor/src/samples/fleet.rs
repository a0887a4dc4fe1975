//! The fleet: what serves, what waits, since when.

use gin_shared::metrics::Family;
use gin_shared::status::{GenerationStatus, Role, Upgrade};

use super::Samples;
use super::meter::Clock;

/// The families.
pub(super) fn families(samples: &Samples, clock: Clock) -> Vec<Family> {
    let mut families = states(samples);
    families.extend(times(samples, clock));
    families.extend(last_upgrade(samples, clock));
    families
}

fn states(samples: &Samples) -> Vec<Family> {
    let Samples { status, fleet, .. } = samples;
    let current = status.generations.iter().find(|generation| generation.role == Role::Current);
    let number = current.map_or(0, |current| current.generation.0);
    let degraded = status.degraded || status.crash_loop || fleet.down;
    let queue = Family::gauge("gin_listen_queue", "Connections that wait to be accepted, of a TCP listener.");
    let queue = status.listeners.iter().fold(queue, |queue, listener| match listener.queue {
        Some(waiting) => queue.with(&[("listener", listener.name.as_str())], waiting.into()),
        None => queue,
    });
    vec![
        Family::gauge("gin_build_info", "The version of the supervisor, as a label.")
            .with(&[("version", status.version.as_str())], 1.0),
        gauge("gin_generation", "The current generation; 0: none yet.", number as f64),
        gauge(
            "gin_degraded",
            "1 if fewer workers serve than should, a slot is in a crash loop, or clients wait and nobody accepts.",
            flag(degraded),
        ),
        gauge(
            "gin_down",
            "1 if no worker serves, but for the time between two crashes; also before the first one does.",
            flag(fleet.down),
        ),
        gauge(
            "gin_crash_loop",
            "1 from the second failure in a row of a slot's workers, until one has served for 10 s.",
            flag(status.crash_loop),
        ),
        gauge("gin_slots_in_backoff", "Slots that wait before their next worker.", fleet.in_backoff as f64),
        gauge("gin_workers_wanted", "Workers that there should be.", status.workers.into()),
        gauge("gin_workers_serving", "Workers of the current generation that serve.", serving(current)),
        gauge("gin_restarts_waiting", "Restarts that wait for their turn.", fleet.restarts_waiting as f64),
        gauge("gin_connections_draining", "Connections of workers that drain.", status.connections.open as f64),
        queue,
    ]
}

fn times(samples: &Samples, clock: Clock) -> Vec<Family> {
    let times = samples.times;
    let mut families = vec![gauge(
        "gin_start_time_seconds",
        "Start of the supervisor's process, in seconds since 1970. An upgrade in place goes on in the same process.",
        clock.seconds_at(times.started),
    )];
    families.extend(times.first_started.map(|first| {
        gauge(
            "gin_instance_start_time_seconds",
            "Start of the first supervisor of which each later one has taken over the workers, in seconds since 1970.",
            clock.seconds_at(first),
        )
    }));
    families
}

fn last_upgrade(samples: &Samples, clock: Clock) -> Vec<Family> {
    let (Some(last), Some(at)) = (&samples.status.last_upgrade, samples.times.upgraded) else { return Vec::new() };
    let Upgrade { done, took_ms, .. } = last;
    vec![
        gauge(
            "gin_last_upgrade_timestamp_seconds",
            "End of the last upgrade, in seconds since 1970.",
            clock.seconds_at(at),
        ),
        gauge(
            "gin_last_upgrade_success",
            "1 if the last upgrade came to serve; 0 if it failed, or was called off.",
            flag(*done),
        ),
        gauge("gin_last_upgrade_duration_seconds", "Time that the last upgrade took.", *took_ms as f64 / 1000.0),
    ]
}

fn serving(current: Option<&GenerationStatus>) -> f64 {
    let workers = current.into_iter().flat_map(|current| &current.workers);
    workers.filter(|worker| worker.state == "serving").count() as f64
}

fn gauge(name: &str, help: &str, value: f64) -> Family {
    Family::gauge(name, help).with(&[], value)
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

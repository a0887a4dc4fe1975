//! Body of `GET /v1/metrics`: what Prometheus reads (text format 0.0.4).

use std::fmt::Write;

use crate::status::{Role, State, Status};

/// The media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The status as samples. Counters begin anew with the master.
#[must_use]
pub fn text(status: &Status) -> String {
    let instance = format!("instance=\"{}\"", escaped(&status.instance));
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, u64)>| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{{instance}{labels}}} {value}");
        }
    };
    let plain = |value: u64| vec![(String::new(), value)];
    let current = status.generations.iter().find(|generation| generation.role == Role::Current);
    let serving = current.map_or(0, |current| current.workers.iter().filter(|w| w.state == "serving").count());
    let fates = &status.connections;
    let fate = |name: &str, count| (format!(",fate=\"{name}\""), count);
    family("gin_up_seconds", "gauge", "Since the supervisor started.", plain(status.uptime_ms / 1000));
    family("gin_generation", "gauge", "The current generation.", plain(current.map_or(0, |c| c.generation.0)));
    family(
        "gin_degraded",
        "gauge",
        "1 if fewer workers serve than should, or nobody accepts.",
        plain(status.degraded.into()),
    );
    family("gin_down", "gauge", "1 if no worker serves.", plain((status.state == State::Down).into()));
    family("gin_workers_wanted", "gauge", "Workers that there should be.", plain(status.workers.into()));
    family("gin_workers_serving", "gauge", "Workers of the current generation that serve.", plain(serving as u64));
    let queues = status.listeners.iter().filter_map(|listener| {
        Some((format!(",listener=\"{}\"", escaped(&listener.name)), u64::from(listener.queue?)))
    });
    family("gin_listen_queue", "gauge", "Connections that wait to be accepted.", queues.collect());
    family("gin_connections_draining", "gauge", "Connections of workers that drain.", plain(fates.open));
    family(
        "gin_connections_drained_total",
        "counter",
        "What became of the connections of workers of ours that drained.",
        vec![
            fate("handed_over", fates.handed_over),
            fate("finished", fates.finished),
            fate("closed", fates.closed),
            fate("cut", fates.cut),
        ],
    );
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

//! Figures of this worker, as JSON: `/debug/vars`, as Go's `expvar` has it.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Asked, Debug};
use crate::observed::requests::Requests;
use crate::{Result, ResultExt};

pub(super) async fn answer(asked: &Asked<'_>) -> Result<Response> {
    let Asked { about, debug, .. } = asked;
    let Debug { life, parts, tracer, .. } = debug;
    let requests = debug.requests;
    // The kernel walks through all of the memory, and a hundred thousand requests may be alive.
    let (memory, requests) = tokio::task::spawn_blocking(move || (memory(), requests.map(alive))).await.internal()?;
    let told = json!({
        "cmdline": std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "version": about.version,
        "uptime_seconds": about.started.elapsed().as_secs_f64(),
        "runtime": runtime(),
        "memory": memory,
        "connections": {
            "open": life.connections(),
            "accepted": life.accepted(),
            "taken_over": life.taken_over(),
        },
        "requests": requests,
        "parts": parts.details(),
        "traces": tracer.map(|tracer| {
            let (waiting, bytes) = tracer.sink().waiting();
            json!({ "waiting": waiting, "bytes": bytes })
        }),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

fn alive(requests: &Requests) -> Value {
    let blocked: u64 = requests.blocked().iter().map(|blocked| blocked.count).sum();
    json!({ "alive": requests.count(), "blocked": blocked })
}

/// Figures of tokio, those that it promises.
fn runtime() -> Value {
    let metrics = Handle::current().metrics();
    let workers = metrics.num_workers();
    let busy = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64());
    json!({
        "workers": workers,
        "alive_tasks": metrics.num_alive_tasks(),
        "global_queue_depth": metrics.global_queue_depth(),
        "busy_seconds": busy.sum::<f64>(),
    })
}

/// Memory in bytes (proc_pid_smaps(5)). Without access to that, it is null.
fn memory() -> Value {
    std::fs::read_to_string("/proc/self/smaps_rollup").map_or(Value::Null, |text| sizes(&text))
}

fn sizes(text: &str) -> Value {
    let sizes: BTreeMap<&str, u64> = text.lines().filter_map(size).collect();
    let told = [("resident", "Rss"), ("proportional", "Pss"), ("anonymous", "Anonymous"), ("swapped", "Swap")];
    Value::Object(told.iter().map(|(name, key)| ((*name).to_owned(), json!(sizes.get(key)))).collect())
}

/// A line like `Rss:     1234 kB`, in bytes.
fn size(line: &str) -> Option<(&str, u64)> {
    let (key, value) = line.split_once(':')?;
    let size: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((key, size * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        let text =
            "5580-7ffc ---p 00000000 00:00 0   [rollup]\nRss:    8 kB\nPss:      4 kB\nPss_Dirty: 1 kB\nSwap: 0 kB\n";
        let expected = json!({ "resident": 8192, "proportional": 4096, "anonymous": null, "swapped": 0 });
        assert_eq!(sizes(text), expected);
        assert!(memory().is_null() || memory()["resident"].as_u64() > Some(0));
    }
}

//! `gin-ctl status`

use std::path::Path;
use std::time::Duration;

use gin_shared::exit;
use gin_shared::status::{State, Status};
use serde_json::json;

use super::print_json;
use crate::client::Client;
use crate::failure::Failure;
use crate::left;
use crate::render::status::{Processes, json as json_of, print};
use crate::render::{BAD, PLAIN, journal};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// One look.
pub(super) async fn once(client: &Client, json: bool) -> Result<u8, Failure> {
    let mut status: Status = client.get("/v1/status").await?;
    status.last_upgrade.iter_mut().for_each(journal::complete);
    if json {
        print_json(&json_of(&status, &mut Processes::new()));
    } else {
        print(&status, &mut Processes::new());
    }
    Ok(code(&status))
}

/// One look, in a line, for the health check of a container. An instance that is degraded is alive: to replace it would end the workers
/// that serve.
pub(super) async fn alive(client: &Client, json: bool) -> Result<u8, Failure> {
    let status: Status = client.get("/v1/status").await?;
    let serving = serving(&status);
    if json {
        let (count, why) = (serving.unwrap_or_default(), serving.err());
        let alive = serving.is_ok();
        print_json(&json!({ "alive": alive, "serving": count, "degraded": status.degraded, "why": why }));
    } else {
        crate::say!("{}", sentence(serving, status.degraded));
    }
    Ok(if serving.is_ok() { exit::DONE } else { exit::FAILED })
}

/// The number of workers that serve, in all generations: while a new one is watched, the one before it serves, too.
///
/// # Errors
/// If none does, or is to: the reason, for people.
fn serving(status: &Status) -> Result<usize, &'static str> {
    let workers = status.generations.iter().flat_map(|generation| &generation.workers);
    let count = workers.filter(|worker| worker.state == "serving").count();
    match status.state {
        State::Booting => Err("the first generation is on its way"),
        State::Stopping => Err("all workers are on their way out"),
        State::Serving | State::Upgrading | State::Down | State::Other if count > 0 => Ok(count),
        State::Serving | State::Upgrading | State::Down | State::Other => Err("no worker serves"),
    }
}

fn sentence(serving: Result<usize, &str>, degraded: bool) -> String {
    let degraded = if degraded { ", degraded" } else { "" };
    match serving {
        Ok(1) => format!("alive: 1 serves{degraded}"),
        Ok(count) => format!("alive: {count} serve{degraded}"),
        Err(why) => format!("not alive: {why}"),
    }
}

/// Again and again, until Ctrl-C or the supervisor's end.
pub(super) async fn watch(client: &Client, json: bool) -> Result<u8, Failure> {
    let mut processes = Processes::new();
    loop {
        let status: Status = client.get("/v1/status").await?;
        if json {
            crate::say!("{}", json_of(&status, &mut processes));
        } else {
            crate::show!("\x1b[H\x1b[2J");
            print(&status, &mut processes);
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(code(&status)),
        }
    }
}

/// Without a supervisor: what one has left.
pub(super) fn or_left(
    shown: Result<u8, Failure>,
    socket: Option<&Path>,
    instance: Option<&str>,
    json: bool,
) -> Result<u8, Failure> {
    let failure = match shown {
        Err(failure) if failure.exit == exit::NO_SUPERVISOR => failure,
        other => return other,
    };
    let left = left::find(socket, instance).ok_or(failure)?;
    if json {
        print_json(&left.json());
    } else {
        let name = left.instance();
        crate::say!("{BAD}●{PLAIN} {name}  {BAD}{}{PLAIN}", left.sentence());
        let which = socket.map_or_else(|| format!("stop {name}"), |socket| format!("-s {} stop", socket.display()));
        crate::say!("  gin-supervisor, started again, adopts them; gin-ctl {which} ends them");
    }
    Ok(exit::NO_SUPERVISOR)
}

fn code(status: &Status) -> u8 {
    if status.degraded || status.crash_loop { exit::FAILED } else { exit::DONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status of an instance in this state, with a worker in each of these states in generations of these roles.
    fn status(state: &str, generations: &[(&str, &[&str])]) -> Status {
        let worker = |state: &&str| json!({ "slot": 0, "state": state, "age_ms": 1, "restarts": 0 });
        let generation = |(role, workers): &(&str, &[&str])| {
            let workers: Vec<_> = workers.iter().map(worker).collect();
            json!({ "generation": 1, "role": role, "since_ms": 1, "workers": workers })
        };
        let generations: Vec<_> = generations.iter().map(generation).collect();
        serde_json::from_value(json!({
            "instance": "shop", "state": state, "degraded": true, "pid": 7, "version": "0.1.0", "uptime_ms": 1, "pid_file": "",
            "control": "", "workers": 2, "listeners": [], "generations": generations
        }))
        .unwrap()
    }

    #[test]
    fn who_serves_is_alive_though_it_is_degraded_or_fails_to_upgrade() {
        let of = |state, generations: &[_]| serving(&status(state, generations));
        assert_eq!(of("serving", &[("current", &["serving", "serving"])]), Ok(2));
        assert_eq!(of("serving", &[("current", &["backoff", "serving"])]), Ok(1));
        assert_eq!(of("upgrading", &[("current", &["serving"]), ("candidate", &["starting"])]), Ok(1));
        // The last of the old one has died, and the new one is watched; or the other way round.
        assert_eq!(of("upgrading", &[("current", &["backoff"]), ("candidate", &["serving"])]), Ok(1));
        assert_eq!(of("serving", &[("current", &["backoff"]), ("leaving", &["serving"])]), Ok(1));
        assert_eq!(of("a later version's", &[("current", &["serving"])]), Ok(1));
    }

    #[test]
    fn who_does_not_serve_is_not_alive_and_says_why() {
        let of = |state, generations: &[_]| serving(&status(state, generations)).unwrap_err();
        assert_eq!(of("booting", &[("candidate", &["serving", "starting"])]), "the first generation is on its way");
        assert_eq!(of("down", &[("current", &["backoff"]), ("leaving", &["draining"])]), "no worker serves");
        assert_eq!(of("upgrading", &[("current", &["exited"]), ("candidate", &["ready"])]), "no worker serves");
        assert_eq!(of("stopping", &[("leaving", &["draining"])]), "all workers are on their way out");
    }

    #[test]
    fn the_line_tells_the_number_or_the_reason() {
        assert_eq!(sentence(Ok(2), false), "alive: 2 serve");
        assert_eq!(sentence(Ok(1), true), "alive: 1 serves, degraded");
        assert_eq!(sentence(Err("no worker serves"), true), "not alive: no worker serves");
    }
}

//! Workers that are asked, and files that are written.

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};

/// Two workers serve, one is on its way, and the generation before them drains.
fn status() -> Status {
    let worker = |slot: u32, state: &str| {
        json!({
            "slot": slot, "pid": 7, "state": state, "age_ms": 1, "restarts": 0, "deadline_ms": null, "said": null,
        })
    };
    let generation = |number: u64, role: &str, workers: &[Value]| {
        json!({
            "generation": number, "release": null, "role": role, "since_ms": 1, "workers": workers,
        })
    };
    let current = generation(3, "current", &[worker(0, "serving"), worker(1, "serving"), worker(2, "starting")]);
    let leaving = generation(2, "leaving", &[worker(0, "draining"), worker(1, "killed")]);
    let status = json!({
        "instance": "shop", "state": "serving", "degraded": false, "pid": 7, "version": "1", "uptime_ms": 1,
        "pid_file": "", "control": "", "workers": 3, "listeners": [], "generations": [current, leaving],
        "last_upgrade": null,
    });
    serde_json::from_value(status).unwrap()
}

fn asked(args: &[&str]) -> cli::Profile {
    match Cli::try_parse_from(["gin-ctl", "profile"].iter().chain(args)).unwrap().command {
        Command::Profile(profile) => profile,
        other => panic!("{other:?}"),
    }
}

fn paths(slot: Option<u32>, args: &[&str]) -> Vec<String> {
    let asked = asked(args);
    workers(&status(), slot, asked.all).into_iter().map(|worker| path(worker, &asked)).collect()
}

#[test]
fn workers_that_serve_are_asked_and_with_all_those_that_drain() {
    let usual = "debug/pprof/profile?seconds=10&hz=99";
    let of = |worker: &str| format!("/v1/workers/{worker}/{usual}");
    assert_eq!(paths(None, &[]), [of("3/0"), of("3/1")]);
    assert_eq!(paths(Some(1), &[]), [of("3/1")]);
    assert_eq!(paths(Some(0), &["--all"]), [of("3/0"), of("2/0")]);
    assert!(paths(Some(2), &[]).is_empty());
    assert_eq!(paths(Some(0), &["--heap"]), ["/v1/workers/3/0/debug/pprof/heap"]);
    assert_eq!(
        paths(Some(0), &["--seconds", "30", "--hz", "9"]),
        ["/v1/workers/3/0/debug/pprof/profile?seconds=30&hz=9"]
    );
}

#[test]
fn samples_tell_their_worker() {
    let worker = Asked { generation: Generation(2), slot: 1 };
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(labels(worker, false), [label("slot", "1")]);
    assert_eq!(labels(worker, true), [label("slot", "1"), label("generation", "2")]);
}

#[test]
fn a_title_tells_whose_profile_it_is() {
    assert_eq!(title("shop", 1, &asked(&[])), "shop: 1 worker, 10 s");
    assert_eq!(title("shop", 4, &asked(&["--heap"])), "shop: 4 workers, memory in use");
}

#[test]
fn a_file_that_nobody_has_named_is_not_written_over() {
    let directory = std::env::temp_dir().join(format!("gin-ctl-profile-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let instance = directory.join("shop").display().to_string();
    let file = directory.join("shop.pprof");
    let first = Out::new(None, &instance).unwrap();
    let second = Out::new(None, &instance).unwrap();
    first.write(b"first").unwrap();
    // Both have found nothing there.
    assert!(second.write(b"second").unwrap_err().text.contains("shop.pprof is there already"));
    assert_eq!(Out::new(None, &instance).err().map(|failure| failure.exit), Some(exit::USAGE));
    assert_eq!(fs::read(&file).unwrap(), b"first");
    Out::new(Some(&file), &instance).unwrap().write(b"2").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"2");
    fs::remove_dir_all(&directory).unwrap();
}

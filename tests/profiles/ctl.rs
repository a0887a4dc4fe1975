//! `gin-ctl profile` for all workers at once, and the paths of the control API that it asks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gin_shared::pprof::Profile;
use harness::{Address, Ctl, Load, Scrape, Supervisor, supervisor};

use super::site::{ON, fleet};

fn at(gin: &Supervisor, name: &str) -> String {
    gin.dir().join(name).display().to_string()
}

fn read(path: &str) -> Profile {
    Profile::decode(&fs::read(path).unwrap()).unwrap()
}

/// Slots whose samples are in the profile.
fn slots(profile: &Profile) -> BTreeSet<&str> {
    let labels = profile.samples.iter().flat_map(|sample| &sample.labels);
    labels.filter(|(name, _)| name == "slot").map(|(_, slot)| slot.as_str()).collect()
}

#[test]
fn a_profile_of_all_workers_or_of_one_slot_is_written_with_its_picture() {
    let gin = supervisor().workers(2).section(ON).set("soak = \"0s\"").start();
    let (file, picture) = (at(&gin, "shop.pprof"), at(&gin, "shop.svg"));
    let load = Load::new().keep_alive(&gin.tcp(), 4);
    load.flows(20);
    let taken = gin.ctl(&["profile", "--seconds", "2", "--out", &file, "--flame", &picture]);
    load.finish().assert_unhurt();
    taken.assert(0, &["shop.pprof"]);
    assert!(!read(&file).samples.is_empty());
    assert!(fs::read_to_string(&picture).unwrap().contains("<svg"));
    // One slot alone.
    let one = at(&gin, "one.pprof");
    gin.ctl(&["profile", "1", "--seconds", "1", "--out", &one]).assert(0, &[]);
    assert!(slots(&read(&one)).is_subset(&BTreeSet::from(["1"])));
    gin.ctl(&["profile", "7", "--seconds", "1", "--out", &one]).assert(1, &["7"]);
    gin.stop();
}

#[test]
fn without_the_switch_it_says_what_to_set() {
    let gin = supervisor().start();
    let told = gin.ctl(&["profile", "--seconds", "1", "--out", &at(&gin, "a.pprof")]);
    assert!(told.code != 0 && told.err.contains("features.pprof = true"), "{told:?}");
    assert!(!Path::new(&at(&gin, "a.pprof")).exists());
    gin.stop();
    let foreign = supervisor().foreign("one", "ok").set("soak = \"0s\"").start();
    let told = foreign.ctl(&["profile", "--seconds", "1", "--out", &at(&foreign, "a.pprof")]);
    assert!(told.code != 0 && !told.err.is_empty(), "{told:?}");
    foreign.stop();
}

#[test]
fn the_status_socket_takes_no_profile_and_the_control_socket_gives_no_other_path() {
    let gin = supervisor().section(ON).start();
    let ask = |socket: &str, path: &str| {
        let socket = Address::Unix(gin.dir().join("run").join(socket));
        Scrape::ask(&socket, &format!("/v1/workers/1/0/debug/{path}"), "").unwrap()
    };
    for path in ["vars", "pprof/goroutine", "pprof/block", "pprof/profile?seconds=1", "pprof/heap"] {
        let refused = ask("status.sock", path);
        assert_eq!(refused.status, 403, "{path}: {}", String::from_utf8_lossy(&refused.body));
        let answer = ask("control.sock", path).status;
        assert_eq!(answer, if path == "pprof/heap" { 501 } else { 200 }, "{path}");
    }
    for path in ["secrets", "pprof/", "pprof/../../info", ""] {
        assert!(ask("control.sock", path).status >= 400, "{path}");
    }
    gin.stop();
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn all_workers_are_in_one_profile_and_the_hot_function_is_first() {
    let gin = fleet(2).start();
    let file = at(&gin, "shop.pprof");
    let mut asked = gin.ctl_in_background(&["profile", "--seconds", "2", "--out", &file]);
    while asked.try_wait().unwrap().is_none() {
        // Connections of their own: the kernel gives them to either worker.
        assert_eq!(gin.get("/burn?ms=20").status, 200);
    }
    let told = Ctl::from(asked.wait_with_output().unwrap());
    let first = told.out.lines().skip_while(|line| !line.contains("FUNCTION")).nth(1);
    assert!(first.is_some_and(|line| line.contains("hot_function")), "{told:?}");
    assert_eq!(slots(&read(&file)), BTreeSet::from(["0", "1"]));
    gin.stop();
}

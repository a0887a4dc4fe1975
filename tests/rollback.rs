//! Back to the generation that was good, as it was.

use std::path::Path;

use gin_shared::generation::Generation;
use harness::{Load, Supervisor, binary, fixture, supervisor};
use serde_json::Value;

/// A release that has a program of its own.
fn release(gin: &Supervisor, name: &str, mode: &str) {
    gin.releases().release(name, mode);
    install(&gin.releases().path(name));
}

fn install(release: &Path) {
    std::fs::create_dir_all(release.join("bin")).unwrap();
    std::fs::copy(binary("fixture-worker"), release.join("bin/worker")).unwrap();
}

fn start() -> Supervisor {
    let builder = supervisor().set("command = [\"bin/worker\"]\nsoak = \"0s\"");
    builder.releases().release("one", "ok");
    install(&builder.releases().path("one"));
    let current = builder.releases().current();
    builder.set(&format!("directory = {current:?}")).and_unix().start()
}

fn who(gin: &Supervisor) -> (String, String) {
    let who = gin.who();
    let text = |key: &str| who[key].as_str().unwrap().to_owned();
    (text("release"), text("generation"))
}

#[test]
fn a_program_that_was_deleted_comes_back_under_load_and_the_link_is_warned_of() {
    let gin = start();
    let load = Load::new().keep_alive(&gin.tcp(), 4).one_shot(&gin.tcp(), 4);
    gin.ctl(&["rollback"]).assert(5, &["no generation before this one", "this is the oldest"]);
    load.flows(20);
    release(&gin, "two", "ok");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert_eq!(gin.status().rollback, Some(Generation(1)));
    gin.ctl(&["status"]).assert(0, &["rollback: 1"]);
    std::fs::remove_file(gin.releases().path("one").join("bin/worker")).unwrap();
    gin.ctl(&["rollback"]).assert(0, &["still points to", "releases/two", "the next restart runs that again"]);
    assert_eq!(who(&gin), ("one".into(), "3".into()));
    load.flows(20);

    // A worker of it that dies is one of it again; and so it is under another program of the master.
    gin.ctl(&["scale", "2"]).assert(0, &[]);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    gin.ctl(&["scale", "3"]).assert(0, &[]);
    assert_eq!(who(&gin).0, "one");
    let history: Vec<Value> = serde_json::from_str(&gin.ctl(&["history", "--json"]).out).unwrap();
    assert_eq!((&history[0]["rollback"], &history[0]["done"]), (&1.into(), &true.into()));
    gin.ctl(&["history"]).assert(0, &["3 (rollback to 1) done"]);

    // The next restart is of what lies there, as it was warned.
    gin.restart();
    assert_eq!(who(&gin).0, "two");
    load.finish().assert_unhurt();
    gin.ends_sound();
}

#[test]
fn each_rollback_goes_one_further_back_and_never_to_what_was_left() {
    let gin = start();
    for name in ["two", "three"] {
        release(&gin, name, "ok");
        gin.restart();
    }
    gin.ctl(&["rollback"]).assert(0, &[]);
    assert_eq!(who(&gin), ("two".into(), "4".into()));
    gin.ctl(&["rollback"]).assert(0, &[]);
    assert_eq!(who(&gin), ("one".into(), "5".into()));
    let why = "this one brought generation 1 back, which is the oldest";
    gin.ctl(&["rollback"]).assert(5, &["no generation before this one", why]);
    // A restart that fails changes nothing of what is good.
    release(&gin, "bad", "exit");
    gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
    gin.releases().point_to("three");
    gin.restart();
    gin.ctl(&["rollback"]).assert(0, &[]);
    assert_eq!(who(&gin).0, "one");
    gin.stop();
}

#[test]
fn after_an_upgrade_that_failed_a_rollback_must_be_meant() {
    let gin = start();
    release(&gin, "two", "ok");
    gin.restart();
    release(&gin, "bad", "exit");
    gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
    // As in `gin-ctl restart || gin-ctl rollback`.
    gin.ctl(&["rollback"]).assert(5, &["generation 3 did not come to serve", "rollback --to 1", "rollback --force"]);
    for (to, why) in [("2", "it serves"), ("3", "it was never good"), ("9", "the history does not know it")] {
        gin.ctl(&["rollback", "--to", to]).assert(5, &[why, "those that can: 1"]);
    }
    assert_eq!(who(&gin), ("two".into(), "2".into()));
    gin.ctl(&["rollback", "--to", "1"]).assert(0, &["generation 4 serves"]);
    assert_eq!(who(&gin), ("one".into(), "4".into()));
    gin.releases().point_to("two");
    gin.restart();
    gin.releases().point_to("bad");
    gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
    gin.ctl(&["rollback", "--force"]).assert(0, &["generation 7 serves"]);
    assert_eq!(who(&gin), ("one".into(), "7".into()));
    gin.stop();
}

#[test]
fn a_rollback_that_cannot_be_changes_nothing_and_says_why() {
    let gin = start();
    release(&gin, "two", "ok");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    std::fs::remove_dir_all(gin.releases().path("one")).unwrap();
    gin.ctl(&["rollback"]).assert(1, &["it is gone, and a worker runs in it", "nothing changed: generation 2 serves"]);
    assert_eq!(who(&gin).0, "two");
    gin.stop();
}

#[test]
fn a_script_comes_back_from_its_release_with_the_listeners_and_settings_that_it_had() {
    let builder = supervisor().set("command = [\"/usr/bin/python3\", \"app.py\"]\nsoak = \"0s\"");
    let releases = builder.releases();
    for name in ["two", "one"] {
        releases.release(name, "ok");
        std::fs::copy(fixture("foreign.py"), releases.path(name).join("app.py")).unwrap();
    }
    let current = releases.current();
    let gin = builder.set(&format!("directory = {current:?}\nworkers = 1")).and_unix().start();
    let unix = gin.unix();
    // The next one has another number of workers, and no Unix listener.
    gin.configure(|text| {
        let text = text.replace("workers = 1", "workers = 2");
        text.split("[[supervisor.listen]]\nname = \"unix\"").next().unwrap().to_owned()
    });
    gin.releases().point_to("two");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert_eq!(gin.workers().len(), 2);
    assert!(harness::get(&unix, "/").is_err(), "nobody listens there any more");
    gin.ctl(&["rollback"]).assert(0, &["still points to"]);
    assert_eq!(gin.workers().len(), 1);
    let who = harness::get(&unix, "/").unwrap().json();
    assert!(who["directory"].as_str().unwrap().ends_with("releases/one"), "{who}");
    gin.stop();
}

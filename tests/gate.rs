//! What a candidate has to pass before it serves: warm-up, probe, the operator's own command, and slot by slot.

use harness::{Load, on_change, supervisor, times, write_program};

#[test]
fn a_probe_lets_in_what_answers_and_quotes_what_does_not() {
    let gin = supervisor()
        .ours("one", "ok")
        .workers(2)
        .set("soak = \"0s\"\nprobe = { path = \"/fit\", body = \"fit\", interval = \"10ms\", timeout = \"1s\" }")
        .start();
    gin.ctl(&["restart"]).assert(0, &["step=probed workers=2", "GET /fit 200 twice"]);
    gin.releases().release("sick", "ok");
    std::fs::write(gin.releases().path("sick").join("fit"), "\n  the database is down\nmore\n").unwrap();
    gin.refuses_restart(&[
        "the probe failed: GET /fit: 503 Service Unavailable: the database is down",
        "missing=probed",
    ]);
    let failed = gin.ctl(&["restart"]);
    assert!(!failed.out.contains("draining"), "what it says when it is told to end is quoted: {failed:?}");
    gin.configure(|text| text.replace("path = \"/fit\"", "path = \"/hang\""));
    gin.refuses_restart(&["the probe failed: GET /hang: no answer within 1s"]);
    gin.configure(|text| text.replace("path = \"/hang\", body", "path = \"/readyz\", body"));
    gin.refuses_restart(&["GET /readyz: 200 OK, but its body has no "]);
    gin.releases().point_to("one");
    gin.configure(|text| text.replace("body = \"fit\", ", ""));
    gin.restart();
    // One that is replaced passes the same gate.
    let mut events = gin.events();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(gin.workers()[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
    events.until("worker probed: GET /readyz 200 twice");
    gin.stop();
}

#[test]
fn a_foreign_worker_is_probed_on_a_socket_of_its_own() {
    let gin = supervisor()
        .foreign("one", "ok")
        .set("soak = \"0s\"\nprivate_listener = true\nprobe = { path = \"/\", interval = \"10ms\", timeout = \"1s\" }")
        .start();
    gin.ctl(&["restart"]).assert(0, &["GET / 200 twice"]);
    gin.releases().release("garbage", "garbage");
    gin.ctl(&["restart"]).assert(1, &["the probe failed: GET /: no HTTP response"]);
    gin.stop();
}

#[test]
fn a_warm_up_runs_for_each_worker_before_it_serves() {
    let builder = supervisor().ours("one", "ok").workers(2);
    let dir = builder.releases().current().parent().unwrap().to_owned();
    let warm_up = dir.join("warm-up");
    let text = format!(
        "#!/bin/sh\ntest ! -e {0}/cold || {{ echo cold >&2; exit 4; }}\n\
         curl -fsS --unix-socket $GIN_PRIVATE_SOCKET http://x/ > {0}/warm-$GIN_GENERATION-$GIN_SLOT\n",
        dir.display()
    );
    write_program(&warm_up, &text);
    let gin = builder.set(&format!("warm_up = [{warm_up:?}]\nsoak = \"0s\"")).start();
    gin.ctl(&["restart"]).assert(0, &["step=warmed up workers=2"]);
    for slot in 0..2 {
        let who = std::fs::read_to_string(dir.join(format!("warm-2-{slot}"))).unwrap();
        let who: serde_json::Value = serde_json::from_str(&who).unwrap();
        assert_eq!((who["generation"].as_str(), who["slot"].as_str()), (Some("2"), Some(slot.to_string().as_str())));
    }
    std::fs::write(dir.join("cold"), "").unwrap();
    gin.refuses_restart(&["the warm-up failed: it exited with status 4"]);
    gin.stop();
}

#[test]
fn rolling_replaces_slot_by_slot_and_hurts_nobody() {
    let gin = supervisor().ours("one", "ok").workers(3).set("strategy = \"rolling\"\nsoak = \"50ms\"").start();
    let load = Load::new().keep_alive(&gin.tcp(), 8).one_shot(&gin.tcp(), 8);
    for round in 0..times(3, 30) {
        load.flows(100);
        let parts = ["step=replaced slots=1 workers=3", "step=replaced slots=3 workers=3", "serves"];
        gin.ctl(&["restart"]).assert(0, &parts);
        assert_eq!(gin.generation().0, round as u64 + 2);
    }
    load.flows(100);
    load.finish().assert_unhurt();
    assert_eq!(gin.workers().len(), 3);
    gin.stop();
}

#[test]
fn rolling_that_fails_half_way_fills_the_old_slots_again_and_hurts_nobody() {
    let gin = supervisor().ours("one", "ok").workers(3).set("strategy = \"rolling\"\nsoak = \"50ms\"").start();
    let load = Load::new().one_shot(&gin.tcp(), 8).keep_alive(&gin.tcp(), 4);
    load.flows(100);
    gin.releases().release("half", "exit-slot 2");
    let mut events = gin.events();
    let failed = gin.ctl(&["restart"]);
    failed.assert(1, &["step=replaced slots=2 workers=3", "slot 2 (pid", "exited with status 3"]);
    // The new ones go only when the old ones are back.
    events.until_of(2, "gone");
    let status = gin.status();
    assert_eq!((status.degraded, gin.generation().0, gin.workers().len()), (false, 1, 3));
    load.flows(200);
    let report = load.finish();
    report.assert_unhurt();
    gin.stop();
}

#[test]
fn hooks_are_run_around_a_restart_and_know_what_came_of_it() {
    let builder = supervisor().ours("one", "ok");
    let dir = builder.releases().current().parent().unwrap().to_owned();
    let at = dir.display();
    let told = "echo $GIN_OUTCOME $GIN_GENERATION $GIN_PREVIOUS_GENERATION $GIN_RELEASE $GIN_ASKED_BY $GIN_REASON";
    // Written beside and moved, so that a reader finds all of it or nothing.
    let (tell, before) = (dir.join("tell"), dir.join("before"));
    let moved = format!("mv {at}/told.new {at}/told-$GIN_GENERATION");
    write_program(&tell, &format!("#!/bin/sh\n{told} > {at}/told.new && {moved}\n"));
    write_program(&before, &format!("#!/bin/sh\ntest ! -e {at}/no || exit 9\ntest ! -e {at}/hang || sleep 1000\n"));
    let hooks = format!(
        "soak = \"0s\"\nhooks = {{ before_restart = [{before:?}], after_restart = [{tell:?}], on_failure = [{tell:?}], timeout = \"2s\" }}"
    );
    let gin = builder.set(&hooks).start();
    let user = harness_user();
    let told = |generation: u64| {
        let file = dir.join(format!("told-{generation}"));
        on_change(&dir, &format!("the hook has written {file:?}"), || file.exists(), |exists| *exists);
        std::fs::read_to_string(file).unwrap()
    };
    gin.ctl(&["restart"]).assert(0, &["step=hook name=before_restart outcome=\"done\""]);
    assert_eq!(told(2), format!("done 2 1 one {user}\n"));
    std::fs::write(dir.join("no"), "").unwrap();
    gin.refuses_restart(&["hooks.before_restart: it exited with status 9"]);
    assert_eq!(told(3), format!("failed 3 2 one {user} hooks.before_restart: it exited with status 9\n"));
    std::fs::remove_file(dir.join("no")).unwrap();
    std::fs::write(dir.join("hang"), "").unwrap();
    gin.refuses_restart(&["hooks.before_restart: it did not end within 2s"]);
    // Called off while the hook runs: it ends with the candidate.
    gin.configure(|text| text.replace("2s", "1h"));
    let operation = gin.ctl(&["restart", "--no-wait"]);
    operation.assert(0, &["accepted"]);
    gin.ctl(&["cancel"]).assert(0, &[]);
    std::fs::remove_file(dir.join("hang")).unwrap();
    gin.releases().release("broken", "exit");
    gin.ctl(&["restart"]).assert(1, &[]);
    assert!(told(6).starts_with(&format!("failed 6 2 broken {user} slot 0")), "{}", told(6));
    gin.stop();
}

fn harness_user() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name
}

//! The other ways to be ready.

use harness::{supervisor, write_program};

#[test]
fn ready_after_a_time_needs_no_sd_notify() {
    let gin = supervisor().foreign("one", "mute").set("ready = { after = \"400ms\" }\nsoak = \"0s\"").start();
    let restart = gin.ctl(&["--json", "restart"]);
    let ready = restart.out.lines().find(|line| line.contains("\"phase\":\"ready\"")).unwrap();
    let took = serde_json::from_str::<serde_json::Value>(ready).unwrap()["took_ms"].as_f64().unwrap();
    assert!(took >= 399.0, "{took} ms");
    gin.stop();
}

#[test]
fn ready_by_a_command_waits_for_its_consent() {
    let builder = supervisor().foreign("one", "mute");
    let dir = builder.releases().current().parent().unwrap().to_owned();
    let check = dir.join("check");
    write_program(&check, &format!("#!/bin/sh\ntest -e {}/consent && kill -0 $GIN_WORKER_PID\n", dir.display()));
    std::fs::write(dir.join("consent"), "").unwrap();
    let ready = format!("ready = {{ exec = [{check:?}] }}\nready_timeout = \"1s\"\nsoak = \"0s\"");
    let gin = builder.set(&ready).start();
    std::fs::remove_file(dir.join("consent")).unwrap();
    gin.ctl(&["restart"])
        .assert(1, &["the ready check did not pass within ready_timeout = 1s: it exited with status 1"]);
    std::fs::write(dir.join("consent"), "").unwrap();
    gin.restart();
    gin.stop();
}

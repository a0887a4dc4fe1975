//! `gin-ctl status --alive`: what a container's health check is told.

use harness::{Ctl, Events, Hold, supervisor};

#[test]
fn an_instance_is_alive_once_its_first_generation_serves() {
    let builder = supervisor().ours("one", "ok").set("soak = \"0s\"");
    let hold = Hold::new(builder.dir());
    let gin = builder.set(&hold.warm_up()).spawn();
    let first = hold.arrived();
    gin.ctl(&["status", "--alive"]).assert(1, &["not alive: the first generation is on its way"]);
    first.release();
    drop(hold);
    let _ = gin.told().until(0, "READY=1");
    gin.ctl(&["status", "--alive"]).assert(0, &["alive: 1 serves\n"]);
    let socket = gin.socket();
    gin.stop();
    Ctl::run(&socket, &["status", "--alive"]).assert(3, &["no supervisor there"]);
}

/// Until the supervisor has noticed that a worker was killed. Workers that start and are broken end in another way.
fn until_killed(events: &mut Events, worker: i32) {
    while events.until("was killed by SIGKILL").pid != Some(worker) {}
}

#[test]
fn a_degraded_instance_is_alive_and_one_in_which_nobody_serves_is_not() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    gin.ctl(&["status", "--alive"]).assert(0, &["alive: 2 serve\n"]);
    // The frozen generation reads its mode at each start: whoever starts from now on is broken.
    gin.releases().release("one", "exit");
    let mut events = gin.events();
    let [first, second] = gin.workers()[..] else { panic!("there are two") };
    gin.kill_worker(first);
    until_killed(&mut events, first);
    gin.ctl(&["status"]).assert(1, &["degraded"]);
    gin.ctl(&["status", "--alive"]).assert(0, &["alive: 1 serves, degraded\n"]);
    gin.kill_worker(second);
    until_killed(&mut events, second);
    gin.ctl(&["status", "--alive"]).assert(1, &["not alive: no worker serves\n"]);
    let json: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "status", "--alive"]).out).unwrap();
    let expected = serde_json::json!({ "alive": false, "serving": 0, "degraded": true, "why": "no worker serves" });
    assert_eq!(json, expected);
    gin.releases().release("one", "ok");
    gin.restart();
    gin.ctl(&["status", "--alive"]).assert(0, &["alive: 2 serve\n"]);
    gin.stop();
}

#[test]
fn an_instance_is_alive_while_it_is_upgraded() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let hold = gin.hold();
    gin.configure(|text| text.replace("soak", &format!("{}\nsoak", hold.warm_up())));
    let restart = gin.ctl_in_background(&["restart"]);
    let candidate = hold.arrived();
    gin.ctl(&["status", "--alive"]).assert(0, &["alive: 1 serves\n"]);
    candidate.release();
    drop(hold);
    Ctl::from(restart.wait_with_output().unwrap()).assert(0, &["generation 2 serves"]);
    gin.ctl(&["status", "--alive"]).assert(0, &["alive: "]);
    // One look is one answer.
    gin.ctl(&["status", "--alive", "--watch"]).assert(2, &["cannot be used with"]);
    gin.stop();
}

//! The main job: a restart under load that loses nothing.

use harness::{Load, supervisor, times};

#[test]
fn restarts_under_load_hurt_nobody() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("drain_timeout = \"40s\"").start();
    let (tcp, unix, pid) = (gin.tcp(), gin.unix(), gin.pid());
    let load = Load::new().keep_alive(&tcp, 16).one_shot(&tcp, 8).keep_alive(&unix, 4).one_shot(&unix, 4);
    for round in 0..times(10, 100) {
        load.flows(200);
        if round % 2 == 0 { gin.usr2() } else { gin.restart() }
    }
    load.flows(200);
    let report = load.finish();
    report.assert_unhurt();
    assert_eq!(report.closed_idle, 0, "connections were closed without notice");
    assert_eq!(gin.pid(), pid, "the PID in the file changed");
    gin.stop();
}

/// The narrowest moment: a connection accepted while its worker begins to drain.
#[test]
fn restarts_without_a_pause_hurt_nobody() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"\nmax_draining = 64").start();
    let address = gin.tcp();
    let load = Load::new().one_shot(&address, 2).keep_alive(&address, 2);
    for _ in 0..times(60, 1000) {
        gin.restart();
    }
    load.flows(50);
    load.finish().assert_unhurt();
    gin.stop();
}

//! The main job: a restart under load that loses nothing.

use harness::{Client, Load, binary, supervisor, times, write_program};
use serde_json::Value;

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

/// The level of a line of the log, in JSON or as text.
fn level(line: &str) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(fields) => fields["level"].as_str().unwrap_or_default().to_uppercase(),
        // Behind the time.
        Err(_) => line.split_whitespace().nth(1).unwrap_or_default().to_owned(),
    }
}

/// The lines of these levels.
fn of_levels<'a>(log: &'a str, levels: &[&str]) -> Vec<&'a str> {
    log.lines().filter(|line| levels.contains(&level(line).as_str())).collect()
}

#[test]
fn a_healthy_restart_warns_of_nothing_in_json_and_in_text() {
    for format in ["json", "text"] {
        let logging = format!("[logging]\nformat = \"{format}\"");
        let builder = supervisor().workers(2).and_unix().set("soak = \"0s\"").section(&logging);
        let program = builder.dir().join("start");
        let real = binary("gin-supervisor");
        write_program(&program, &format!("#!/bin/sh\nexec {} --log-format {format} \"$@\"\n", real.display()));
        let gin = builder.program(&program).start();
        let before = gin.log().len();
        let load = gin.load();
        let mut idle: Vec<Client> = (0..8).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
        assert!(idle.iter_mut().all(|client| client.get("/").unwrap().status == 200));
        for _ in 0..times(5, 50) {
            load.flows(50);
            gin.restart();
        }
        load.flows(50);
        load.finish().assert_unhurt();
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        let log = gin.log();
        assert_eq!(of_levels(&log[before..], &["WARN", "ERROR"]), Vec::<&str>::new(), "{format}");
        // The levels are told from one another: of the supervisor's lines, and of the workers'.
        let told = of_levels(&log[before..], &["INFO"]);
        let tells = |part: &str| told.iter().any(|line| line.contains(part));
        assert!(tells("generation 2 current") && tells("GET / 200"), "{format}: {log}");
        drop(idle);
        gin.stop();
    }
}

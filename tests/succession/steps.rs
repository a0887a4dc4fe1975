//! The master dies at each step of what it does.

use harness::{Client, Load, Report, Supervisor, eventually, points, supervisor, times};
use nix::sys::signal::Signal;

/// Kills the master in every state of its machine: after so many steps of what `begin` starts. Gives the number of deaths.
fn die_at_every_step(gin: &mut Supervisor, point: &str, begin: impl Fn(&Supervisor), most: usize) -> usize {
    let (deaths, load) = die_under_load(gin, point, begin, most);
    load.assert_unhurt();
    deaths
}

/// The same, and what the four clients lived through.
fn die_under_load(gin: &mut Supervisor, point: &str, begin: impl Fn(&Supervisor), most: usize) -> (usize, Report) {
    let load = Load::new().keep_alive(&gin.tcp(), 2).one_shot(&gin.tcp(), 2);
    let mut deaths = 0;
    for passes in 0..most {
        load.flows(10);
        gin.order(&format!("{point} kill {passes}"));
        begin(gin);
        gin.order("");
        // Whoever answers has done all that the order was for.
        let dead = gin.ctl(&["status"]).code == 3;
        if !dead {
            break;
        }
        deaths += 1;
        gin.start_again();
        load.flows(10);
        // Whatever was on its way is over: nobody is there but who serves, or drains.
        gin.restart();
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        gin.assert_sound();
        assert!(!gin.status().degraded);
    }
    (deaths, load.finish())
}

#[test]
fn killed_in_every_state_of_a_restart_the_next_one_ends_in_a_sound_fleet() {
    let settings = "soak = \"20ms\"\ndrain_timeout = \"5s\"";
    let mut gin = supervisor().faulty().ours("one", "ok").set(settings).start();
    let restart = |gin: &Supervisor| gin.ctl_until_death(&["restart", "--wait-drained"]);
    for point in ["loop.handled", "loop.performed", "keep.after"] {
        let deaths = die_at_every_step(&mut gin, point, restart, 60);
        println!("{deaths} states: {point}");
        assert!((4..60).contains(&deaths), "{deaths}: {point}");
    }
    gin.stop();
}

#[test]
fn killed_while_it_respawns_scales_rolls_back_or_calls_off_the_fleet_is_sound() {
    let settings = "soak = \"20ms\"\ndrain_timeout = \"5s\"\n\
        probe = { path = \"/readyz\", interval = \"10ms\", timeout = \"5s\" }\nwarm_up = [\"/bin/true\"]";
    let mut gin = supervisor().faulty().ours("one", "ok").set(settings).start();
    gin.restart();
    let scale = |gin: &Supervisor| {
        gin.ctl_until_death(&["scale", "3"]);
        gin.ctl_until_death(&["scale", "1"]);
    };
    let call_off = |gin: &Supervisor| {
        gin.ctl_until_death(&["restart", "--no-wait"]);
        gin.ctl_until_death(&["cancel"]);
    };
    let most = times(5, 60);
    for (what, begin) in [
        ("scale", &scale as &dyn Fn(&Supervisor)),
        ("rollback", &|gin| gin.ctl_until_death(&["rollback"])),
        ("restart", &|gin| gin.ctl_until_death(&["restart"])),
        ("cancel", &call_off),
    ] {
        let deaths = die_at_every_step(&mut gin, "loop.performed", begin, most);
        println!("{deaths} states: {what}");
        assert!(deaths >= 2 && (most < 60 || deaths < most), "{deaths}: {what}");
    }
    let (deaths, load) = die_under_load(&mut gin, "loop.performed", Supervisor::respawn_until_death, most);
    assert!(deaths >= 2 && (most < 60 || deaths < most), "{deaths}: respawn");
    // What a killed worker had in its hands is lost, and nothing else.
    let hurt: u64 = load.hurt.values().sum();
    assert!(hurt <= 4 * (deaths as u64 + 1), "{load:?}");
    gin.stop();
}

#[test]
fn killed_in_every_state_of_a_failing_and_of_a_rolling_restart_the_fleet_is_sound() {
    let settings = "soak = \"0s\"\nstrategy = \"rolling\"\nworkers = 2\ndrain_timeout = \"5s\"";
    let mut gin = supervisor().faulty().foreign("one", "ok").set(settings).start();
    let restart = |gin: &Supervisor| gin.ctl_until_death(&["restart"]);
    let most = times(12, 80);
    let deaths = die_at_every_step(&mut gin, "loop.performed", restart, most);
    assert!(deaths >= 4, "{deaths}");
    let fail = |gin: &Supervisor| {
        gin.releases().release("bad", "die");
        gin.ctl_until_death(&["restart"]);
        gin.releases().point_to("one");
    };
    let deaths = die_at_every_step(&mut gin, "loop.handled", fail, times(6, 80));
    assert!(deaths >= 4, "{deaths}");
    gin.stop();
}

#[test]
fn killed_at_every_step_of_spawning_it_leaves_no_stray_process() {
    let settings =
        "soak = \"0s\"\ndrain_timeout = \"5s\"\nuser = \"root\"\nhooks = { before_restart = [\"/bin/true\"] }";
    let mut gin = supervisor().faulty().ours("one", "ok").set(settings).start();
    gin.restart();
    // Nothing that is reached at a start, an adoption or an upgrade in place alone.
    let elsewhere = |step: &str| {
        [
            "adopt.",
            "reexec.",
            "listener.",
            "loop.",
            "lock.",
            "pid.",
            "runtime.",
            "signal.",
            "state.open",
            "state.fallocate",
        ]
        .iter()
        .any(|prefix| step.starts_with(prefix))
    };
    let steps: Vec<String> = points().into_iter().filter(|step| !elsewhere(step)).collect();
    assert!(steps.len() > 20, "{steps:?}");
    for step in &steps {
        let restart = |gin: &Supervisor| gin.ctl_until_death(&["restart", "--wait-drained"]);
        let deaths = die_at_every_step(&mut gin, step, restart, times(1, 20));
        assert!(deaths >= 1, "{step} is never reached");
    }
    gin.stop();
}

#[test]
fn killed_while_it_stops_or_boots_the_next_one_boots() {
    let mut gin = supervisor().faulty().ours("one", "ok").set("soak = \"0s\"\ndrain_timeout = \"5s\"").start();
    for passes in 0..3 {
        gin.order(&format!("keep.after kill {passes}"));
        gin.ctl_until_death(&["stop"]);
        assert!(gin.is_dead());
        // Booting: the first generation of the next one never serves.
        gin.order(&format!("keep.after kill {passes}"));
        gin.start_to_its_end();
        gin.order("");
        gin.start_again();
        assert_eq!(gin.get("/").status, 200);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        gin.assert_sound();
    }
    gin.stop();
}

#[test]
fn killed_while_a_worker_drains_in_a_stop_the_next_one_takes_its_listeners_up() {
    let settings = "soak = \"0s\"\ndrain_timeout = \"40s\"";
    let mut gin = supervisor().faulty().foreign("one", "ok").and_unix().set(settings).start();
    let addresses = [gin.tcp(), gin.unix()];
    // Half a request keeps its worker. The answer to a later one tells that it was accepted.
    let mut client = Client::asking(&addresses[0], "GET / HTTP/1.1\r\n").unwrap();
    assert_eq!(gin.get("/").status, 200);
    // With the second state of the stop: its listeners are closed by then.
    gin.order("keep.after kill 1");
    gin.signal(Signal::SIGTERM);
    gin.wait_dead();
    gin.order("");
    let before = gin.log().len();
    gin.start_again();
    for address in &addresses {
        // Nobody is refused. The old worker answers until it has read its signal.
        let answer = || harness::get(address, "/").unwrap().json()["generation"].as_str().map(str::to_owned);
        eventually("the next generation answers", answer, |generation| generation.as_deref() == Some("2"));
    }
    let log = gin.log();
    assert!(!log[before..].contains("\"level\":\"ERROR\""), "{log}");
    client.send(b"Host: x\r\n\r\n").unwrap();
    assert_eq!(client.response().unwrap().json()["generation"], "1");
    gin.stop();
}

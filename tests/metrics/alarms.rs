//! The supervisor's own metrics: enough to be woken by, and the same that the status says.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use gin_shared::status::{Role, State};
use harness::{Client, Ctl, Scrape, Supervisor, eventually, supervisor};

use super::service::{own_counters, told};

/// Upgrades that were done, that failed, and that were called off.
fn upgrades(gin: &Supervisor) -> [f64; 3] {
    let scrape = told(gin);
    ["done", "failed", "cancelled"].map(|result| scrape.value("gin_upgrades_total", &[("result", result)]))
}

fn number(gin: &Supervisor, name: &str) -> f64 {
    told(gin).value(name, &[])
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn each_outcome_of_an_upgrade_is_counted_and_outlives_the_master() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let [done, failed, cancelled] = upgrades(&gin);
    gin.restart();
    assert_eq!(upgrades(&gin), [done + 1.0, failed, cancelled]);
    assert_eq!(number(&gin, "gin_last_upgrade_success"), 1.0);
    let took = number(&gin, "gin_last_upgrade_duration_seconds");
    let ago = now() - number(&gin, "gin_last_upgrade_timestamp_seconds");
    assert!((0.0..60.0).contains(&took) && (-1.0..60.0).contains(&ago), "took {took} s, {ago} s ago");
    gin.releases().release("broken", "exit");
    gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
    assert_eq!(upgrades(&gin), [done + 1.0, failed + 1.0, cancelled]);
    assert_eq!(number(&gin, "gin_last_upgrade_success"), 0.0);
    gin.releases().point_to("one");
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"60s\""));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("generation 4 serving");
    gin.ctl(&["cancel"]).assert(0, &["cancelled"]);
    assert_eq!(Ctl::from(restart.wait_with_output().unwrap()).code, 6);
    gin.configure(|text| text.replace("soak = \"60s\"", "soak = \"0s\""));
    assert_eq!(upgrades(&gin), [done + 1.0, failed + 1.0, cancelled + 1.0]);
    assert_eq!(number(&gin, "gin_last_upgrade_success"), 0.0);
    let counters = own_counters(&gin);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert_eq!(own_counters(&gin), counters);
    gin.die_and_adopt();
    assert_eq!(own_counters(&gin), counters);
    gin.restart();
    assert_eq!(upgrades(&gin), [done + 2.0, failed + 1.0, cancelled + 1.0]);
    assert_eq!(number(&gin, "gin_last_upgrade_success"), 1.0);
    gin.stop();
}

#[test]
fn respawns_and_kills_are_counted_and_outlive_the_master() {
    let settings = "soak = \"0s\"\ndrain_timeout = \"300ms\"";
    let mut gin = supervisor().foreign("one", "ignore-term").set(settings).start();
    let respawns = number(&gin, "gin_worker_respawns_total");
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("worker serving");
    assert_eq!(number(&gin, "gin_worker_respawns_total"), respawns + 1.0);
    // It does not end when it is told to.
    let kills = |gin: &Supervisor| told(gin).value("gin_worker_kills_total", &[("reason", "drain_timeout")]);
    let before = kills(&gin);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert_eq!(kills(&gin), before + 1.0);
    assert_eq!(number(&gin, "gin_worker_respawns_total"), respawns + 1.0);
    let counters = own_counters(&gin);
    for _ in 0..2 {
        gin.die_and_adopt();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
        assert_eq!(own_counters(&gin), counters);
    }
    gin.ctl(&["stop", "--fast"]).assert(0, &[]);
}

/// A worker of the only slot is killed, and each one after it crashes 300 ms after it has come to serve.
fn begin_to_crash(gin: &Supervisor) {
    std::fs::write(gin.releases().path("one").join("mode"), "crash 300").unwrap();
    gin.kill_worker(gin.workers()[0]);
}

#[test]
fn a_crash_loop_is_told_at_every_moment_between_two_crashes() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    assert_eq!((number(&gin, "gin_crash_loop"), number(&gin, "gin_down")), (0.0, 0.0));
    let before = number(&gin, "gin_worker_respawns_total");
    begin_to_crash(&gin);
    let (mut looks, mut served, mut waited) = (0, 0, 0);
    let look = || {
        let scrape = told(&gin);
        let crashes = scrape.value("gin_worker_respawns_total", &[]) - before;
        // One crash is no loop.
        if crashes >= 2.0 {
            let alarms = ["gin_crash_loop", "gin_down", "gin_degraded"].map(|name| scrape.value(name, &[]));
            assert_eq!(alarms, [1.0; 3], "after {crashes} crashes");
            looks += 1;
            served += usize::from(scrape.value("gin_workers_serving", &[]) > 0.0);
            waited += usize::from(scrape.value("gin_slots_in_backoff", &[]) > 0.0);
        }
        crashes
    };
    // That it looks well for a moment is what is looked for: nobody tells of it.
    eventually("the fifth crash", look, |crashes| *crashes >= 5.0);
    println!("{looks} looks, {served} of them while a worker served");
    assert!(served > 0, "no worker was seen serving in {looks} looks");
    assert!(waited > 0, "no slot was seen in backoff in {looks} looks");
    // The status says it in its own way, also while a worker serves.
    gin.ctl(&["status"]).assert(1, &[]);
    gin.releases().release("one", "ok");
    gin.restart();
    let scrape = told(&gin);
    for name in ["gin_crash_loop", "gin_down", "gin_degraded", "gin_slots_in_backoff"] {
        assert_eq!(scrape.value(name, &[]), 0.0, "{name}");
    }
    assert_agree(&gin);
    gin.stop();
}

#[test]
fn a_crash_loop_of_one_slot_is_told_over_an_upgrade_in_place_and_a_death() {
    let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let before = number(&gin, "gin_worker_respawns_total");
    let mut events = gin.events();
    begin_to_crash(&gin);
    for _ in 0..4 {
        events.until("respawns in ");
    }
    let alarms = |gin: &Supervisor| {
        let scrape = told(gin);
        assert_eq!(["gin_crash_loop", "gin_degraded", "gin_down"].map(|name| scrape.value(name, &[])), [1.0, 1.0, 0.0]);
        assert!(scrape.value("gin_worker_respawns_total", &[]) >= before + 4.0);
    };
    alarms(&gin);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    alarms(&gin);
    gin.kill();
    gin.start_again();
    alarms(&gin);
    gin.stop();
}

/// The metrics and `gin-ctl metrics` say the same as the status.
fn assert_agree(gin: &Supervisor) {
    let (status, scrape) = (gin.status(), told(gin));
    let said = Scrape::parse(&gin.ctl(&["metrics"]).out);
    let current = status.generations.iter().find(|generation| generation.role == Role::Current).unwrap();
    let serving = current.workers.iter().filter(|worker| worker.state == "serving").count();
    for (name, expected) in [
        ("gin_generation", current.generation.0 as f64),
        ("gin_workers_wanted", f64::from(status.workers)),
        ("gin_workers_serving", serving as f64),
        ("gin_degraded", f64::from(u8::from(status.degraded))),
        ("gin_down", f64::from(u8::from(status.state == State::Down))),
        ("gin_connections_draining", status.connections.open as f64),
    ] {
        assert_eq!((scrape.value(name, &[]), said.value(name, &[])), (expected, expected), "{name}");
    }
    let fates = &status.connections;
    for (fate, count) in
        [("handed_over", fates.handed_over), ("finished", fates.finished), ("closed", fates.closed), ("cut", fates.cut)]
    {
        let told = scrape.value("gin_connections_drained_total", &[("fate", fate)]);
        assert_eq!(told, count as f64, "{fate}");
    }
    // Each series is of this instance.
    let own = scrape.only(|series| series.name.starts_with("gin_") && !series.name.starts_with("gin_server_"));
    assert!(own.samples().keys().all(|series| series.has("instance", "shop")), "{own:?}");
}

#[test]
fn metrics_and_status_agree_over_restarts_scaling_and_the_masters_death() {
    let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").unwrap().status, 200));
    assert_agree(&gin);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=8"]);
    assert_agree(&gin);
    gin.ctl(&["scale", "3"]).assert(0, &["3 workers serve"]);
    assert_agree(&gin);
    gin.die_and_adopt();
    assert_agree(&gin);
    // Connections of before are not forgotten with the master.
    assert_eq!(told(&gin).value("gin_connections_drained_total", &[("fate", "handed_over")]), 8.0);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert_agree(&gin);
    drop(clients);
    gin.stop();
}

#[test]
fn a_restart_that_waits_is_told_until_its_turn_comes() {
    let settings = "soak = \"0s\"\nmax_draining = 1";
    let gin = supervisor().ours("one", "ok").set(settings).section("[timeouts]\nshutdown = \"20s\"").start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    gin.restart();
    assert_eq!(number(&gin, "gin_restarts_waiting"), 0.0);
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("a command waits");
    assert_eq!(number(&gin, "gin_restarts_waiting"), 1.0);
    request.release();
    Ctl::from(restart.wait_with_output().unwrap()).assert(0, &["generation 3 serves"]);
    assert_eq!(number(&gin, "gin_restarts_waiting"), 0.0);
    assert_eq!(client.response().unwrap().status, 200);
    // A stop waits for idle clients.
    drop(client);
    gin.stop();
}

#[test]
fn clients_whom_nobody_accepts_are_told_by_listener() {
    let gin = supervisor().foreign("one", "elsewhere").and_unix().set("soak = \"0s\"").start();
    assert_eq!(told(&gin).value("gin_listen_queue", &[("listener", "http")]), 0.0);
    let clients: Vec<Client> = (0..3).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    let scrape = told(&gin);
    assert_eq!(scrape.value("gin_listen_queue", &[("listener", "http")]), 3.0);
    // The kernel does not tell how many wait at a Unix socket.
    assert_eq!(scrape.get("gin_listen_queue", &[("listener", "unix")]), None);
    drop(clients);
    gin.stop();
}

#[test]
fn cpu_and_memory_are_told_of_each_worker_and_of_the_machine() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let scrape = told(&gin);
    let memory = "gin_worker_resident_memory_bytes";
    for name in ["gin_worker_cpu_seconds_total", memory, "gin_worker_start_time_seconds"] {
        let series = scrape.series(name).map(|(series, _)| {
            let of = |label: &str| series.labels[label].as_str();
            (of("generation"), of("slot"))
        });
        assert_eq!(series.collect::<BTreeSet<_>>(), BTreeSet::from([("1", "0"), ("1", "1")]), "{name}");
    }
    // It grows by what the worker takes.
    let who = gin.get("/").json();
    let slot = who["slot"].as_str().unwrap().to_owned();
    let before = scrape.value(memory, &[("slot", slot.as_str())]);
    let grown = loop {
        let grown = gin.get("/grow?mb=64");
        if grown.body == who["pid"].to_string().as_bytes() {
            break told(&gin).value(memory, &[("slot", slot.as_str())]);
        }
    };
    let (before, grown) = (before / f64::from(1 << 20), grown / f64::from(1 << 20));
    assert!(before > 1.0 && grown > before + 60.0, "{before} MiB, then {grown} MiB");
    for name in ["memory_bytes", "memory_available_bytes", "disk_bytes", "disk_available_bytes"] {
        assert!(scrape.value(&format!("gin_machine_{name}"), &[]) > 0.0, "{name}");
    }
    for name in ["cpu_usage_ratio", "load1", "load5", "load15"] {
        let value = scrape.value(&format!("gin_machine_{name}"), &[]);
        assert!(value.is_finite() && value >= 0.0, "{name}: {value}");
    }
    let age = now() - scrape.value("gin_start_time_seconds", &[]);
    assert!((-1.0..120.0).contains(&age), "{age} s");
    assert_eq!(scrape.value("gin_build_info", &[]), 1.0);
    gin.stop();
}

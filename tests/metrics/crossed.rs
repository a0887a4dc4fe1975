//! Older and newer workers and masters together, another user's workers, and a memory that is lost.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use gin_shared::announcement::Welcome;
use gin_shared::descriptors::{self, Waiting};
use gin_shared::notify::ANNOUNCE;
use harness::{Address, PATIENCE, Scrape, Supervisor, binary, eventually, fixture, free_port, write_program};
use serde_json::Value;

use super::nonsense::memory_of_counts;
use super::service::{Place, REQUESTS, WORKERS, agreed, ask, counting, told, without_listener};
use super::watch::Watch;
use crate::left_state::{edit, reduce};

/// Words of a master that lacks the memory of the one before it.
const ANEW: &str = "the counters of metrics begin anew";
/// Orders of tea, as all workers have counted them.
const ORDERS: &str = "shop_orders_total";

/// The start of the command of all workers of these tests, and that of one to which a variable means nothing.
const PLAIN: &str = "command = [";

fn without(variable: &str) -> String {
    format!("command = [\"/usr/bin/env\", \"-u\", \"{variable}\", ")
}

#[test]
fn workers_that_were_given_the_memory_in_either_way_count_in_it() {
    for line in ["", "channel = true"] {
        let port = free_port();
        let gin = counting(port).workers(2).set(line).start();
        ask(&gin, "/order?kind=tea", 10);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        ask(&gin, "/order?kind=tea", 10);
        assert_eq!(agreed(&Place::all(&gin, port)).value(ORDERS, &[]), 20.0, "{line}");
        gin.stop();
    }
}

#[test]
fn a_worker_that_knows_nothing_of_the_memory_serves_and_tells_its_own_counts() {
    // An older worker: it does not announce itself, or does not know the variable.
    for (variable, line) in [("GIN_ANNOUNCE", ""), ("GIN_METRICS_FD", "channel = true")] {
        let port = free_port();
        let gin = counting(port).set(line).replace(PLAIN, &without(variable)).start();
        ask(&gin, "/order?kind=tea", 10);
        for place in [Place::control(&gin), Place::own(port)] {
            assert_eq!(place.scrape().get(ORDERS, &[]), None, "{variable}: {}", place.name);
        }
        assert_eq!(Place::public(&gin).scrape().value(ORDERS, &[]), 10.0, "{variable}");
        // The next ones are of this version.
        gin.configure(|text| text.replace(&without(variable), PLAIN));
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        ask(&gin, "/order?kind=tea", 5);
        assert_eq!(agreed(&Place::all(&gin, port)).value(ORDERS, &[]), 5.0, "{variable}");
        gin.stop();
    }
}

/// A worker whose master is the test. It is killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers the announcement of a worker as an older master does, which knows nothing of the memory, and waits until it is ready.
fn welcome_as_an_older_master(notify: &UnixDatagram) {
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 4096];
    let mut is_welcome = false;
    loop {
        let (length, fds) = descriptors::receive(notify, &mut bytes, Waiting::Yes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if text.starts_with(ANNOUNCE) {
            let answer = serde_json::to_vec(&Welcome { descriptors: Vec::new() }).unwrap();
            descriptors::send(&fds[0], &answer, &[]).unwrap();
            is_welcome = true;
        }
        if text.lines().any(|line| line == "READY=1") {
            assert!(is_welcome, "the worker has not announced itself");
            return;
        }
    }
}

#[test]
fn a_worker_whose_master_is_older_counts_for_itself() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let config = dir.path().join("server.toml");
    std::fs::write(&config, "[server]\npublic = [\"/metrics\"]\n[monitoring.prometheus]\nnamespace = \"shop\"\n")
        .unwrap();
    std::fs::write(dir.path().join("mode"), "counted").unwrap();
    let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    // As a service manager passes it: descriptor 3, and the PID of the program itself.
    let worker = Command::new("/bin/sh")
        .args(["-c", "LISTEN_PID=$$ exec \"$0\" --config \"$1\" 3<&0 </dev/null"])
        .args([&binary("fixture-worker"), &config])
        .current_dir(dir.path())
        .env("LISTEN_FDS", "1")
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .env("GIN_ANNOUNCE", "1")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _worker = Worker(worker);
    welcome_as_an_older_master(&notify);
    assert_eq!(harness::get(&address, "/order?kind=tea").unwrap().status, 200);
    let scrape = Scrape::of(&address, "/metrics").unwrap();
    assert_eq!((scrape.get(ORDERS, &[]), scrape.get("shop_starts_total", &[])), (Some(1.0), Some(1.0)));
    assert_eq!(Scrape::of(&address, "/metrics?by=worker").unwrap().value(ORDERS, &[]), 1.0);
}

/// After the workers were replaced, what they count is told, from nothing on.
fn assert_counts_anew(gin: &Supervisor, port: u16) {
    gin.until_log(ANEW);
    assert_eq!(told(gin).get(ORDERS, &[]).unwrap_or(0.0), 0.0);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    ask(gin, "/order?kind=tea", 5);
    assert_eq!(agreed(&Place::all(gin, port)).value(ORDERS, &[]), 5.0);
}

#[test]
fn a_master_that_finds_the_memory_nowhere_counts_anew_and_says_so() {
    // No worker has it.
    let port = free_port();
    let mut gin = counting(port).workers(2).replace(PLAIN, &without("GIN_ANNOUNCE")).start();
    ask(&gin, "/order?kind=tea", 10);
    gin.die_and_adopt();
    gin.configure(|text| text.replace(&without("GIN_ANNOUNCE"), PLAIN));
    assert_counts_anew(&gin, port);
    gin.stop();
    // The state of an older master does not name it.
    let port = free_port();
    let mut gin = counting(port).workers(2).start();
    ask(&gin, "/order?kind=tea", 10);
    gin.kill();
    gin.wait_dead();
    let oldest: Value = serde_json::from_str(include_str!("../fixtures/state-1.json")).unwrap();
    edit(&gin, |state| reduce(state, &oldest));
    gin.start_again();
    assert_counts_anew(&gin, port);
    gin.stop();
}

#[test]
fn counters_go_on_over_deaths_of_the_master_though_few_workers_are_left() {
    let port = free_port();
    let mut gin = counting(port).workers(2).start();
    for round in 1..=3 {
        ask(&gin, "/order?kind=tea", 10);
        eventually("two that serve", || told(&gin).value("gin_workers_serving", &[]), |count| *count == 2.0);
        let worker = gin.workers()[0];
        gin.kill();
        gin.wait_dead();
        // The memory is taken up from the other one.
        gin.kill_worker(worker);
        gin.start_again();
        let orders = agreed(&Place::all(&gin, port)).value(ORDERS, &[]);
        assert_eq!(orders, 10.0 * f64::from(round), "{}", gin.log());
    }
    assert!(!gin.log().contains(ANEW), "{}", gin.log());
    gin.stop();
}

#[test]
fn over_an_upgrade_in_place_to_an_older_build_and_back_no_counter_is_set_back() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (program, real) = (dir.path().join("gin-supervisor"), binary("gin-supervisor"));
    std::fs::copy(&real, &program).unwrap();
    let port = free_port();
    let gin = counting(port).program(&program).workers(2).start();
    let watch = Watch::start(vec![Place::public(&gin), Place::control(&gin)]);
    let mut orders = 0.0;
    for build in ["newer", "older", "newer"] {
        let call = format!("{} {build} {} $0", fixture("other-build.py").display(), real.display());
        write_program(&program, &format!("#!/bin/sh\nexec /usr/bin/python3 {call} \"$@\"\n"));
        ask(&gin, "/order?kind=tea", 10);
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
        ask(&gin, "/order?kind=tea", 10);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        orders += 20.0;
        assert_eq!(told(&gin).value(ORDERS, &[]), orders, "{build}");
    }
    let seen = watch.finish();
    // The supervisor's own counters are in the state, of which the older build knows nothing.
    let of_workers: Vec<&String> = seen.set_back.iter().filter(|told| told.contains(WORKERS)).collect();
    assert_eq!(of_workers, Vec::<&String>::new());
    gin.stop();
}

#[test]
fn workers_of_another_user_count_with_all_others_and_cannot_cut_the_memory_short() {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can start workers as another user");
    let builder = without_listener("user = \"daemon\"").workers(2).open_directory();
    // Built below a home directory that others cannot enter.
    let (built, app) = (binary("fixture-worker"), builder.dir().join("app"));
    std::fs::copy(&built, &app).unwrap();
    let gin = builder.replace(&format!("{built:?}"), &format!("{app:?}")).start();
    ask(&gin, "/order?kind=tea", 10);
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("worker serving");
    ask(&gin, "/order?kind=tea", 10);
    assert_eq!(told(&gin).value(REQUESTS, &[("route", "/order")]), 20.0);
    let memory = memory_of_counts(&gin);
    let length = memory.metadata().unwrap().len();
    for other in [0, length - 1, 2 * length] {
        assert!(memory.set_len(other).is_err(), "{length} bytes, then {other}");
    }
    assert_eq!(told(&gin).value(REQUESTS, &[("route", "/order")]), 20.0);
    gin.stop();
}

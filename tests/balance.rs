//! Load is shared: a burst lands on all workers, and connections of each kind move to workers that have fewer. No client notices.
//! WebSockets stay where they are.

use std::collections::BTreeMap;
use std::time::Instant;

use harness::{Asker, Builder, Connection, Endpoint, Load, Process, Supervisor, eventually, supervisor};

use crate::handover::{asks, assert_kept};
use crate::takers::lost;

fn shop(workers: usize, settings: &str) -> Supervisor {
    builder(workers).set(settings).start()
}

fn builder(workers: usize) -> Builder {
    let limits = "[limits]\nconnections_per_client = 100000";
    supervisor().workers(workers).ours("one", "ok").https().set("soak = \"0s\"").section(limits)
}

/// Kinds of connections that are shared: HTTP/1.1 and HTTP/2, each in cleartext and over TLS.
const KINDS: usize = 4;

/// The place for clients of each kind.
fn endpoints(gin: &Supervisor) -> [Endpoint; KINDS] {
    [gin.tcp().into(), gin.https().into(), Endpoint::http2(gin.tcp()), Endpoint::http2(gin.https())]
}

/// So many clients of this kind.
fn connected(gin: &Supervisor, kind: usize, count: usize) -> Vec<Connection> {
    let endpoint = &endpoints(gin)[kind];
    (0..count).map(|_| Connection::open(endpoint).unwrap()).collect()
}

/// Numbers of connections of all workers. The worker of a connection shows in its next answer alone.
fn shares(gin: &Supervisor, clients: &mut [impl Asker]) -> Vec<usize> {
    let none = |worker: i32| (u64::try_from(worker).unwrap(), 0);
    let mut shares: BTreeMap<u64, usize> = gin.workers().into_iter().map(none).collect();
    clients.iter_mut().for_each(|client| *shares.entry(asks(client)).or_default() += 1);
    shares.into_values().collect()
}

/// Waits until the fullest of so many workers has at most a quarter more than the emptiest. Each client is answered on the connection that
/// it has opened.
fn until_even(gin: &Supervisor, clients: &mut [impl Asker], workers: usize) {
    let began = Instant::now();
    let is_even = |shares: &Vec<usize>| {
        let (fullest, emptiest) = (shares.iter().max().unwrap(), shares.iter().min().unwrap());
        shares.len() == workers && fullest * 4 <= emptiest * 5
    };
    let even = eventually("the load is shared", || shares(gin, clients), is_even);
    println!("{even:?} after {:?}", began.elapsed());
}

#[test]
fn a_burst_is_shared_by_all_workers() {
    for kind in 0..KINDS {
        let gin = shop(4, "");
        let mut clients = connected(&gin, kind, 400);
        until_even(&gin, &mut clients, 4);
        drop(clients);
        gin.stop();
    }
}

#[test]
fn connections_move_to_new_workers_under_load() {
    for kind in 0..KINDS {
        let gin = shop(1, "");
        let mut clients = connected(&gin, kind, 600);
        assert_eq!(shares(&gin, &mut clients), [600]);
        let load = Load::new().keep_alive(&gin.tcp(), 8);
        load.flows(50);
        gin.ctl(&["scale", "4"]).assert(0, &["4 workers serve"]);
        until_even(&gin, &mut clients, 4);
        load.flows(50);
        assert_kept(load, &gin);
        drop(clients);
        gin.stop();
    }
}

#[test]
fn connections_that_rest_and_are_not_parked_move_without_a_request() {
    for kind in 0..KINDS {
        let gin = builder(1).section("[timeouts]\npark_after = \"1h\"").start();
        let mut clients = connected(&gin, kind, 200);
        assert_eq!(shares(&gin, &mut clients), [200]);
        gin.ctl(&["scale", "2"]).assert(0, &["2 workers serve"]);
        let sockets = || gin.workers().into_iter().map(|pid| Process(pid.cast_unsigned()).descriptors().0).collect();
        eventually("both have half of them", sockets, |sockets: &Vec<usize>| sockets.iter().all(|count| *count > 80));
        until_even(&gin, &mut clients, 2);
        drop(clients);
        gin.stop();
    }
}

#[test]
fn shares_are_even_after_a_restart() {
    for kind in 0..KINDS {
        let gin = shop(4, "");
        let mut clients = connected(&gin, kind, 400);
        until_even(&gin, &mut clients, 4);
        for _ in 0..2 {
            gin.restart();
            until_even(&gin, &mut clients, 4);
        }
        gin.assert_sound();
        drop(clients);
        gin.stop();
    }
}

#[test]
fn a_taker_that_dies_in_a_share_takes_along_no_more_than_it_had_in_hand_and_another_takes() {
    for (step, most) in [("take.received", 0), ("take.taken", 64)] {
        for kind in 0..KINDS {
            let gin = builder(1).faulty_workers().start();
            let mut clients = connected(&gin, kind, 200);
            assert_eq!(shares(&gin, &mut clients), [200]);
            gin.order_workers(&format!("{step} kill 0 once"));
            // Its new worker may be the one that dies.
            let _ = gin.ctl(&["scale", "2"]);
            // Connections leave as they pause.
            let asked = || {
                lost(&mut clients);
                std::fs::read_to_string(gin.dir().join("worker-faults.done")).unwrap_or_default()
            };
            eventually("the taker dies", asked, |done| done.contains(step));
            let lost = lost(&mut clients);
            assert!(lost <= most, "{step}, kind {kind}: {lost}: {}", gin.log());
            clients.retain_mut(|client| client.fetch("/").is_ok());
            until_even(&gin, &mut clients, 2);
            drop(clients);
            gin.stop();
        }
    }
}

#[test]
fn a_master_that_has_adopted_workers_shares_their_load() {
    let mut gin = shop(1, "");
    let mut clients = connected(&gin, 0, 200);
    assert_eq!(shares(&gin, &mut clients), [200]);
    gin.die_and_adopt();
    gin.ctl(&["scale", "2"]).assert(0, &["2 workers serve"]);
    until_even(&gin, &mut clients, 2);
    drop(clients);
    gin.stop();
}

#[test]
fn nothing_moves_without_balance_until_a_reload_switches_it_on() {
    let gin = shop(1, "balance = false");
    let mut clients = connected(&gin, 0, 200);
    assert_eq!(shares(&gin, &mut clients), [200]);
    gin.ctl(&["scale", "2"]).assert(0, &["2 workers serve"]);
    let mut unmoved = shares(&gin, &mut clients);
    unmoved.sort_unstable();
    assert_eq!(unmoved, [0, 200]);
    gin.configure(|text| text.replace("balance = false", "balance = true"));
    gin.ctl(&["reload"]).assert(0, &["changed in place; no worker was restarted"]);
    until_even(&gin, &mut clients, 2);
    drop(clients);
    gin.stop();
}

//! Load is shared: a burst lands on all workers, and connections move to workers that have fewer. No client notices.

use std::collections::BTreeMap;
use std::time::Instant;

use harness::{Client, Load, Supervisor, eventually, supervisor};

use crate::handover::asks;

fn shop(workers: usize, settings: &str) -> Supervisor {
    let settings = format!("soak = \"0s\"\n{settings}");
    let limits = "[limits]\nconnections_per_client = 100000";
    supervisor().workers(workers).ours("one", "ok").set(&settings).section(limits).start()
}

fn connected(gin: &Supervisor, count: usize) -> Vec<Client> {
    let address = gin.tcp();
    (0..count).map(|_| Client::connect(&address).unwrap()).collect()
}

/// Numbers of connections of all workers. The worker of a connection shows in its next answer alone.
fn shares(gin: &Supervisor, clients: &mut [Client]) -> Vec<usize> {
    let none = |worker: i32| (u64::try_from(worker).unwrap(), 0);
    let mut shares: BTreeMap<u64, usize> = gin.workers().into_iter().map(none).collect();
    clients.iter_mut().for_each(|client| *shares.entry(asks(client)).or_default() += 1);
    shares.into_values().collect()
}

/// Waits until the fullest of so many workers has at most a quarter more than the emptiest.
fn until_even(gin: &Supervisor, clients: &mut [Client], workers: usize) {
    let began = Instant::now();
    let is_even = |shares: &Vec<usize>| {
        let (fullest, emptiest) = (shares.iter().max().unwrap(), shares.iter().min().unwrap());
        shares.len() == workers && fullest * 4 <= emptiest * 5
    };
    let even = eventually("the load is shared", || shares(gin, clients), is_even);
    println!("{even:?} after {:?}", began.elapsed());
    assert!(clients.iter().all(|client| !client.is_closed()));
}

#[test]
fn a_burst_is_shared_by_all_workers() {
    let gin = shop(4, "");
    let mut clients = connected(&gin, 400);
    until_even(&gin, &mut clients, 4);
    drop(clients);
    gin.stop();
}

#[test]
fn connections_move_to_new_workers_under_load() {
    let gin = shop(1, "");
    let mut clients = connected(&gin, 600);
    assert_eq!(shares(&gin, &mut clients), [600]);
    let load = Load::new().keep_alive(&gin.tcp(), 8);
    load.flows(50);
    gin.ctl(&["scale", "4"]).assert(0, &["4 workers serve"]);
    until_even(&gin, &mut clients, 4);
    load.flows(50);
    let all = load.clients();
    let report = load.finish();
    report.assert_unhurt();
    let kept = (report.closed_idle, report.closed_with_notice, report.connects) == (0, 0, all);
    assert!(kept, "{report:?} {}", gin.log());
    drop(clients);
    gin.stop();
}

#[test]
fn shares_are_even_after_a_restart() {
    let gin = shop(4, "");
    let mut clients = connected(&gin, 400);
    until_even(&gin, &mut clients, 4);
    for _ in 0..2 {
        gin.restart();
        until_even(&gin, &mut clients, 4);
    }
    gin.assert_sound();
    drop(clients);
    gin.stop();
}

#[test]
fn a_master_that_has_adopted_workers_shares_their_load() {
    let mut gin = shop(1, "");
    let mut clients = connected(&gin, 200);
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
    let mut clients = connected(&gin, 200);
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

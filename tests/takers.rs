//! Who takes connections over may die, hang, lie full, or be replaced: nobody loses more than was in hand.

use harness::{
    Address, Asker, Client, Connection, Endpoint, Failure, Response, Supervisor, binary, eventually, fixture, get,
    supervisor, times,
};

use crate::handover::asks;

/// Idle connections, some of them fresh.
fn idle(gin: &Supervisor, count: usize) -> Vec<Client> {
    idle_clients(&gin.tcp(), count)
}

fn idle_clients(address: &Address, count: usize) -> Vec<Client> {
    let clients = half_of_them_ask((0..count).map(|_| Client::connect(address).unwrap()));
    // Who is answered on a connection made later knows that all before it were accepted.
    get(address, "/").unwrap();
    clients
}

/// The same at each of these endpoints. Those of HTTP/1.1 are of one listener.
pub fn idle_at(endpoints: &[Endpoint], count: usize) -> Vec<Connection> {
    let endpoint = |number: usize| &endpoints[number / 2 % endpoints.len()];
    let clients = half_of_them_ask((0..count).map(|number| Connection::open(endpoint(number)).unwrap()));
    // As above. A client of HTTP/2 has had an answer to its PING.
    if let Endpoint::Http1(address) = &endpoints[0] {
        get(address, "/").unwrap();
    }
    clients
}

fn half_of_them_ask<C: Asker>(clients: impl Iterator<Item = C>) -> Vec<C> {
    let mut clients: Vec<C> = clients.collect();
    clients.iter_mut().step_by(2).for_each(|client| assert!(asks(client) > 0));
    clients
}

/// How many of them are lost. All others are answered, or know that they are not.
pub fn lost(clients: &mut [impl Asker]) -> usize {
    let is_lost = |answer: Result<Response, Failure>| match answer {
        Ok(answer) => answer.status != 200,
        Err(failure) => failure != Failure::GoingAway,
    };
    clients.iter_mut().map(|client| usize::from(is_lost(client.fetch("/")))).sum()
}

#[test]
fn what_a_lost_taker_did_not_have_is_served_by_the_giver() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let address = gin.tcp();
    what_a_lost_taker_did_not_have_is_served(gin, &address);
}

/// A taker is lost while requests of all kinds are under way at the giver.
pub fn what_a_lost_taker_did_not_have_is_served(gin: Supervisor, address: &Address) {
    let open = |request: &str| Client::asking(address, request).unwrap();
    let mut expects = open("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(expects.head().unwrap().status, 100);
    let mut upload = open("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
    upload.send(&[b'x'; 100_000]).unwrap();
    let hold = gin.hold();
    let mut held = open(&hold.request());
    let request = hold.arrived();
    gin.restart();
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until_of(2, "was killed");
    expects.send(b"hello").unwrap();
    assert_eq!(expects.response().unwrap_or_else(|e| panic!("{e:?} {}", gin.log())).json()["length"], 5);
    upload.send(&[b'x'; 100_000]).unwrap();
    assert_eq!(upload.response().unwrap().json()["length"], 200_000);
    request.release();
    assert_eq!(held.response().unwrap().body, b"held\n");
    drop((expects, upload, held));
    gin.stop();
}

/// Number of connections in these tests.
pub const ALL: usize = 200;

/// Restarts with [`ALL`] idle connections at these endpoints, and has a worker die at this step; returns how many connections are lost.
pub fn lost_at(gin: &Supervisor, endpoints: &[Endpoint], step: &str) -> usize {
    let mut clients = idle_at(endpoints, ALL);
    let (point, passes) = step.split_once(' ').unwrap_or((step, "0"));
    gin.order_workers(&format!("{point} kill {passes} once"));
    let mut events = gin.events();
    // The restart may fail: its worker may be the one that dies.
    let _ = gin.ctl(&["restart"]);
    events.until("was killed by SIGKILL");
    let lost = lost(&mut clients);
    println!("{step}: {lost} lost");
    lost
}

fn with_faulty_workers() -> Supervisor {
    supervisor().ours("one", "ok").faulty_workers().set("soak = \"0s\"").start()
}

#[test]
fn a_taker_that_dies_at_any_step_takes_along_no_more_than_it_had_in_hand() {
    // A batch is 64 connections.
    for (step, most) in [("take.received", 0), ("take.taken", 64), ("take.served", 64), ("take.received 1", 64)] {
        let gin = with_faulty_workers();
        let lost = lost_at(&gin, &[gin.tcp().into()], step);
        assert!(lost <= most, "{step}: {lost}: {}", gin.log());
        gin.stop();
    }
}

/// So many of [`ALL`] are lost as were not taken over, and at least one of each batch was.
pub fn assert_lost_but_for_what_is_taken(gin: &Supervisor, lost: usize, batches: usize, step: &str) {
    gin.until_log("connections taken over");
    let log = gin.log();
    let line = log.lines().find(|line| line.contains("connections taken over")).unwrap();
    let taken = serde_json::from_str::<serde_json::Value>(line).unwrap()["taken"].as_u64().unwrap();
    let taken = usize::try_from(taken).unwrap();
    assert!(taken >= batches, "{step}: {taken} taken over: {log}");
    assert_eq!(lost, ALL - taken, "{step}: {log}");
}

#[test]
fn a_giver_that_dies_at_any_step_takes_along_no_more_than_it_had_not_offered() {
    // The number of batches that the giver has offered by then. Each has one connection at least.
    for (step, batches) in [("give.send 2", 2), ("give.sent", 1), ("give.sent 2", 3), ("give.heard 2", 2)] {
        let gin = with_faulty_workers();
        let lost = lost_at(&gin, &[gin.tcp().into()], step);
        assert_lost_but_for_what_is_taken(&gin, lost, batches, step);
        gin.stop();
    }
}

#[test]
fn a_master_that_dies_while_connections_are_handed_over_is_not_missed() {
    for step in ["handover.socketpair", "channel.send", "loop.performed", "keep.after"] {
        for passes in 0..times(3, 12) {
            let mut gin = supervisor().faulty().ours("one", "ok").set("soak = \"0s\"").start();
            let mut clients = idle(&gin, 100);
            gin.order(&format!("{step} kill {passes}"));
            gin.ctl_until_death(&["restart"]);
            gin.order("");
            if gin.ctl(&["status"]).code == 3 {
                gin.start_again();
            }
            // What it has not heard of yet is told by the next restart.
            assert_eq!(lost(&mut clients), 0, "{step} {passes}");
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
            drop(clients);
            gin.assert_sound();
            gin.stop();
        }
    }
}

#[test]
fn a_taker_that_hangs_leaves_the_connections_to_the_giver() {
    let gin = supervisor().ours("one", "ok").faulty_workers().set("soak = \"0s\"").start();
    let mut clients = idle(&gin, 100);
    gin.order_workers("take.received stop 0 once");
    gin.restart();
    // After 5 s without a word they are the giver's again.
    assert_eq!(lost(&mut clients), 0);
    drop(clients);
    let hangs = nix::unistd::Pid::from_raw(gin.workers()[0]);
    nix::sys::signal::kill(hangs, nix::sys::signal::Signal::SIGCONT).unwrap();
    gin.stop();
}

#[test]
fn a_taker_that_may_open_no_more_files_takes_what_it_can() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"\ndrain_timeout = \"40s\"").start();
    let mut clients = idle(&gin, 300);
    gin.configure(|text| format!("{text}\n[supervisor.limits]\nnofile = 120\n"));
    gin.restart();
    assert_eq!(lost(&mut clients), 0);
    assert!(!gin.status().degraded, "{}", gin.log());
    drop(clients);
    gin.stop();
}

#[test]
fn a_taker_at_its_limit_of_connections_says_so() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section("[limits]\nconnections = 300").start();
    let mut clients = idle(&gin, 200);
    gin.configure(|text| text.replace("connections = 300", "connections = 50"));
    gin.restart();
    assert_eq!(lost(&mut clients), 0, "those that found no room are told");
    drop(clients);
    gin.stop();
}

#[test]
fn a_worker_of_the_first_version_drains_as_it_always_did() {
    let gin = supervisor().ours("one", "ok").set("channel = true\nsoak = \"0s\"").start();
    let (ours, earlier) = (binary("fixture-worker"), fixture("earlier.py"));
    let commands = [format!("command = [{ours:?}]"), format!("command = [\"/usr/bin/python3\", {earlier:?}]")];
    // There is nobody who takes: it is told.
    let mut client = Client::connect(&gin.tcp()).unwrap();
    asks(&mut client);
    gin.configure(|text| text.replace(&commands[0], &commands[1]));
    gin.restart();
    // The order may be on its way. The client learns of it from an answer alone.
    eventually("an answer says that the connection closes", || client.get("/").unwrap(), Response::closes);
    // Nobody gives anything either, nor is asked to.
    let mut client = Client::connect(&gin.tcp()).unwrap();
    let pid = asks(&mut client);
    assert_eq!(u64::try_from(gin.workers()[0]), Ok(pid));
    gin.configure(|text| text.replace(&commands[1], &commands[0]));
    let mut events = gin.events();
    gin.restart();
    assert_eq!(client.until_closed().unwrap(), b"");
    let ended = events.until("worker exited with status");
    assert_eq!(
        (ended.pid, ended.text.as_str()),
        (i32::try_from(pid).ok(), "worker exited with status 0"),
        "{}",
        gin.log()
    );
    gin.stop();
}

#[test]
fn when_the_taker_of_a_slot_is_lost_the_others_take() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let address = gin.tcp();
    when_a_taker_is_lost_the_others_take(gin, &address);
}

/// Of two workers, the taker in one slot dies, and nobody follows it.
pub fn when_a_taker_is_lost_the_others_take(gin: Supervisor, address: &Address) {
    // Longer than a giver hopes for a taker.
    let ask = |client: &mut Client| client.send(b"GET /slow?ms=2000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut clients = idle_clients(address, 20);
    clients.iter_mut().for_each(ask);
    let mut events = gin.events();
    gin.restart();
    let lost = gin.workers();
    // Whoever is started in its place is not ready for long.
    std::fs::write(gin.releases().path("one").join("mode"), "never-ready").unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(lost[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
    events.until("was killed by SIGKILL");
    for client in &mut clients {
        let answer = client.response().unwrap();
        assert!(answer.body == b"slow\n" && !answer.closes(), "{answer:?} {}", gin.log());
    }
    let other = u64::try_from(lost[1]).unwrap();
    // The connection may be on its way. Its worker shows in the next answer alone.
    for client in &mut clients {
        eventually("the other worker has the connection", || asks(client), |pid| *pid == other);
    }
    drop(clients);
    gin.stop();
}

#[test]
fn when_the_taker_of_a_slot_hangs_the_others_take() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let address = gin.tcp();
    when_a_taker_hangs_the_others_take(gin, &address);
}

/// Of two workers, the taker in one slot hangs.
pub fn when_a_taker_hangs_the_others_take(gin: Supervisor, address: &Address) {
    let giver = u64::try_from(gin.workers()[0]).unwrap();
    let hold = gin.hold();
    let (mut clients, mut requests) = (Vec::new(), Vec::new());
    while clients.len() < 4 {
        let mut client = Client::connect(address).unwrap();
        if asks(&mut client) == giver {
            client.send(hold.request().as_bytes()).unwrap();
            requests.push(hold.arrived());
            clients.push(client);
        }
    }
    gin.restart();
    let takers = gin.workers();
    let hangs = nix::unistd::Pid::from_raw(takers[0]);
    harness::Process(takers[0].cast_unsigned()).stop();
    let answered = |client: &mut Client| {
        let answer = client.response().unwrap();
        assert!(answer.body == b"held\n" && !answer.closes(), "{answer:?} {}", gin.log());
    };
    let other = u64::try_from(takers[1]).unwrap();
    let until_other = |client: &mut Client| {
        // The connection may be on its way. Its worker shows in the next answer alone.
        eventually("the other worker has the connection", || asks(client), |pid| *pid == other);
    };
    // Two are offered to the worker that hangs. The giver learns from its silence that another one is to take.
    let late = requests.split_off(2);
    requests.into_iter().for_each(harness::Held::release);
    clients[..2].iter_mut().for_each(answered);
    gin.until_log("the worker's takers do not take its connections: others do");
    late.into_iter().for_each(harness::Held::release);
    clients[2..].iter_mut().for_each(answered);
    clients[2..].iter_mut().for_each(until_other);
    // What was offered is the giver's again after 5 s without a word.
    clients[..2].iter_mut().for_each(until_other);
    drop(clients);
    nix::sys::signal::kill(hangs, nix::sys::signal::Signal::SIGCONT).unwrap();
    gin.stop();
}

#[test]
fn a_successor_knows_who_hands_over_before_it_says_so() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let mut clients = idle(&gin, 20);
    harness::Process(gin.workers()[0].cast_unsigned()).stop();
    gin.die_and_adopt();
    // It wakes the worker when it tells it to drain.
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=20 ", " closed=0 cut=0"]);
    assert_eq!(lost(&mut clients), 0);
    drop(clients);
    gin.stop();
}

#[test]
fn a_handover_that_the_master_cannot_arrange_for_now_is_tried_again() {
    // Idle connections wait for so long at most, by chance.
    let grace = "[timeouts]\nidle_grace = \"10m\"";
    // Of the two messages with descriptors the first one tells the taker, the second one the giver.
    let troubles = [
        ("handover.socketpair EMFILE", "no connections can be handed to the worker"),
        ("handover.send ETOOMANYREFS", "cannot send Take to the worker"),
        ("handover.send ETOOMANYREFS 1", "cannot send Drain"),
    ];
    for (order, told) in troubles {
        let gin = supervisor().faulty().ours("one", "ok").set("soak = \"0s\"").section(grace).start();
        let mut client = Client::connect(&gin.tcp()).unwrap();
        asks(&mut client);
        gin.order(order);
        gin.restart();
        gin.until_log(told);
        gin.order("");
        gin.until_log("the worker's connections can be handed over now");
        // The worker that took it says so when the old one has gone.
        gin.until_log("connections taken over");
        let pid = asks(&mut client);
        assert!(gin.workers().iter().any(|worker| u64::try_from(*worker) == Ok(pid)), "{pid}: {}", gin.log());
        drop(client);
        gin.stop();
    }
}

#[test]
fn a_taker_to_which_nothing_can_be_sent_for_now_is_tried_again() {
    for trouble in ["give.hello ETOOMANYREFS", "give.send ETOOMANYREFS", "give.send EAGAIN"] {
        let gin = with_faulty_workers();
        let mut clients = idle(&gin, 20);
        gin.order_workers(&format!("{trouble} 0 once"));
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=20 "]);
        assert_eq!(lost(&mut clients), 0, "{trouble}");
        drop(clients);
        gin.stop();
    }
}

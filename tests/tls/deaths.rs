//! Givers, takers and masters that die, hang or have no room while connections over TLS, of HTTP/2, or of WebSockets are handed over. The
//! numbers are those of cleartext HTTP/1.1: what is known to be the giver's goes on there, and what may be another worker's is closed.

use harness::{
    Asker, Client, Connection, Endpoint, Failure, Response, Supervisor, VERSIONS, binary, eventually, fixture,
    on_change, times,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{addresses, everywhere, with_https};
use crate::handover::{asks, until_new};
use crate::takers::{
    assert_lost_but_for_what_is_taken, idle_at, lost, lost_at, what_a_lost_taker_did_not_have_is_served,
    when_a_taker_hangs_the_others_take, when_a_taker_is_lost_the_others_take,
};

/// A kind of connections. Most tests here are done with each.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// HTTP/1.1 over either version of TLS.
    Http1,
    /// HTTP/2 in cleartext, and over either version of TLS.
    Http2,
    /// WebSockets in cleartext, and over either version of TLS.
    WebSocket,
}

impl Kind {
    fn endpoints(self, gin: &Supervisor) -> Vec<Endpoint> {
        match self {
            Self::Http1 => addresses(gin).map(Endpoint::from).into(),
            Self::Http2 => everywhere(gin).map(Endpoint::http2).into(),
            Self::WebSocket => everywhere(gin).map(Endpoint::WebSocket).into(),
        }
    }

    /// Idle connections, some of them fresh.
    fn idle(self, gin: &Supervisor, count: usize) -> Vec<Connection> {
        idle_at(&self.endpoints(gin), count)
    }
}

/// Each of these with each kind of connections.
fn with_each_kind<T: Copy>(cases: &[T]) -> impl Iterator<Item = (Kind, T)> {
    [Kind::Http1, Kind::Http2, Kind::WebSocket]
        .into_iter()
        .flat_map(move |kind| cases.iter().map(move |case| (kind, *case)))
}

fn with_faulty_workers() -> Supervisor {
    with_https().faulty_workers().start()
}

fn continues(worker: i32) {
    kill(Pid::from_raw(worker), Signal::SIGCONT).unwrap();
}

/// Waits until a worker has met this order.
fn until_met(gin: &Supervisor, order: &str) {
    let orders = || std::fs::read_to_string(gin.dir().join("worker-faults.done")).unwrap_or_default();
    on_change(gin.dir(), "the order is carried out", orders, |done| done.lines().any(|line| line == order));
}

#[test]
fn a_taker_that_dies_at_any_step_takes_along_no_more_than_it_had_in_hand() {
    // A batch is 64 connections.
    let steps = [("take.received", 0), ("take.taken", 64), ("take.served", 64), ("take.received 1", 64)];
    for (kind, (step, most)) in with_each_kind(&steps) {
        let gin = with_faulty_workers();
        let lost = lost_at(&gin, &kind.endpoints(&gin), step);
        assert!(lost <= most, "{kind:?}, {step}: {lost}: {}", gin.log());
        gin.stop();
    }
}

#[test]
fn a_giver_that_dies_at_any_step_takes_along_no_more_than_it_had_not_offered() {
    let steps = [("give.send 2", 2), ("give.sent", 1), ("give.sent 2", 3), ("give.heard 2", 2)];
    for (kind, (step, batches)) in with_each_kind(&steps) {
        let gin = with_faulty_workers();
        let lost = lost_at(&gin, &kind.endpoints(&gin), step);
        assert_lost_but_for_what_is_taken(&gin, lost, batches, &format!("{kind:?}, {step}"));
        gin.stop();
    }
}

#[test]
fn a_giver_that_stands_still_at_any_step_goes_on_where_it_stood() {
    for (kind, step) in with_each_kind(&["give.send", "give.sent", "give.sent 1", "give.heard"]) {
        let gin = with_faulty_workers();
        let mut clients = kind.idle(&gin, 100);
        let giver = gin.workers()[0];
        let (point, passes) = step.split_once(' ').unwrap_or((step, "0"));
        let order = format!("{point} stop {passes} once");
        gin.order_workers(&order);
        gin.restart();
        until_met(&gin, &order);
        continues(giver);
        assert_eq!(lost(&mut clients), 0, "{kind:?}, {step}: {}", gin.log());
        drop(clients);
        gin.stop();
    }
}

#[test]
fn a_taker_that_stands_still_leaves_to_the_giver_what_it_has_not_taken() {
    for (kind, step) in with_each_kind(&["take.received", "take.taken", "take.served"]) {
        let gin = with_faulty_workers();
        let mut clients = kind.idle(&gin, 100);
        let order = format!("{step} stop 0 once");
        gin.order_workers(&order);
        gin.restart();
        until_met(&gin, &order);
        let taker = gin.workers()[0];
        if step == "take.received" {
            // After 5 s without a word they are the giver's again. The taker, when it goes on, knows that it has none of them.
            gin.until_log("a taker does not answer within");
        } else {
            continues(taker);
        }
        assert_eq!(lost(&mut clients), 0, "{kind:?}, {step}: {}", gin.log());
        continues(taker);
        drop(clients);
        gin.stop();
    }
}

#[test]
fn a_giver_that_dies_when_it_has_taken_connections_back_leaves_them_to_nobody() {
    let orders = ["take.received stop 0 once", "give.withdrawn kill 0 once"];
    for (kind, orders) in with_each_kind(&[orders]) {
        let gin = with_faulty_workers();
        let mut clients = kind.idle(&gin, 100);
        gin.order_workers(&orders.join("\n"));
        let mut events = gin.events();
        gin.restart();
        until_met(&gin, orders[0]);
        events.until("was killed by SIGKILL");
        // The giver may have written under their keys. So the taker, which still has their copies, does not.
        continues(gin.workers()[0]);
        assert_eq!(lost(&mut clients), 100, "{kind:?}: {}", gin.log());
        drop(clients);
        gin.stop();
    }
}

#[test]
fn what_a_lost_taker_did_not_have_is_served_by_the_giver() {
    for number in 0..VERSIONS.len() {
        let gin = with_https().start();
        let address = addresses(&gin)[number].clone();
        what_a_lost_taker_did_not_have_is_served(gin, &address);
    }
}

#[test]
fn when_the_taker_of_a_slot_is_lost_or_hangs_the_others_take() {
    for others_take in [when_a_taker_is_lost_the_others_take, when_a_taker_hangs_the_others_take] {
        for number in 0..VERSIONS.len() {
            let gin = with_https().workers(2).start();
            let address = addresses(&gin)[number].clone();
            others_take(gin, &address);
        }
    }
}

#[test]
fn a_master_that_dies_while_connections_are_handed_over_is_not_missed() {
    let steps = ["handover.socketpair", "channel.send", "loop.performed", "keep.after"];
    for (kind, step) in with_each_kind(&steps) {
        for passes in 0..times(2, 12) {
            let mut gin = with_https().faulty().start();
            let mut clients = kind.idle(&gin, 50);
            gin.order(&format!("{step} kill {passes}"));
            gin.ctl_until_death(&["restart"]);
            gin.order("");
            if gin.ctl(&["status"]).code == 3 {
                gin.start_again();
            }
            assert_eq!(lost(&mut clients), 0, "{kind:?}, {step} {passes}: {}", gin.log());
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
            drop(clients);
            gin.assert_sound();
            gin.stop();
        }
    }
}

#[test]
fn a_taker_to_which_nothing_can_be_sent_for_now_is_tried_again() {
    let troubles = ["give.hello ETOOMANYREFS", "give.send ETOOMANYREFS", "give.send EAGAIN"];
    for (kind, trouble) in with_each_kind(&troubles) {
        let gin = with_faulty_workers();
        let mut clients = kind.idle(&gin, 20);
        gin.order_workers(&format!("{trouble} 0 once"));
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=20 "]);
        assert_eq!(lost(&mut clients), 0, "{kind:?}, {trouble}: {}", gin.log());
        drop(clients);
        gin.stop();
    }
}

#[test]
fn keys_that_could_not_be_sent_are_the_givers_still() {
    for (kind, order) in with_each_kind(&["give.send EMFILE"]) {
        let gin = with_faulty_workers();
        let mut clients = kind.idle(&gin, 20);
        gin.order_workers(order);
        gin.restart();
        assert_eq!(lost(&mut clients), 0, "{kind:?}: {}", gin.log());
        gin.order_workers("");
        drop(clients);
        gin.stop();
    }
}

#[test]
fn a_taker_that_may_open_no_more_files_takes_what_it_can() {
    for (kind, limits) in with_each_kind(&["[supervisor.limits]\nnofile = 120\n"]) {
        let gin = with_https().set("drain_timeout = \"40s\"").start();
        let mut clients = kind.idle(&gin, 300);
        gin.configure(|text| format!("{text}\n{limits}"));
        gin.restart();
        assert_eq!(lost(&mut clients), 0, "{kind:?}: {}", gin.log());
        drop(clients);
        gin.stop();
    }
}

#[test]
fn a_taker_at_its_limit_of_connections_says_so() {
    for (kind, most) in with_each_kind(&["connections = 50"]) {
        let gin = with_https().section("[limits]\nconnections = 300").start();
        let mut clients = kind.idle(&gin, 200);
        gin.configure(|text| text.replace("connections = 300", most));
        gin.restart();
        assert_eq!(lost(&mut clients), 0, "{kind:?}: those that found no room are told: {}", gin.log());
        drop(clients);
        gin.stop();
    }
}

#[test]
fn a_worker_that_has_no_descriptor_left_hands_its_connections_over() {
    let gin = with_https().set("limits = { nofile = 400 }").start();
    for address in addresses(&gin) {
        let mut client = Client::connect(&address).unwrap();
        asks(&mut client);
        let mut filler = Client::connect(&address).unwrap();
        assert_eq!(filler.get("/fill").unwrap().body, b"full\n");
        gin.restart();
        until_new(&gin, &mut client);
    }
    gin.stop();
}

#[test]
fn where_nobody_takes_them_over_their_clients_hear_that_they_close() {
    let gin = with_https().set("channel = true").start();
    let mut clients = addresses(&gin).map(|address| Client::connect(&address).unwrap());
    let mut http2 = Kind::Http2.idle(&gin, 12);
    let mut sockets = Kind::WebSocket.idle(&gin, 12);
    clients.iter_mut().for_each(|client| assert!(asks(client) > 0));
    let (ours, earlier) = (binary("fixture-worker"), fixture("earlier.py"));
    let commands = [format!("command = [{ours:?}]"), format!("command = [\"/usr/bin/python3\", {earlier:?}]")];
    gin.configure(|text| text.replace(&commands[0], &commands[1]));
    gin.restart();
    for client in &mut clients {
        // The order may be on its way. The client learns of it from an answer alone.
        eventually("an answer says that the connection closes", || client.get("/").unwrap(), Response::closes);
        assert_eq!(client.until_closed().unwrap(), b"");
    }
    for client in &mut http2 {
        // GOAWAY comes when it comes: a request that is answered says nothing of it.
        eventually("a client of HTTP/2 is told", || client.fetch("/").err(), Option::is_some);
        assert_eq!(client.fetch("/").unwrap_err(), Failure::GoingAway);
    }
    for socket in &mut sockets {
        // The close frame comes when it comes.
        let told = eventually("a WebSocket is told", || socket.fetch("/").err(), Option::is_some);
        assert_eq!(told, Some(Failure::GoingAway));
    }
    drop((clients, http2, sockets));
    gin.stop();
}

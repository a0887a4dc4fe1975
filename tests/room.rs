//! A worker that is full of idle connections has room for new clients: by another worker, or by closing the longest idle.

use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Client, Failure, Process, Supervisor, eventually, supervisor, times};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::handover::asks;

/// One or two workers with room for so many connections each.
fn limited(workers: usize, connections: usize) -> Supervisor {
    let limits = format!("[limits]\nconnections = {connections}\nconnections_per_client = 100000");
    // Else a worker with many idle ones gives some away before it is full.
    let settings = "soak = \"0s\"\nbalance = false";
    supervisor().workers(workers).ours("one", "service").set(settings).section(&limits).start()
}

fn idle(gin: &Supervisor, count: usize) -> Vec<Client> {
    let address = gin.tcp();
    let one = |_| {
        let mut client = Client::connect(&address).unwrap();
        assert!(asks(&mut client) > 0);
        client
    };
    (0..count).map(one).collect()
}

/// A counter of the worker in this slot.
fn counter(gin: &Supervisor, slot: usize, name: &str) -> usize {
    let url = format!("http://gin/v1/workers/1/{slot}/metrics?by=worker");
    let output = Command::new("curl").args(["-s", "--unix-socket"]).arg(gin.socket()).arg(url).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let prefix = format!("gin_server_connections_{name}_total{{generation=\"1\",slot=\"{slot}\"}} ");
    let count = text.lines().find_map(|line| line.strip_prefix(&prefix));
    count.unwrap_or_else(|| panic!("no {prefix}: {text}")).parse().unwrap()
}

#[test]
fn idle_connections_of_a_full_worker_go_to_one_with_room() {
    let gin = limited(1, 20);
    let first = u64::try_from(gin.workers()[0]).unwrap();
    // One less than fill it: alone it would close some.
    let mut idle = idle(&gin, 19);
    gin.ctl(&["scale", "2"]).assert(0, &[]);
    gin.ctl(&["log-level", "debug"]).assert(0, &[]);
    // The kernel chooses who accepts, of those that run: one fills the first worker, one waits.
    let other = Pid::from_raw(gin.workers()[1]);
    Process(other.as_raw().cast_unsigned()).stop();
    let mut new: Vec<Client> = (0..2).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    gin.until_log("the worker has no room for connections");
    kill(other, Signal::SIGCONT).unwrap();
    let handed_over = || counter(&gin, 0, "handed_over_for_room");
    eventually("the first worker was full, and has handed some over", handed_over, |count| *count > 0);
    new.extend((0..4).map(|_| Client::connect(&gin.tcp()).unwrap()));
    assert!(new.iter_mut().all(|client| asks(client) > 0));
    let (mut by_other, mut closed) = (0, 0);
    for client in &mut idle {
        match client.get("/") {
            Ok(answer) => by_other += usize::from(answer.json()["pid"] != first),
            // On a busy machine the other worker may not have answered in time.
            Err(failure) => {
                assert_eq!(failure, Failure::ClosedEarly, "closed, and not reset");
                closed += 1;
            }
        }
    }
    assert!(by_other > 0, "{closed} closed: {}", gin.log());
    assert!(new.iter_mut().all(|client| asks(client) > 0));
    let counted: usize = [0, 1].map(|slot| counter(&gin, slot, "closed_for_room")).iter().sum();
    assert!(closed <= counted, "{closed} of {counted}: {}", gin.log());
    drop((idle, new));
    gin.stop();
}

#[test]
fn a_new_client_is_served_within_a_second_beside_idle_ones_in_all_workers() {
    let room = times(150, 5_000);
    let gin = limited(2, room);
    let mut idle = idle(&gin, 2 * room);
    for _ in 0..20 {
        let began = Instant::now();
        let mut client = Client::connect(&gin.tcp()).unwrap();
        assert!(asks(&mut client) > 0);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?} {}", began.elapsed(), gin.log());
        idle.push(client);
    }
    // A counter is ahead of the client, which the kernel tells.
    let look = || {
        let counted: usize = [0, 1].map(|slot| counter(&gin, slot, "closed_for_room")).iter().sum();
        (counted, idle.iter().filter(|client| client.is_closed()).count())
    };
    let (closed, _) = eventually("those that were closed are counted", look, |(counted, seen)| counted == seen);
    assert!(closed > 0, "{}", gin.log());
    for client in &mut idle {
        if client.is_closed() {
            assert_eq!(client.until_closed().unwrap(), b"", "closed, and not reset");
            continue;
        }
        match client.get("/") {
            Ok(response) => assert_eq!(response.status, 200),
            // In this very moment: the last new client may have left its worker without room for the next.
            Err(failure) => assert_eq!(failure, Failure::ClosedEarly),
        }
    }
    drop(idle);
    gin.stop();
}

#[test]
fn a_worker_of_few_descriptors_serves_one_client_more_than_it_has_room_for_and_hands_all_over() {
    let settings = "soak = \"0s\"\nlimits = { nofile = 128 }";
    let gin = supervisor().ours("one", "service").set(settings).start();
    let told = "RLIMIT_NOFILE = 128 has room for ";
    gin.until_log(told);
    let log = gin.log();
    let room = log.split(told).nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let room: usize = room.parse().unwrap();
    assert!((32..128).contains(&room), "{log}");
    let mut clients = idle(&gin, room);
    assert_eq!(counter(&gin, 0, "closed_for_room"), 0);
    let mut one_more = Client::connect(&gin.tcp()).unwrap();
    assert!(asks(&mut one_more) > 0);
    clients.push(one_more);
    // A counter is ahead of the client, which the kernel tells.
    let look = || (counter(&gin, 0, "closed_for_room"), clients.iter().filter(|client| client.is_closed()).count());
    let (closed, _) = eventually("those that were closed are counted", look, |(counted, seen)| counted == seen);
    assert!((1..room).contains(&closed), "{closed} closed: {}", gin.log());
    clients.retain(|client| !client.is_closed());
    let said = format!("step=drained handed_over={} ", clients.len());
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[&said, "cut=0"]);
    let new = u64::try_from(gin.workers()[0]).unwrap();
    assert!(clients.iter_mut().all(|client| asks(client) == new), "{}", gin.log());
    drop(clients);
    gin.stop();
}

#[test]
fn a_request_that_comes_as_room_is_made_is_answered() {
    let gin = limited(1, 20);
    let mut idle = idle(&gin, 19);
    let worker = Pid::from_raw(gin.workers()[0]);
    Process(worker.as_raw().cast_unsigned()).stop();
    // The worker sees all of this at once.
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut new: Vec<Client> = (0..2).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    new.iter_mut().chain(idle.iter_mut().take(1)).for_each(|client| client.send(request).unwrap());
    kill(worker, Signal::SIGCONT).unwrap();
    for client in new.iter_mut().chain(idle.iter_mut().take(1)) {
        assert_eq!(client.response().unwrap().status, 200, "{}", gin.log());
    }
    // The kernel tells of the end.
    let look = || idle.iter().filter(|client| client.is_closed()).count();
    let closed = eventually("the longest idle are closed", look, |closed| *closed > 0);
    assert!(counter(&gin, 0, "closed_for_room") >= closed, "{closed} {}", gin.log());
    drop((idle, new));
    gin.stop();
}

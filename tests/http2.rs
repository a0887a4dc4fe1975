//! HTTP/2: a connection, in cleartext or over TLS, goes to the next worker between two requests, and its client cannot tell.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{
    Address, Asker, Ctl, Failure, Held, Http2, Load, Scrape, Supervisor, WINDOW, eventually, supervisor, times,
};
use http::Request;

use crate::handover::{asks, assert_kept, is_new, nothing_closes, until_new};
use crate::tls::{everywhere, with_https};

/// Bytes of a body: more than a window.
const LARGE: usize = 300_000;

fn connect(address: &Address) -> Http2 {
    Http2::open(address, WINDOW, &Http2::thread()).unwrap()
}

fn get(path: &str) -> Request<Bytes> {
    Request::get(format!("http://x{path}")).body(Bytes::new()).unwrap()
}

#[test]
fn restarts_close_no_connection_over_tls_or_of_http2() {
    let gin = with_https().workers(2).start();
    let [cleartext, older, newer] = everywhere(&gin);
    let http1 = Load::new().mixed(&older, 24, 8).mixed(&newer, 24, 8);
    let load = http1.streams(&cleartext, 48, 16).streams(&older, 24, 8).streams(&newer, 24, 8);
    for _ in 0..times(10, 100) {
        load.flows(600);
        gin.restart();
    }
    load.flows(600);
    let report = assert_kept(load, &gin);
    // Each client has met more than one generation, which has two workers.
    assert!(report.by_workers_met.keys().all(|workers| *workers > 2), "{report:?}");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["step=drained"]);
    gin.assert_sound();
    gin.stop();
}

#[test]
fn replacement_rollback_upgrade_in_place_and_adoption_close_nothing_of_http2_either() {
    let gin = with_https().workers(2).start();
    let [cleartext, older, newer] = everywhere(&gin);
    let load = Load::new().streams(&cleartext, 6, 2).streams(&older, 3, 1).streams(&newer, 3, 1);
    nothing_closes(gin, load);
}

#[test]
fn connections_that_rest_are_kept_over_an_upgrade_in_place_and_a_death() {
    let mut gin = with_https().start();
    let mut clients = everywhere(&gin).map(|address| connect(&address));
    let old = clients.each_mut().map(asks);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["went on"]);
    assert_eq!(clients.each_mut().map(asks), old);
    gin.die_and_adopt();
    assert_eq!(clients.each_mut().map(asks), old);
    gin.restart();
    for client in &mut clients {
        until_new(&gin, client);
    }
    drop(clients);
    gin.stop();
}

#[test]
fn connections_that_are_parked_go_over_and_wake_up_when_they_are_asked() {
    let sections = "[monitoring.prometheus]\nnamespace = \"shop\"\n[timeouts]\npark_after = \"1ms\"";
    let gin = supervisor().ours("one", "counted").https().set("soak = \"0s\"").section(sections).start();
    let (count, runtime, addresses) = (times(60, 600), Http2::thread(), everywhere(&gin));
    let open = |number: usize| Http2::open(&addresses[number % addresses.len()], WINDOW, &runtime).unwrap();
    let mut clients: Vec<Http2> = (0..count).map(open).collect();
    let parked = || {
        let scrape = Scrape::of(&Address::Unix(gin.socket()), "/v1/metrics").unwrap();
        scrape.value("shop_connections_parked", &[("protocol", "http2")])
    };
    for _ in 0..3 {
        for client in &mut clients {
            asks(client);
        }
        // Metrics tell it, and have no event.
        eventually("all connections are parked", parked, |parked| *parked == count as f64);
        let said = gin.ctl(&["restart", "--wait-drained"]);
        said.assert(0, &[&format!("step=drained handed_over={count} finished=0 closed=0 cut=0")]);
    }
    assert!(clients.iter_mut().all(|client| is_new(&gin, asks(client))));
    drop((clients, runtime));
    gin.stop();
}

#[test]
fn bodies_under_way_end_where_they_began_and_their_connection_goes_on() {
    for number in 0..3 {
        let gin = with_https().start();
        let mut client = connect(&everywhere(&gin)[number]);
        let old = asks(&mut client);
        let hold = gin.hold();
        // The handler reads nothing before it is let go: a window of each is under way.
        let uploads: Vec<_> = (0..3)
            .map(|_| {
                let request = Request::post(format!("http://x{}", hold.target())).body(()).unwrap();
                let (answer, mut body) = client.ask(request, false);
                body.send_data(vec![b'x'; LARGE].into(), true).unwrap();
                (answer, body)
            })
            .collect();
        // The client takes no more than its window.
        let download = client.get("/download?mb=1");
        let download = client.head(download).unwrap();
        assert_eq!(asks(&mut client), old);
        let held: Vec<Held> = uploads.iter().map(|_| hold.arrived()).collect();
        gin.restart();
        gin.restart();
        assert_eq!(asks(&mut client), old, "the connection does not rest");
        held.into_iter().for_each(Held::release);
        for (answer, _body) in uploads {
            let answer = client.answer(answer).unwrap_or_else(|failure| panic!("{failure:?}: {}", gin.log()));
            assert_eq!(answer.body, LARGE.to_string().as_bytes());
        }
        assert_eq!(client.rest_of(download).unwrap().body.len(), 1 << 20);
        until_new(&gin, &mut client);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=1 finished=0 closed=0 cut=0"]);
        drop(client);
        gin.stop();
    }
}

#[test]
fn an_answer_that_the_sockets_do_not_take_at_once_is_whole_and_its_connection_goes_on() {
    // The windows are no hindrance: the buffers of both sockets are full.
    const ALL: usize = 16 << 20;
    for number in 0..3 {
        let gin = with_https().start();
        let address = &everywhere(&gin)[number];
        let mut client = Http2::open(address, ALL.try_into().unwrap(), &Http2::thread()).unwrap();
        let download = client.get("/download?mb=16");
        let download = client.head(download).unwrap();
        // Nobody reads meanwhile.
        gin.restart();
        gin.restart();
        let answer = client.rest_of(download).unwrap_or_else(|failure| panic!("{failure:?}: {}", gin.log()));
        assert!(answer.body.len() == ALL && answer.body.iter().all(|byte| *byte == b'x'));
        until_new(&gin, &mut client);
        drop(client);
        gin.stop();
    }
}

#[test]
fn bodies_that_begin_while_their_connection_moves_are_whole() {
    let gin = with_https().start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for client in everywhere(&gin).map(|address| connect(&address)) {
            let (gin, over) = (&gin, &over);
            scope.spawn(move || sends_and_takes_bodies(gin, client, over));
        }
        for _ in 0..times(5, 50) {
            gin.restart();
        }
        over.store(true, Ordering::Relaxed);
    });
    gin.stop();
}

/// Sends and takes bodies until the restarts are over. Then the client is at the last generation.
fn sends_and_takes_bodies(gin: &Supervisor, mut client: Http2, over: &AtomicBool) {
    let upload = || Request::post("http://x/upload").body(vec![b'x'; LARGE].into()).unwrap();
    let mut pids = BTreeSet::new();
    while !over.load(Ordering::Relaxed) {
        let answers = client.exchange(vec![upload(), get("/download?mb=1"), upload()]);
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        for uploaded in [&answers[0], &answers[2]] {
            assert_eq!(uploaded.json()["length"], LARGE, "{}", gin.log());
            pids.insert(uploaded.json()["pid"].as_u64());
        }
        assert_eq!(answers[1].body.len(), 1 << 20);
    }
    until_new(gin, &mut client);
    println!("{} workers had bodies", pids.len());
}

#[test]
fn a_connection_that_always_has_requests_under_way_is_brought_to_its_rest() {
    // Its client would be told of the end much later than this test waits.
    let gin = with_https().set("drain_timeout = \"15m\"").section("[timeouts]\nshutdown = \"10m\"").start();
    let slow = |client: &mut Http2| client.get("/slow?ms=40");
    for address in everywhere(&gin) {
        let mut client = connect(&address);
        let mut under_way: VecDeque<_> = (0..4).map(|_| slow(&mut client)).collect();
        let old = asks(&mut client);
        // The requests go on meanwhile: one is under way at each moment.
        let restart = gin.ctl_in_background(&["restart"]);
        let ask = || {
            under_way.push_back(slow(&mut client));
            let pid = asks(&mut client);
            let oldest = under_way.pop_front().unwrap();
            assert_eq!(client.answer(oldest).unwrap().body, b"slow\n");
            pid
        };
        // The worker behind a connection shows in the next answer alone.
        eventually("the busy connection moves", ask, |pid| *pid != old);
        Ctl::from(restart.wait_with_output().unwrap()).assert(0, &["serves"]);
        for asked in under_way {
            assert_eq!(client.answer(asked).unwrap().body, b"slow\n");
        }
        drop(client);
    }
    gin.stop();
}

#[test]
fn clients_of_long_streams_hear_goaway_late_one_after_the_other_and_their_streams_end() {
    const SHUTDOWN: Duration = Duration::from_secs(20);
    let gin = with_https().section(&format!("[timeouts]\nshutdown = \"{}s\"", SHUTDOWN.as_secs())).start();
    let (hold, addresses) = (gin.hold(), everywhere(&gin));
    let mut clients = Vec::new();
    for number in 0..24 {
        let mut client = connect(&addresses[number % addresses.len()]);
        let asked = client.get(&hold.target());
        asks(&mut client);
        clients.push((client, asked));
    }
    let held: Vec<Held> = clients.iter().map(|_| hold.arrived()).collect();
    let (began, mut told) = (Instant::now(), vec![None; clients.len()]);
    gin.restart();
    let look = || {
        for ((client, _), told) in clients.iter().zip(&mut told).filter(|(_, told)| told.is_none()) {
            *told = client.is_told().then(|| began.elapsed());
        }
        told.clone()
    };
    // h2 tells its user of GOAWAY when it is asked for the next request.
    let told = eventually("all clients are told", look, |told| told.iter().all(Option::is_some));
    let (first, last) = (told.iter().flatten().min().unwrap(), told.iter().flatten().max().unwrap());
    println!("told from {first:?} to {last:?}");
    assert!(*first >= SHUTDOWN / 4 * 3, "{told:?}");
    // They are spread over an eighth of the time.
    assert!(*last - *first >= SHUTDOWN / 64, "{told:?}");
    held.into_iter().for_each(Held::release);
    for (mut client, asked) in clients {
        assert_eq!(client.answer(asked).unwrap().body, b"held\n");
        assert_eq!(client.fetch("/").unwrap_err(), Failure::GoingAway);
    }
    gin.stop();
}

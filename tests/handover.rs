//! No connection is closed: the old worker hands them to the new one.

use std::thread;

use harness::{Address, Asker, Client, Load, Report, Supervisor, eventually, supervisor, times};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Each client is on the connection that it opened at first. Returns the clients' report.
pub fn assert_kept(load: Load, gin: &Supervisor) -> Report {
    let clients = load.clients();
    let report = load.finish();
    report.assert_unhurt();
    let kept = (report.closed_idle, report.closed_with_notice, report.connects) == (0, 0, clients);
    assert!(kept, "{report:?} {}", gin.log());
    report
}

/// Its answer, which is not the last one, is of the worker of this PID.
pub fn asks(client: &mut impl Asker) -> u64 {
    let response = client.fetch("/").unwrap();
    assert!(response.status == 200 && !response.closes(), "{response:?}");
    response.json()["pid"].as_u64().unwrap()
}

/// Waits until the client's connection is with the current generation; returns the PID of the worker that has it. The
/// connection may be on its way, and its worker shows in the next answer alone.
pub fn until_new(gin: &Supervisor, client: &mut impl Asker) -> u64 {
    eventually("a worker of the current generation answers", || asks(client), |pid| is_new(gin, *pid))
}

pub fn is_new(gin: &Supervisor, pid: u64) -> bool {
    gin.workers().iter().any(|worker| u64::try_from(*worker) == Ok(pid))
}

#[test]
fn restarts_close_no_connection_of_clients_that_send_all_kinds_of_requests() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let load = Load::new().mixed(&gin.tcp(), 32, 32).mixed(&gin.unix(), 32, 32);
    for _ in 0..times(10, 100) {
        load.flows(200);
        gin.restart();
    }
    load.flows(200);
    assert_kept(load, &gin);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["step=drained"]);
    gin.assert_sound();
    gin.stop();
}

#[test]
fn axums_own_extractor_knows_the_client_of_a_connection_that_was_handed_over() {
    let gin = supervisor().ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    let own = format!("127.0.0.1:{}", client.port().unwrap());
    assert_eq!(client.get("/peer").unwrap().body, own.as_bytes());
    gin.restart();
    until_new(&gin, &mut client);
    assert_eq!(client.get("/peer").unwrap().body, own.as_bytes());
    // A Unix socket tells no address.
    let mut client = Client::connect(&gin.unix()).unwrap();
    assert_eq!(client.get("/peer").unwrap().status, 500);
    drop(client);
    gin.stop();
}

#[test]
fn a_worker_that_has_no_descriptor_left_hands_its_connections_over() {
    let settings = "soak = \"0s\"\nlimits = { nofile = 400 }";
    let gin = supervisor().ours("one", "ok").set(settings).start();
    gin.until_log("RLIMIT_NOFILE = 400 has room for ");
    let mut client = Client::connect(&gin.tcp()).unwrap();
    asks(&mut client);
    let mut filler = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(filler.get("/fill").unwrap().body, b"full\n");
    gin.restart();
    until_new(&gin, &mut client);
    drop((client, filler));
    gin.stop();
}

#[test]
fn a_worker_whose_log_fails_still_hears_its_orders() {
    let gin = supervisor().ours("one", "ok").faulty_workers().set("soak = \"0s\"").start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    asks(&mut client);
    gin.order_workers("channel.log panic");
    gin.ctl(&["log-level", "debug"]).assert(0, &[]);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    until_new(&gin, &mut client);
    gin.order_workers("");
    drop(client);
    gin.stop();
}

#[test]
fn connections_that_rest_go_to_the_next_generation_and_gin_ctl_counts_them() {
    let room = "[limits]\nconnections = 12000";
    let gin = supervisor().ours("one", "ok").and_unix().set("soak = \"0s\"").section(room).start();
    let addresses = [gin.tcp(), gin.unix()];
    let all = times(300, 10_000);
    let mut clients: Vec<Client> = (0..all).map(|n| Client::connect(&addresses[n % 2]).unwrap()).collect();
    // The last third has never said anything.
    let served_by_new = |clients: &mut [Client]| {
        let workers = gin.workers();
        clients.iter_mut().all(|client| i32::try_from(asks(client)).is_ok_and(|pid| workers.contains(&pid)))
    };
    assert!(served_by_new(&mut clients[..all / 3 * 2]));
    for _ in 0..3 {
        let said = gin.ctl(&["restart", "--wait-drained"]);
        said.assert(0, &[&format!("step=drained handed_over={all} finished=0 closed=0 cut=0")]);
        assert!(clients.iter().all(|client| !client.is_closed()));
    }
    assert!(served_by_new(&mut clients));
    let json: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "status"]).out).unwrap();
    assert_eq!(json["connections"]["handed_over"], 3 * all);
    let metric = format!("gin_connections_drained_total{{instance=\"shop\",fate=\"handed_over\"}} {}\n", 3 * all);
    gin.ctl(&["metrics"]).assert(0, &[&metric]);
    gin.until_log(&format!("generation 3 gone: {all} handed over"));
    drop(clients);
    gin.stop();
}

#[test]
fn a_head_sent_byte_by_byte_over_three_restarts_is_answered() {
    let gin = supervisor().ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let addresses = [gin.tcp(), gin.unix()];
    a_head_is_sent_byte_by_byte(gin, addresses);
}

/// A head goes over three restarts, on a connection of its own and on one that was used before.
pub fn a_head_is_sent_byte_by_byte(gin: Supervisor, [fresh, used]: [Address; 2]) {
    let mut client = Client::connect(&fresh).unwrap();
    let mut second = Client::connect(&used).unwrap();
    asks(&mut second);
    let head = "GET /?byte=by-byte HTTP/1.1\r\nHost: x\r\nX-Long: abcdefghij\r\n\r\n";
    for (number, byte) in head.bytes().enumerate() {
        if number % 16 == 8 {
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=2 finished=0 closed=0 cut=0"]);
        }
        client.send(&[byte]).unwrap();
        second.send(&[byte]).unwrap();
    }
    for client in [&mut client, &mut second] {
        let answer = client.response().unwrap();
        assert!(answer.status == 200 && !answer.closes(), "{answer:?}");
        assert!(is_new(&gin, answer.json()["pid"].as_u64().unwrap()));
        assert!(is_new(&gin, asks(client)));
    }
    drop((client, second));
    gin.stop();
}

#[test]
fn what_is_under_way_ends_where_it_began_and_its_connection_goes_on() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let address = gin.tcp();
    what_is_under_way_ends(gin, &address);
}

/// Requests of all kinds are under way over two restarts.
pub fn what_is_under_way_ends(gin: Supervisor, address: &Address) {
    let old = u64::try_from(gin.workers()[0]).unwrap();
    let open = |request: &str| Client::asking(address, request).unwrap();
    let mut expects = open("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let mut upload = open("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    upload.send(&[b'x'; 100_000]).unwrap();
    let hold = gin.hold();
    let mut held = open(&hold.request());
    let mut download = open("GET /download?mb=50&ms=50 HTTP/1.1\r\nHost: x\r\n\r\n");
    // The next request waits behind the one that is being answered.
    let mut pipelined = open(&format!("{}GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT", hold.request()));
    let requests = [hold.arrived(), hold.arrived()];
    let mut head = open("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(head.head().unwrap().status, 200);
    let mut cached = open("GET /cached HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"1\"\r\n\r\n");
    assert_eq!(cached.head().unwrap().status, 304);
    assert_eq!(expects.head().unwrap().status, 100);
    gin.restart();
    gin.restart();
    expects.send(b"hello").unwrap();
    let answer = expects.response().unwrap_or_else(|e| panic!("{e:?} {}", gin.log()));
    assert_eq!((answer.json()["length"].as_u64(), answer.json()["pid"].as_u64()), (Some(5), Some(old)));
    upload.send(&[b'x'; 200_000]).unwrap();
    assert_eq!(upload.response().unwrap().json()["length"], 300_000);
    drop(requests);
    assert_eq!(held.response().unwrap().body, b"held\n");
    let whole = thread::spawn(move || (download.response().unwrap().body.len(), download)).join().unwrap();
    assert_eq!(whole.0, 50 << 20);
    assert_eq!(pipelined.response().unwrap().body, b"held\n");
    assert_eq!(pipelined.response().unwrap().status, 200);
    pipelined.send(b"TP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(pipelined.response().unwrap().status, 200);
    for client in [&mut expects, &mut upload, &mut held, &mut { whole.1 }, &mut pipelined, &mut head, &mut cached] {
        until_new(&gin, client);
    }
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["closed=0 cut=0"]);
    drop((expects, upload, held, pipelined, head, cached));
    gin.stop();
}

#[test]
fn a_client_that_has_closed_its_half_hears_its_answer() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    client.end();
    let request = hold.arrived();
    gin.restart();
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    assert_eq!(client.until_closed().unwrap(), b"");
    gin.stop();
}

#[test]
fn fewer_workers_take_what_the_others_had_evenly() {
    // What each of them has got is counted: nothing else is to move.
    let settings = "soak = \"0s\"\nbalance = false";
    let gin = supervisor().workers(4).ours("one", "ok").set(settings).start();
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    let mut count = std::collections::BTreeMap::<u64, i64>::new();
    clients.iter_mut().for_each(|client| *count.entry(asks(client)).or_default() -= 1);
    let mut events = gin.events();
    gin.ctl(&["scale", "2"]).assert(0, &["2 workers serve"]);
    events.until("the worker's connections: ");
    events.until("the worker's connections: ");
    for client in &mut clients {
        *count.entry(until_new(&gin, client)).or_default() += 1;
    }
    let got: Vec<i64> = gin.workers().iter().map(|worker| count[&u64::try_from(*worker).unwrap()]).collect();
    assert!(got.len() == 2 && got[0].abs_diff(got[1]) <= 10, "{got:?} of {count:?}");
    drop(clients);
    gin.stop();
}

#[test]
fn server_sent_events_end_with_an_event_and_go_on_behind_it_on_the_same_connection() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    let mut last = 0_u64;
    for _ in 0..times(3, 30) {
        let request = format!("GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {last}\r\n\r\n");
        client.send(request.as_bytes()).unwrap();
        // Whoever answers is the one that is to drain.
        let head = client.head().unwrap();
        let events = thread::scope(|scope| {
            let answer = scope.spawn(|| client.rest_of(head).unwrap());
            gin.restart();
            answer.join().unwrap()
        });
        assert!(!events.closes());
        let text = String::from_utf8(events.body).unwrap();
        assert!(text.is_empty() || text.ends_with("\n\n"), "{text:?}");
        for event in text.split_terminator("\n\n") {
            assert_eq!(event, format!("id: {0}\ndata: {0}", last + 1));
            last += 1;
        }
    }
    assert!(last > 0 && asks(&mut client) > 0);
    drop(client);
    gin.stop();
}

#[test]
fn replacement_rollback_upgrade_in_place_and_adoption_close_nothing_either() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let load = Load::new().mixed(&gin.tcp(), 8, 2).mixed(&gin.unix(), 8, 2);
    nothing_closes(gin, load);
}

/// Workers and masters are replaced in every way under a load whose clients keep their connections.
pub fn nothing_closes(mut gin: Supervisor, load: Load) {
    for _ in 0..times(2, 10) {
        load.flows(100);
        gin.restart();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["workers went on"]);
        gin.restart();
        gin.ctl(&["rollback"]).assert(0, &["serves"]);
        gin.die_and_adopt();
        gin.restart();
        gin.ctl(&["scale", "3"]).assert(0, &[]);
        gin.ctl(&["scale", "2"]).assert(0, &[]);
        gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"0s\"\nstrategy = \"rolling\""));
        gin.restart();
        gin.configure(|text| text.replace("strategy = \"rolling\"\n", ""));
    }
    load.flows(100);
    assert_kept(load, &gin);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    gin.assert_sound();
    gin.stop();
}

#[test]
fn a_worker_that_a_stranger_ends_is_replaced_at_once_and_hands_over_what_it_has() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let victim = gin.workers()[0];
    let mut idle = Client::connect(&gin.tcp()).unwrap();
    asks(&mut idle);
    let hold = gin.hold();
    let mut busy = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    let mut events = gin.events();
    kill(Pid::from_raw(victim), Signal::SIGTERM).unwrap();
    events.until("stops, and nobody here has told it to");
    events.until("worker draining");
    events.until("worker serving");
    let status = gin.status();
    let states: Vec<_> =
        status.generations[0].workers.iter().map(|one| (one.pid == Some(victim), &*one.state)).collect();
    assert_eq!(states, [(false, "serving"), (true, "draining")]);
    // Nobody waits for the one that ends.
    assert_ne!(gin.get("/").json()["pid"], victim);
    // The worker tells how many now and then.
    let handed_over = || gin.status().generations[0].connections.map(|fates| fates.handed_over);
    eventually("the idle connection is handed over", handed_over, |count| *count == Some(1));
    assert_ne!(i32::try_from(asks(&mut idle)), Ok(victim));
    request.release();
    assert_eq!(busy.response().unwrap().body, b"held\n");
    events.until("exited with status 0");
    assert_ne!(i32::try_from(asks(&mut busy)), Ok(victim));
    drop((idle, busy));
    gin.stop();
}

#[test]
fn what_comes_of_a_body_behind_the_answer_is_no_request() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let hidden = "GET /download?mb=1 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = Client::connect(&gin.tcp()).unwrap();
    let head = format!("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", hidden.len());
    client.send(head.as_bytes()).unwrap();
    assert_eq!(client.response().unwrap().status, 202);
    // Longer than the 100 ms after which a connection is parked, and over restarts: this one must not be parked, so there
    // is no event to wait for.
    let began = std::time::Instant::now();
    while began.elapsed().as_millis() < 300 {
        gin.restart();
    }
    client.send(hidden.as_bytes()).unwrap();
    // Read at some time behind the answer, and never answered: the next answer is the next request's.
    let read = format!("read {} bytes behind the answer", hidden.len());
    asks(&mut client);
    gin.until_log(&read);
    asks(&mut client);
    drop(client);
    gin.stop();
}

#[test]
fn a_connection_whose_body_nobody_wanted_goes_over_too() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    for _ in 0..3 {
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        assert_eq!(client.response().unwrap().status, 404);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=1 finished=0 closed=0"]);
    }
    assert!(is_new(&gin, asks(&mut client)));
    drop(client);
    gin.stop();
}

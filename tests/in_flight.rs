//! What begins before a restart or a stop and ends after it.

use std::process::Child;

use harness::{Client, Response, Supervisor, eventually, supervisor};

#[test]
fn slow_responses_downloads_and_uploads_are_whole() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let address = gin.tcp();
    let old = gin.workers();

    let hold = gin.hold();
    let mut held = Client::asking(&address, &hold.request()).unwrap();
    let request = hold.arrived();
    // More than the sockets hold: it goes on when the client reads.
    let mut download = Client::asking(&address, "GET /download?mb=20 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let head = download.head().unwrap();
    let mut upload = Client::connect(&address).unwrap();
    upload.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n").unwrap();
    upload.send(&[b'x'; 100_000]).unwrap();
    // A request on a second connection of the same worker tells that the first ones have been read.
    let _ = gin.get("/");

    gin.restart();
    upload.send(&[b'x'; 100_000]).unwrap();
    gin.restart();
    upload.send(&[b'x'; 100_000]).unwrap();

    let answer = upload.response().unwrap();
    assert_eq!(answer.json()["length"], 300_000);
    assert!(old.contains(&i32::try_from(answer.json()["pid"].as_i64().unwrap()).unwrap()), "not the first generation");
    request.release();
    assert_eq!(held.response().unwrap().body, b"held\n");
    assert_eq!(download.rest_of(head).unwrap().body.len(), 20 << 20);
    // A stop waits for idle clients.
    drop((held, download, upload));
    gin.stop();
}

/// Nobody takes over what a worker has that is to stop.
fn stop(gin: &Supervisor) -> Child {
    let mut events = gin.events();
    let stop = gin.ctl_in_background(&["stop"]);
    events.until("worker draining");
    stop
}

/// Asks until an answer says that the connection closes. The worker may hear of the stop a little later than the test,
/// and the client learns of it from an answer alone.
fn until_notice(client: &mut Client) {
    eventually("an answer says that the connection closes", || client.get("/").unwrap(), Response::closes);
}

fn assert_stopped(mut gin: Supervisor, mut stop: Child) {
    assert!(stop.wait().unwrap().success());
    gin.assert_gone(0);
}

#[test]
fn an_idle_connection_gets_one_more_answer_with_notice() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    assert!(!client.get("/").unwrap().closes());
    let stop = stop(&gin);
    assert!(!client.is_closed(), "closed without notice");
    until_notice(&mut client);
    assert_eq!(client.until_closed().unwrap(), b"");
    assert_stopped(gin, stop);
}

#[test]
fn an_idle_connection_is_let_go_after_its_grace() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section("[timeouts]\nidle_grace = \"300ms\"").start();
    let mut idle = Client::connect(&gin.tcp()).unwrap();
    let mut fresh = Client::connect(&gin.tcp()).unwrap();
    let mut half = Client::connect(&gin.tcp()).unwrap();
    idle.get("/").unwrap();
    half.send(b"GET / HTTP/1.1\r\nHo").unwrap();
    let _ = gin.get("/");
    let stop = stop(&gin);
    assert_eq!(idle.until_closed().unwrap(), b"");
    assert_eq!(fresh.until_closed().unwrap(), b"");
    // A request on its way is not idle.
    half.send(b"st: x\r\n\r\n").unwrap();
    let answer = half.response().unwrap();
    assert_eq!((answer.status, answer.closes()), (200, true));
    assert_stopped(gin, stop);
}

#[test]
fn hundreds_of_idle_connections_get_their_notice() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let address = gin.tcp();
    let mut clients: Vec<Client> = (0..800).map(|_| Client::connect(&address).unwrap()).collect();
    clients.iter_mut().for_each(|client| assert!(!client.get("/").unwrap().closes()));
    let stop = stop(&gin);
    for client in &mut clients {
        until_notice(client);
    }
    assert_stopped(gin, stop);
}

#[test]
fn what_outlasts_the_shutdown_time_is_cut_and_counted() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section("[timeouts]\nshutdown = \"300ms\"").start();
    let mut stuck = Client::connect(&gin.tcp()).unwrap();
    stuck.send(b"GET /slow?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _ = gin.get("/");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["step=drained"]);
    assert!(stuck.response().is_err());
    let log = gin.log();
    assert!(log.contains("\"cut\":1"), "{log}");
    let place = |text| log.find(text).unwrap_or_else(|| panic!("no {text}: {log}"));
    assert!(
        place("hook first") < place("did not end within") && place("did not end within") < place("hook third"),
        "{log}"
    );
    gin.stop();
}

#[test]
fn a_service_managers_signal_on_top_of_the_masters_order_cuts_nothing() {
    let mut gin = supervisor().ours("one", "ok").start();
    let mut slow = Client::connect(&gin.tcp()).unwrap();
    slow.send(b"GET /slow?ms=800 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _ = gin.get("/");
    let mut events = gin.events();
    let worker = nix::unistd::Pid::from_raw(gin.workers()[0]);
    gin.signal(nix::sys::signal::Signal::SIGTERM);
    events.until("worker draining");
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(slow.response().unwrap().body, b"slow\n");
    gin.assert_gone(0);
}

#[test]
fn a_connection_that_turns_idle_during_a_drain_has_its_grace_too() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section("[timeouts]\nidle_grace = \"200ms\"").start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    client.send(b"GET /download?mb=3&ms=900 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _ = gin.get("/");
    let stop = stop(&gin);
    let whole = client.response().unwrap();
    assert_eq!(whole.body.len(), 3 << 20);
    // Its head was sent before the drain, so it could not say so; the connection is closed long before the shutdown time.
    let began = std::time::Instant::now();
    assert_eq!(client.until_closed().unwrap(), b"");
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "cut at the end instead");
    assert_stopped(gin, stop);
}

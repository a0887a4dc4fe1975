//! Requests and tasks that are under way, and polls that took too long.

use std::net::TcpListener;
use std::thread;

use gin_shared::pprof::Profile;
use harness::{Client, alone, eventually, get};

use super::site::{ask, ask_text, fleet, has_function, with_token};

const ALIVE: &str = "/debug/pprof/goroutine?debug=1";
const BLOCKED: &str = "/debug/pprof/block?debug=1";

/// The first line with this part.
fn line<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    text.lines().find(|line| line.contains(part))
}

#[test]
fn a_server_without_requests_says_so() {
    let server = alone(&with_token());
    assert_eq!(get(server.address(), "/").unwrap().status, 200);
    let text = ask_text(server.address(), ALIVE);
    assert!(line(&text, "GET / ").is_none(), "{text}");
    for path in ["/debug/pprof/goroutine", "/debug/pprof/block"] {
        let profile = Profile::decode(&ask(server.address(), path).body).unwrap();
        assert!(!profile.kinds.is_empty(), "{path}");
    }
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn a_request_is_told_with_its_id_from_its_head_to_its_answer() {
    let gin = fleet(1).start();
    let hold = gin.hold();
    let head = format!("GET {} HTTP/1.1\r\nHost: x\r\nX-Request-Id: held-1\r\n\r\n", hold.target());
    let mut client = Client::asking(&gin.tcp(), &head).unwrap();
    let held = hold.arrived();
    let text = ask_text(&gin.tcp(), ALIVE);
    let line = line(&text, "held-1").unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("GET /held") && !line.contains("by="), "the route, and not the address: {line}");
    held.release();
    assert_eq!(client.response().unwrap().status, 200);
    // Its client may have the answer before the last step of the server.
    let look = || ask_text(&gin.tcp(), ALIVE);
    eventually("it is told no more", look, |text| !text.contains("held-1"));
    gin.stop();
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn a_request_whose_body_does_not_come_says_that_it_waits_for_it() {
    let gin = fleet(1).start();
    let head = "POST /upload HTTP/1.1\r\nHost: x\r\nX-Request-Id: slow-1\r\nContent-Length: 10\r\n\r\nhalf ";
    let mut client = Client::asking(&gin.tcp(), head).unwrap();
    // Only this page tells that the handler has begun to wait.
    let look = || ask_text(&gin.tcp(), ALIVE);
    let waits = |text: &String| line(text, "slow-1").is_some_and(|line| line.contains("body"));
    eventually("it waits for its body", look, waits);
    client.send(b"done.").unwrap();
    assert_eq!(client.response().unwrap().json()["bytes"], 10);
    gin.stop();
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn a_request_that_waits_for_another_server_is_told_with_its_route_and_its_place() {
    let gin = fleet(1).start();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = format!("/call?to=http://{}/", other.local_addr().unwrap());
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: waits-1\r\n\r\n");
    let mut client = Client::asking(&gin.tcp(), &head).unwrap();
    // The call has come, so the request waits for its answer, or will in a moment.
    let (called, _) = other.accept().unwrap();
    let look = || ask_text(&gin.tcp(), ALIVE);
    let is_told = |text: &String| line(text, "waits-1").is_some_and(|line| line.contains("outgoing"));
    let text = eventually("where it waits is told", look, is_told);
    assert!(line(&text, "waits-1").unwrap().contains("GET /call"), "{text}");
    let profile = Profile::decode(&ask(&gin.tcp(), "/debug/pprof/goroutine").body).unwrap();
    assert!(has_function(&profile, "/call"), "{profile:?}");
    drop(called);
    let _ = client.response().unwrap();
    let is_gone = |text: &String| line(text, "waits-1").is_none();
    eventually("its answer is out", look, is_gone);
    // The task that the fixture runs beside its requests is there all the time.
    assert!(text.lines().count() >= 2, "{text}");
    gin.stop();
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn a_poll_that_blocks_is_told_while_it_lasts_and_afterwards() {
    let gin = fleet(1).section("block = \"200ms\"").start();
    assert_eq!(gin.get("/").status, 200);
    let address = gin.tcp();
    let blocked = || ask_text(&gin.tcp(), BLOCKED);
    assert!(line(&blocked(), "/block").is_none(), "{}", blocked());
    let hangs = thread::spawn(move || get(&address, "/block?ms=3000").unwrap().status);
    // The handler tells nobody that it blocks: only this page does.
    eventually("it is told while it hangs", blocked, |text| line(text, "/block").is_some());
    assert_eq!(hangs.join().unwrap(), 200);
    let text = blocked();
    let has_others = text.lines().any(|line| line.ends_with(" GET /"));
    assert!(line(&text, "GET /block").is_some() && !has_others, "{text}");
    let profile = Profile::decode(&ask(&gin.tcp(), "/debug/pprof/block").body).unwrap();
    let pair = |what: &str, unit: &str| (what.to_owned(), unit.to_owned());
    assert_eq!(profile.kinds, [pair("contentions", "count"), pair("delay", "nanoseconds")]);
    let longest = profile.samples.iter().map(|sample| sample.values[1]).max().unwrap();
    assert!(longest >= 2_000_000_000, "{longest} ns");
    gin.stop();
}

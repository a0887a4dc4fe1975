//! gin-server, and workers of the library, by themselves.

use std::process::Command;

use harness::{Address, Client, Failure, alone, binary, eventually, get};

#[test]
fn gin_server_serves_without_a_supervisor() {
    let mut server = alone("");
    assert_eq!(get(server.address(), "/").unwrap().json()["message"], "hello from gin");
    assert_eq!(get(server.address(), "/health").unwrap().json()["status"], "ok");
    // Nobody has asked for the first; the others are for nobody.
    for path in ["/metrics", "/debug/vars", "/debug/pprof/heap"] {
        assert_eq!(get(server.address(), path).unwrap().status, 404, "{path}");
    }
    for path in ["/livez", "/readyz", "/info", "/routes", "/api/v1/routes"] {
        assert_eq!(get(server.address(), path).unwrap().status, 200);
    }
    assert_eq!(get(server.address(), "/readyz?exclude=parts").unwrap().body, b"ready\n");
    assert_eq!(get(server.address(), "/readyz?exclude=database").unwrap().status, 400);
    assert_eq!(get(server.address(), "/nothing").unwrap().status, 404);
    server.stop();
    assert!(server.wait().success());
    assert_eq!(get(server.address(), "/").unwrap_err(), Failure::Refused);
}

#[test]
fn on_a_stop_readyz_says_so_first_and_accepting_goes_on() {
    let mut server = alone("[timeouts]\nlame_duck = \"1s\"\n");
    let mut kept = Client::connect(server.address()).unwrap();
    kept.get("/").unwrap();
    server.stop();
    // The worker stays ready until the signal has arrived, and says so when it is asked.
    eventually("/readyz turns", || kept.get("/readyz").unwrap().status, |status| *status != 200);
    let new = get(server.address(), "/").unwrap();
    assert_eq!(new.status, 200, "accepting goes on");
    // Whatever is left out of the answer, the stop is not.
    assert_eq!(get(server.address(), "/readyz?exclude=parts").unwrap().status, 503);
    assert!(server.wait().success());
}

#[test]
fn heads_and_first_bytes_have_their_time() {
    let server = alone("[timeouts]\nread = \"300ms\"\nidle = \"300ms\"\n");
    let mut silent = Client::connect(server.address()).unwrap();
    assert_eq!(silent.until_closed().unwrap(), b"");
    let mut half = Client::connect(server.address()).unwrap();
    half.send(b"GET / HTTP/1.1\r\nHost").unwrap();
    assert_eq!(half.until_closed().unwrap(), b"");
    let mut preface = Client::connect(server.address()).unwrap();
    preface.send(b"PRI * HTTP/2").unwrap();
    assert_eq!(preface.until_closed().unwrap(), b"");
    let mut idle = Client::connect(server.address()).unwrap();
    idle.get("/").unwrap();
    assert_eq!(idle.until_closed().unwrap(), b"");
}

#[test]
fn connections_above_the_limit_wait_and_are_served() {
    let server = alone("[limits]\nconnections = 2\n[server]\npublic = [\"/info\"]\n");
    let mut first = Client::connect(server.address()).unwrap();
    let mut second = Client::connect(server.address()).unwrap();
    first.get("/").unwrap();
    second.get("/").unwrap();
    let mut third = Client::connect(server.address()).unwrap();
    third.send(b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(first.get("/info").unwrap().json()["connections"], 2);
    drop(first);
    assert_eq!(third.response().unwrap().status, 200);
}

#[test]
fn http2_is_spoken_to_who_begins_with_its_preface() {
    let mut server = alone("[server]\npublic = [\"/info\"]\n");
    let Address::Tcp(address) = *server.address() else { panic!("TCP") };
    let url = format!("http://{address}/info");
    let curl = |version: &str| {
        let output = Command::new("curl").args(["-sS", version, "-w", " %{http_version}", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(curl("--http2-prior-knowledge").ends_with(" 2"));
    assert!(curl("--http1.1").ends_with(" 1.1"));
    assert!(curl("--http1.0").contains("\"pid\""));
    server.stop();
    assert!(server.wait().success());
}

#[test]
fn a_bad_configuration_is_told_with_its_line() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let config = dir.path().join("server.toml");
    std::fs::write(&config, "[timeouts]\nidel = \"1s\"\n").unwrap();
    let output = Command::new(binary("gin-server")).arg("-t").arg("-c").arg(&config).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    let says = "server.toml:2: timeouts.idel: unknown key; did you mean \"idle\"?";
    assert!(text.contains(says), "{text}");
}

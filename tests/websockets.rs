//! WebSockets and HTTP/2 through restarts: handed over, or told.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use harness::{Address, Client, Supervisor, WebSocket, eventually, supervisor, times};

#[test]
fn a_websocket_goes_over_between_two_messages_and_not_within_one() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section(SHORT_GRACE).start();
    let address = gin.tcp();
    goes_over_between_two_messages(gin, &address);
}

/// A section with which a stop waits for no client.
pub const SHORT_GRACE: &str = "[timeouts]\nidle_grace = \"200ms\"";

/// WebSockets stay while a message is under way, and then go to the next worker. A stop closes them with a code.
pub fn goes_over_between_two_messages(gin: Supervisor, address: &Address) {
    let mut idle = WebSocket::open(address, "/count");
    let mut slow = WebSocket::open(address, "/count");
    let mut parts = WebSocket::open(address, "/count");
    // A socket goes over when its message is at its end, so it may be with the last worker but one for a moment.
    let settled = |socket: &mut WebSocket, said: &mut usize, pid: i32| {
        let say = || {
            *said += 1;
            socket.0.send(&WebSocket::frame(0x82, b"abc")).unwrap();
            let text = socket.text();
            text.strip_prefix(&format!("{said} 3 ")).expect("no message is lost").to_owned()
        };
        eventually("the worker has the socket", say, |heard_by| *heard_by == pid.to_string());
        // The message of the round.
        *said += 1;
    };
    let (mut of_slow, mut of_parts) = (0, 0);
    let message = [WebSocket::frame(0x81, &[b'x'; 300]), WebSocket::frame(0x89, b"ping")].concat();
    let mut said = 0;
    for _ in 0..times(4, 20) {
        let old = gin.workers()[0];
        settled(&mut slow, &mut of_slow, old);
        settled(&mut parts, &mut of_parts, old);
        // A message of one frame, byte by byte; another one of two frames, with a ping between them.
        let (first, second) = message.split_at(150);
        slow.0.send(first).unwrap();
        parts.0.send(&[WebSocket::frame(0x01, b"hello"), WebSocket::frame(0x89, b"between")].concat()).unwrap();
        assert_eq!(parts.receive(), (0x8a, b"between".to_vec()));
        gin.restart();
        let new = gin.workers()[0];
        // The old worker may still have the socket at first. Its worker shows in the next message alone.
        let say = || {
            said += 1;
            idle.0.send(&WebSocket::frame(0x82, b"abc")).unwrap();
            let text = idle.text();
            text.strip_prefix(&format!("{said} 3 ")).expect("no message is lost").to_owned()
        };
        let heard_by = eventually("another worker has the socket", say, |pid| *pid != old.to_string());
        assert_eq!(heard_by, new.to_string());
        slow.0.send(second).unwrap();
        assert_eq!(slow.text(), format!("{of_slow} 300 {old}"));
        assert_eq!(slow.receive(), (0x8a, b"ping".to_vec()));
        parts.0.send(&WebSocket::frame(0x80, b" world")).unwrap();
        assert_eq!(parts.text(), format!("{of_parts} 11 {old}"));
    }
    let stop = gin.ctl_in_background(&["stop"]);
    for socket in [&mut idle, &mut slow, &mut parts] {
        let (first, payload) = socket.receive();
        assert_eq!((first, &payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
        socket.0.send(&WebSocket::frame(0x88, &1001_u16.to_be_bytes())).unwrap();
        assert_eq!(socket.0.until_closed().unwrap(), b"");
    }
    assert!(stop.wait_with_output().unwrap().status.success());
}

#[test]
fn a_session_goes_on_in_the_route_of_its_name_with_the_applications_state() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let address = gin.tcp();
    goes_on_by_its_name(gin, &address);
}

/// Sessions of two clients go on at the next worker, each in its own route.
pub fn goes_on_by_its_name(gin: Supervisor, address: &Address) {
    let names = ["ann", "bob"];
    let sockets = names.map(|name| WebSocket::open(address, &format!("/named?by={name}")));
    for (path, status) in [("/named?by=nobody", 403), ("/named", 400)] {
        assert_eq!(WebSocket::ask(address, path, "").map(drop).unwrap_err().status, status, "{path}");
    }
    gin.restart();
    let new = gin.workers()[0].to_string();
    for (name, mut socket) in names.into_iter().zip(sockets) {
        let mut said = 0;
        let say = || {
            said += 1;
            socket.0.send(&WebSocket::frame(0x81, b"x")).unwrap();
            let text = socket.text();
            text.strip_prefix(&format!("state {name} {said} ")).expect("no message is lost").to_owned()
        };
        assert_eq!(eventually("the new worker has the socket", say, |pid| *pid == new), new);
    }
    gin.stop();
}

#[test]
fn a_websocket_that_nobody_registered_hears_1001_between_two_frames() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section(SHORT_DRAIN).start();
    let address = gin.tcp();
    nobody_has_registered_it(gin, &address);
}

/// A section with a short drain: when three quarters of it are over, a WebSocket that stays hears of the end.
pub const SHORT_DRAIN: &str = "[timeouts]\nshutdown = \"8s\"";

/// WebSockets that are none of ours hear of the end between two frames.
pub fn nobody_has_registered_it(gin: Supervisor, address: &Address) {
    let mut sockets: Vec<WebSocket> = (0..20).map(|_| WebSocket::open(address, "/raw")).collect();
    gin.restart();
    // Each reads for itself, as real clients do: frames that waited for their turn would take the time that is left for the end.
    thread::scope(|scope| {
        for socket in &mut sockets {
            scope.spawn(|| {
                let last = loop {
                    let frame = socket.receive();
                    if frame.0 != 0x81 {
                        break frame;
                    }
                    assert_eq!(frame.1, b"hi");
                };
                assert_eq!(last, (0x88, 1001_u16.to_be_bytes().to_vec()));
                assert_eq!(socket.0.until_closed().unwrap(), b"");
            });
        }
    });
    drop(sockets);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    gin.until_log("the worker's connections: 20 closed with notice");
    gin.stop();
}

#[test]
fn clients_that_are_not_there_any_more_do_not_hold_a_drain_up() {
    // They hear of the end when three quarters of the drain are over, and are not waited for then.
    let timeouts = "[timeouts]\nidle_grace = \"200ms\"\nshutdown = \"12s\"";
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section(timeouts).start();
    // Neither answers a PING, nor a close frame.
    let mut http2 = Client::connect(&gin.tcp()).unwrap();
    http2.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    assert_eq!(http2.exactly(9).unwrap()[3], 4, "SETTINGS");
    let raw = WebSocket::open(&gin.tcp(), "/raw");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=0 finished=0 closed=2 cut=0"]);
    drop((http2, raw));
    gin.stop();
}

#[test]
fn http2_clients_see_no_error() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let Address::Tcp(address) = gin.tcp() else { panic!("it listens on TCP") };
    let over = AtomicBool::new(false);
    let repeat = |command: &dyn Fn() -> Command, is_good: &dyn Fn(&str) -> bool| {
        let mut rounds = 0;
        while !over.load(Ordering::Relaxed) {
            let output = command().output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success() && is_good(&text), "{text}");
            rounds += 1;
        }
        rounds
    };
    let nghttp = || {
        let mut command = Command::new("nghttp");
        command.args(["-n", "-s", "-m", "20"]).arg(format!("http://{address}/slow?ms=30"));
        command
    };
    let curl = || {
        let mut command = Command::new("curl");
        command.args(["-sS", "--http2-prior-knowledge", "-w", "%{http_code} %{http_version}"]);
        command.arg(format!("http://{address}/download?mb=1&ms=30")).args(["-o", "/dev/null"]);
        command
    };
    let rounds = thread::scope(|scope| {
        let nghttp = scope.spawn(|| repeat(&nghttp, &|text| text.matches(" 200 ").count() == 20));
        let curl = scope.spawn(|| repeat(&curl, &|text| text == "200 2"));
        for _ in 0..times(5, 20) {
            gin.restart();
        }
        over.store(true, Ordering::Relaxed);
        (nghttp.join().unwrap(), curl.join().unwrap())
    });
    println!("{rounds:?} rounds");
    assert!(rounds.0 > 0 && rounds.1 > 0, "{rounds:?}");
    gin.stop();
}

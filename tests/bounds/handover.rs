//! Bounds of connections that another worker had before.

use harness::{Client, Failure, WebSocket, supervisor};

use super::TIMEOUTS;

#[test]
fn bounds_hold_after_a_handover_as_before() {
    let sections = format!("{TIMEOUTS}[limits]\nhead = \"16KiB\"\n[websocket]\nmessage = \"2KiB\"\n");
    let gin = supervisor().workers(1).ours("one", "ok").set("soak = \"0s\"").section(&sections).start();
    let open = || Client::connect(&gin.tcp()).unwrap();
    let (mut body, mut head, mut drip) = (open(), open(), open());
    for client in [&mut body, &mut head, &mut drip] {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let mut large = WebSocket::open(&gin.tcp(), "/count");
    let mut wrong = WebSocket::open(&gin.tcp(), "/count");
    let old = gin.workers()[0];
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    let new = gin.workers()[0];
    large.send(0x82, &[b'x'; 2048]);
    assert_eq!(large.text(), format!("1 2048 {new}"), "it was handed over by {old}");
    large.0.send(&WebSocket::head(0x82, 2049)).unwrap();
    assert_eq!(large.close_code(), 1009);
    wrong.send(0xc1, b"hi");
    assert_eq!(wrong.close_code(), 1002);
    body.send(b"POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na part").unwrap();
    assert_eq!(body.response().unwrap().status, 408);
    let _ = head.send(format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "q".repeat(33 << 10)).as_bytes());
    assert_eq!(head.response().unwrap().status, 431);
    drip.send(b"GET / HT").unwrap();
    assert_eq!(drip.response().unwrap_err(), Failure::ClosedEarly, "a head that does not end");
    gin.stop();
}

//! Bounds of connections that another worker had before.

use harness::{Address, Failure, Supervisor, WebSocket};

use super::{TIMEOUTS, asked_once, both, supervised};

#[test]
fn bounds_hold_after_a_handover_as_before() {
    let sections = format!("{TIMEOUTS}[limits]\nhead = \"16KiB\"\n[websocket]\nmessage = \"2KiB\"\n");
    let gin = supervised(&sections);
    let [cleartext, tls] = both(&gin);
    hold(&gin, &cleartext);
    hold(&gin, &tls);
    gin.stop();
}

fn hold(gin: &Supervisor, address: &Address) {
    let [mut body, mut head, mut drip] = [(); 3].map(|()| asked_once(address));
    let [mut large, mut wrong] = [(); 2].map(|()| WebSocket::open(address, "/count"));
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
    // It has no answer, and no end of TLS before that of its socket.
    let failure = drip.response().unwrap_err();
    assert!(matches!(failure, Failure::ClosedEarly | Failure::Truncated), "a head that does not end: {failure:?}");
}

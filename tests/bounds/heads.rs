//! Heads of requests: their size, and what is malformed in them.

use harness::{Client, Http2, alone};

#[test]
fn a_head_has_a_size_and_a_number_of_fields() {
    let server = alone("[limits]\nhead = \"16KiB\"\nhead_fields = 20\n");
    let ask = |size: usize, fields: usize| {
        let more: String = (1..fields).map(|number| format!("x-{number}: y\r\n")).collect();
        let head = format!("GET /livez?{} HTTP/1.1\r\nHost: x\r\n{more}\r\n", "q".repeat(size));
        let mut client = Client::connect(server.address()).unwrap();
        // It may be refused before all of it is there.
        let _ = client.send(head.as_bytes());
        client.response().unwrap().status
    };
    assert_eq!(ask(15 << 10, 20), 200);
    assert_eq!(ask(33 << 10, 1), 431);
    assert_eq!(ask(10, 21), 431);
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    for (size, status) in [(10 << 10, 200), (33 << 10, 431)] {
        let request = http::Request::get("http://x/livez").header("x-long", "v".repeat(size)).body(()).unwrap();
        let answer = http2.ask(request, true).0;
        assert_eq!(http2.runtime.block_on(answer).unwrap().status(), status);
    }
}

#[test]
fn what_is_malformed_is_refused_and_the_application_does_not_see_it() {
    let server = alone("");
    let status = |request: &str| {
        let mut client = Client::asking(server.address(), request).unwrap();
        let answer = client.response().unwrap();
        (answer.status, answer.closes())
    };
    let get = |fields: &str| status(&format!("GET /livez HTTP/1.1\r\n{fields}\r\n"));
    assert_eq!(get("Host: x\r\n"), (200, false));
    for fields in ["", "Host: x\r\nHost: x\r\n", "Host: a b\r\n", "Host: a/../b\r\n", "Host: a, b\r\n", "Host:\r\n"] {
        assert_eq!(get(fields), (400, true), "{fields:?}");
    }
    assert_eq!(status("GET /livez HTTP/1.0\r\n\r\n").0, 200);
    assert_eq!(status("GET http://y/livez HTTP/1.1\r\nHost: x\r\n\r\n"), (200, false));
    assert_eq!(server.until("GET /livez 400")["status"], 400, "it has its line in the log");
    let post = |codings: &str| status(&format!("POST /livez HTTP/1.1\r\nHost: x\r\n{codings}\r\n0\r\n\r\n"));
    assert_eq!(post("Transfer-Encoding: chunked\r\n").0, 405);
    assert_eq!(post("Transfer-Encoding: gzip, chunked\r\n"), (501, true));
    assert_eq!(post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), (501, true));
    assert_eq!(post("Transfer-Encoding: chunked, chunked\r\n"), (400, true));
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    for (host, code) in [(None, 200), (Some("x"), 200), (Some("y"), 400)] {
        let mut request = http::Request::get("http://x/livez");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = http2.ask(request.body(()).unwrap(), true).0;
        assert_eq!(http2.runtime.block_on(answer).unwrap().status(), code, "{host:?}");
    }
}

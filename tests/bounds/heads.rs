//! Heads of requests: their size, and what is malformed in them.

use harness::{Client, Http2, alone, ours_alone};

use super::{TIMEOUTS, asked_once, before_and_after_a_handover, both, supervised};

/// Size of a head that the tests allow.
const SIZE: usize = 16 << 10;
/// Number of fields that the tests allow.
const FIELDS: usize = 20;

fn sections() -> String {
    format!("{TIMEOUTS}[limits]\nhead = \"{SIZE}\"\nhead_fields = {FIELDS}\n")
}

/// A head of this size, with this number of fields.
fn head(size: usize, fields: usize) -> String {
    let more: String = (1..fields).map(|number| format!("x-{number}: y\r\n")).collect();
    let head = |query: &str| format!("GET /?{query} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    head(&"q".repeat(size - head("").len()))
}

/// The status that is answered to a head which comes in two pieces.
fn answer_to(client: &mut Client, head: &str) -> u16 {
    let (first, second) = head.split_at(head.len() / 2);
    for piece in [first, second] {
        // It may be refused before all of it is there.
        let _ = client.send(piece.as_bytes());
    }
    client.response().unwrap().status
}

/// The largest head is answered, and then one that is a little larger is not, on the same connection.
fn keeps_to_the_size_of_a_head(mut client: Client, too_large: usize) {
    assert_eq!(answer_to(&mut client, &head(SIZE, FIELDS)), 200);
    assert_eq!(answer_to(&mut client, &head(too_large, 1)), 431, "{too_large}");
    assert!(client.response().is_err(), "then it is closed");
}

fn keeps_to_the_number_of_fields(mut client: Client) {
    assert_eq!(answer_to(&mut client, &head(1000, FIELDS)), 200);
    assert_eq!(answer_to(&mut client, &head(1000, FIELDS + 1)), 431);
    assert!(client.response().is_err(), "then it is closed");
}

#[test]
fn a_head_has_a_size_and_a_number_of_fields_before_and_after_a_handover() {
    let gin = supervised(&sections());
    // One byte more, and twice as many: hyper's buffer has room for these.
    let sizes = [SIZE + 1, SIZE * 3 / 2, SIZE * 2 + 1];
    before_and_after_a_handover(
        &gin,
        || both(&gin).map(|address| [(); 4].map(|()| asked_once(&address))),
        |clients: [[Client; 4]; 2]| {
            for [first, second, third, fields] in clients {
                for (client, size) in [first, second, third].into_iter().zip(sizes) {
                    keeps_to_the_size_of_a_head(client, size);
                }
                keeps_to_the_number_of_fields(fields);
            }
        },
    );
    gin.stop();
}

#[test]
fn a_second_head_that_came_with_the_first_has_the_same_size() {
    let server = ours_alone("ok", &sections());
    let pair = |size: usize| {
        let both = head(100, 1) + &head(size, 1);
        let mut client = Client::connect(server.address()).unwrap();
        let _ = client.send(both.as_bytes());
        [(); 2].map(|()| client.response().unwrap().status)
    };
    assert_eq!(pair(SIZE), [200, 200]);
    assert_eq!(pair(SIZE + 1), [200, 431]);
}

#[test]
fn a_head_over_http2_has_a_size_and_a_number_of_fields() {
    let server = ours_alone("ok", &sections());
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    let mut ask = |request: http::request::Builder| {
        let answer = http2.ask(request.body(()).unwrap(), true).0;
        http2.runtime.block_on(answer).unwrap().status().as_u16()
    };
    let get = || http::Request::get("http://x/");
    // RFC 9113, section 6.5.2: names and values, and 32 bytes for each field.
    let usual = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/"), ("x-long", "")];
    let usual: usize = usual.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    assert_eq!(ask(get().header("x-long", "v".repeat(SIZE - 1 - usual))), 200);
    assert_eq!(ask(get().header("x-long", "v".repeat(SIZE - usual))), 431);
    let fields = |count: usize| (0..count).fold(get(), |request, number| request.header(format!("x-{number}"), "y"));
    assert_eq!(ask(fields(FIELDS)), 200);
    assert_eq!(ask(fields(FIELDS + 1)), 431);
    assert_eq!(ask(get()), 200, "the connection goes on");
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

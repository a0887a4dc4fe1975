//! Streams of HTTP/2: their number, and windows that their client does not open.

use std::time::{Duration, Instant};

use harness::{Client, Http2, alone_in, ours_alone};

use super::TIMEOUTS;

#[test]
fn a_client_that_grants_no_window_holds_little_and_not_for_long() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir(dir.path().join("static")).unwrap();
    for (name, size) in [("large", 3 << 20), ("small", 100_000)] {
        std::fs::write(dir.path().join("static").join(name), vec![b'x'; size]).unwrap();
    }
    let sections = format!("{TIMEOUTS}[static]\ndir = \"{}/static\"\nmemory = \"0\"\n", dir.path().display());
    let server = alone_in(dir, &sections);
    let mut honest = Client::connect(server.address()).unwrap();
    assert_eq!(honest.get("/static/small").unwrap().body.len(), 100_000);
    for (window, path) in [(1, "/static/large"), (1, "/static/small"), (0, "/static/large"), (20_000, "/static/large")]
    {
        let before = server.memory("VmRSS");
        let mut http2 = Http2::connect(server.tcp(), window);
        let began = Instant::now();
        let asked: Vec<_> = (0..100).map(|_| http2.get(path)).collect();
        // What is reset is reset by a stream's error, or the connection ends.
        let ends = http2.ends_of(asked);
        let grown = server.memory("VmHWM").saturating_sub(before);
        println!("window {window}, {path}: {grown} KiB more, all reset after {:?}", began.elapsed());
        assert_eq!(ends.len(), 100, "every stream is ended");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        // 2 MiB and 256 KiB; a debug build, and what the allocator keeps, cost more.
        assert!(grown < 6 << 10, "{grown} KiB");
    }
    assert_eq!(honest.get("/static/small").unwrap().status, 200, "others go on");
}

#[test]
fn a_stream_that_nobody_takes_does_not_end_its_neighbours() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir(dir.path().join("static")).unwrap();
    std::fs::write(dir.path().join("static/large"), vec![b'x'; 3 << 20]).unwrap();
    let sections = format!("{TIMEOUTS}[static]\ndir = \"{}/static\"\nmemory = \"0\"\n", dir.path().display());
    let server = alone_in(dir, &sections);
    let mut http2 = Http2::connect(server.tcp(), 60_000);
    let (stuck, taken) = (http2.get("/static/large"), http2.get("/static/large"));
    http2.runtime.block_on(async {
        let mut stuck = stuck.await.unwrap().into_body();
        let mut taken = taken.await.unwrap().into_body();
        let mut length = 0;
        while let Some(data) = taken.data().await {
            let data = data.expect("this one is taken");
            length += data.len();
            taken.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(length, 3 << 20);
        let end = loop {
            match stuck.data().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        let error = end.expect("not a whole body").unwrap_err();
        assert!(error.is_reset(), "{error:?}");
    });
    let answer = http2.get("/livez");
    assert_eq!(http2.runtime.block_on(answer).unwrap().status(), 200, "the connection goes on");
    assert!(!http2.has_ended());
}

/// Streams that the tests allow.
const STREAMS: u32 = 3;

/// A frame of HTTP/2 with a short payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS that end their stream: a GET of this path (RFC 7541, appendix A: `:method` GET, `:scheme` http, `:path`, `:authority` x).
fn headers(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    frame(1, 5, stream, &[&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 0x01, b'x']].concat())
}

/// The payload of the next frame of this kind on this stream. Others are passed over, except a response on the same stream.
fn until_frame(client: &mut Client, kind: u8, stream: u32) -> Vec<u8> {
    loop {
        let head = client.exactly(9).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = client.exactly(usize::try_from(length).unwrap()).unwrap();
        let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if (head[3], of) == (kind, stream) {
            return payload;
        }
        assert!(of != stream || of == 0, "a frame of kind {} on stream {of}: {payload:?}", head[3]);
    }
}

/// A client that keeps to the setting waits with one more; one that does not is refused (RFC 9113, section 5.1.2).
#[test]
fn a_connection_has_so_many_streams_at_once_and_no_more() {
    let server = ours_alone("ok", &format!("[limits]\nstreams = {STREAMS}\n"));
    let mut client = Client::connect(server.address()).unwrap();
    client.send(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b"")].concat()).unwrap();
    let settings = until_frame(&mut client, 4, 0);
    let streams = [&[0, 3][..], &STREAMS.to_be_bytes()].concat();
    assert!(settings.chunks(6).any(|setting| setting == streams), "SETTINGS_MAX_CONCURRENT_STREAMS: {settings:?}");
    for stream in [1, 3] {
        client.send(&headers(stream, "/hang")).unwrap();
    }
    client.send(&headers(5, "/cached")).unwrap();
    let _ = until_frame(&mut client, 1, 5);
    client.send(&headers(7, "/hang")).unwrap();
    client.send(&headers(9, "/cached")).unwrap();
    assert_eq!(until_frame(&mut client, 3, 9), 7_u32.to_be_bytes(), "RST_STREAM with REFUSED_STREAM");
    // The client cancels one of them.
    client.send(&frame(3, 0, 1, &8_u32.to_be_bytes())).unwrap();
    client.send(&headers(11, "/cached")).unwrap();
    let _ = until_frame(&mut client, 1, 11);

    let mut http2 = Http2::connect(server.tcp(), 65_535);
    let settled = http2.get("/cached");
    assert_eq!(http2.runtime.block_on(settled).unwrap().status(), 200);
    let asked: Vec<_> = (0..10).map(|_| http2.get("/slow?ms=10")).collect();
    for answer in asked {
        assert_eq!(http2.runtime.block_on(answer).unwrap().status(), 200);
    }
}

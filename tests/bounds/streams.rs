//! Streams of HTTP/2: windows that their client does not open.

use std::time::{Duration, Instant};

use harness::{Client, Http2, alone_in};

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

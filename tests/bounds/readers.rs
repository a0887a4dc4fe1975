//! Clients that take nothing of what is sent to them, or too little: `timeouts.write` and `limits.min_rate`.

use std::cell::Cell;
use std::thread;

use h2::client::ResponseFuture;
use harness::{Address, Client, Failure, Hold, Http2, Supervisor, WebSocket};

use super::{
    Clock, TENTH, TIMEOUTS, asked_once, before_and_after_a_handover, before_and_in_a_drain, over_http2, send_requests,
    supervised,
};

/// More than the kernel's buffers take.
const DOWNLOAD: &[u8] = b"GET /download?mb=40 HTTP/1.1\r\nHost: x\r\n\r\n";

fn listeners(gin: &Supervisor) -> [Address; 3] {
    [gin.tcp(), gin.unix(), gin.https()]
}

#[test]
fn whoever_takes_nothing_of_a_response_is_ended_before_and_after_a_handover() {
    let gin = supervised(TIMEOUTS);
    let ended = Cell::new(0);
    before_and_after_a_handover(
        &gin,
        || listeners(&gin).map(|address| asked_once(&address)),
        |mut clients: [Client; 3]| {
            for client in &mut clients {
                assert_eq!(client.get("/download?mb=1").unwrap().body.len(), 1 << 20, "who takes it has it all");
                client.send(DOWNLOAD).unwrap();
            }
            ended.set(ended.get() + clients.len());
            gin.until_log_again("nobody takes the download", ended.get());
            for client in &mut clients {
                let failure = client.response().unwrap_err();
                assert!(matches!(failure, Failure::Truncated | Failure::Reset), "{failure:?}");
            }
        },
    );
    gin.stop();
}

#[test]
fn a_websocket_that_takes_nothing_is_ended_before_and_after_a_handover() {
    let gin = supervised(TIMEOUTS);
    let ended = Cell::new(0);
    before_and_after_a_handover(
        &gin,
        || listeners(&gin).map(|address| WebSocket::open(&address, "/burst")),
        |mut sockets: [WebSocket; 3]| {
            for socket in &mut sockets {
                socket.send(0x82, b"begin");
            }
            ended.set(ended.get() + sockets.len());
            gin.until_log_again("nobody takes it", ended.get());
        },
    );
    gin.stop();
}

/// A response over HTTP/2 that is held. Its client grants `window` bytes at a time.
struct Download {
    http2: Http2,
    answer: ResponseFuture,
}

impl Download {
    fn begin(gin: &Supervisor, hold: &Hold, window: u32) -> Self {
        let mut http2 = over_http2(gin, window);
        let answer = http2.get(&format!("{}&mb=1", hold.target()));
        send_requests(&mut http2);
        Self { http2, answer }
    }

    /// Takes what comes, and opens the window again every tenth of a second, or never. Gives the number of bytes, and the error that ended
    /// them.
    fn take(self, grants: bool) -> (usize, Option<h2::Error>) {
        let Self { http2, answer } = self;
        http2.runtime.block_on(async {
            let mut body = answer.await.unwrap().into_body();
            let (mut taken, mut held) = (0, 0);
            loop {
                // The pause is the wait for more than the window allows.
                match tokio::time::timeout(TENTH, body.data()).await {
                    Ok(Some(Ok(data))) => {
                        taken += data.len();
                        held += data.len();
                    }
                    Ok(Some(Err(error))) => return (taken, Some(error)),
                    Ok(None) => return (taken, None),
                    Err(_) if grants => body.flow_control().release_capacity(std::mem::take(&mut held)).unwrap(),
                    Err(_) => {}
                }
            }
        })
    }
}

/// Takes all at once. Gives what [`Download::take`] does.
fn take_all<const COUNT: usize>(downloads: [Download; COUNT], grants: bool) -> [(usize, Option<h2::Error>); COUNT] {
    thread::scope(|scope| {
        downloads.map(|download| scope.spawn(move || download.take(grants))).map(|reader| reader.join().unwrap())
    })
}

fn is_reset(error: Option<&h2::Error>) -> bool {
    error.is_some_and(h2::Error::is_reset)
}

#[test]
fn a_stream_whose_client_opens_no_window_is_reset_before_and_in_a_drain() {
    let gin = supervised(TIMEOUTS);
    let windows = [0, 1, 60_000];
    before_and_in_a_drain(
        &gin,
        windows.len(),
        |hold| windows.map(|window| Download::begin(&gin, hold, window)),
        |downloads| {
            for (window, (taken, error)) in windows.into_iter().zip(take_all(downloads, false)) {
                assert!(is_reset(error.as_ref()), "window {window}: {error:?}");
                assert_eq!(u32::try_from(taken), Ok(window));
            }
        },
    );
    gin.stop();
}

#[test]
fn a_stream_that_is_taken_too_slowly_is_reset_before_and_in_a_drain() {
    let gin = supervised(&format!("{TIMEOUTS}[limits]\nmin_rate = \"64KiB\"\n"));
    // 10 KB a second, and 900 KB a second: both take longer than a second.
    before_and_in_a_drain(
        &gin,
        2,
        |hold| [1000, 90_000].map(|window| Download::begin(&gin, hold, window)),
        |downloads| {
            let [slow, enough] = take_all(downloads, true);
            assert!(slow.0 < 100_000 && is_reset(slow.1.as_ref()), "{slow:?}");
            assert!(enough.0 == 1 << 20 && enough.1.is_none(), "{enough:?}");
        },
    );
    gin.stop();
}

/// Takes 64 KiB at a time, and waits a little between two of them. Gives the number of bytes that came before the end.
fn take_slowly(mut clock: Clock, client: &mut Client) -> usize {
    const PIECE: usize = 64 << 10;
    let mut taken = 0;
    while client.exactly(PIECE).is_ok() {
        taken += PIECE;
        clock.tenth();
    }
    taken
}

/// Over a Unix socket, whose buffers are small: over TCP a slow reader looks like one that takes nothing for seconds.
#[test]
fn a_slow_reader_is_ended_before_and_after_a_handover_and_a_fast_one_is_not() {
    let gin = supervised(&format!("{TIMEOUTS}[limits]\nmin_rate = \"10MiB\"\n"));
    before_and_after_a_handover(
        &gin,
        || (asked_once(&gin.unix()), WebSocket::open(&gin.unix(), "/burst")),
        |(mut slow, mut socket): (Client, WebSocket)| {
            let fast = slow.get("/download?mb=20").unwrap();
            assert_eq!(fast.body.len(), 20 << 20, "at full speed");
            slow.send(DOWNLOAD).unwrap();
            socket.send(0x82, b"begin");
            thread::scope(|scope| {
                for client in [&mut slow, &mut socket.0] {
                    let clock = Clock::of(&gin);
                    scope.spawn(move || {
                        let taken = take_slowly(clock, client);
                        assert!(taken < 10 << 20, "{taken} bytes at 640 KiB a second");
                    });
                }
            });
        },
    );
    gin.stop();
}

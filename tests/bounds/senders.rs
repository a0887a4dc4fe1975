//! Clients that send too slowly: `timeouts.read` and `limits.min_rate`. Each is beside one that is slow, too, and keeps up the rate.

use std::thread;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use harness::{Client, Hold, Http2, Supervisor, WebSocket};

use super::{
    Clock, TENTH, TIMEOUTS, asked_once, before_and_after_a_handover, before_and_in_a_drain, both, over_http2,
    send_requests, supervised,
};

/// Number of pieces that are sent, one every tenth of a second: they take longer than `timeouts.read`.
const PIECES: usize = 12;
/// Length of a piece: 10 bytes a second, and 20 KB a second.
const LENGTHS: [usize; 2] = [1, 2000];
/// Length of what is announced. The first sender would need minutes for it.
const WHOLE: usize = PIECES * LENGTHS[1];

fn sections() -> String {
    format!("{TIMEOUTS}[limits]\nmin_rate = \"1KiB\"\n")
}

/// Sends pieces until something is answered, or all is sent.
fn drip(mut clock: Clock, client: &mut Client, length: usize) {
    let piece = vec![b'x'; length];
    for _ in 0..WHOLE / length {
        if client.has_news() || client.send(&piece).is_err() {
            return;
        }
        clock.tenth();
    }
}

/// Of two clients and two WebSockets at one listener the slow one is ended, and the other is not.
fn slow_ones_are_ended(gin: &Supervisor, mut clients: [Client; 2], mut sockets: [WebSocket; 2]) {
    let head = format!("POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: {WHOLE}\r\n\r\n");
    for client in &mut clients {
        client.send(head.as_bytes()).unwrap();
    }
    for socket in &mut sockets {
        socket.0.send(&WebSocket::head(0x82, WHOLE)).unwrap();
    }
    thread::scope(|scope| {
        let both = clients.iter_mut().zip(LENGTHS).chain(sockets.iter_mut().map(|socket| &mut socket.0).zip(LENGTHS));
        for (client, length) in both {
            let clock = Clock::of(gin);
            scope.spawn(move || drip(clock, client, length));
        }
    });
    assert_eq!(clients.map(|mut client| client.response().unwrap().status), [408, 200]);
    let [slow, enough] = &mut sockets;
    assert_eq!(slow.close_code(), 1008);
    assert!(enough.text().starts_with(&format!("1 {WHOLE} ")));
}

#[test]
fn a_slow_sender_is_ended_before_and_after_a_handover() {
    let gin = supervised(&sections());
    let open = || {
        both(&gin).map(|address| {
            let (http1, sockets) = ([(); 2], [(); 2]);
            (http1.map(|()| asked_once(&address)), sockets.map(|()| WebSocket::open(&address, "/count")))
        })
    };
    before_and_after_a_handover(&gin, open, |opened| {
        thread::scope(|scope| {
            for (clients, sockets) in opened {
                scope.spawn(|| slow_ones_are_ended(&gin, clients, sockets));
            }
        });
    });
    gin.stop();
}

/// A body over HTTP/2 of which nothing has come.
struct Upload {
    http2: Http2,
    answer: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Upload {
    fn begin(gin: &Supervisor, hold: &Hold) -> Self {
        let mut http2 = over_http2(gin, 65_535);
        let request = http::Request::post(format!("http://x{}", hold.target())).body(()).unwrap();
        let (answer, body) = http2.ask(request, false);
        send_requests(&mut http2);
        Self { http2, answer, body }
    }

    /// Sends pieces of this length. Gives the status of the answer.
    fn drip(self, length: usize) -> u16 {
        let Self { http2, mut answer, mut body } = self;
        http2.runtime.block_on(async {
            let pieces = WHOLE / length;
            for number in 1..=pieces {
                // It is refused once the answer is there.
                let _ = body.send_data(Bytes::from(vec![b'x'; length]), number == pieces);
                // The pause is the wait for an answer.
                if let Ok(answer) = tokio::time::timeout(TENTH, &mut answer).await {
                    return answer.unwrap().status().as_u16();
                }
            }
            answer.await.unwrap().status().as_u16()
        })
    }
}

#[test]
fn a_slow_sender_over_http2_is_ended_before_and_in_a_drain() {
    let gin = supervised(&sections());
    before_and_in_a_drain(
        &gin,
        2,
        |hold| [(); 2].map(|()| Upload::begin(&gin, hold)),
        |[slow, enough]: [Upload; 2]| {
            let statuses = thread::scope(|scope| {
                [(slow, LENGTHS[0]), (enough, LENGTHS[1])]
                    .map(|(upload, length)| scope.spawn(move || upload.drip(length)))
                    .map(|sender| sender.join().unwrap())
            });
            assert_eq!(statuses, [408, 200]);
        },
    );
    gin.stop();
}

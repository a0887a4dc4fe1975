//! The gate with frames in all orders: nothing is lost, and no frame passes one that it must follow.

use super::*;

/// Last stream that hyper knows.
const LAST: u32 = 7;

const FRAMES: [(Kind, u8, u32); 17] = [
    (Kind::Headers, flag::END_HEADERS, 9),
    (Kind::Headers, flag::END_HEADERS, 11),
    (Kind::Headers, 0, 9),
    (Kind::Headers, flag::END_HEADERS, LAST),
    (Kind::Continuation, flag::END_HEADERS, 9),
    (Kind::Data, flag::END_STREAM, LAST),
    (Kind::Data, 0, 9),
    (Kind::Reset, 0, LAST),
    (Kind::Reset, 0, 9),
    (Kind::WindowUpdate, 0, LAST),
    (Kind::WindowUpdate, 0, 9),
    (Kind::WindowUpdate, 0, 0),
    (Kind::Ping, flag::ACK, 0),
    (Kind::Settings, 0, 0),
    (Kind::Settings, flag::ACK, 0),
    (Kind::GoAway, 0, 0),
    (Kind::Other(0x42), 0, 0),
];
const LENGTH: u32 = 4;

fn request(stream: u32) -> Head {
    Head::new(Kind::Headers, flag::END_HEADERS, stream)
}

/// True for a request in one frame.
fn is_request(head: &Head) -> bool {
    head.kind == Kind::Headers && head.has(flag::END_HEADERS) && head.stream > LAST
}

/// True if a frame may pass one that came before it.
fn may_pass(head: &Head, before: &Head) -> bool {
    let are_of_one_stream = before.stream != 0 && before.stream == head.stream;
    let is_within_a_block = is_block(before) && !before.has(flag::END_HEADERS);
    let ends_all = head.kind == Kind::GoAway && is_block(before);
    !(are_of_one_stream || is_within_a_block || ends_all || is_block(before) && is_block(head))
}

/// Sends frames to a closed gate. Returns places of those that have passed, and of those that wait.
fn send(heads: &[Head]) -> (Vec<usize>, Vec<usize>) {
    let (mut gate, mut passed) = (Gate::default(), Vec::new());
    gate.close();
    for (place, head) in heads.iter().enumerate() {
        let mut frame = BytesMut::new();
        head.write(&[u8::try_from(place).unwrap()], &mut frame);
        if gate.holds(head, LAST) {
            gate.keep(head, LAST, &frame);
        } else {
            passed.push(place);
        }
    }
    let (mut bytes, mut waiting) = (gate.open(), Vec::new());
    while let Some(head) = Head::read(&bytes) {
        let frame = bytes.split_to(head.total());
        waiting.push(usize::from(*frame.last().unwrap()));
    }
    assert!(bytes.is_empty() && gate.is_open() && gate.waiting() == 0);
    (passed, waiting)
}

#[test]
fn in_all_orders_no_frame_passes_one_that_it_must_follow() {
    let (mut overtaken, mut blocked) = (0, 0);
    for mut number in 0..FRAMES.len().pow(LENGTH) {
        let heads: Vec<Head> = (0..LENGTH)
            .map(|_| {
                let (kind, flags, stream) = FRAMES[number % FRAMES.len()];
                number /= FRAMES.len();
                Head::new(kind, flags, stream)
            })
            .collect();
        let (passed, waiting) = send(&heads);
        assert!(waiting.is_sorted() && passed.len() + waiting.len() == heads.len(), "{heads:?}: {waiting:?}");
        for place in &passed {
            let head = &heads[*place];
            assert!(!is_request(head), "{heads:?}");
            for before in waiting.iter().filter(|before| *before < place) {
                assert!(may_pass(head, &heads[*before]), "{heads:?}: {place} passes {before}");
                overtaken += 1;
            }
        }
        // Behind requests alone, whatever ends an open stream passes.
        if heads.iter().all(|head| is_request(head) || !is_block(head)) {
            let needed = |place: &usize| heads[*place].stream <= LAST && heads[*place].kind != Kind::GoAway;
            assert!(!waiting.iter().any(needed), "{heads:?}: {waiting:?}");
        } else {
            blocked += 1;
        }
    }
    assert!(overtaken > 10_000 && blocked > 1000, "{overtaken} {blocked}");
}

#[test]
fn requests_wait_at_a_closed_gate_and_what_open_streams_need_does_not() {
    let (trailers, data) = (request(LAST), Head::new(Kind::Data, 0, LAST));
    let mut gate = Gate::default();
    assert!(!gate.holds(&request(9), LAST));
    gate.close();
    assert!(!gate.holds(&trailers, LAST) && !gate.holds(&data, LAST) && !gate.is_holding());
    assert!(gate.holds(&request(9), LAST));
    gate.keep(&request(9), LAST, b"request");
    gate.close();
    assert!(gate.is_holding() && !gate.is_blocked() && !gate.holds(&data, LAST));
    assert!(gate.holds(&trailers, LAST), "its block would pass another one");
    gate.keep(&trailers, LAST, b" and trailers");
    assert!(gate.is_blocked() && gate.holds(&data, LAST));
    gate.keep_bytes(b" and more");
    assert_eq!((gate.waiting(), &gate.open()[..]), (29, &b"request and trailers and more"[..]));
    assert!(!gate.holds(&request(9), LAST) && !gate.is_holding());
}

#[test]
fn what_waits_is_not_in_the_debug_text() {
    let mut gate = Gate::default();
    gate.keep_bytes(b"cookie");
    assert_eq!(format!("{gate:?}"), "Gate { way: Open, waiting: 6 }");
}

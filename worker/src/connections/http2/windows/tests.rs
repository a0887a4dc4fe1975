//! Windows against a model of both ends: the client never gets more than it allows, hyper never more than it expects, nothing is lost.

use std::collections::{HashSet, VecDeque};

use super::*;
use crate::connections::http2::frame::window_update;

/// hyper's connection window in the walk. Windows are small, so it opens none by itself.
const OWN: u32 = 65_535;

fn data(stream: u32, payload: &[u8], flags: u8) -> BytesMut {
    let mut frame = BytesMut::new();
    Head::new(Kind::Data, flags, stream).write(payload, &mut frame);
    frame
}

fn block(stream: u32, flags: u8) -> BytesMut {
    let mut frame = BytesMut::new();
    Head::new(Kind::Headers, flags | flag::END_HEADERS, stream).write(b"\x88", &mut frame);
    frame
}

/// Frames of a buffer, as (kind, stream, length, ends).
fn frames(wire: &mut BytesMut) -> Vec<(Kind, u32, usize, bool)> {
    let mut all = Vec::new();
    while let Some(head) = Head::read(wire) {
        let _ = wire.split_to(head.total());
        all.push((head.kind, head.stream, head.length, head.has(flag::END_STREAM)));
    }
    assert!(wire.is_empty());
    all
}

#[test]
fn within_the_window_frames_go_as_they_are() {
    let (mut windows, mut wire) = (Windows::new(OWN), BytesMut::new());
    windows.pass(Kind::Headers, 1, &block(1, 0), &mut wire);
    windows.pass(Kind::Data, 1, &data(1, &[0; 16_384], flag::END_STREAM), &mut wire);
    assert_eq!(windows.send(), 65_535 - 16_384);
    assert_eq!(frames(&mut wire), [(Kind::Headers, 1, 1, false), (Kind::Data, 1, 16_384, true)]);
    assert_eq!(windows.client_granted(100, &mut wire), 100, "hyper hears of it");
}

#[test]
fn data_beyond_the_window_are_cut_and_wait() {
    let (mut windows, mut wire) = (Windows::resume(10, 65_535, OWN), BytesMut::new());
    windows.pass(Kind::Data, 1, &data(1, &[7; 25], flag::END_STREAM), &mut wire);
    assert_eq!((frames(&mut wire), windows.send()), (vec![(Kind::Data, 1, 10, false)], 0));
    assert_eq!(windows.client_granted(10, &mut wire), 0);
    assert_eq!(frames(&mut wire), [(Kind::Data, 1, 10, false)]);
    assert!(windows.hold());
    assert_eq!(windows.client_granted(65_535, &mut wire), 20, "hyper has believed in 65,525 of it");
    assert_eq!(frames(&mut wire), [(Kind::Data, 1, 5, true)]);
    assert!(!windows.hold());
}

#[test]
fn frames_that_need_no_window_pass_those_that_wait() {
    let (mut windows, mut wire) = (Windows::resume(0, 65_535, OWN), BytesMut::new());
    windows.pass(Kind::Data, 1, &data(1, b"waits", 0), &mut wire);
    windows.pass(Kind::Headers, 3, &block(3, flag::END_STREAM), &mut wire);
    windows.pass(Kind::Data, 5, &data(5, b"", flag::END_STREAM), &mut wire);
    windows.pass(Kind::Reset, 7, &data(7, b"", 0), &mut wire);
    let passed: Vec<u32> = frames(&mut wire).iter().map(|(_, stream, ..)| *stream).collect();
    assert_eq!(passed, [3, 5, 7]);
    // Trailers follow their body. No block may pass another one.
    windows.pass(Kind::Headers, 1, &block(1, flag::END_STREAM), &mut wire);
    windows.pass(Kind::Headers, 9, &block(9, flag::END_STREAM), &mut wire);
    windows.pass(Kind::Reset, 1, &data(1, b"", 0), &mut wire);
    assert!(wire.is_empty());
    assert_eq!(windows.client_granted(5, &mut wire), 0);
    let sent: Vec<u32> = frames(&mut wire).iter().map(|(_, stream, ..)| *stream).collect();
    assert_eq!(sent, [1, 1, 9, 1]);
}

#[test]
fn trailers_go_though_data_of_another_stream_wait_behind() {
    let (mut windows, mut wire) = (Windows::resume(0, 65_535, OWN), BytesMut::new());
    windows.pass(Kind::Data, 1, &data(1, b"12345", 0), &mut wire);
    windows.pass(Kind::Data, 3, &data(3, b"67890", 0), &mut wire);
    windows.pass(Kind::Headers, 1, &block(1, flag::END_STREAM), &mut wire);
    windows.client_granted(7, &mut wire);
    let expected = [(Kind::Data, 1, 5, false), (Kind::Headers, 1, 1, true), (Kind::Data, 3, 2, false)];
    assert_eq!(frames(&mut wire), expected);
    windows.client_granted(3, &mut wire);
    assert_eq!((frames(&mut wire), windows.hold()), (vec![(Kind::Data, 3, 3, false)], false));
}

#[test]
fn many_small_frames_that_wait_stay_in_order() {
    let (mut windows, mut wire) = (Windows::resume(0, 65_535, OWN), BytesMut::new());
    for number in 0..1000_u32 {
        let stream = 1 + number % 3 * 2;
        windows.pass(Kind::Data, stream, &data(stream, &[0], 0), &mut wire);
    }
    for number in 0..1000_u32 {
        windows.client_granted(1, &mut wire);
        assert_eq!(frames(&mut wire), [(Kind::Data, 1 + number % 3 * 2, 1, false)]);
        assert_eq!(windows.hold(), number < 999);
    }
}

#[test]
fn data_of_a_stream_that_the_client_has_reset_are_dropped_and_give_their_window_back() {
    let (mut windows, mut wire) = (Windows::resume(0, 65_535, OWN), BytesMut::new());
    windows.pass(Kind::Data, 1, &data(1, b"12345", 0), &mut wire);
    windows.pass(Kind::Data, 3, &data(3, b"67890", 0), &mut wire);
    windows.pass(Kind::Data, 1, &data(1, b"123", flag::END_STREAM), &mut wire);
    assert_eq!((windows.client_reset(5, &mut wire), windows.client_reset(1, &mut wire)), (0, 0));
    assert_eq!(windows.client_granted(5, &mut wire), 0);
    assert_eq!((frames(&mut wire), windows.hold()), (vec![(Kind::Data, 3, 5, false)], false));
    // hyper believes in 65,535 - 13 bytes.
    assert_eq!(windows.client_granted(65_535, &mut wire), 13, "both ends agree again");
}

#[test]
fn header_blocks_of_a_stream_that_was_reset_go_on_in_their_order() {
    let (mut windows, mut wire) = (Windows::resume(0, 65_535, OWN), BytesMut::new());
    for stream in [1, 3] {
        windows.pass(Kind::Data, stream, &data(stream, b"1", 0), &mut wire);
        windows.pass(Kind::Headers, stream, &block(stream, flag::END_STREAM), &mut wire);
    }
    windows.client_reset(3, &mut wire);
    windows.pass(Kind::Reset, 3, &data(3, b"", 0), &mut wire);
    windows.pass(Kind::Headers, 5, &block(5, flag::END_STREAM), &mut wire);
    assert!(wire.is_empty() && windows.hold(), "trailers of stream 1 come first");
    windows.client_reset(1, &mut wire);
    let sent: Vec<u32> = frames(&mut wire).iter().map(|(_, stream, ..)| *stream).collect();
    assert_eq!((sent, windows.hold()), (vec![1, 3, 3, 5], false));
    assert!(windows.held.streams.is_empty() && windows.held.behind.is_empty());
}

/// A frame of the model: kind, stream, bytes.
type Frame = (Kind, u32, usize);

fn takes_window((kind, _, bytes): &Frame) -> bool {
    *kind == Kind::Data && *bytes > 0
}

/// True if a frame must follow one of those that wait.
fn follows(waiting: &[Frame], frame: &Frame) -> bool {
    waiting.iter().any(|before| {
        let are_blocks = before.0 == Kind::Headers && frame.0 == Kind::Headers;
        before.1 == frame.1 || are_blocks || takes_window(before) && takes_window(frame)
    })
}

/// Takes out the frames that may go.
fn released(waiting: &mut Vec<Frame>) -> Vec<(Kind, u32, usize, bool)> {
    let (mut sent, mut left) = (Vec::new(), Vec::new());
    for frame in waiting.drain(..) {
        if takes_window(&frame) || follows(&left, &frame) {
            left.push(frame);
        } else {
            sent.push((frame.0, frame.1, frame.2, false));
        }
    }
    *waiting = left;
    sent
}

const FRAMES: [Frame; 7] = [
    (Kind::Data, 1, 2),
    (Kind::Data, 3, 1),
    (Kind::Data, 3, 0),
    (Kind::Headers, 1, 1),
    (Kind::Headers, 3, 1),
    (Kind::Headers, 5, 1),
    (Kind::Reset, 1, 4),
];

#[test]
fn in_all_orders_frames_wait_for_those_alone_that_they_must_follow() {
    let length = 5;
    for mut number in 0..FRAMES.len().pow(length) {
        let (mut windows, mut wire) = (Windows::resume(0, 65_535, OWN), BytesMut::new());
        let mut waiting = Vec::new();
        for _ in 0..length {
            let frame @ (kind, stream, bytes) = FRAMES[number % FRAMES.len()];
            number /= FRAMES.len();
            let mut written = BytesMut::new();
            Head::new(kind, 0, stream).write(&vec![0; bytes], &mut written);
            windows.pass(kind, stream, &written, &mut wire);
            waiting.push(frame);
            assert_eq!(frames(&mut wire), released(&mut waiting), "{frame:?}");
        }
        // The window opens byte by byte.
        while let Some(at) = waiting.iter().position(takes_window) {
            assert!(windows.hold());
            windows.client_granted(1, &mut wire);
            let mut expected = vec![(Kind::Data, waiting[at].1, 1, false)];
            waiting[at].2 -= 1;
            if waiting[at].2 == 0 {
                waiting.remove(at);
            }
            expected.extend(released(&mut waiting));
            assert_eq!(frames(&mut wire), expected);
        }
        assert!(waiting.is_empty() && !windows.hold());
        assert!(windows.held.streams.is_empty() && windows.held.behind.is_empty());
    }
}

#[test]
fn a_small_window_is_no_work_for_all_that_waits() {
    let (mut windows, mut wire) = (Windows::resume(0, 65_535, OWN), BytesMut::new());
    for number in 0..30_000_u32 {
        let stream = 1 + 2 * number;
        windows.pass(Kind::Data, stream, &data(stream, &[0], 0), &mut wire);
        windows.pass(Kind::Headers, stream, &block(stream, flag::END_STREAM), &mut wire);
        windows.pass(Kind::Reset, stream, &data(stream, b"", 0), &mut wire);
    }
    // With a look at all of them each time, this would take minutes.
    for number in 0..30_000_u32 {
        windows.client_granted(1, &mut wire);
        let sent: Vec<u32> = frames(&mut wire).iter().map(|(_, stream, ..)| *stream).collect();
        assert_eq!(sent, [1 + 2 * number; 3]);
    }
    assert!(!windows.hold());
}

#[test]
fn the_clients_window_is_opened_once_over_all_hypers() {
    // The first one opens it from 65,535 to a million.
    let mut windows = Windows::new(1_000_000);
    assert!(windows.are_open());
    assert_eq!(windows.we_granted(934_465), 934_465);
    windows.client_sent(300_000);
    assert_eq!(windows.receive(), 700_000);
    // The next one begins with 65,535, and the client may send 700,000.
    let mut windows = Windows::resume(65_535, windows.receive(), 1_000_000);
    assert!(!windows.are_open());
    assert_eq!(windows.we_granted(934_465), 300_000, "what the client has not");
    assert!(windows.are_open());
    assert_eq!(windows.we_granted(0), 0);
}

#[test]
fn a_window_that_hyper_does_not_open_by_itself_never_goes_beyond_its_beginning() {
    // One stream of 64 KiB: hyper has 65,536 in mind, and says so only when half of it was used.
    let mut windows = Windows::new(65_536);
    windows.client_sent(40_000);
    assert_eq!(windows.we_granted(40_001), 40_000);
    assert_eq!(windows.receive(), 65_535);
    assert!(Windows::resume(65_535, windows.receive(), 65_536).are_open(), "else it would never open");
}

/// One moment of the walk: windows of both ends, bytes of both directions, numbers of steps that are left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// The client's window for us, as it knows it.
    client: i64,
    /// hyper's belief of it.
    hyper: i64,
    /// WINDOW_UPDATEs under way.
    updates: VecDeque<u32>,
    /// What the tap had when hyper was made, and everything since.
    base: i64,
    log: Vec<Step>,
    written: usize,
    received: usize,
    /// Bytes that were dropped with their stream.
    dropped: usize,
    grants: u8,
    writes: u8,
    moves: u8,
    resets: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Write(usize),
    Grant,
    Arrive(u32),
    Move,
    /// The client resets the stream. The next write is over another one.
    Reset,
}

/// Bytes of each WINDOW_UPDATE.
const GRANT: u32 = 40_000;

/// Goes through the log with real windows.
fn replay(world: &World) -> (Windows, BytesMut, i64) {
    let (mut windows, mut wire) = (Windows::resume(world.base, 65_535, OWN), BytesMut::new());
    let (mut told, mut stream) = (INITIAL.max(world.base), 1);
    for step in &world.log {
        match step {
            Step::Write(length) => {
                told -= signed(*length);
                windows.pass(Kind::Data, stream, &data(stream, &vec![0; *length], 0), &mut wire);
            }
            Step::Reset => {
                told += i64::from(windows.client_reset(stream, &mut wire));
                stream += 2;
            }
            Step::Arrive(increment) => told += i64::from(windows.client_granted(*increment, &mut wire)),
            Step::Grant | Step::Move => {}
        }
    }
    (windows, wire, told)
}

fn after(world: &World, step: Step) -> Option<World> {
    let mut next = world.clone();
    match step {
        Step::Write(length) => {
            next.writes = world.writes.checked_sub(1)?;
            // hyper writes as much as it believes that it may.
            let length = length.min(usize::try_from(world.hyper).ok()?);
            next.written += length;
            next.log.push(Step::Write(length));
        }
        Step::Grant => {
            next.grants = world.grants.checked_sub(1)?;
            next.client += i64::from(GRANT);
            next.updates.push_back(GRANT);
        }
        Step::Arrive(_) => {
            let increment = next.updates.pop_front()?;
            next.log.push(Step::Arrive(increment));
        }
        Step::Reset => {
            next.resets = world.resets.checked_sub(1)?;
            next.dropped = world.written - world.received;
            next.log.push(Step::Reset);
        }
        Step::Move => {
            next.moves = world.moves.checked_sub(1)?;
            let (windows, ..) = replay(world);
            // WINDOW_UPDATEs may be under way. Data may not wait.
            (!windows.hold()).then_some(())?;
            next.base = windows.send();
            next.log.clear();
        }
    }
    let (windows, mut wire, told) = replay(&next);
    let sent: usize = frames(&mut wire).iter().map(|(.., length, _)| length).sum();
    let before: usize =
        if next.log.is_empty() { 0 } else { frames(&mut replay(world).1).iter().map(|(.., length, _)| length).sum() };
    let new = sent - before.min(sent);
    next.received += new;
    next.client -= signed(new);
    next.hyper = told;
    assert!(next.client >= 0, "more than the client allows: {next:?}");
    assert!(next.hyper >= 0 && next.hyper <= 65_535.max(next.client), "hyper believes too much: {next:?}");
    let held = next.written - next.dropped - next.received;
    assert_eq!(windows.hold(), held > 0, "{next:?}");
    assert_eq!(next.hyper, windows.send + windows.ahead - signed(held), "a window is lost: {next:?}");
    assert!(!windows.hold() || windows.send() == 0, "data wait though there is room: {next:?}");
    Some(next)
}

#[test]
fn in_all_orders_of_writes_updates_and_moves_nothing_is_too_much_and_nothing_is_lost() {
    let begin = World {
        client: INITIAL,
        hyper: INITIAL,
        updates: VecDeque::new(),
        base: INITIAL,
        log: Vec::new(),
        written: 0,
        received: 0,
        dropped: 0,
        grants: 3,
        writes: 3,
        moves: 2,
        resets: 1,
    };
    let (mut seen, mut left) = (HashSet::from([begin.clone()]), vec![begin]);
    let mut ends = 0;
    while let Some(world) = left.pop() {
        let steps = [Step::Write(1000), Step::Write(65_000), Step::Grant, Step::Arrive(0), Step::Move, Step::Reset];
        for next in steps.into_iter().filter_map(|step| after(&world, step)) {
            if seen.insert(next.clone()) {
                left.push(next);
            }
        }
        // With everything granted, everything arrives.
        if world.grants == 0 && world.updates.is_empty() && world.client > 0 {
            ends += 1;
            assert_eq!(world.received + world.dropped, world.written, "{world:?}");
        }
    }
    assert!(seen.len() > 1000 && ends > 50, "{} states, {ends} ends", seen.len());
}

#[test]
fn an_increment_that_hyper_has_is_no_frame() {
    let mut wire = BytesMut::new();
    window_update(5, &mut wire);
    assert_eq!(frames(&mut wire), [(Kind::WindowUpdate, 0, 4, false)]);
    assert_eq!(Windows::resume(65_530, 65_535, OWN).client_granted(5, &mut wire), 0);
}

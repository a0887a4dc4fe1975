//! The tap without a server: bytes in, bytes out.

use super::raw::{GET_10, POST, WHOLE, frame};
use super::rig::OWN;
use crate::connections::http2::frame::{Head, Kind, PREFACE, flag};
use crate::connections::http2::settings::ClientSettings;
use crate::connections::http2::state::BadState;
use crate::connections::http2::{Http2State, Tap};

fn state() -> Http2State {
    let client = ClientSettings::default();
    let table: Box<[u8]> = Box::from(*b"\x40\x01a\x01b");
    Http2State { client, own: OWN, last_id: 7, send_window: 65_535, receive_window: 65_535, resets: 3, table }
}

/// A tap between a client and a server that have said their settings.
fn begun() -> Tap {
    let mut tap = Tap::fresh(OWN);
    tap.from_wire(&[PREFACE, &frame(Kind::Settings, 0, 0, b"")].concat());
    tap.from_hyper(&[frame(Kind::Settings, 0, 0, b""), frame(Kind::Settings, flag::ACK, 0, b"")].concat());
    tap.from_wire(&frame(Kind::Settings, flag::ACK, 0, b""));
    drain(&mut tap);
    assert!(tap.is_quiet() && tap.may_move() && tap.may_read());
    tap
}

/// Bytes for hyper, and for the client.
fn drain(tap: &mut Tap) -> (Vec<u8>, Vec<u8>) {
    (tap.for_hyper().split().to_vec(), tap.for_wire().split().to_vec())
}

#[test]
fn a_tap_is_not_quiet_while_anything_is_owed_or_under_way() {
    let whole = frame(Kind::Headers, WHOLE, 1, GET_10);
    let answer = frame(Kind::Headers, WHOLE, 1, b"\x88");
    let mut tap = begun();
    tap.from_wire(&whole[..20]);
    assert!(tap.is_quiet(), "half a frame travels");
    tap.from_wire(&whole[20..]);
    assert!(!tap.is_quiet());
    assert_eq!(drain(&mut tap), (whole, vec![]));
    tap.from_hyper(&answer[..5]);
    assert!(!tap.is_quiet());
    tap.from_hyper(&answer[5..]);
    assert!(!tap.is_quiet(), "it is not on the wire");
    assert_eq!(drain(&mut tap), (vec![], answer));
    assert!(tap.is_quiet());
    let debts = [(Kind::Ping, &b"12345678"[..]), (Kind::Settings, b"")];
    for (kind, payload) in debts {
        tap.from_wire(&frame(kind, 0, 0, payload));
        drain(&mut tap);
        assert!(!tap.is_quiet());
        tap.from_hyper(&frame(kind, flag::ACK, 0, payload));
        drain(&mut tap);
        assert!(tap.is_quiet());
    }
    tap.client_closed();
    assert!(!tap.is_quiet() && !tap.may_move());
}

#[test]
fn a_request_at_the_gate_travels_with_all_behind_it() {
    let mut tap = begun();
    tap.close_gate();
    let waiting = [frame(Kind::Headers, flag::END_HEADERS, 1, POST), frame(Kind::Data, 0, 1, &[0; 16_000])].concat();
    tap.from_wire(&waiting);
    assert!(tap.is_quiet() && tap.may_read());
    tap.from_wire(&frame(Kind::Data, 0, 1, &[0; 1000]));
    assert!(!tap.may_read(), "enough waits");
    let (state, unread) = tap.leave();
    assert_eq!((state.last_id, unread.len()), (0, waiting.len() + 1009));
    assert!(unread.starts_with(&waiting) && !tap.may_read() && !tap.is_quiet());

    let mut tap = begun();
    tap.close_gate();
    tap.from_wire(&waiting);
    assert_eq!(drain(&mut tap), (vec![], vec![]));
    tap.open_gate();
    assert_eq!(drain(&mut tap), (waiting, vec![]));
}

/// A tap whose client uploads over stream 1, and has sent a request that waits at the gate. Returns that request, too.
fn held() -> (Tap, Vec<u8>) {
    let mut tap = begun();
    tap.from_wire(&frame(Kind::Headers, flag::END_HEADERS, 1, POST));
    tap.close_gate();
    let request = frame(Kind::Headers, WHOLE, 3, GET_10);
    tap.from_wire(&request);
    assert_eq!(drain(&mut tap).0, frame(Kind::Headers, flag::END_HEADERS, 1, POST));
    (tap, request)
}

#[test]
fn what_ends_an_upload_passes_a_request_at_the_gate() {
    let end = frame(Kind::Data, flag::END_STREAM, 1, &[0; 16_384]);
    let (mut tap, request) = held();
    // As it is read while the gate is closed.
    for part in end.chunks(8192) {
        assert!(tap.may_read());
        tap.from_wire(part);
    }
    assert_eq!(drain(&mut tap).0, end);
    tap.from_hyper(&frame(Kind::Headers, WHOLE, 1, b"\x88"));
    drain(&mut tap);
    assert!(tap.is_quiet());
    let (state, unread) = tap.leave();
    assert_eq!((state.last_id, &unread[..]), (1, &request[..]));
}

#[test]
fn the_answer_to_the_ping_behind_a_reset_passes_a_request_at_the_gate() {
    let (mut tap, request) = held();
    tap.from_hyper(&[frame(Kind::Headers, WHOLE, 1, b"\x88"), frame(Kind::Reset, 0, 1, &[0; 4])].concat());
    let sent = drain(&mut tap).1;
    let ping = frame(Kind::Ping, 0, 0, b"gin rest");
    assert!(sent.ends_with(&ping) && !tap.is_quiet());
    let late = frame(Kind::Data, 0, 1, b"late");
    tap.from_wire(&[&late[..], &frame(Kind::Ping, flag::ACK, 0, b"gin rest")].concat());
    assert_eq!(drain(&mut tap).0, late);
    assert!(tap.is_quiet());
    assert_eq!(tap.leave().1, request);
}

#[test]
fn at_a_closed_gate_the_ping_behind_a_reset_waits_for_no_other_stream() {
    let mut tap = begun();
    for stream in [1, 3] {
        tap.from_wire(&frame(Kind::Headers, flag::END_HEADERS, stream, POST));
    }
    let ping = frame(Kind::Ping, 0, 0, b"gin rest");
    tap.from_hyper(&frame(Kind::Reset, 0, 1, &[0; 4]));
    assert!(!drain(&mut tap).1.ends_with(&ping), "stream 3 is open, and nothing hurries");
    tap.close_gate();
    assert_eq!(drain(&mut tap).1, ping);
    tap.from_hyper(&frame(Kind::Reset, 0, 3, &[0; 4]));
    assert!(!drain(&mut tap).1.ends_with(&ping), "one is under way");
    tap.from_wire(&frame(Kind::Ping, flag::ACK, 0, b"gin rest"));
    assert!(drain(&mut tap).1 == ping && !tap.is_quiet());
    tap.from_wire(&frame(Kind::Ping, flag::ACK, 0, b"gin rest"));
    assert!(tap.is_quiet());
}

#[test]
fn everything_behind_trailers_waits_with_them() {
    let (mut tap, request) = held();
    let trailers = frame(Kind::Headers, WHOLE, 1, b"\x00\x01t\x01v");
    let behind = [trailers, frame(Kind::Reset, 0, 1, &[0; 4]), frame(Kind::Ping, 0, 0, b"12345678")].concat();
    tap.from_wire(&behind);
    assert_eq!(drain(&mut tap), (vec![], vec![]));
    tap.open_gate();
    assert_eq!(drain(&mut tap).0, [request, behind].concat());
}

#[test]
fn a_frame_that_is_too_large_is_refused_behind_the_request_that_waits() {
    let (mut tap, request) = held();
    let large = [&b"\xff\xff\xff\x42\0\0\0\0\0"[..], &[b'x'; 1000]].concat();
    for part in large.chunks(600) {
        tap.from_wire(part);
    }
    assert!(drain(&mut tap).0.is_empty() && tap.may_move());
    tap.open_gate();
    assert_eq!(drain(&mut tap).0, [request, large].concat());
    assert!(!tap.may_move());
}

#[test]
fn no_flood_grows_what_waits_at_the_gate() {
    // A chunk that is read at once, beyond what may wait, and the beginning of a frame.
    let most = (16 << 10) + (8 << 10) + 9;
    let floods = [
        frame(Kind::Ping, 0, 0, b"12345678"),
        frame(Kind::Data, 0, 1, &[0; 1000]),
        frame(Kind::Data, 0, 3, &[0; 1000]),
        frame(Kind::Reset, 0, 3, &[0; 4]),
        frame(Kind::Headers, WHOLE, 5, GET_10),
        frame(Kind::Headers, 0, 5, &[0x82; 1000]),
        frame(Kind::Continuation, 0, 5, &[0x82; 1000]),
    ];
    for flood in floods {
        let (mut tap, request) = held();
        for _ in 0..3000 {
            for part in flood.chunks(700) {
                if tap.may_read() {
                    tap.from_wire(part);
                }
            }
            drain(&mut tap);
        }
        let passes = tap.may_read();
        let unread = tap.leave().1;
        assert!(unread.starts_with(&request) && unread.len() < most, "{}", unread.len());
        assert_eq!(passes, unread.len() == request.len(), "{flood:x?}");
    }
}

#[test]
fn a_body_goes_on_as_hyper_writes_it_and_nothing_comes_between() {
    let mut tap = begun();
    for stream in [1, 3] {
        tap.from_wire(&frame(Kind::Headers, flag::END_HEADERS, stream, POST));
    }
    tap.from_hyper(&frame(Kind::Headers, flag::END_HEADERS, 1, b"\x88"));
    // Of a stream that the client uploads to: a PING is to follow.
    tap.from_hyper(&frame(Kind::Reset, 0, 3, &[0; 4]));
    drain(&mut tap);
    let data = frame(Kind::Data, flag::END_STREAM, 1, &[7; 1000]);
    for part in [&data[..9], &data[9..500], &data[500..999]] {
        tap.from_hyper(part);
        assert_eq!(drain(&mut tap).1, part);
        // Here the PING would be sent.
        tap.close_gate();
        tap.from_wire(&frame(Kind::WindowUpdate, 0, 0, &1_u32.to_be_bytes()));
        assert!(drain(&mut tap).1.is_empty() && !tap.is_quiet());
    }
    tap.from_hyper(&data[999..]);
    assert_eq!(drain(&mut tap).1, [&data[999..], &frame(Kind::Ping, 0, 0, b"gin rest")].concat());
}

#[test]
fn frames_are_found_however_hyper_cuts_them() {
    let mut tap = begun();
    tap.from_wire(&[frame(Kind::Headers, WHOLE, 1, GET_10), frame(Kind::Headers, WHOLE, 3, GET_10)].concat());
    drain(&mut tap);
    let answers = [
        frame(Kind::Headers, 0, 1, b"\x88"),
        frame(Kind::Continuation, flag::END_HEADERS, 1, b""),
        frame(Kind::Data, 0, 1, b""),
        frame(Kind::Data, flag::END_STREAM, 1, &[1; 20]),
        frame(Kind::Headers, flag::END_HEADERS, 3, b"\x88"),
        frame(Kind::Data, flag::END_STREAM, 3, &[3; 30]),
    ];
    let answers = answers.concat();
    for size in 1..=answers.len() {
        let mut sent = Vec::new();
        for part in answers.chunks(size) {
            tap.from_hyper(part);
            sent.extend(drain(&mut tap).1);
        }
        assert_eq!(sent, answers, "in parts of {size}");
        assert!(tap.is_quiet());
    }
}

#[test]
fn a_tap_is_quiet_once_the_client_has_reset_the_stream_whose_data_wait() {
    let mut tap = Tap::resume(Http2State { send_window: 3, ..state() }).unwrap();
    tap.from_hyper(&[frame(Kind::Settings, 0, 0, b""), frame(Kind::Settings, flag::ACK, 0, b"")].concat());
    tap.from_wire(&frame(Kind::Headers, WHOLE, 9, GET_10));
    tap.from_hyper(&[frame(Kind::Headers, flag::END_HEADERS, 9, b"\x88"), frame(Kind::Data, 1, 9, b"12345")].concat());
    assert!(drain(&mut tap).1.ends_with(&frame(Kind::Data, 0, 9, b"123")) && tap.holds());
    let reset = frame(Kind::Reset, 0, 9, &8_u32.to_be_bytes());
    tap.from_wire(&reset);
    assert_eq!(drain(&mut tap), (reset, vec![]));
    assert!(!tap.holds() && tap.is_quiet());
}

#[test]
fn a_new_hyper_hears_its_settings_acknowledged_before_it_hears_the_client() {
    let mut tap = Tap::resume(state()).unwrap();
    assert!(!tap.may_read() && !tap.is_quiet());
    let request = frame(Kind::Headers, WHOLE, 9, GET_10);
    tap.from_wire(&request);
    let (beginning, _) = drain(&mut tap);
    let made_up = frame(Kind::Headers, WHOLE, 7, b"\0\x01x\0\x82\x40\x01a\x01b");
    assert_eq!(beginning, [PREFACE, &frame(Kind::Settings, 0, 0, b""), &made_up].concat());
    tap.from_hyper(&frame(Kind::Settings, 0, 0, b"\0\x03\0\0\0\x64"));
    let ack = frame(Kind::Settings, flag::ACK, 0, b"");
    assert_eq!(drain(&mut tap), ([&ack[..], &request].concat(), vec![]));
    assert!(tap.may_read());
    // Its answers to what was made up are swallowed.
    tap.from_hyper(&[ack, frame(Kind::Reset, 0, 7, &[0, 0, 0, 1])].concat());
    assert_eq!(drain(&mut tap), (vec![], vec![]));
    // Its first block empties the client's table.
    tap.from_hyper(&frame(Kind::Headers, WHOLE, 9, b"\x88"));
    tap.from_wire(&frame(Kind::Headers, WHOLE, 11, GET_10));
    tap.from_hyper(&frame(Kind::Headers, WHOLE, 11, b"\x88"));
    let answers = [frame(Kind::Headers, WHOLE, 9, b"\x20\x3f\xe1\x1f\x88"), frame(Kind::Headers, WHOLE, 11, b"\x88")];
    assert_eq!(drain(&mut tap).1, answers.concat());
    assert!(tap.is_quiet());
    let (left, unread) = tap.leave();
    assert_eq!((left.last_id, left.resets, unread.len()), (11, 3, 0));
    assert!(left.table.starts_with(&state().table));
}

#[test]
fn a_block_with_updates_of_its_own_begins_with_size_0_once() {
    for (block, sent) in [
        (&b"\x20\x88"[..], &b"\x20\x88"[..]),
        (b"\x3f\x45\x88", b"\x20\x3f\x45\x88"),
        (b"\x20\x3f\x45\x88", b"\x20\x3f\x45\x88"),
    ] {
        let mut tap = Tap::resume(state()).unwrap();
        tap.from_hyper(&frame(Kind::Headers, WHOLE, 9, block));
        assert_eq!(drain(&mut tap).1, frame(Kind::Headers, WHOLE, 9, sent));
    }
    // The updates may make the frame too large.
    let mut tap = Tap::resume(state()).unwrap();
    let block = [b'\x88'; 16_384];
    tap.from_hyper(&frame(Kind::Headers, WHOLE, 9, &block));
    let (_, sent) = drain(&mut tap);
    let head = Head::read(&sent).unwrap();
    assert_eq!((head.length, head.flags), (16_384, flag::END_STREAM));
    assert_eq!(&sent[head.total()..], frame(Kind::Continuation, flag::END_HEADERS, 9, &[0x88; 4]));
}

#[test]
fn what_no_connection_has_is_not_resumed() {
    let too_wide = Http2State { receive_window: i64::from(OWN.connection_window) + 1, ..state() };
    assert_eq!(Tap::resume(too_wide).unwrap_err(), BadState::OutOfRange("window for receiving"));
    let no_block = Http2State { table: Box::from(*b"\x40\x05a"), ..state() };
    assert_eq!(Tap::resume(no_block).unwrap_err(), BadState::Table);
}

#[test]
fn nothing_of_a_request_is_in_the_debug_text() {
    let mut tap = begun();
    tap.from_wire(&frame(Kind::Headers, WHOLE, 1, GET_10));
    assert!(!format!("{tap:?}").contains("size"));
}

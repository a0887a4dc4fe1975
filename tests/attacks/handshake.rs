//! Attacks on the handshake of TLS, and by its records.

use std::io::Read;
use std::net::TcpStream;

use harness::times;

use super::{Attack, LITTLE, Target, drip_all, flood, is_open, send, until_ended};

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "no word of TLS", cost: LITTLE, run: silent },
    Attack { name: "half a ClientHello", cost: LITTLE, run: half_a_hello },
    Attack { name: "a ClientHello of a byte now and then", cost: LITTLE, run: a_slow_hello },
    Attack { name: "a ClientHello in records of a byte", cost: LITTLE, run: a_hello_in_pieces },
    Attack { name: "a ClientHello, and no further word", cost: LITTLE, run: a_hello_alone },
    Attack { name: "a ClientHello, and then another", cost: LITTLE, run: two_hellos },
    Attack { name: "half handshakes, one after the other", cost: LITTLE, run: half_handshakes },
    Attack { name: "a ClientHello of 200 KB", cost: LITTLE, run: a_large_hello },
    Attack { name: "a record beyond the longest", cost: LITTLE, run: a_large_record },
    Attack { name: "what is no TLS", cost: LITTLE, run: no_tls },
    Attack { name: "empty records before the handshake", cost: LITTLE, run: empty_records },
    Attack { name: "warnings within the handshake", cost: LITTLE, run: warnings },
    Attack { name: "ChangeCipherSpec within the handshake", cost: LITTLE, run: changes_of_cipher },
    Attack { name: "records of a byte behind the handshake", cost: LITTLE, run: tiny_records },
    Attack { name: "KeyUpdate, and no word of HTTP", cost: LITTLE, run: key_updates },
    Attack { name: "records that no key has made", cost: LITTLE, run: forged_records },
];

// Types of records (RFC 8446, section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// Most bytes of a record without a key.
const RECORD: usize = 16 << 10;

/// A record.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &length, payload].concat()
}

/// A connection without TLS, on which these bytes are sent.
fn sending(target: &Target, bytes: &[u8]) -> TcpStream {
    let mut stream = target.bare();
    let _ = send(&mut stream, bytes);
    stream
}

fn silent(target: &Target) -> Option<TcpStream> {
    until_ended(target.bare())
}

fn half_a_hello(target: &Target) -> Option<TcpStream> {
    let hello = target.hello();
    until_ended(sending(target, &hello[..hello.len() / 2]))
}

fn a_slow_hello(target: &Target) -> Option<TcpStream> {
    drip_all(target.bare(), target.hello().chunks(1))
}

fn a_hello_in_pieces(target: &Target) -> Option<TcpStream> {
    // Without the head of its record.
    let pieces: Vec<u8> = target.hello()[5..].iter().flat_map(|byte| record(HANDSHAKE, &[*byte])).collect();
    until_ended(sending(target, &pieces))
}

fn a_hello_alone(target: &Target) -> Option<TcpStream> {
    until_ended(sending(target, &target.hello()))
}

fn two_hellos(target: &Target) -> Option<TcpStream> {
    until_ended(sending(target, &target.hello().repeat(2)))
}

/// Each costs the worker as much as a whole one: it has signed.
fn half_handshakes(target: &Target) -> Option<TcpStream> {
    for _ in 0..times(20, 1000) {
        let mut stream = sending(target, &target.hello());
        let heard = stream.read(&mut [0; 1024]);
        assert!(!heard.is_err_and(|error| is_open(&error)), "the worker keeps the connection, and says nothing");
    }
    None
}

fn a_large_hello(target: &Target) -> Option<TcpStream> {
    // ClientHello, its length, TLS 1.2, and zeros.
    let hello = [&[1, 3, 0x0d, 0x40, 3, 3][..], &vec![0; 199_998]].concat();
    let records: Vec<u8> = hello.chunks(RECORD).flat_map(|part| record(HANDSHAKE, part)).collect();
    until_ended(sending(target, &records))
}

fn a_large_record(target: &Target) -> Option<TcpStream> {
    until_ended(sending(target, &record(HANDSHAKE, &[1; u16::MAX as usize])))
}

/// Cleartext, another protocol, zeros and ones.
fn no_tls(target: &Target) -> Option<TcpStream> {
    let words: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        &[0; 100],
        &[0xff; 100],
    ];
    // All at once: one that could be the beginning of a record has its time.
    let all = words.map(|words| sending(target, words));
    all.into_iter().find_map(until_ended)
}

fn empty_records(target: &Target) -> Option<TcpStream> {
    let kinds = [HANDSHAKE, ALERT, CHANGE_CIPHER_SPEC, APPLICATION_DATA];
    kinds.into_iter().find_map(|kind| flood(target.bare(), &record(kind, &[]).repeat(1000), times(20, 1000)))
}

/// Begins a handshake, and goes on with this record.
fn behind_a_hello(target: &Target, record: &[u8]) -> Option<TcpStream> {
    flood(sending(target, &target.hello()), &record.repeat(1000), times(20, 1000))
}

fn warnings(target: &Target) -> Option<TcpStream> {
    // A warning: the user has canceled.
    behind_a_hello(target, &record(ALERT, &[1, 90]))
}

fn changes_of_cipher(target: &Target) -> Option<TcpStream> {
    behind_a_hello(target, &record(CHANGE_CIPHER_SPEC, &[1]))
}

fn tiny_records(target: &Target) -> Option<TcpStream> {
    let (mut secure, mut stream) = target.secured();
    let half = b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: ";
    let first: Vec<u8> = half.iter().flat_map(|byte| secure.records(&[*byte])).collect();
    let _ = send(&mut stream, &first)
        && (0..times(20, 1000)).all(|_| {
            let thousand: Vec<u8> = (0..1000).flat_map(|_| secure.records(b"x")).collect();
            send(&mut stream, &thousand)
        });
    until_ended(stream)
}

fn key_updates(target: &Target) -> Option<TcpStream> {
    let (mut secure, mut stream) = target.secured();
    let _ = (0..times(20, 1000)).all(|_| {
        (0..100).for_each(|_| secure.change_keys());
        send(&mut stream, &secure.records(&[]))
    });
    until_ended(stream)
}

fn forged_records(target: &Target) -> Option<TcpStream> {
    let (_secure, stream) = target.secured();
    flood(stream, &record(APPLICATION_DATA, &[0x5a; 1000]), times(100, 10_000))
}

//! Facts of the tests' certificates, and of bytes that are none.

use proptest::prelude::*;

use super::*;
use crate::tls::der::{SEQUENCE, SET, write};
use crate::tls::pem;

fn der_of(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    pem::blocks(&text).unwrap().into_iter().find(pem::Block::is_certificate).unwrap().contents.bytes().to_vec()
}

fn facts(name: &str) -> Facts {
    Facts::of_der(&der_of(name)).unwrap()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn names_issuer_dates_and_serial_number_are_read() {
    let server = facts("server");
    assert_eq!(server.names, ["localhost", "127.0.0.1", "::1", "*.wild.test"]);
    assert_eq!((server.name(), server.subject.as_str()), ("localhost", "CN=localhost"));
    assert_eq!((server.issuer.as_str(), server.issuer_name.as_str()), ("gin", "O=gin,CN=gin tests"));
    // 2020-01-01 and 2126-01-01.
    assert_eq!((seconds(server.starts), seconds(server.ends)), (1_577_836_800, 4_922_899_200));
    assert!((30..=40).contains(&server.serial.len()), "{}", server.serial);
    assert!(server.serial.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", server.serial);
    assert_eq!(server.public_key.len(), 65);
    assert_eq!(seconds(facts("expired").ends), 1_609_459_200);
    assert_eq!(facts("rsa").public_key[0], SEQUENCE);
    let usable = ["server", "rsa", "other", "ed25519"].map(|name| facts(name).has_usable_key);
    assert_eq!(usable, [true, true, true, false]);
    let client = facts("client");
    assert_eq!((client.name(), client.common_name.as_deref()), ("client7.test", Some("client-7")));
    assert_eq!(common_name(&client.subject).as_deref(), Some("client-7"));
}

#[test]
fn a_certificate_that_is_cut_or_goes_on_is_none() {
    let der = der_of("server");
    for length in 0..der.len() {
        assert!(Facts::of_der(&der[..length]).is_err(), "{length} bytes");
    }
    let longer = [&der[..], &[0]].concat();
    assert_eq!(Facts::of_der(&longer), Err(DerError::Trailing));
}

/// A name of these attributes, a group each.
fn name(attributes: &[(&[u8], u8, &[u8])]) -> String {
    let group = |(kind, tag, text): &(&[u8], u8, &[u8])| {
        let parts = [write(der::OBJECT_IDENTIFIER, kind).unwrap(), write(*tag, text).unwrap()];
        write(SET, &write(SEQUENCE, &parts.concat()).unwrap()).unwrap()
    };
    let all: Vec<Vec<u8>> = attributes.iter().map(group).collect();
    let bytes = write(SEQUENCE, &all.concat()).unwrap();
    Name::read(&mut Reader::new(&bytes), "name").unwrap().text()
}

#[test]
fn a_name_is_written_so_that_nothing_in_it_looks_like_another_attribute() {
    let cn = |tag, text: &[u8]| name(&[(COMMON_NAME, tag, text)]);
    assert_eq!(cn(0x0c, b"a,CN=b"), "CN=a\\,CN=b");
    assert_eq!(cn(0x0c, b" #a\"+<>;\\ "), "CN=\\ #a\\\"\\+\\<\\>\\;\\\\\\ ");
    assert_eq!(cn(0x0c, b"#a"), "CN=\\#a");
    assert_eq!(cn(0x0c, b"a\n\x1b[1m"), "CN=a\\0A\\1B[1m");
    assert_eq!(cn(0x14, b"M\xfcller"), "CN=Müller");
    assert_eq!(cn(0x1e, &[0, b'a', 0x20, 0xac, 0xd8, 0]), "CN=a€\u{fffd}");
    assert_eq!(cn(0x1c, &[0, 0, 0, b'a', 0, 0x11, 0, 0]), "CN=a\u{fffd}");
    assert_eq!(cn(0x0c, b"\xff"), "CN=\u{fffd}");
    assert_eq!(cn(0x02, b"1"), "CN=");
    assert_eq!(cn(0x0c, &[b'x'; 300]).len(), "CN=".len() + TEXT_MAX);
    let two = name(&[(ORGANISATION, 0x0c, &b"Shop, Inc"[..]), (&[0x2a, 0x03, 0x81, 0x00][..], 0x0c, &b"x"[..])]);
    assert_eq!(two, "1.2.3.128=x,O=Shop\\, Inc");
}

#[test]
fn a_common_name_is_found_in_a_subject_again() {
    for (subject, found) in [
        ("CN=client-7,O=gin", Some("client-7")),
        ("O=gin,CN=client-7", Some("client-7")),
        ("O=a\\,CN=b,CN=c", Some("c")),
        ("OU=a+CN=b", Some("b")),
        ("CN=a\\,b\\\\\\0A\\C3\\BC", Some("a,b\\\nü")),
        ("CN=,CN=b", Some("b")),
        ("O=gin", None),
        ("", None),
        ("CN=a\\", Some("a\\")),
    ] {
        assert_eq!(common_name(subject).as_deref(), found, "{subject}");
    }
}

#[test]
fn times_are_read_in_both_forms() {
    let read = |tag, contents: &[u8]| time(Value { tag, contents, whole: contents });
    let cases: [(u8, &[u8], u64); 4] = [
        (der::UTC_TIME, b"700101000000Z", 0),
        (der::UTC_TIME, b"491231235959Z", 2_524_607_999),
        (der::GENERALIZED_TIME, b"20000229120000Z", 951_825_600),
        (der::GENERALIZED_TIME, b"99991231235959Z", 253_402_300_799),
    ];
    for (tag, text, expected) in cases {
        assert_eq!(read(tag, text).map(seconds), Ok(expected));
    }
    assert_eq!(read(der::UTC_TIME, b"691231235959Z"), Ok(UNIX_EPOCH - Duration::from_secs(1)));
    for text in
        [&b"7001010000Z"[..], b"700101000000+", b"701301000000Z", b"700100000000Z", b"700101240000Z", b"70010100000xZ"]
    {
        assert_eq!(read(der::UTC_TIME, text), Err(DerError::Malformed("time")));
    }
}

#[test]
fn names_that_could_be_taken_for_others_are_escaped() {
    let named = |tag, contents: &[u8]| alternative_name(Value { tag, contents, whole: contents });
    assert_eq!(named(0x82, b"shop.test").as_deref(), Some("shop.test"));
    assert_eq!(named(0x82, b"shop\n\xff").as_deref(), Some("shop\\n\\xff"));
    assert_eq!(named(0x87, &[10, 0, 0, 1]).as_deref(), Some("10.0.0.1"));
    assert_eq!((named(0x87, &[10, 0, 0]), named(0xa0, b"other")), (None, None));
}

proptest! {
    #[test]
    fn whatever_byte_is_changed_it_is_read_or_refused(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut der = der_of("server");
        let at = at.index(der.len());
        der[at] = byte;
        if let Ok(facts) = Facts::of_der(&der) {
            prop_assert!(facts.names.len() <= NAMES_MAX);
            prop_assert!(!facts.subject.chars().any(char::is_control));
        }
    }
}

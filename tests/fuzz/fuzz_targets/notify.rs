//! Any datagram on a notify socket, and any address.
#![no_main]

use gin_shared::listen::Address;
use gin_shared::notify::{Notice, STATUS_MAX, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for notice in parse(data) {
        if let Notice::Status(text) = notice {
            assert!(text.chars().count() <= STATUS_MAX && !text.contains(char::is_control));
        }
    }
    if let Some(address) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Address>().ok()) {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
});

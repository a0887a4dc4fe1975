//! A PROXY header is read, or refused, in the same way however its bytes are split; nothing behind it is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gin_worker::fuzz::proxy(data));

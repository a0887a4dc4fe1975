//! A profile of the heap, as an allocator writes it and as nobody would: it is read, or refused, and each number in it is possible.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    gin_worker::profile::fuzzed::heap(&text);
    // The rest of a dump is reached more often behind its first word.
    gin_worker::profile::fuzzed::heap(&format!("heap_v2/{text}"));
});

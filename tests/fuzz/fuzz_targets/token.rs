//! No text is a token of a service but those that the service has made, however little is changed in one of them.
#![no_main]

use std::cell::OnceCell;

use gin_worker::fuzz::Tokens;
use libfuzzer_sys::fuzz_target;

thread_local!(static TOKENS: OnceCell<Tokens> = const { OnceCell::new() });

/// A token with changes: each is a place, as two bytes, and the byte that stands there from now on. A byte at the end is left out.
fn changed(token: &str, changes: &[u8]) -> Vec<u8> {
    let mut changed = token.as_bytes().to_vec();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % (changed.len() + 1);
        match changed.get_mut(place) {
            Some(byte) => *byte = change[2],
            None => changed.push(change[2]),
        }
    }
    changed
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    TOKENS.with(|cell| {
        let tokens = cell.get_or_init(Tokens::make);
        let bytes = match kind % 3 {
            0 => rest.to_vec(),
            1 => changed(&tokens.access, rest),
            _ => changed(&tokens.refresh, rest),
        };
        let Ok(text) = std::str::from_utf8(&bytes) else { return };
        assert_eq!(tokens.is_access(text), text == tokens.access, "{text}");
        assert_eq!(tokens.is_refresh(text), text == tokens.refresh, "{text}");
    });
});

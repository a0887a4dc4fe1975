//! A state file, as it is or damaged: it is read or refused, a damaged one never gives what nobody wrote, and what is read can be
//! written and read again.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use gin_shared::state::{Left, SLOT, STATE_MAX, Slot, read, write};
use gin_supervisor::machine::snapshot;
use gin_supervisor::state::State;
use libfuzzer_sys::fuzz_target;

const BOOT: &str = "boot";
/// Length of a slot's header, in bytes: `gin_shared::state` has it.
const HEADER: usize = 128;

/// A file whose two slots are these bytes.
fn raw(first: &[u8], second: &[u8]) -> File {
    let file = tempfile::tempfile().expect("room");
    file.write_all_at(first, 0).expect("room");
    file.write_all_at(second, SLOT).expect("room");
    file
}

/// Two whole slots, of which bytes are changed: each change is a slot, a place (in two bytes) and what is added to the byte there.
fn damaged(first: &[u8], second: &[u8], changes: &[u8]) -> File {
    let file = tempfile::tempfile().expect("room");
    for (sequence, bytes) in [(2, first), (3, second)] {
        write(&file, &Slot { sequence, bytes: bytes.to_vec() }).expect("room");
    }
    for change in changes.chunks_exact(4) {
        let offset = u64::from(change[0] & 1) * SLOT + u64::from(u16::from_le_bytes([change[1], change[2]]));
        let mut byte = [0];
        if offset < SLOT + (HEADER + second.len()) as u64 && file.read_at(&mut byte, offset).expect("a file") == 1 {
            file.write_all_at(&[byte[0].wrapping_add(change[3])], offset).expect("room");
        }
    }
    file
}

/// Reads a state as a successor and `gin-ctl` do.
fn parse(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Left>(bytes);
    let Ok(state) = snapshot::read::<State<'static>>(bytes, BOOT) else { return };
    let written = snapshot::write(&state, BOOT).expect("it can be written");
    let again = snapshot::read::<State<'static>>(&written, BOOT).expect("it can be read again");
    assert_eq!((&again.machine, &again.paths, &again.workers), (&state.machine, &state.paths, &state.workers));
    assert_eq!((again.generations.len(), again.sockets.len()), (state.generations.len(), state.sockets.len()));
}

fuzz_target!(|data: &[u8]| {
    let [mode, cut, rest @ ..] = data else { return };
    let (first, rest) = rest.split_at(usize::from(*cut).min(rest.len()));
    match mode & 3 {
        0 => parse(rest),
        1 => {
            if let Some(slot) = read(&raw(first, rest)).expect("a file") {
                assert!(slot.bytes.len() <= STATE_MAX);
                parse(&slot.bytes);
            }
        }
        _ => {
            let (second, changes) = rest.split_at(usize::from(*cut).min(rest.len()));
            let file = damaged(first, second, changes);
            if let Some(slot) = read(&file).expect("a file") {
                assert!(slot.bytes == first || slot.bytes == second, "{slot:?} was never written");
            } else {
                assert!(!changes.is_empty(), "a whole file is read");
            }
        }
    }
});

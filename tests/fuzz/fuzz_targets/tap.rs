//! Frames of a client and of a server, in any order, with moves in between: the tap of HTTP/2 lets out whole frames alone, never more
//! than the client's window, and its state is the same after a move.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gin_worker::fuzz::tap(data));

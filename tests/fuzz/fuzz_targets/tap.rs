//! Frames of a client and of a server, in any order, with moves in between: the tap of HTTP/2 lets out whole frames alone, never more
//! than the client's window; no request passes a closed gate, nothing that waits there is lost in a move, and the state is the same after
//! it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gin_worker::fuzz::tap(data));

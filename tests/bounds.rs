//! Memory and time of a connection are bounded, whatever its client does.

mod bodies;
mod connections;
mod handover;
mod heads;
mod paused;
mod streams;
mod websockets;

/// Short enough for a test, long enough for a busy machine.
const TIMEOUTS: &str = "[timeouts]\nread = \"1s\"\nwrite = \"1s\"\nidle = \"20s\"\n";

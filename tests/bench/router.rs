//! Asks a router in its own process, for `tests/bench/instructions`.

fn main() {}

//! The documents' uploads (4.4).

fn main() {}

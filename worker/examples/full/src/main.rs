//! All programs of the documents as one.

fn main() {}

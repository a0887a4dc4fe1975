//! The documents' logins (4.3).

fn main() {}

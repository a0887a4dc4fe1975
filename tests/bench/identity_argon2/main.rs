//! Bare argon2 with the parameters that `[auth]` has without a configuration: 19 MiB, 2 passes, 1 lane.
//!
//! usage: `bench-argon2 THREADS SECONDS`; prints hashes a second

use std::thread;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};

fn hashes(until: Instant) -> u32 {
    let params = Params::new(19 << 10, 2, 1, Some(32)).expect("these are allowed");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (mut count, mut out) = (0, [0; 32]);
    while Instant::now() < until {
        argon2.hash_password_into(b"password", b"0123456789abcdef", &mut out).expect("there is memory");
        count += 1;
    }
    count
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse().expect("THREADS SECONDS"));
    let (threads, seconds) = (arguments.next().unwrap_or(1), arguments.next().unwrap_or(5));
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let all: Vec<_> = (0..threads).map(|_| thread::spawn(move || hashes(until))).collect();
    let sum: u32 = all.into_iter().map(|thread| thread.join().expect("it does not panic")).sum();
    println!("{:.2}", f64::from(sum) / began.elapsed().as_secs_f64());
}

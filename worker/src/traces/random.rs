//! Ids of new traces and spans. They are no secrets: they need only be different from one another, on all hosts.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use gin_shared::trace_context::{SpanId, TraceId};

thread_local! {
    static STATE: Cell<[u64; 4]> = Cell::new(seed());
}

/// Makes the id of a trace.
pub(super) fn trace_id() -> TraceId {
    loop {
        let bytes = u128::from(next()) << 64 | u128::from(next());
        if let Some(id) = TraceId::new(bytes.to_be_bytes()) {
            return id;
        }
    }
}

/// Makes the id of a span.
pub(super) fn span_id() -> SpanId {
    loop {
        if let Some(id) = SpanId::new(next().to_be_bytes()) {
            return id;
        }
    }
}

fn next() -> u64 {
    let step = |state: &Cell<[u64; 4]>| {
        let (value, after) = stepped(state.get());
        state.set(after);
        value
    };
    // At the end of a thread there is no state any more.
    STATE.try_with(step).unwrap_or_else(|_| stepped(seed()).0)
}

/// Random bits of the system. The standard library has asked for its keys: they are others on each thread, and at each call.
fn seed() -> [u64; 4] {
    let keys = RandomState::new();
    [0_u8, 1, 2, 3].map(|number| keys.hash_one(number))
}

/// One step of xoshiro256++: a value, and the state after it.
fn stepped([a, b, c, d]: [u64; 4]) -> (u64, [u64; 4]) {
    let value = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
    let (c_next, d_next) = (c ^ a, d ^ b);
    (value, [a ^ d_next, b ^ c_next, c_next ^ (b << 17), d_next.rotate_left(45)])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_generator_gives_the_values_of_its_authors() {
        let (mut state, mut values) = ([1, 2, 3, 4], Vec::new());
        for _ in 0..4 {
            let (value, after) = stepped(state);
            values.push(value);
            state = after;
        }
        assert_eq!(values, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn no_two_threads_make_the_same_ids() {
        let make = || (0..1000).map(|_| (trace_id(), span_id())).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().map(|(trace, _)| trace).collect::<HashSet<_>>().len(), 4000);
        assert_eq!(all.iter().map(|(_, span)| span).collect::<HashSet<_>>().len(), 4000);
    }
}

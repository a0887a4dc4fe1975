//! A profile of the heap as it is told.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use gin_shared::pprof::{Location, Profile};

use super::super::modules::Modules;
use super::super::symbols;
use super::dump::Dump;

/// Beginnings of the names of functions that allocate for others: jemalloc's own, and those of Rust's collections.
const ALLOCATORS: [&str; 14] = [
    "_rjem_",
    "prof_",
    "imalloc",
    "iralloc",
    "do_rallocx",
    "tikv_jemallocator::",
    "__rust_",
    "__rustc",
    "__rg_",
    "__rdl_",
    "alloc::",
    "core::",
    "hashbrown::",
    "std::collections::",
];

/// Names the addresses of a dump.
pub(super) fn profile(dump: &Dump, modules: &Modules) -> Profile {
    let mut profile = Profile::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
    "inuse_space".clone_into(&mut profile.default_kind);
    let period = i64::try_from(dump.period).unwrap_or(i64::MAX);
    profile.period = Some((("space".to_owned(), "bytes".to_owned()), period));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    profile.began_ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    profile.mappings = modules.mappings();
    profile.comments.push(format!("pid {}", std::process::id()));
    if !dump.is_whole {
        profile.comments.push("the end of the allocator's profile is missing".to_owned());
    }
    // Calls return behind themselves.
    let call = |address: &u64| address.saturating_sub(1);
    let addresses: BTreeSet<u64> = dump.stacks.iter().flat_map(|held| held.addresses.iter().map(call)).collect();
    let located = symbols::of(modules, addresses);
    for held in &dump.stacks {
        let stack: Vec<Location> =
            held.addresses.iter().filter_map(|address| located.get(&call(address)).cloned()).collect();
        let (objects, bytes) = held.estimate(dump.period);
        let locations = without_allocators(stack).into_iter().map(|location| profile.location(location)).collect();
        profile.add(locations, &[objects, bytes], &[]);
    }
    profile
}

/// Leaves out the leaves that allocate for others: so the first function is one that has asked for the memory.
fn without_allocators(stack: Vec<Location>) -> Vec<Location> {
    let is_others = |function: &str| {
        let function = function.trim_start_matches(['<', '&']);
        ALLOCATORS.iter().any(|beginning| function.starts_with(beginning))
    };
    let mut kept: Vec<Location> = Vec::new();
    for location in &stack {
        let mut location = location.clone();
        if kept.is_empty() && !location.frames.is_empty() {
            match location.frames.iter().position(|frame| !is_others(&frame.function)) {
                Some(first) => drop(location.frames.drain(..first)),
                None => continue,
            }
        }
        kept.push(location);
    }
    if kept.is_empty() { stack } else { kept }
}

#[cfg(test)]
mod tests {
    use gin_shared::pprof::Frame;

    use super::*;

    fn location(address: u64, functions: &[&str]) -> Location {
        let frame = |name: &&str| Frame { function: (*name).to_owned(), file: String::new(), line: 1 };
        Location { address, mapping: 1, frames: functions.iter().map(frame).collect() }
    }

    #[test]
    fn allocations_are_of_the_function_that_asked_for_them() {
        let stack = vec![
            location(1, &["prof_backtrace_impl"]),
            location(2, &["_rjem_malloc"]),
            location(
                3,
                &[
                    "alloc::alloc::alloc",
                    "<alloc::vec::Vec<T> as core::clone::Clone>::clone",
                    "shop::leaks",
                    "shop::list",
                ],
            ),
            location(4, &["core::ops::function::FnOnce::call_once"]),
        ];
        let kept = without_allocators(stack);
        assert_eq!(
            kept,
            [location(3, &["shop::leaks", "shop::list"]), location(4, &["core::ops::function::FnOnce::call_once"])]
        );
    }

    #[test]
    fn a_stack_of_allocators_alone_and_one_without_names_stay() {
        for stack in [
            vec![location(1, &["_rjem_malloc"]), location(2, &["alloc::alloc::alloc"])],
            vec![location(1, &[])],
            vec![],
        ] {
            assert_eq!(without_allocators(stack.clone()), stack);
        }
    }

    #[test]
    fn a_dump_that_is_cut_says_so() {
        let dump = Dump { period: 512, stacks: Vec::new(), is_whole: false };
        let told = profile(&dump, &Modules::read());
        assert_eq!(told.default_kind, "inuse_space");
        assert!(told.comments.iter().any(|comment| comment.contains("missing")), "{:?}", told.comments);
    }
}

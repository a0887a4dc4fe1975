//! A profile of the heap as it is told.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use gin_shared::pprof::{Frame, Location, Profile};

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
/// Directories of Rust's library with such functions.
const SOURCES: [&str; 3] = ["alloc/src/", "core/src/", "std/src/collections/"];

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

/// True of a function that allocates for others. An inlined one may be named without its path: then its file tells.
fn is_others(frame: &Frame) -> bool {
    let function = frame.function.trim_start_matches(['<', '&']);
    ALLOCATORS.iter().any(|beginning| function.starts_with(beginning))
        || within_library(&frame.file).is_some_and(|path| SOURCES.iter().any(|source| path.starts_with(source)))
        || frame.file.contains("/hashbrown-")
}

/// The path of a file within the source of Rust's library: below the hash of its commit, or where rustup has it.
fn within_library(file: &str) -> Option<&str> {
    let source = file.strip_prefix("/rustc/").or_else(|| Some(file.split_once("/rustlib/src/rust/")?.1))?;
    Some(source.split_once("library/")?.1)
}

/// Leaves out the leaves that allocate for others: so the first function is one that has asked for the memory.
fn without_allocators(stack: Vec<Location>) -> Vec<Location> {
    let mut kept: Vec<Location> = Vec::new();
    for location in &stack {
        let mut location = location.clone();
        if kept.is_empty() && !location.frames.is_empty() {
            match location.frames.iter().position(|frame| !is_others(frame)) {
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
    fn an_inlined_allocator_without_a_path_is_known_by_its_file() {
        let frame =
            |function: &str, file: &str| Frame { function: function.to_owned(), file: file.to_owned(), line: 1 };
        let at = |address, frames| Location { address, mapping: 1, frames };
        let commit = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";
        let own = frame("leaks", "/home/ann/library/alloc/src/work.rs");
        let stack = vec![
            at(1, vec![frame("with_capacity_in", &format!("{commit}/alloc/src/raw_vec/mod.rs"))]),
            at(
                2,
                vec![
                    frame("from_elem", "/opt/rust/lib/rustlib/src/rust/library/alloc/src/vec/spec_from_elem.rs"),
                    frame(
                        "<u8 as alloc::vec::spec_from_elem::SpecFromElem>::from_elem",
                        &format!("{commit}/alloc/src/vec/mod.rs"),
                    ),
                    frame("reserve", "/root/.cargo/registry/src/index/hashbrown-0.15.5/src/raw/mod.rs"),
                    own.clone(),
                ],
            ),
            at(3, vec![frame("spawn", &format!("{commit}/std/src/thread/mod.rs"))]),
        ];
        let last = stack[2].clone();
        assert_eq!(without_allocators(stack), [at(2, vec![own]), last.clone()]);
        assert_eq!(without_allocators(vec![last.clone()]), [last]);
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

//! A profile of the CPU as it is told.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use gin_shared::inherit::identity;
use gin_shared::pprof::{Frame, Location, Profile};

use super::sampler::Taken;
use super::stacks::End;
use super::symbols;

/// Names the addresses of a profile.
pub(super) fn profile(taken: Taken) -> Profile {
    let period = 1_000_000_000 / i64::from(taken.hz.max(1));
    let mut profile = Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    "cpu".clone_into(&mut profile.default_kind);
    profile.period = Some((("cpu".to_owned(), "nanoseconds".to_owned()), period));
    profile.began_ns = nanoseconds(taken.began.duration_since(UNIX_EPOCH).unwrap_or_default());
    profile.took_ns = nanoseconds(taken.took);
    profile.mappings = taken.modules.mappings();
    profile.comments = comments(&taken);
    let addresses: BTreeSet<u64> = taken.stacks.keys().flat_map(|stack| stack.addresses.iter().copied()).collect();
    let located = symbols::of(&taken.modules, addresses);
    let indices: HashMap<u64, u32> =
        located.into_iter().map(|(address, location)| (address, profile.location(location))).collect();
    for (stack, periods) in taken.stacks {
        let mut locations: Vec<u32> =
            stack.addresses.iter().filter_map(|address| indices.get(address).copied()).collect();
        if let Some(name) = stack.end.frame() {
            locations.push(profile.location(named(name)));
        }
        let count = i64::try_from(periods).unwrap_or(i64::MAX);
        let thread = taken.threads.get(&stack.thread).map_or("", String::as_str);
        profile.add(locations, &[count, count.saturating_mul(period)], &[("thread", thread)]);
    }
    profile
}

/// A location that is no code.
fn named(name: &str) -> Location {
    let frame = Frame { function: name.to_owned(), file: String::new(), line: 0 };
    Location { frames: vec![frame], ..Location::default() }
}

/// Remarks: the process, and what is missing.
fn comments(taken: &Taken) -> Vec<String> {
    let mut comments = vec![format!("pid {}", std::process::id())];
    if let Some(identity) = identity() {
        let of = |name: &str, value: &dyn std::fmt::Display| format!("{name} {value}");
        comments.push(of("instance", &identity.instance));
        comments.push(of("generation", &identity.generation));
        comments.push(of("slot", &identity.slot));
        comments.extend(identity.release.map(|release| of("release", &release)));
    }
    if taken.lost > 0 {
        comments.push(format!("{} samples were lost: there was no room for them", taken.lost));
    }
    comments.extend(taken.unsampled.as_ref().map(ToString::to_string));
    let not_unwound: u64 =
        taken.stacks.iter().filter(|(stack, _)| stack.end == End::NotUnwound).map(|(_, count)| count).sum();
    if not_unwound > 0 {
        comments.push(format!("{not_unwound} samples could not be unwound"));
    }
    if taken.ended_early {
        comments.push(format!("it ended early, after {:.1} s", taken.took.as_secs_f64()));
    }
    comments
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

//! Values within limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use gin_shared::config::Section;

/// A length of time within limits.
pub(super) fn time(section: &Section<'_>, key: &'static str, range: &RangeInclusive<Duration>) -> Option<Duration> {
    let time = section.duration(key)?;
    if range.contains(&time) {
        return Some(time);
    }
    let [least, most] = [range.start(), range.end()].map(|bound| humantime::format_duration(*bound));
    section.problem(key, &format!("it must be {least} to {most}"));
    None
}

/// An amount of memory within limits, in bytes. `limits` has their words.
pub(super) fn size(section: &Section<'_>, key: &'static str, range: &RangeInclusive<u64>, limits: &str) -> Option<u64> {
    let size = section.size(key)?;
    if range.contains(&size) {
        return Some(size);
    }
    section.problem(key, &format!("it must be {limits}"));
    None
}

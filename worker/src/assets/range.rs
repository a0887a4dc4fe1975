//! `Range` (RFC 9110, section 14): which bytes of a file are asked for.

use std::ops::Range;

/// More of them are not taken apart: the whole file is cheaper (RFC 9110, section 17.15).
const RANGES_MAX: usize = 16;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: there is no such header, or it is of another unit, or wrong, or asks for nonsense.
    All,
    /// These, in the order of the header; none of them empty.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there.
    Nothing,
}

/// Reads the header's value for a file of this length.
pub(super) fn parse(value: &str, length: u64) -> Asked {
    let Some(specs) = value.trim().strip_prefix("bytes=").or_else(|| value.trim().strip_prefix("Bytes=")) else {
        return Asked::All;
    };
    let specs: Vec<&str> = specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()).collect();
    if specs.is_empty() || specs.len() > RANGES_MAX {
        return Asked::All;
    }
    let mut parts = Vec::new();
    for spec in specs {
        match one(spec, length) {
            Some(Some(part)) => parts.push(part),
            Some(None) => {}
            None => return Asked::All,
        }
    }
    if parts.is_empty() {
        return Asked::Nothing;
    }
    // Overlapping ones ask for the same bytes again and again.
    let asked: u64 = parts.iter().map(|part| part.end - part.start).sum();
    if asked > length {
        return Asked::All;
    }
    Asked::Parts(parts)
}

/// `None`: it is none. `Some(None)`: it is behind the end.
fn one(spec: &str, length: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than there are bytes anywhere.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", suffix) => {
            let suffix: u64 = number(suffix)?;
            Some((suffix > 0 && length > 0).then(|| length.saturating_sub(suffix)..length))
        }
        (first, "") => {
            let first: u64 = number(first)?;
            Some((first < length).then_some(first..length))
        }
        (first, last) => {
            let (first, last): (u64, u64) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            Some((first < length).then(|| first..last.saturating_add(1).min(length)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some of them of one")]
mod tests {
    use super::*;

    #[test]
    fn as_rfc_9110_says() {
        let parts = |all: &[Range<u64>]| Asked::Parts(all.to_vec());
        for (value, asked) in [
            // Section 14.1.2's examples, of 10,000 bytes.
            ("bytes=0-499", parts(&[0..500])),
            ("bytes=500-999", parts(&[500..1000])),
            ("bytes=-500", parts(&[9500..10000])),
            ("bytes=9500-", parts(&[9500..10000])),
            ("bytes=0-0,-1", parts(&[0..1, 9999..10000])),
            ("bytes= 0-999, 4500-5499, -1000", parts(&[0..1000, 4500..5500, 9000..10000])),
            ("bytes=500-600,601-999", parts(&[500..601, 601..1000])),
            // Longer than the file.
            ("bytes=0-99999", parts(&[0..10000])),
            ("bytes=-99999", parts(&[0..10000])),
            ("bytes=9999-9999", parts(&[9999..10000])),
            // Behind its end.
            ("bytes=10000-", Asked::Nothing),
            ("bytes=10000-20000,30000-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=10000-,0-0", parts(&[0..1])),
            // Of no use: as if it were not there.
            ("bytes=5-4", Asked::All),
            ("bytes=a-b", Asked::All),
            ("bytes=", Asked::All),
            ("bytes=1", Asked::All),
            ("bytes=-", Asked::All),
            ("bytes=+1-2", Asked::All),
            ("lines=0-1", Asked::All),
            ("0-1", Asked::All),
            ("bytes=0-9999,0-9999", Asked::All),
            ("bytes=99999999999999999999999999-", Asked::Nothing),
            ("bytes=0-99999999999999999999999999", parts(&[0..10000])),
        ] {
            assert_eq!(parse(value, 10_000), asked, "{value}");
        }
        let many = vec!["0-0"; RANGES_MAX + 1].join(",");
        assert_eq!(parse(&format!("bytes={many}"), 10_000), Asked::All);
        assert_eq!(parse("bytes=0-", 0), Asked::Nothing);
        assert_eq!(parse("bytes=-5", 0), Asked::Nothing);
    }
}

//! The text `heap_v2` that jemalloc writes: for each stack the allocations that live, as far as they were sampled.
//!
//! ```text
//! heap_v2/524288                  the mean number of bytes between two samples
//!   t*: 13: 6688 [0: 0]           objects, bytes, of all stacks [of all times]
//!   t3: 12: 6496 [0: 0]           the same of one thread
//! @ 0x5f86da8 0x5f5a1dc           a stack, the leaf first: addresses to which calls return
//!   t*: 13: 6688 [0: 0]
//!   t3: 12: 6496 [0: 0]
//!
//! MAPPED_LIBRARIES:
//! ```

/// Most frames of a stack that are read: jemalloc has 128 at most.
const MOST_FRAMES: usize = 256;

/// What lives in a heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dump {
    /// Mean number of bytes between two samples.
    pub(super) period: u64,
    /// Stacks with what they have allocated.
    pub(super) stacks: Vec<Held>,
    /// False: the text ends in the middle.
    pub(super) is_whole: bool,
}

/// Allocations of a stack that live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Addresses to which calls return, the leaf first.
    pub(super) addresses: Vec<u64>,
    /// Number of the allocations that were sampled.
    pub(super) objects: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// A text that is no dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("jemalloc has written no profile that begins with heap_v2/")]
pub(super) struct NoDump;

/// Reads a dump.
pub(super) fn read(text: &str) -> Result<Dump, NoDump> {
    let mut lines = text.lines();
    let period = lines.next().and_then(|line| line.strip_prefix("heap_v2/")).and_then(|period| period.parse().ok());
    let mut dump = Dump { period: period.ok_or(NoDump)?, stacks: Vec::new(), is_whole: false };
    let mut stack: Option<Vec<u64>> = None;
    for line in lines {
        let line = line.trim();
        if line == "MAPPED_LIBRARIES:" {
            dump.is_whole = true;
            break;
        }
        if let Some(addresses) = line.strip_prefix('@') {
            stack = addresses_of(addresses);
        } else if let Some(figures) = line.strip_prefix("t*:")
            // Those before the first stack are of all stacks.
            && let Some(addresses) = stack.take()
            && let Some((objects, bytes)) = figures_of(figures)
        {
            dump.stacks.push(Held { addresses, objects, bytes });
        }
    }
    Ok(dump)
}

fn addresses_of(text: &str) -> Option<Vec<u64>> {
    let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    text.split_ascii_whitespace().take(MOST_FRAMES).map(hex).collect()
}

/// Objects and bytes: "13: 6688 [0: 0]".
fn figures_of(text: &str) -> Option<(u64, u64)> {
    let (living, _) = text.split_once('[')?;
    let (objects, bytes) = living.split_once(':')?;
    Some((objects.trim().parse().ok()?, bytes.trim().parse().ok()?))
}

impl Held {
    /// Objects and bytes that live, by estimate: a large allocation is sampled more often than a small one. This is the computation of
    /// jeprof for `heap_v2`, for which jemalloc writes its figures.
    pub(super) fn estimate(&self, period: u64) -> (i64, i64) {
        if self.objects == 0 || self.bytes == 0 || period == 0 {
            return (self.objects.try_into().unwrap_or(i64::MAX), self.bytes.try_into().unwrap_or(i64::MAX));
        }
        let (objects, bytes) = (self.objects as f64, self.bytes as f64);
        let scale = 1.0 / -(-bytes / objects / period as f64).exp_m1();
        // A number that is too large becomes the largest.
        ((objects * scale).round() as i64, (bytes * scale).round() as i64)
    }
}

/// Reads a text, and looks at each number.
///
/// # Panics
/// If one of them is impossible.
#[cfg(any(test, fuzzing))]
pub(super) fn check(text: &str) {
    let Ok(dump) = read(text) else { return };
    for held in &dump.stacks {
        let (objects, bytes) = held.estimate(dump.period);
        assert!(objects >= 0 && bytes >= 0, "{held:?}: {objects}, {bytes}");
        assert!(held.addresses.len() <= MOST_FRAMES, "{} frames", held.addresses.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With lines of threads, as jemalloc writes it.
    const WITH_THREADS: &str = "heap_v2/524288
  t*: 14: 530976 [0: 0]
  t0: 1: 524288 [0: 0]
  t3: 13: 6688 [0: 0]
@ 0x5f86da8 0x5f5a1dc 0x29e4d4e
  t*: 13: 6688 [0: 0]
  t3: 13: 6688 [0: 0]
@ 0x5f86da8 0xabb2988
  t*: 1: 524288 [0: 0]
  t0: 1: 524288 [0: 0]

MAPPED_LIBRARIES:
00400000-00401000 r-xp 00000000 08:01 42 /opt/@ t*: 1: 2 [0: 0]
";

    fn held(addresses: &[u64], objects: u64, bytes: u64) -> Held {
        Held { addresses: addresses.to_vec(), objects, bytes }
    }

    #[test]
    fn a_dump_is_read_with_and_without_lines_of_threads() {
        let stacks =
            vec![held(&[0x5f8_6da8, 0x5f5_a1dc, 0x29e_4d4e], 13, 6688), held(&[0x5f8_6da8, 0xabb_2988], 1, 524_288)];
        let dump = Dump { period: 524_288, stacks, is_whole: true };
        assert_eq!(read(WITH_THREADS), Ok(dump.clone()));
        let is_kept = |line: &&str| !line.starts_with("  t0") && !line.starts_with("  t3");
        let without: Vec<&str> = WITH_THREADS.lines().filter(is_kept).collect();
        assert_eq!(read(&without.join("\n")), Ok(dump));
    }

    #[test]
    fn a_dump_that_ends_in_the_middle_has_the_stacks_before() {
        let whole = read(WITH_THREADS).unwrap();
        for end in WITH_THREADS.find('\n').unwrap()..WITH_THREADS.find("MAPPED").unwrap() {
            let dump = read(&WITH_THREADS[..end]).unwrap();
            assert!(!dump.is_whole && whole.stacks.starts_with(&dump.stacks), "{end}: {dump:?}");
        }
    }

    #[test]
    fn nonsense_is_no_dump_or_no_stack() {
        for text in ["", "heap_v2/", "heap_v2/x\n", "heap_v1/512\n", "heap profile: 1: 2 [3: 4] @ heapprofile", "\0\n"]
        {
            assert_eq!(read(text), Err(NoDump), "{text:?}");
        }
        for stack in [
            "@ 0x1 zz\n t*: 1: 2 [0: 0]",
            "@ 1 2\n t*: 1: 2 [0: 0]",
            "@ 0x1\n t*: 1 2 [0: 0]",
            "@ 0x1\n t*: -1: 2 [0: 0]",
            "@ 0x1\n t*: 1: 99999999999999999999 [0: 0]",
            "@ 0x1\n t3: 1: 2 [0: 0]",
            " t*: 1: 2 [0: 0]",
        ] {
            let dump = read(&format!("heap_v2/512\n{stack}\nMAPPED_LIBRARIES:\n")).unwrap();
            assert!(dump.is_whole && dump.stacks.is_empty(), "{stack}");
        }
    }

    /// 1 / (1 - e^-1) is 1.58198, and so on.
    #[test]
    fn figures_are_scaled_by_the_chance_of_a_sample() {
        assert_eq!(held(&[], 1, 524_288).estimate(524_288), (2, 829_411));
        assert_eq!(held(&[], 13, 6688).estimate(524_288), (13_255, 6_819_089));
        assert_eq!(held(&[], 4, 4_194_304).estimate(524_288), (5, 4_850_787));
        assert_eq!(held(&[], 2, 2048).estimate(1024), (3, 3240));
        // All of them are sampled.
        assert_eq!(held(&[], 1, 1 << 40).estimate(524_288), (1, 1 << 40));
        for (none, figures) in [(held(&[], 0, 0), (0, 0)), (held(&[], 3, 0), (3, 0)), (held(&[], 0, 5), (0, 5))] {
            assert_eq!(none.estimate(524_288), figures);
        }
        assert_eq!(held(&[], 3, 5).estimate(0), (3, 5));
        assert_eq!(held(&[], u64::MAX, u64::MAX).estimate(u64::MAX), (i64::MAX, i64::MAX));
    }

    #[test]
    fn every_beginning_of_a_dump_has_possible_numbers() {
        (0..WITH_THREADS.len()).for_each(|end| check(&WITH_THREADS[..end]));
    }
}

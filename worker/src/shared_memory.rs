//! Memory that all workers of an instance share, over restarts: the buckets of the rate limit.
//!
//! The master makes it (a memfd of fixed size) and passes it on by `GIN_SHARED_MEMORY_FD`; a worker without one has its own. Layout,
//! version 1, in the machine's byte order:
//!
//! | at | |
//! |---|---|
//! | 0 | `gin\0mem\x01`, 8 bytes |
//! | 8 | a seed, for nobody to foresee where a client's bucket is |
//! | 16 | until when somebody has the turn to give buckets away |
//! | 24 | nothing yet |
//! | 32 | so many buckets, 16 bytes each: whose it is, and when it is empty, in nanoseconds of the monotonic clock |
//!
//! Every word is read and written atomically. Requests are counted by compare and exchange alone; for a client's first one there is a turn
//! of a millisecond at most, which a process that dies loses.
//!
//! Any worker can write any value into any word, and the memory outlives the worker. So no value is believed that this code cannot have
//! written, and no loop waits for another process without an end:
//!
//! | word | an impossible value | is |
//! |---|---|---|
//! | 0 | no version of this layout | overwritten at the next start of a worker |
//! | 1 | 0 | replaced by a new seed |
//! | 2 | later than a turn from now | no turn |
//! | a bucket's time | later than [`LONGEST`] from now | an empty bucket, for whoever needs one |
//! | a bucket's time | later than its limit's window from now | a full bucket, and written as one |

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use gin_shared::mapping::{Mapping, WORD};

/// First word of the memory.
const MAGIC: u64 = u64::from_ne_bytes(*b"gin\0mem\x01");
const HEADER: usize = 4;
/// How long somebody may take to give a bucket away, in nanoseconds.
const TURN: u64 = 1_000_000;
/// Longest wait for a turn, in nanoseconds: several turns of processes that died in theirs.
const PATIENCE: u64 = 8 * TURN;
/// Attempts at a turn before the wait can end, so that a thread that was not scheduled meanwhile has tried, too.
const ATTEMPTS_MIN: u32 = 4096;
/// Longest window of a limit, in nanoseconds: a year, as for each duration of the configuration. No bucket is full for longer.
pub(crate) const LONGEST: u64 = 366 * 24 * 60 * 60 * 1_000_000_000;
const BUCKET: usize = 2;
/// A client's bucket is one of so many, behind one another.
const PROBES: usize = 8;

/// Buckets, by client.
#[derive(Debug)]
pub(crate) struct Buckets {
    mapping: Mapping,
    /// A master that finds this worker after the death of its own takes it from here.
    _fd: Option<OwnedFd>,
    count: usize,
}

impl Buckets {
    /// Of this process alone.
    pub(crate) fn own(count: usize) -> Self {
        Self::of_words(Mapping::private(HEADER + count.max(PROBES) * BUCKET), None)
    }

    /// Those that all workers share.
    ///
    /// # Errors
    /// If it cannot be mapped, or another version has laid it out.
    pub(crate) fn shared(fd: OwnedFd) -> io::Result<Self> {
        let length = usize::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(0);
        if length < (HEADER + BUCKET) * WORD || length % WORD != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory of an odd size"));
        }
        let mapping = Mapping::shared(fd.as_fd(), length / WORD)?;
        mapping.begin(MAGIC)?;
        Ok(Self::of_words(mapping, Some(fd)))
    }

    fn of_words(mapping: Mapping, fd: Option<OwnedFd>) -> Self {
        let count = (mapping.words().len() - HEADER) / BUCKET;
        let own = Self { mapping, _fd: fd, count };
        let _ = own.seed();
        own
    }

    fn words(&self) -> &[AtomicU64] {
        self.mapping.words()
    }

    /// The seed of all keys, the same in every worker; never 0.
    pub(crate) fn seed(&self) -> u64 {
        let word = &self.words()[1];
        match word.load(Ordering::Acquire) {
            0 => {
                let new = RandomState::new().hash_one(std::process::id()).max(1);
                // Another worker may have been faster.
                word.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire).map_or_else(|other| other, |_| new)
            }
            seed => seed,
        }
    }

    /// The bucket of this key, which is not 0: its own, else an empty one, else that of its places which is empty first.
    pub(crate) fn of(&self, key: u64, now: u64) -> Bucket<'_> {
        let first = usize::try_from(key % self.count as u64).unwrap_or(0);
        let places = || (0..PROBES.min(self.count)).map(|step| self.at((first + step) % self.count));
        let is_its = |bucket: &Bucket<'_>| bucket.whose.load(Ordering::SeqCst) == key;
        if let Some(bucket) = places().find(is_its) {
            return bucket;
        }
        // A client's first request, or its first after it was forgotten: two that come at once must not have a bucket each.
        let _turn = self.turn();
        if let Some(bucket) = places().find(is_its) {
            return bucket;
        }
        let emptied = |bucket: &Bucket<'_>| {
            let then = bucket.load();
            let is_possible = then > now && then - now <= LONGEST;
            if is_possible { then } else { 0 }
        };
        let Some(bucket) = places().min_by_key(emptied) else { unreachable!("there are places") };
        // Another's, who is forgotten.
        bucket.then.store(0, Ordering::SeqCst);
        bucket.whose.store(key, Ordering::SeqCst);
        bucket
    }

    /// One after the other gives buckets away. Whoever dies while it does, or is kept from it for long, has lost its turn after [`TURN`].
    /// `None`: the wait has taken longer than [`PATIENCE`]. The caller goes on without a turn, and at worst a client has two buckets.
    fn turn(&self) -> Option<Turn<'_>> {
        let word = &self.words()[2];
        let (began, mut attempts) = (monotonic(), 0_u32);
        loop {
            // In this order: a turn that began before the clock was read ends within TURN of it.
            let (until, now) = (word.load(Ordering::SeqCst), monotonic());
            let own = now + TURN;
            let is_free = until <= now || until > own;
            if is_free && word.compare_exchange(until, own, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Some(Turn { word, own });
            }
            attempts = attempts.saturating_add(1);
            if attempts >= ATTEMPTS_MIN && now.saturating_sub(began) >= PATIENCE {
                return None;
            }
            if attempts.is_multiple_of(16) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }

    fn at(&self, place: usize) -> Bucket<'_> {
        let at = HEADER + place * BUCKET;
        Bucket { whose: &self.words()[at], then: &self.words()[at + 1] }
    }

    /// Number of words, for tests that write to them.
    #[cfg(test)]
    pub(crate) fn word_count(&self) -> usize {
        self.words().len()
    }

    /// Writes one word, as a broken worker would.
    #[cfg(test)]
    pub(crate) fn spoil(&self, word: usize, value: u64) {
        self.words()[word].store(value, Ordering::SeqCst);
    }
}

/// Somebody's turn, until it is dropped.
struct Turn<'a> {
    word: &'a AtomicU64,
    own: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Unless another has it by now.
        let _ = self.word.compare_exchange(self.own, 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Nanoseconds since the machine's start, the same in all processes.
pub(crate) fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// One client's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket<'a> {
    whose: &'a AtomicU64,
    then: &'a AtomicU64,
}

impl Bucket<'_> {
    /// When it is empty.
    pub(crate) fn load(&self) -> u64 {
        self.then.load(Ordering::Acquire)
    }

    /// Gives what it is instead, if it is not `from`.
    pub(crate) fn exchange(&self, from: u64, to: u64) -> Result<(), u64> {
        self.then.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }

    /// Sets when it is empty, whatever it was.
    pub(crate) fn store(&self, to: u64) {
        self.then.store(to, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::*;

    fn memory(length: u64, seals: SealFlags) -> OwnedFd {
        let fd = memfd_create("gin-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, length).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        fd
    }

    #[test]
    fn two_mappings_are_the_same_buckets() {
        let fd = memory(32 + 16 * 1024, SealFlags::SHRINK | SealFlags::GROW);
        let (one, other) = (Buckets::shared(fd.try_clone().unwrap()).unwrap(), Buckets::shared(fd).unwrap());
        assert_eq!(one.seed(), other.seed());
        one.of(7, 0).exchange(0, 99).unwrap();
        assert_eq!(other.of(7, 0).load(), 99);
        // An empty one is anybody's.
        assert_eq!(other.of(7 + 1024, 0).load(), 0);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        assert!(Buckets::shared(memory(1000 * 16, SealFlags::empty())).is_err(), "it may shrink");
        assert!(Buckets::shared(memory(8, SealFlags::SHRINK)).is_err(), "too short");
        assert!(Buckets::shared(memory(1001, SealFlags::SHRINK)).is_err(), "odd");
        let fd = memory(32 + 16 * 64, SealFlags::SHRINK);
        rustix::io::pwrite(&fd, b"gin\0mem\x02", 0).unwrap();
        assert!(Buckets::shared(fd).unwrap_err().to_string().contains("another version"));
    }

    #[test]
    fn a_worker_that_starts_repairs_the_header() {
        for value in [u64::MAX, u64::MAX / 2, 1, 0x0123_4567_89ab_cdef] {
            let fd = memory(32 + 16 * 64, SealFlags::SHRINK);
            let before = Buckets::shared(fd.try_clone().unwrap()).unwrap();
            (0..before.word_count()).for_each(|word| before.spoil(word, value));
            let after = Buckets::shared(fd).unwrap();
            assert_eq!(after.words()[0].load(Ordering::SeqCst), MAGIC, "{value:#x}");
            assert_eq!(after.of(7, monotonic()).load(), 0, "{value:#x}");
        }
        let own = Buckets::own(64);
        own.spoil(1, 0);
        assert_ne!(own.seed(), 0);
        assert_eq!(own.seed(), own.seed());
    }

    #[test]
    fn a_turn_that_nobody_can_have_is_taken() {
        let own = Buckets::own(64);
        for value in [u64::MAX, u64::MAX / 2, monotonic() + 1000 * TURN] {
            own.spoil(2, value);
            assert!(own.turn().is_some(), "{value:#x}");
        }
        // One that is taken again and again ends the wait, and not the worker.
        let held = own.turn().unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    own.spoil(2, monotonic() + TURN);
                }
            });
            own.of(7, monotonic());
            is_over.store(true, Ordering::SeqCst);
        });
        drop(held);
    }
}

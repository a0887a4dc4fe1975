//! The stacks of a profile: unwound from samples, and counted.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use framehop::{CacheNative, Error, MayAllocateDuringUnwind, UnwindRegsNative, Unwinder};
use gin_shared::fault;

use super::modules::{Modules, Unwinding};
use super::signal::{self, COPY_MOST, Head};

/// Most frames of a stack.
const MOST_FRAMES: usize = 256;
/// Most stacks that are told apart.
const MOST_STACKS: usize = 20_000;
/// Most panics of the unwinder. Each of them is a line in the log, so from then on it is not asked.
const MOST_PANICS: u32 = 8;

type Cache = CacheNative<MayAllocateDuringUnwind>;

/// A stack of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stack {
    /// The thread.
    pub(super) thread: u32,
    /// Addresses in the code, the leaf first: of callers one within the call.
    pub(super) addresses: Vec<u64>,
    /// The end of the addresses.
    pub(super) end: End,
}

/// The end of a stack's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// As far as the unwinder comes: in general the thread's first function.
    Whole,
    /// There are more frames.
    Cut,
    /// The unwinder has failed.
    NotUnwound,
    /// There are more stacks than are told apart.
    Others,
}

impl End {
    /// The frame that stands for it, as the root.
    pub(super) fn frame(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::Cut => Some("[cut]"),
            Self::NotUnwound => Some("[not unwound]"),
            Self::Others => Some("[other stacks]"),
        }
    }
}

/// Stacks, each with the number of periods that it was seen in.
pub(super) struct Stacks {
    unwinder: Unwinding,
    cache: Cache,
    counts: HashMap<Stack, u64>,
    panics: u32,
}

impl Stacks {
    /// No stacks yet, of code in these modules.
    pub(super) fn new(modules: &Modules) -> Self {
        Self { unwinder: modules.unwinder(), cache: Cache::new(), counts: HashMap::new(), panics: 0 }
    }

    /// Adds a sample, as the handler has sent it.
    pub(super) fn add(&mut self, message: &[u8]) {
        let Some((head, copy)) = Head::parse(message) else { return };
        let (addresses, end) = self.unwind(&head, copy);
        let mut stack = Stack { thread: head.thread, addresses, end };
        if self.counts.len() >= MOST_STACKS && !self.counts.contains_key(&stack) {
            stack = Stack { thread: head.thread, addresses: Vec::new(), end: End::Others };
        }
        *self.counts.entry(stack).or_default() += u64::from(head.periods);
    }

    /// All that were added.
    pub(super) fn into_counts(self) -> HashMap<Stack, u64> {
        self.counts
    }

    fn unwind(&mut self, head: &Head, copy: &[u8]) -> (Vec<u64>, End) {
        if self.panics < MOST_PANICS {
            let (unwinder, cache) = (&self.unwinder, &mut self.cache);
            if let Ok(unwound) = catch_unwind(AssertUnwindSafe(|| walk(unwinder, cache, head, copy))) {
                return unwound;
            }
            self.panics += 1;
            self.cache = Cache::new();
        }
        (vec![head.ip], End::NotUnwound)
    }
}

/// Walks up a stack.
fn walk(unwinder: &Unwinding, cache: &mut Cache, head: &Head, copy: &[u8]) -> (Vec<u64>, End) {
    let _ = fault::at("profile.unwind");
    let mut read = |address| word(head.sp, copy, address).ok_or(());
    let mut frames = unwinder.iter_frames(head.ip, registers(unwinder, head), cache, &mut read);
    let mut addresses = Vec::with_capacity(64);
    loop {
        match frames.next() {
            Ok(Some(frame)) if addresses.len() < MOST_FRAMES => addresses.push(frame.address_for_lookup()),
            Ok(Some(_)) => return (addresses, End::Cut),
            Ok(None) => return (addresses, End::Whole),
            Err(Error::CouldNotReadStack(address)) if is_behind(head, copy, address) => {
                signal::grow(head.wanted);
                return (addresses, End::Cut);
            }
            // Also where nothing is wrong: not all code says how it is unwound.
            Err(
                Error::CouldNotReadStack(_)
                | Error::FramepointerUnwindingMovedBackwards
                | Error::DidNotAdvance
                | Error::IntegerOverflow
                | Error::ReturnAddressIsNull,
            ) => return (addresses, End::Whole),
        }
    }
}

/// True if a word stands behind a copy that is as long as it may be. One that is shorter has the whole stack, and a word that is far
/// away is in no stack.
fn is_behind(head: &Head, copy: &[u8], address: u64) -> bool {
    let end = head.sp.saturating_add(copy.len() as u64);
    let most = end.saturating_add(COPY_MOST as u64);
    copy.len() >= head.wanted && address.saturating_add(8) > end && address < most
}

/// A word of the stack, if the copy has it.
fn word(start: u64, copy: &[u8], address: u64) -> Option<u64> {
    let offset = usize::try_from(address.checked_sub(start)?).ok()?;
    let bytes = copy.get(offset..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*bytes))
}

#[cfg(target_arch = "x86_64")]
fn registers(_: &Unwinding, head: &Head) -> UnwindRegsNative {
    UnwindRegsNative::new(head.ip, head.sp, head.fp)
}

/// Return addresses may be signed: the signature is in bits that no address of code has.
#[cfg(target_arch = "aarch64")]
fn registers(unwinder: &Unwinding, head: &Head) -> UnwindRegsNative {
    let mask = framehop::aarch64::PtrAuthMask::from_max_known_address(unwinder.max_known_code_address());
    UnwindRegsNative::new_with_ptr_auth_mask(mask, head.lr, head.sp, head.fp)
}

#[cfg(test)]
mod tests {
    use super::super::signal::HEAD;
    use super::*;

    fn message(words: [u64; 6], stack: &[u8]) -> Vec<u8> {
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        message.extend(stack);
        message
    }

    #[test]
    fn words_are_read_within_the_copy_alone() {
        let copy: Vec<u8> = [1_u64, 2].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!((word(1000, &copy, 1000), word(1000, &copy, 1008)), (Some(1), Some(2)));
        for outside in [0, 999, 1009, 1016, u64::MAX] {
            assert_eq!(word(1000, &copy, outside), None, "{outside}");
        }
    }

    #[test]
    fn a_word_behind_a_full_copy_is_a_cut() {
        let head = Head { ip: 0, sp: 1000, fp: 0, lr: 0, thread: 1, periods: 1, wanted: 16 };
        assert!(is_behind(&head, &[0; 16], 1016) && is_behind(&head, &[0; 16], 1012));
        assert!(!is_behind(&head, &[0; 16], 1008) && !is_behind(&head, &[0; 16], u64::MAX - 7));
        assert!(!is_behind(&head, &[0; 8], 1016), "the stack ends there");
    }

    #[test]
    fn nonsense_in_a_sample_does_no_harm_and_counts() {
        let mut stacks = Stacks::new(&Modules::read());
        let here = nonsense_in_a_sample_does_no_harm_and_counts as fn() as usize as u64;
        let mut seed = 1_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut periods = 0;
        for round in 0..2000 {
            let stack: Vec<u8> = (0..256).flat_map(|_| random().to_ne_bytes()).collect();
            let ip = if round % 2 == 0 { here + random() % 4096 } else { random() };
            let (sp, fp) =
                if round % 3 == 0 { (random(), random()) } else { (0x7000_0000, 0x7000_0000 + random() % 4096) };
            periods += round % 5;
            stacks.add(&message([ip, sp, fp, random(), (7 << 32) | (round % 5), 2048], &stack));
        }
        stacks.add(&[0; HEAD - 1]);
        let counts = stacks.into_counts();
        assert_eq!(counts.values().sum::<u64>(), periods);
        assert!(counts.keys().all(|stack| stack.addresses.len() <= MOST_FRAMES && stack.thread == 7));
    }

    #[test]
    fn there_are_no_more_stacks_than_are_told_apart() {
        let mut stacks = Stacks::new(&Modules::read());
        let count = MOST_STACKS as u64 + 10;
        for ip in 0..count {
            stacks.add(&message([ip, 0, 0, 0, (7 << 32) | 1, 0], &[]));
        }
        let counts = stacks.into_counts();
        let others = Stack { thread: 7, addresses: Vec::new(), end: End::Others };
        assert_eq!((counts.len(), counts.values().sum::<u64>()), (MOST_STACKS + 1, count));
        assert_eq!(counts.get(&others), Some(&10));
    }
}

//! The memory: a mapped memfd that all workers share, or one of this process alone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicBool;

use super::owners::{Locks, Owners};
use super::reader::{self, Snapshot};
use super::region::{HEADER, Region};
use super::writer::Writer;
use crate::generation::{Generation, Slot};
use crate::mapping::{Mapping, WORD};

/// First word of a memory; its last byte is the version of the layout.
const MAGIC: u64 = u64::from_ne_bytes(*b"gin\0met\x01");
/// Words before the regions' headers.
const GLOBAL: usize = 16;
/// Regions of a memfd: as many processes can count at once.
const REGIONS: usize = 256;
/// Words of an arena for each series: 2 KiB. A histogram with 14 bounds and 8 shards takes less.
const SERIES: usize = 256;

/// Memory that processes count in.
#[derive(Debug)]
pub struct Memory {
    mapping: Mapping,
    owners: Owners,
    regions: usize,
    /// Words of an arena.
    arena: usize,
}

/// Words of a memory.
const fn words(regions: usize, series: usize) -> usize {
    GLOBAL + regions * (HEADER + 2 * SERIES * series)
}

impl Memory {
    /// Length in bytes of a memfd whose regions have room for so many series each (1 at least). It is address space: a page costs nothing
    /// until somebody writes to it.
    #[must_use]
    pub fn length(series: u32) -> u64 {
        words(REGIONS, series.max(1) as usize) as u64 * WORD as u64
    }

    /// A memory of this process alone, with one region that has room for so many series (1 at least).
    #[must_use]
    pub fn own(series: u32) -> Self {
        let series = series.max(1) as usize;
        let mapping = Mapping::private(words(1, series));
        Self { mapping, owners: Owners::Alone(AtomicBool::new(false)), regions: 1, arena: SERIES * series }
    }

    /// The memory in a memfd of the length that [`Memory::length`] gives, sealed against shrinking.
    ///
    /// The descriptor stays open as long as the memory, and for ever if a region of it is claimed. No other descriptor of the same file
    /// may be closed in this process after a claim: the kernel would take that for the end of the owner.
    ///
    /// # Errors
    /// If the file could shrink, has another length, or is of another version; the errors of `fstat(2)` and `mmap(2)`.
    pub fn map(fd: OwnedFd) -> io::Result<Self> {
        let length = u64::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(0);
        let Some(series) = series_of(length) else {
            let text = format!("the memory of the metrics has a length that it cannot have: {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        let mapping = Mapping::shared(fd.as_fd(), words(REGIONS, series))?;
        let owners = Owners::Processes(Locks::new(fd)?);
        mapping.begin(MAGIC)?;
        Ok(Self { mapping, owners, regions: REGIONS, arena: SERIES * series })
    }

    /// Makes this process, which is known by `who`, the owner of the lowest region that nobody has, until it ends. It goes on counting in
    /// what is there.
    ///
    /// `None`: all regions have an owner ([`Memory::own`] has room for one).
    #[must_use]
    pub fn claim(&'static self, who: Option<(Generation, Slot)>) -> Option<Writer> {
        let number = self.owners.claim(self.regions)?;
        Some(Writer::begin(self.region(number), self.arena / SERIES, who))
    }

    /// The sum over all regions. It takes a few milliseconds for thousands of series: not for a thread that others wait for.
    #[must_use]
    pub fn read(&self) -> Snapshot {
        reader::read(self.in_use())
    }

    /// The counts of each owner that lives, of its own time alone, with the labels `generation` and `slot` unless it gave none. A label
    /// of the series that has one of these names gets `exported_` before it.
    #[must_use]
    pub fn read_by_worker(&self) -> Snapshot {
        reader::read_by_worker(self.in_use())
    }

    /// Regions that have entries, each with whether its owner lives.
    fn in_use(&self) -> impl Iterator<Item = (Region<'_>, bool)> {
        let numbers = 0..self.regions;
        let regions = numbers.map(move |number| (number, self.region(number))).filter(|(_, region)| region.used() > 0);
        regions.map(move |(number, region)| (region, self.owners.have(number)))
    }

    fn region(&self, number: usize) -> Region<'_> {
        let words = self.mapping.words();
        let part = |from: usize, length: usize| &words[from..from + length];
        let arenas = GLOBAL + self.regions * HEADER;
        let bases = arenas + self.regions * self.arena;
        let arena = part(arenas + number * self.arena, self.arena);
        Region::new(part(GLOBAL + number * HEADER, HEADER), arena, part(bases + number * self.arena, self.arena))
    }

    /// All words, for tests that write to them.
    #[cfg(test)]
    pub(super) fn words(&self) -> &[std::sync::atomic::AtomicU64] {
        self.mapping.words()
    }

    /// Gives all regions of this process back, as its end would.
    #[cfg(test)]
    pub(super) fn give_back(&self) {
        self.owners.give_back();
    }

    /// Words with entries of a region.
    #[cfg(test)]
    pub(super) fn used(&self, region: usize) -> usize {
        self.region(region).used()
    }
}

/// For how many series a memfd of this length has room.
fn series_of(length: u64) -> Option<usize> {
    let words = usize::try_from(length).ok()? / WORD;
    let series = words.checked_sub(GLOBAL + REGIONS * HEADER)? / (REGIONS * 2 * SERIES);
    let series = u32::try_from(series).ok()?;
    (series > 0 && Memory::length(series) == length).then_some(series as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_says_for_how_many_series_it_is() {
        for series in [1, 2, 1000, 4096, 1 << 20] {
            assert_eq!(series_of(Memory::length(series)), Some(series as usize), "{series}");
            assert_eq!(series_of(Memory::length(series) + 8), None, "{series}");
            assert_eq!(series_of(Memory::length(series) - 8), None, "{series}");
        }
        assert_eq!(Memory::length(0), Memory::length(1));
        for length in [0, 8, 4096, u64::MAX] {
            assert_eq!(series_of(length), None, "{length}");
        }
        // Arenas begin at a line.
        assert!(GLOBAL.is_multiple_of(16) && HEADER.is_multiple_of(16) && SERIES.is_multiple_of(16));
    }
}

//! Memory that Rust cannot know of, as words that are read and written atomically: a mapped memfd, or pages of this process alone. The rate
//! limit and the metrics count in it.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::SealFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// Bytes of a word.
pub const WORD: usize = size_of::<u64>();

/// Mapped words, zero at first. They begin at a page, and nobody moves them.
pub struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: it is a slice of atomics that nobody moves, and only `drop` frees; any thread may use it.
#[allow(unsafe_code, reason = "a pointer into mapped memory")]
unsafe impl Send for Mapping {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "a pointer into mapped memory")]
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `words` words of a memfd.
    ///
    /// # Errors
    /// If the memfd is shorter, or could be cut short under the mapping, which would end every process that has it; the errors of `mmap(2)`.
    #[allow(unsafe_code, reason = "mmap(2)")]
    pub fn shared(fd: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        let length = usize::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
        if length / WORD < words || words == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory that is too short"));
        }
        if !rustix::fs::fcntl_get_seals(fd)?.contains(SealFlags::SHRINK) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory that may shrink"));
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a free place; the file is as long as that, and cannot shrink.
        let start = unsafe { mmap(null_mut(), words * WORD, access, MapFlags::SHARED, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let own = Self { start, words };
        // A core dump would read, and so allocate, every page of the file.
        own.advise(Advice::LinuxDontDump);
        Ok(own)
    }

    /// Writes a header into the first word: `magic`, whose last byte is the version of what is behind it. Whoever comes first writes it,
    /// and whoever finds one of no version at all writes it again.
    ///
    /// # Errors
    /// If the memory is of another version.
    pub fn begin(&self, magic: u64) -> io::Result<()> {
        let is_of_some_version = |header: u64| header.to_ne_bytes()[..WORD - 1] == magic.to_ne_bytes()[..WORD - 1];
        let word = &self.words()[0];
        let mut found = word.load(Ordering::Acquire);
        if !is_of_some_version(found) {
            let written = word.compare_exchange(found, magic, Ordering::AcqRel, Ordering::Acquire);
            found = written.map_or_else(|other| other, |_| magic);
        }
        if found == magic {
            return Ok(());
        }
        let text = format!("shared memory of another version: {found:#x}");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// Pages of this process alone. A page costs nothing until somebody writes to it.
    #[allow(unsafe_code, reason = "mmap(2)")]
    #[must_use]
    pub fn private(words: usize) -> Self {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: the kernel chooses a free place.
        let mapped = unsafe { mmap_anonymous(null_mut(), words * WORD, access, flags) };
        let Some(start) = mapped.ok().and_then(|start| NonNull::new(start.cast())) else {
            handle_alloc_error(Layout::array::<AtomicU64>(words).unwrap_or(Layout::new::<AtomicU64>()))
        };
        let own = Self { start, words };
        // One word would take 2 MiB.
        own.advise(Advice::LinuxNoHugepage);
        own
    }

    /// A kernel that does not know the advice serves as well.
    #[allow(unsafe_code, reason = "madvise(2)")]
    fn advise(&self, advice: Advice) {
        // SAFETY: mapped by us with this length; neither advice changes what is in the memory.
        let _ = unsafe { madvise(self.start.as_ptr().cast(), self.words * WORD, advice) };
    }

    /// All words.
    #[must_use]
    #[allow(unsafe_code, reason = "mapped memory as a slice")]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page, is as long as that, lives as long as `self`, and every process that has it uses
        // atomics alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("words", &self.words).finish_non_exhaustive()
    }
}

impl Drop for Mapping {
    #[allow(unsafe_code, reason = "munmap(2)")]
    fn drop(&mut self) {
        // SAFETY: mapped by us with this length, and no slice of it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * WORD) };
    }
}

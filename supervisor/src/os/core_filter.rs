//! The memory of this process that a core has in it: none as soon as the master has keys, and what it was started with for its children.

use std::io;
use std::sync::OnceLock;

/// Bits of the kinds of memory that a core has (core(5)).
const FILTER: &str = "/proc/self/coredump_filter";
/// No memory. The kernel goes by it for cores that are piped to a program, too, which RLIMIT_CORE does not hold up.
pub const NO_MEMORY: u32 = 0;

static INHERITED: OnceLock<Option<u32>> = OnceLock::new();

/// The filter that this process was started with; `None` if it cannot be read.
#[must_use]
pub fn inherited() -> Option<u32> {
    *INHERITED.get_or_init(read)
}

/// Goes on with what the master was started with, before it became this program.
pub fn resume_inherited(filter: u32) {
    let _ = INHERITED.set(Some(filter));
}

/// Keeps the memory of this process out of cores.
pub fn keep_out_of_cores() {
    // It is read before it is changed.
    let _ = inherited();
    if let Err(error) = set(NO_MEMORY) {
        tracing::warn!("cannot write {FILTER}: {error}; a core of this process would have keys of TLS in it");
    }
}

/// Lets cores have again what the process was started with.
pub fn restore() {
    if let Some(Err(error)) = inherited().map(set) {
        tracing::warn!("cannot write {FILTER}: {error}; a core of this process has no memory");
    }
}

fn read() -> Option<u32> {
    u32::from_str_radix(std::fs::read_to_string(FILTER).ok()?.trim(), 16).ok()
}

/// It is written only where that changes it: in some namespaces nobody may.
fn set(filter: u32) -> io::Result<()> {
    if read() == Some(filter) {
        return Ok(());
    }
    std::fs::write(FILTER, format!("{filter:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_out_of_cores_until_it_is_restored() {
        let before = read().unwrap();
        keep_out_of_cores();
        assert_eq!((read(), inherited()), (Some(NO_MEMORY), Some(before)));
        restore();
        assert_eq!(read(), Some(before));
    }
}

//! Cores of a process that has keys: they are written without its memory.
//!
//! A core with the stacks and the heap has the keys of certificates and of every connection. `RLIMIT_CORE` keeps none from a program that
//! the kernel pipes cores to (core(5)), and a process that is not dumpable cannot be asked for its descriptors (`pidfd_getfd(2)`), by which
//! a master takes over a dead one's workers. So the kernel is told which memory goes into a core: none.

/// Keeps the memory of this process, and of those that it starts, out of cores. A core then has the registers, and no stack.
pub(crate) fn keep_out_of_cores() {
    // A worker whose files are restricted cannot write it: it was started so.
    if std::fs::read_to_string(FILTER).is_ok_and(|filter| is_empty(&filter)) {
        return;
    }
    if let Err(error) = std::fs::write(FILTER, "0") {
        tracing::warn!("cannot write {FILTER}: {error}; a core of this process would have keys of TLS in it");
    }
}

/// True if no kind of memory is in the filter: hexadecimal digits, and a line's end.
fn is_empty(filter: &str) -> bool {
    u32::from_str_radix(filter.trim(), 16) == Ok(0)
}

/// Bits of the kinds of memory that a core has (core(5)).
const FILTER: &str = "/proc/self/coredump_filter";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_memory_goes_into_a_core() {
        keep_out_of_cores();
        assert_eq!(std::fs::read_to_string(FILTER).unwrap().trim(), "00000000");
    }

    #[test]
    fn a_filter_without_a_bit_is_known() {
        assert!(is_empty("00000000\n") && !is_empty("00000033\n") && !is_empty(""));
    }
}

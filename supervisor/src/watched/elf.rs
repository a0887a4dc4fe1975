//! Whether a program's file is all there: a linker, or a copy, may be in the midst of it (elf(5)).

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of the head in a 64 bit file; the other one's is shorter.
const HEAD: usize = 64;
/// The most bytes of program headers that are read: a program has a dozen of 56 bytes.
const SEGMENTS_MAX: u64 = 64 << 10;

/// True if this is an ELF file, `length` bytes long, that speaks of bytes behind its end.
pub(super) fn is_cut_off(file: &File, length: u64) -> bool {
    let mut head = [0; HEAD];
    let read = file.read_at(&mut head, 0).unwrap_or(0);
    if !head.starts_with(b"\x7fELF") {
        return false;
    }
    let Some(layout) = Layout::of(&head[..read]) else { return true };
    if layout.end_of_tables() > length {
        return true;
    }
    let mut segments = vec![0; usize::try_from(layout.segments.size().min(SEGMENTS_MAX)).unwrap_or(0)];
    file.read_exact_at(&mut segments, layout.segments.at).is_err() || layout.end_of_segments(&segments) > length
}

/// A table in the file.
#[derive(Debug, Clone, Copy)]
struct Table {
    at: u64,
    entry: u64,
    count: u64,
}

impl Table {
    fn size(self) -> u64 {
        self.entry * self.count
    }

    fn end(self) -> u64 {
        if self.count == 0 { 0 } else { self.at.saturating_add(self.size()) }
    }
}

/// The head of a file.
#[derive(Debug)]
struct Layout {
    is_64: bool,
    is_big_endian: bool,
    segments: Table,
    sections: Table,
}

impl Layout {
    /// Reads a head; `None` if it is not whole.
    fn of(head: &[u8]) -> Option<Self> {
        let (is_64, is_big_endian) = (*head.get(4)? == 2, *head.get(5)? == 2);
        let read = |at, size| number(head, at, size, is_big_endian);
        // e_phoff, e_shoff; then e_phentsize, e_phnum, e_shentsize, e_shnum in a row.
        let (places, width, row) = if is_64 { ([32, 40], 8, 54) } else { ([28, 32], 4, 42) };
        let table = |index: usize| {
            let at = row + index * 4;
            Some(Table { at: read(places[index], width)?, entry: read(at, 2)?, count: read(at + 2, 2)? })
        };
        Some(Self { is_64, is_big_endian, segments: table(0)?, sections: table(1)? })
    }

    fn end_of_tables(&self) -> u64 {
        self.segments.end().max(self.sections.end())
    }

    /// The end of the last segment, by the table of them.
    fn end_of_segments(&self, table: &[u8]) -> u64 {
        // p_offset and p_filesz.
        let (places, width) = if self.is_64 { ([8, 32], 8) } else { ([4, 16], 4) };
        let entry = usize::try_from(self.segments.entry).unwrap_or(0).max(1);
        let end = |segment: &[u8]| {
            let [at, size] = places.map(|place| number(segment, place, width, self.is_big_endian));
            Some(at?.saturating_add(size?))
        };
        table.chunks(entry).filter_map(end).max().unwrap_or(0)
    }
}

/// The number of `size` bytes at this place.
fn number(bytes: &[u8], at: usize, size: usize, is_big_endian: bool) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?.iter();
    let join = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
    Some(if is_big_endian { bytes.fold(0, join) } else { bytes.rev().fold(0, join) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn is_cut(bytes: &[u8]) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        is_cut_off(&file, bytes.len() as u64)
    }

    #[test]
    fn a_program_is_whole_and_each_part_of_it_is_not() {
        let whole = std::fs::read("/bin/sh").unwrap();
        assert!(!is_cut(&whole));
        // The table of sections stands at the end.
        for length in [4, 20, 63, 64, 4096, whole.len() / 2, whole.len() - 64] {
            assert!(is_cut(&whole[..length]), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn segments_count_where_the_table_of_sections_stands_before_them() {
        // 64 bit, little-endian; one segment from 0 on with 200 bytes; no sections. As Go's linker writes them.
        let mut bytes = vec![0; 200];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56]) = (64, 56, 1);
        bytes[64 + 32] = 200;
        assert!(!is_cut(&bytes));
        assert!(is_cut(&bytes[..199]));
        // The same in 32 bits, big-endian.
        let mut bytes = vec![0; 200];
        bytes[..6].copy_from_slice(b"\x7fELF\x01\x02");
        (bytes[31], bytes[43], bytes[45]) = (52, 32, 1);
        bytes[52 + 19] = 200;
        assert!(!is_cut(&bytes));
        assert!(is_cut(&bytes[..199]));
    }

    #[test]
    fn what_is_no_elf_file_is_not_judged() {
        assert!(!is_cut(b"#!/bin/sh\n"));
        assert!(!is_cut(b""));
    }
}

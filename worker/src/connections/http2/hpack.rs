//! The client's HPACK table (RFC 7541), followed without its meaning.
//!
//! hyper's decoder has such a table, too, but does not give it away. Strings stay as they came, with Huffman or without; only their decoded
//! lengths count here. The rules are those of hyper's decoder: what it takes for an error is one here.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::connections::http2::huffman;

/// Size of a new table, and the largest one: hyper announces no other.
pub(super) const SIZE: usize = 4096;
/// Bytes that each entry counts beside its name and its value.
const ENTRY: usize = 32;
const STATIC: usize = STATIC_NAMES.len();
/// Lengths of the names of the static table (RFC 7541, appendix A).
const STATIC_NAMES: [usize; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];
/// Most bytes of a number, with the first one.
const NUMBER_MAX: u32 = 5;

/// Bits that say what a field of a block is.
const INDEXED: u8 = 0x80;
const WITH_INDEXING: u8 = 0x40;
const SIZE_UPDATE: u8 = 0x20;
const HUFFMAN: u8 = 0x80;

/// A header block that is wrong, or goes beyond what is followed here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadBlock;

/// An entry, as the two parts of the literal that makes it. Entries with a name of an earlier one share it: a client may name a long one
/// by two bytes, thousands of times in a block.
struct Entry {
    /// The literal up to its value.
    name: Bytes,
    value: Box<[u8]>,
    name_length: usize,
    /// Size in the table: name, value, and 32.
    size: usize,
}

/// The table.
pub(super) struct Table {
    max: usize,
    size: usize,
    /// Newest first.
    entries: VecDeque<Entry>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { max: SIZE, size: 0, entries: VecDeque::new() }
    }

    /// Follows one whole header block. After an error the table is unknown.
    pub(super) fn follow(&mut self, block: &[u8]) -> Result<(), BadBlock> {
        self.follow_fields(block).ok_or(BadBlock)
    }

    /// The header block that brings a new table to this state. It is also how the table travels.
    pub(super) fn to_block(&self) -> Box<[u8]> {
        let mut block = Vec::with_capacity(self.block_length());
        if self.max != SIZE {
            size_update(self.max, &mut block);
        }
        for entry in self.entries.iter().rev() {
            block.extend_from_slice(&entry.name);
            block.extend_from_slice(&entry.value);
        }
        block.into()
    }

    /// Largest length of [`Self::to_block`], in bytes.
    pub(super) fn block_length(&self) -> usize {
        let entries = self.entries.iter().map(|entry| entry.name.len() + entry.value.len());
        entries.sum::<usize>() + NUMBER_MAX as usize
    }

    fn follow_fields(&mut self, mut block: &[u8]) -> Option<()> {
        let (update, rest) = after_size_updates(block, |max| self.resize(max))?;
        block = rest;
        debug_assert!(update.is_none_or(|max| max == self.max));
        while let Some(&first) = block.first() {
            if first & INDEXED != 0 {
                let index = number(&mut block, 7)?;
                (index > 0 && index <= STATIC + self.entries.len()).then_some(())?;
            } else if first & (WITH_INDEXING | SIZE_UPDATE) == SIZE_UPDATE {
                // It comes first, or not at all.
                return None;
            } else {
                self.follow_literal(&mut block, first & WITH_INDEXING != 0)?;
            }
        }
        Some(())
    }

    fn follow_literal(&mut self, block: &mut &[u8], is_kept: bool) -> Option<()> {
        let index = number(block, if is_kept { 6 } else { 4 })?;
        let (name, name_length) = match index.checked_sub(STATIC + 1) {
            Some(entry) => {
                let entry = self.entries.get(entry)?;
                (entry.name.clone(), entry.name_length)
            }
            None if index == 0 => {
                let name = Text::read(block)?;
                ([&[WITH_INDEXING][..], name.encoded].concat().into(), name.length()?)
            }
            None => {
                let literal = [WITH_INDEXING | u8::try_from(index).ok()?];
                (Bytes::copy_from_slice(&literal), *STATIC_NAMES.get(index - 1)?)
            }
        };
        let value = Text::read(block)?;
        if is_kept {
            let size = ENTRY + name_length + value.length()?;
            self.insert(Entry { name, value: value.encoded.into(), name_length, size });
        }
        Some(())
    }

    fn insert(&mut self, entry: Entry) {
        self.evict(entry.size);
        // An entry that is larger than the table empties it, and is not kept.
        if self.size + entry.size <= self.max {
            self.size += entry.size;
            self.entries.push_front(entry);
        }
    }

    fn resize(&mut self, max: usize) -> Option<()> {
        (max <= SIZE).then_some(())?;
        self.max = max;
        self.evict(0);
        Some(())
    }

    fn evict(&mut self, room: usize) {
        while self.size.saturating_add(room) > self.max {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.size;
        }
    }
}

/// A string of a block.
struct Text<'a> {
    /// With its length.
    encoded: &'a [u8],
    raw: &'a [u8],
    is_huffman: bool,
}

impl<'a> Text<'a> {
    fn read(block: &mut &'a [u8]) -> Option<Self> {
        let start = *block;
        let is_huffman = start.first()? & HUFFMAN != 0;
        let length = number(block, 7)?;
        let (raw, rest) = block.split_at_checked(length)?;
        *block = rest;
        let encoded = start.get(..start.len() - rest.len())?;
        Some(Self { encoded, raw, is_huffman })
    }

    fn length(&self) -> Option<usize> {
        if self.is_huffman { huffman::symbols(self.raw) } else { Some(self.raw.len()) }
    }
}

/// Reads the size updates at the beginning of a block, tells each, and returns the last one and what follows.
pub(super) fn after_size_updates(
    mut block: &[u8],
    mut tell: impl FnMut(usize) -> Option<()>,
) -> Option<(Option<usize>, &[u8])> {
    let mut last = None;
    while block.first().is_some_and(|first| first & (INDEXED | WITH_INDEXING | SIZE_UPDATE) == SIZE_UPDATE) {
        let max = number(&mut block, 5)?;
        tell(max)?;
        last = Some(max);
    }
    Some((last, block))
}

/// Writes a size update.
pub(super) fn size_update(max: usize, out: &mut Vec<u8>) {
    let mask = (1 << 5) - 1;
    let Some(mut rest) = max.checked_sub(mask) else {
        return out.push(SIZE_UPDATE | u8::try_from(max).unwrap_or(u8::MAX));
    };
    out.push(SIZE_UPDATE | 31);
    while rest >= 0x80 {
        out.push(0x80 | u8::try_from(rest & 0x7f).unwrap_or(0x7f));
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0x7f));
}

/// Reads a whole number behind the bits that share its first byte.
fn number(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let mask = (1 << prefix) - 1;
    let mut value = usize::from(next(block)?) & mask;
    if value < mask {
        return Some(value);
    }
    for place in 0..NUMBER_MAX - 1 {
        let byte = next(block)?;
        value += usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn next(block: &mut &[u8]) -> Option<u8> {
    let (first, rest) = block.split_first()?;
    *block = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of RFC 7541, appendix C.3: without Huffman.
    const PLAIN: [&[u8]; 3] = [
        b"\x82\x86\x84\x41\x0fwww.example.com",
        b"\x82\x86\x84\xbe\x58\x08no-cache",
        b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
    ];
    /// The same in appendix C.4: with Huffman.
    const HUFFMAN: [&[u8]; 3] = [
        b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
        b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
    ];

    fn state(table: &Table) -> (usize, usize, Vec<(usize, usize)>) {
        let entries = table.entries.iter().map(|entry| (entry.name_length, entry.size)).collect();
        (table.max, table.size, entries)
    }

    /// The table that follows from the block of another one.
    fn again(table: &Table) -> Table {
        let block = table.to_block();
        assert!(block.len() <= table.block_length());
        let mut again = Table::new();
        again.follow(&block).unwrap();
        assert_eq!((again.to_block(), state(&again)), (block, state(table)));
        again
    }

    /// The literal of the newest entry.
    fn newest(table: &Table) -> Vec<u8> {
        let entry = table.entries.front().unwrap();
        [&entry.name[..], &entry.value[..]].concat()
    }

    fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
        let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
        [&[WITH_INDEXING, length(name)], name, &[length(value)], value].concat()
    }

    #[test]
    fn the_examples_of_the_rfc_lead_to_the_sizes_that_it_prints() {
        for requests in [PLAIN, HUFFMAN] {
            let mut table = Table::new();
            let sizes = requests.map(|block| {
                table.follow(block).unwrap();
                again(&table);
                table.size
            });
            assert_eq!(sizes, [57, 110, 164]);
        }
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let mut table = Table::new();
        for number in 0..200_u8 {
            table.follow(&literal(b"name", &[number; 100])).unwrap();
            again(&table);
        }
        assert_eq!((table.entries.len(), table.size), (4096 / 136, 4096 / 136 * 136));
        assert!(newest(&table).ends_with(&[199; 100]));
        // An entry that is larger than the table empties it.
        table.follow(&[&[0x3f, 0x1d][..], &literal(b"name", b"")].concat()).unwrap();
        assert_eq!(state(&table), (60, 36, vec![(4, 36)]));
        table.follow(&literal(b"name", &[0; 100])).unwrap();
        assert_eq!(state(&again(&table)), (60, 0, vec![]));
    }

    #[test]
    fn a_name_from_the_table_outlives_its_entry() {
        let mut table = Table::new();
        table.follow(&literal(b"name", b"first")).unwrap();
        // The table has room for one of the two. The name is read before the first one makes room.
        table.follow(&[&[0x3f, 0x0b][..], b"\x7e\x06second"].concat()).unwrap();
        assert_eq!(newest(&table), literal(b"name", b"second"));
        assert_eq!(state(&again(&table)), (42, 42, vec![(4, 42)]));
        // So does one of the static table.
        table.follow(b"\x44\x02/a").unwrap();
        table.follow(b"\x7e\x02/b").unwrap();
        assert_eq!(newest(&table), b"\x44\x02/b");
    }

    #[test]
    fn a_long_name_is_copied_once_however_often_it_is_named() {
        let mut table = Table::new();
        table.follow(&literal(&[b'n'; 120], b"first")).unwrap();
        let name = table.entries.front().unwrap().name.as_ptr();
        for _ in 0..1000 {
            table.follow(b"\x7e\x01v").unwrap();
            assert_eq!(table.entries.front().unwrap().name.as_ptr(), name);
        }
        again(&table);
    }

    #[test]
    fn fields_that_are_not_kept_change_nothing() {
        let mut table = Table::new();
        table.follow(&literal(b"a", b"b")).unwrap();
        let before = state(&table);
        for block in [&b"\x82\xbe"[..], b"\x00\x01x\x01y", b"\x10\x01x\x01y", b"\x0f\x2f\x01y", b"\x04\x01/"] {
            table.follow(block).unwrap();
            assert_eq!(state(&table), before);
        }
    }

    #[test]
    fn wrong_blocks_are_errors() {
        let large = [&[0x40, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x00][..], &[0; 64]].concat();
        let wrong: [&[u8]; 14] = [
            b"\x80",
            b"\xbe",
            b"\xff",
            b"\x7e\x01a",
            b"\x40",
            b"\x40\x01",
            b"\x40\x01a",
            b"\x40\x01a\x02b",
            b"\x40\x81\x00\x01b",
            b"\x40\x01a\x84\xff\xff\xff\xff",
            b"\x82\x20",
            b"\x3f\xe2\x1f",
            b"\x3f\xff\xff\xff\xff\x0f",
            &large,
        ];
        for block in wrong {
            assert_eq!(Table::new().follow(block), Err(BadBlock), "{block:x?}");
        }
    }

    #[test]
    fn size_updates_are_written_as_they_are_read() {
        for size in (0..=SIZE).chain([1 << 14, 1 << 20]) {
            let mut block = Vec::new();
            size_update(size, &mut block);
            block.push(0x82);
            assert_eq!(after_size_updates(&block, |_| Some(())), Some((Some(size), &[0x82][..])));
        }
        let mut seen = Vec::new();
        let read = after_size_updates(b"\x20\x21\x3e", |size| {
            seen.push(size);
            Some(())
        });
        assert_eq!((read, seen), (Some((Some(30), &b""[..])), vec![0, 1, 30]));
    }

    #[test]
    fn a_full_table_fits_into_one_frame() {
        // A code of 30 bits for each byte of the value: the most that Huffman makes of them.
        let value = [0xff, 0xff, 0xff, 0xf3, 0xff, 0xff, 0xff, 0xcf, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0xfc];
        let symbols = huffman::symbols(&value).unwrap();
        assert_eq!(symbols, 4);
        let times = (SIZE - ENTRY - 4) / symbols;
        let mut block = b"\x40\x04name\xff".to_vec();
        let mut length = value.len() * times - 127;
        while length >= 0x80 {
            block.push(0x80 | u8::try_from(length & 0x7f).unwrap());
            length >>= 7;
        }
        block.push(u8::try_from(length).unwrap());
        block.extend(std::iter::repeat_n(value, times).flatten());
        let mut table = Table::new();
        table.follow(&block).unwrap();
        assert!(table.size > SIZE - 4 && table.block_length() > 15_000, "{} {}", table.size, table.block_length());
        assert!(table.block_length() <= crate::connections::http2::state::TABLE_MAX);
        again(&table);
    }
}

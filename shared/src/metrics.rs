//! Counts of all processes of a service in one memory, and their text for Prometheus. Feature `metrics`.
//!
//! The memory is a sealed memfd of 256 *regions*, which outlives each process. A process that counts *claims* a region: the kernel keeps
//! its lock of one byte until the process ends. A region is never emptied: whoever claims it next goes on counting in it. So the sum over
//! all regions is the truth at each moment, and nothing has to be moved when a process dies, however it dies. Gauges are of a process
//! that lives: those of a region without an owner do not count, and a new owner begins at 0. What the region was when its owner came is
//! its *base*: less the base, it tells what one process has counted.
//!
//! | you want | go to |
//! |---|---|
//! | to count | [`Memory::claim`], [`Writer::series`], [`Cells`] |
//! | to read what all have counted | [`Memory::read`] |
//! | to tell families as text | [`encode`], [`Format`] |
//! | to make families of something else | [`Family`] |
//!
//! Layout, version 1. All words are 64 bits wide, in the machine's byte order, and read and written atomically:
//!
//! | from word | |
//! |---|---|
//! | 0 | `gin\0met\x01`, then nothing yet: 16 words |
//! | 16 | a header for each region, 16 words: whether its claim is good, the claim's number, generation, slot, words used, words with a base |
//! | | an arena for each region, 256 words for each series that it has room for: entries without gaps between them (`metrics/entry.rs`) |
//! | | a base for each region, as long as its arena: the cells as they were at the claim, at the same places |
//!
//! An entry is never changed or moved. Its writer makes it known by the number of words used, which it stores last. A page that nobody has
//! written to costs nothing, and reading it would make the kernel allocate it: so nobody reads behind what is used.
//!
//! Any process that has the memory can write anything into it. So a reader believes nothing that a writer could not have written
//! (`metrics/reader.rs`), and a new owner mends its region (`metrics/writer.rs`). A process that has locked regions which it does not use
//! keeps others out of them: they count in memory of their own.

mod cells;
mod definition;
mod entry;
mod family;
mod hash;
mod memory;
mod merge;
mod owners;
mod reader;
mod region;
#[cfg(test)]
mod tests;
mod text;
mod total;
mod writer;

pub use cells::{Cells, Place};
pub use definition::{Definition, Shape};
pub use family::{Buckets, Family, Kind, Series, TakenNames, Value, is_label_name, is_name};
pub use memory::Memory;
pub use reader::Snapshot;
pub use text::{Format, encode};
pub use writer::Writer;

//! Reading a configuration: a file in any of three formats, the environment over it, flags over both, and every value with the
//! place that it is from.

pub mod environment;
pub mod listen;
pub mod read;
pub mod tree;
#[cfg(feature = "watch")]
pub mod watch;
#[cfg(feature = "yaml")]
mod yaml;

pub use read::{Problems, Section, nearest};
pub use tree::{Entry, Node, Place, Problem, Value};

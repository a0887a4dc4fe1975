//! The memories that workers share, at a start: those of the master before this one, else new ones.

use std::io;
use std::os::fd::AsFd;

use gin_shared::metrics::Memory;

use super::StartError;
use crate::adopt::Succession;
use crate::config::Config;
use crate::os::shared_memory::{METRICS, Memories, RATE_LIMIT, SharedMemory, rate_limit_length};

/// A memory as the configuration wants it.
struct Wanted {
    name: &'static str,
    length: u64,
    /// The key that decides the length.
    key: &'static str,
    /// Its content, for people.
    content: &'static str,
}

/// Takes the memories over, or makes them; gives them with that of the metrics mapped, once for the life of this program.
///
/// # Errors
/// The errors of `memfd_create(2)`, `ftruncate(2)` and `mmap(2)`.
pub(super) fn make(before: Option<&mut Succession>, config: &Config) -> Result<(Memories, Memory), StartError> {
    let rate_limit = Wanted {
        name: RATE_LIMIT,
        length: rate_limit_length(config.fixed.rate_limit_clients),
        key: "rate_limit.clients",
        content: "rate limits",
    };
    let metrics = Wanted {
        name: METRICS,
        length: Memory::length(config.fixed.metrics_series),
        key: "metrics.series",
        content: "the counters of metrics",
    };
    let adopts = before.as_ref().is_some_and(|before| !before.alive.is_empty());
    let (kept_limit, kept_metrics) =
        before.map_or((None, None), |before| (before.memory.take(), before.metrics.take()));
    let failed = |error| StartError::System { step: "shared memory", error };
    let rate_limit = match kept_limit {
        Some(kept) => rate_limit.resumed(kept),
        None => rate_limit.anew(adopts, "the supervisor before this one left no memory of them").map_err(failed)?,
    };
    let (metrics, mapped) = metrics.mapped(kept_metrics, adopts).map_err(failed)?;
    Ok((Memories { rate_limit, metrics }, mapped))
}

impl Wanted {
    /// Takes the memory of the master before this one, of whatever length.
    fn resumed(&self, kept: SharedMemory) -> SharedMemory {
        if !kept.has_length(self.length) {
            tracing::warn!("changing {} needs a full stop and start", self.key);
        }
        kept
    }

    /// Makes a new one, and tells it if workers live that have another one, or none.
    fn anew(&self, adopts: bool, why: &str) -> io::Result<SharedMemory> {
        if adopts {
            tracing::warn!("{} begin anew: {why}", self.content);
        }
        SharedMemory::create(self.name, self.length)
    }

    /// Maps the memory that was kept, else a new one.
    ///
    /// # Errors
    /// Those of the system: the next try may find the counters where they are.
    fn mapped(&self, kept: Option<SharedMemory>, adopts: bool) -> io::Result<(SharedMemory, Memory)> {
        let why = match kept.map(|kept| map(&kept).map(|mapped| (kept, mapped))) {
            Some(Ok((kept, mapped))) => return Ok((self.resumed(kept), mapped)),
            Some(Err(error)) if error.raw_os_error().is_some() => return Err(error),
            Some(Err(error)) => format!("the memory of the supervisor before this one cannot be used: {error}"),
            None => "the supervisor before this one left no memory of them".to_owned(),
        };
        let anew = self.anew(adopts, &why)?;
        let mapped = map(&anew)?;
        Ok((anew, mapped))
    }
}

fn map(memory: &SharedMemory) -> io::Result<Memory> {
    Memory::map(memory.as_fd().try_clone_to_owned()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS_OF_64: Wanted = Wanted { name: METRICS, length: 0, key: "metrics.series", content: "counters" };

    fn wanted() -> Wanted {
        Wanted { length: Memory::length(64), ..METRICS_OF_64 }
    }

    #[test]
    fn a_memory_goes_on_whatever_its_length_and_one_that_makes_no_sense_is_replaced() {
        let (made, _mapped) = wanted().mapped(None, false).unwrap();
        assert!(made.has_length(Memory::length(64)));
        let inode = made.inode();
        let longer = Wanted { length: Memory::length(128), ..METRICS_OF_64 };
        let (kept, _mapped) = longer.mapped(Some(made), true).unwrap();
        assert_eq!(kept.inode(), inode);
        let short = SharedMemory::create(METRICS, 8).unwrap();
        let inode = short.inode();
        let (anew, _mapped) = wanted().mapped(Some(short), true).unwrap();
        assert!(anew.inode() != inode && anew.has_length(Memory::length(64)));
    }
}

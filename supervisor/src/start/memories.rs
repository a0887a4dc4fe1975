//! The memories that workers share, at a start: those of the master before this one, else new ones.

use std::io;
use std::os::fd::AsFd;

use gin_shared::metrics::Memory;

use super::StartError;
use crate::adopt::Succession;
use crate::config::Config;
use crate::os::shared_memory::{METRICS, Memories, RATE_LIMIT, SharedMemory, rate_limit_length};

/// Series for which the memory of the metrics has room at least.
const LEAST: u32 = 16;

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
    let (metrics, mapped) = metrics.mapped(config.fixed.metrics_series, kept_metrics, adopts).map_err(failed)?;
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

    /// Makes a new one.
    fn anew(&self, adopts: bool, why: &str) -> io::Result<SharedMemory> {
        self.tell_anew(adopts, why);
        SharedMemory::create(self.name, self.length)
    }

    /// Tells that a new one is made, if workers live that have another one, or none.
    fn tell_anew(&self, adopts: bool, why: &str) {
        if adopts {
            tracing::warn!("{} begin anew: {why}", self.content);
        }
    }

    /// Makes one with room for so many series, or for as many as the limits of this process allow (RLIMIT_AS, RLIMIT_FSIZE): workers need a
    /// supervisor more than it needs room.
    fn with_room(&self, series: u32) -> io::Result<(SharedMemory, Memory)> {
        let made = SharedMemory::create(self.name, Memory::length(series));
        match made.and_then(|made| map(&made).map(|mapped| (made, mapped))) {
            Err(error) if series > LEAST && is_limit(&error) => {
                let less = (series / 4).max(LEAST);
                tracing::warn!("{}: no room for {series}: {error}; trying {less}", self.key);
                self.with_room(less)
            }
            made => made,
        }
    }

    /// Maps the memory that was kept, else a new one with room for so many series.
    ///
    /// # Errors
    /// The errors of the system: the next try may find the counters where they are.
    fn mapped(&self, series: u32, kept: Option<SharedMemory>, adopts: bool) -> io::Result<(SharedMemory, Memory)> {
        let why = match kept.map(|kept| map(&kept).map(|mapped| (kept, mapped))) {
            Some(Ok((kept, mapped))) => return Ok((self.resumed(kept), mapped)),
            Some(Err(error)) if error.raw_os_error().is_some() => return Err(error),
            Some(Err(error)) => format!("the memory of the supervisor before this one cannot be used: {error}"),
            None => "the supervisor before this one left no memory of them".to_owned(),
        };
        self.tell_anew(adopts, &why);
        self.with_room(series)
    }
}

fn is_limit(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::FileTooLarge)
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
        let (made, _mapped) = wanted().mapped(64, None, false).unwrap();
        assert!(made.has_length(Memory::length(64)));
        let inode = made.inode();
        let longer = Wanted { length: Memory::length(128), ..METRICS_OF_64 };
        let (kept, _mapped) = longer.mapped(128, Some(made), true).unwrap();
        assert_eq!(kept.inode(), inode);
        let short = SharedMemory::create(METRICS, 8).unwrap();
        let inode = short.inode();
        let (anew, _mapped) = wanted().mapped(64, Some(short), true).unwrap();
        assert!(anew.inode() != inode && anew.has_length(Memory::length(64)));
    }

    #[test]
    fn where_there_is_no_room_a_smaller_memory_is_better_than_no_supervisor() {
        // More addresses than a process has.
        let (made, _mapped) = METRICS_OF_64.mapped(u32::MAX, None, true).unwrap();
        assert!(!made.has_length(Memory::length(u32::MAX)));
        let tried = std::iter::successors(Some(u32::MAX), |series| Some(series / 4));
        let smaller: Vec<u32> = tried.take_while(|series| *series >= LEAST).collect();
        assert!(smaller.iter().any(|series| made.has_length(Memory::length(*series))));
        for (limit, errno) in [(true, 12), (true, 27), (false, 24)] {
            assert_eq!(is_limit(&io::Error::from_raw_os_error(errno)), limit, "{errno}");
        }
    }
}

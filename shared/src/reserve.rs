//! Descriptors that are kept for what must not fail for want of one.

use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, getrlimit};

/// The part of all descriptors that may be kept.
const PART: u64 = 16;

/// Descriptors that stand for others.
#[derive(Debug)]
pub struct Reserve {
    most: usize,
    kept: Vec<OwnedFd>,
}

/// Number, of `most`, that is kept by a process that may have `limit` descriptors.
#[must_use]
pub fn size(most: usize, limit: u64) -> usize {
    usize::try_from(limit / PART).map_or(most, |part| part.min(most))
}

impl Reserve {
    /// A reserve of `most` descriptors, of fewer where this process may have few. It is filled as far as that is possible.
    #[must_use]
    pub fn new(most: usize) -> Self {
        // No limit is no number.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let mut own = Self { most: size(most, limit), kept: Vec::new() };
        own.fill();
        own
    }

    /// Fills it again, as far as that is possible.
    pub fn fill(&mut self) {
        while self.kept.len() < self.most {
            let next = match self.kept.first() {
                Some(first) => first.try_clone().ok(),
                None => eventfd(0, EventfdFlags::CLOEXEC).ok(),
            };
            let Some(next) = next else { return };
            self.kept.push(next);
        }
    }

    /// Lets go of all, until it is filled again.
    pub fn lend(&mut self) {
        self.kept.clear();
    }

    /// True while it is lent, or nothing could be kept.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> usize {
        let own = i32::try_from(std::process::id()).unwrap();
        crate::process::open_files(own)
            .unwrap()
            .filter(|file| file.target.as_os_str() == "anon_inode:[eventfd]")
            .count()
    }

    #[test]
    fn it_is_lent_and_filled_again() {
        let before = open();
        let mut reserve = Reserve::new(4);
        assert_eq!(open(), before + 4);
        reserve.lend();
        assert!(reserve.is_lent());
        assert_eq!(open(), before);
        reserve.fill();
        reserve.fill();
        assert_eq!(open(), before + 4);
        drop(reserve);
        assert_eq!(open(), before);
    }

    #[test]
    fn where_there_are_few_it_takes_few() {
        assert_eq!([size(40, 24), size(40, 256), size(40, 1024), size(40, u64::MAX)], [1, 16, 40, 40]);
    }
}

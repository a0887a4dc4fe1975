//! Space that the files may take together: `uploads.quota`.
//!
//! Nothing keeps a sum that a kill could leave wrong: the files are counted each time, under the lock of the directory. Files on their way
//! are beside the quota: at most one of `uploads.file` for each request.

use std::io;

use super::directory::Directory;

/// A file counts with so many bytes at least: it takes a block of the disk and an inode, however small it is. So a quota bounds the number
/// of files, too.
pub(super) const LEAST: u64 = 4096;

/// A client may have so many uploads under way at once that can be resumed.
pub(super) const UNDER_WAY_MAX: usize = 64;

/// Uploads under way of one client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) uploads: usize,
    /// Bytes of the quota that they take once all of their bytes are there.
    pub(super) bytes: u64,
}

impl Held {
    /// True if the client may begin one more upload, which takes so many bytes: all of them together may take half of the quota. A single
    /// one may be larger.
    pub(super) fn may_add(self, quota: u64, wanted: u64) -> bool {
        let has_share = quota == 0 || self.uploads == 0 || has_room(quota / 2, self.bytes, wanted);
        has_share && self.uploads < UNDER_WAY_MAX
    }
}

/// Bytes of all stored files, as they count.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn of_files(directory: &Directory) -> io::Result<u64> {
    let mut sum: u64 = 0;
    directory.each(|_, meta| sum = sum.saturating_add(counted(meta.len())))?;
    Ok(sum)
}

/// Bytes of the quota that a file of this size takes.
pub(super) fn counted(size: u64) -> u64 {
    size.max(LEAST)
}

/// True if so many bytes more are within the quota.
pub(super) fn has_room(quota: u64, used: u64, wanted: u64) -> bool {
    used.saturating_add(wanted) <= quota
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_of_a_quota_can_be_used() {
        assert!(has_room(10, 4, 6) && has_room(10, 10, 0));
        assert!(!has_room(10, 4, 7) && !has_room(10, 11, 0) && !has_room(10, 1, u64::MAX));
    }

    #[test]
    fn a_client_may_hold_half_of_the_quota_or_one_upload() {
        let held = |uploads, bytes| Held { uploads, bytes };
        assert!(Held::default().may_add(10, 10), "a single one");
        assert!(held(1, 2).may_add(10, 3) && !held(1, 2).may_add(10, 4));
        assert!(held(1, u64::MAX).may_add(0, u64::MAX), "no quota");
        for quota in [0, u64::MAX] {
            assert!(held(UNDER_WAY_MAX - 1, 0).may_add(quota, 1) && !held(UNDER_WAY_MAX, 0).may_add(quota, 1));
        }
    }

    #[test]
    fn what_begins_with_a_dot_and_what_is_no_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, size: usize| std::fs::write(dir.path().join(name), vec![0; size]).unwrap();
        write("a", 3);
        write("b", 0);
        write("e", 5000);
        write(".lock", 100);
        std::fs::create_dir(dir.path().join(".tus")).unwrap();
        std::fs::create_dir(dir.path().join("c")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("d")).unwrap();
        assert_eq!(of_files(&Directory::open(dir.path()).unwrap()).unwrap(), 2 * LEAST + 5000);
    }
}

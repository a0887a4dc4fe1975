//! The files of a program that is being developed (`--watch`): which there are, and whether they have become others.
//!
//! A compiler writes for a while. So a change counts once all files have stood still for [`STILL`], and the program is fit to be tried: a
//! file that may be executed, and all of it (`unfit`). Nothing here restarts anything.

mod elf;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time for which the files must stand still.
pub const STILL: Duration = Duration::from_millis(200);
/// The most files that are watched.
const FILES_MAX: usize = 10_000;
/// Directories whose files a program, its interpreter or its compiler makes.
const MADE: [&str; 3] = ["__pycache__", "node_modules", "target"];
/// Endings of files that an editor or an interpreter makes.
const MADE_ENDINGS: [&str; 3] = ["~", ".pyc", ".swp"];

/// A file as it lies there: another one has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode.
    pub identity: (u64, u64),
    /// Size, and seconds and nanoseconds of the last change.
    pub change: (i64, i64, i64),
}

impl Stamp {
    /// The stamp of the file that lies there now; `None` if there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().filter(Metadata::is_file).map(|metadata| Self {
            identity: (metadata.dev(), metadata.ino()),
            change: (i64::try_from(metadata.size()).unwrap_or(i64::MAX), metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// A program, and what else it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The program's path.
    pub program: PathBuf,
    /// More files, and directories with files.
    pub others: Vec<PathBuf>,
}

impl Watched {
    /// Every file and directory that is watched. In a directory hidden entries are passed over, and what programs make themselves.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut all = vec![self.program.clone()];
        self.others.iter().for_each(|path| gather(path, &mut all));
        all
    }

    fn files(&self) -> BTreeMap<PathBuf, Stamp> {
        self.paths().into_iter().filter_map(|path| Stamp::of(&path).map(|stamp| (path, stamp))).collect()
    }
}

/// Adds a path, and everything below it. Links to directories are not followed: they may lead in a circle.
fn gather(path: &Path, all: &mut Vec<PathBuf>) {
    if all.len() >= FILES_MAX {
        return;
    }
    all.push(path.to_owned());
    // Of a file there are none.
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|entry| !is_passed_over(&entry.file_name())) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            gather(&entry.path(), all);
        } else if all.len() < FILES_MAX {
            all.push(entry.path());
        }
    }
}

fn is_passed_over(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    bytes.starts_with(b".")
        || MADE.iter().any(|made| name == *made)
        || MADE_ENDINGS.iter().any(|ending| bytes.ends_with(ending.as_bytes()))
}

/// The result of a look at the files.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// They are those that were known, or the program is not there.
    Nothing,
    /// They are others, and may still be written.
    Unsettled,
    /// The program is another one, and cannot be tried, for this reason. It is told once.
    Unfit(String),
    /// This file has become another one.
    Changed(PathBuf),
}

/// Looks at the files time and again.
#[derive(Debug)]
pub struct Follower {
    watched: Watched,
    known: BTreeMap<PathBuf, Stamp>,
    /// Other files than those known, and since when they stand still.
    unsettled: Option<(BTreeMap<PathBuf, Stamp>, Instant)>,
    /// The program that was told to be unfit, and why.
    told: Option<String>,
}

impl Follower {
    /// A follower that knows the files as they lie there now; of the program it knows the one that runs, if that is given.
    #[must_use]
    pub fn new(watched: Watched, runs: Option<Stamp>) -> Self {
        let mut known = watched.files();
        if let Some(runs) = runs {
            known.insert(watched.program.clone(), runs);
        }
        Self { watched, known, unsettled: None, told: None }
    }

    /// Looks at the files at this moment.
    pub fn look(&mut self, now: Instant) -> Seen {
        let files = self.watched.files();
        let Some(program) = files.get(&self.watched.program) else { return Seen::Nothing };
        if files == self.known {
            self.unsettled = None;
            return Seen::Nothing;
        }
        match &self.unsettled {
            Some((seen, since)) if *seen == files && now.duration_since(*since) >= STILL => {}
            Some((seen, _)) if *seen == files => return Seen::Unsettled,
            Some(_) | None => {
                self.unsettled = Some((files, now));
                return Seen::Unsettled;
            }
        }
        if self.known.get(&self.watched.program) != Some(program)
            && let Some(why) = unfit(&self.watched.program)
        {
            // Its mode may change, which its stamp does not tell.
            let is_told = self.told.replace(why.clone()).as_ref() == Some(&why);
            return if is_told { Seen::Nothing } else { Seen::Unfit(why) };
        }
        (self.unsettled, self.told) = (None, None);
        let before = std::mem::replace(&mut self.known, files);
        Seen::Changed(self.first_change(&before))
    }

    /// The first file that has changed, the program before all.
    fn first_change(&self, before: &BTreeMap<PathBuf, Stamp>) -> PathBuf {
        let program = std::iter::once(&self.watched.program);
        let all = program.chain(self.known.keys()).chain(before.keys());
        let mut changed = all.filter(|path| before.get(*path) != self.known.get(*path));
        changed.next().unwrap_or(&self.watched.program).clone()
    }
}

/// The reason why the program at this path is not worth a try; `None` if it is.
fn unfit(program: &Path) -> Option<String> {
    let metadata = program.metadata().ok()?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.len() == 0 {
        Some("it is empty".to_owned())
    } else if mode & 0o111 == 0 {
        Some(format!("it is not executable (mode {mode:04o})"))
    } else if File::open(program).is_ok_and(|file| elf::is_cut_off(&file, metadata.len())) {
        Some("it is not complete".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory, and a follower of the program `app` and the directory `src` in it.
    fn followed() -> (tempfile::TempDir, Follower, Instant) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("src/deep")).unwrap();
        write(&dir, "app", "#!/bin/sh\n", 0o755);
        write(&dir, "src/deep/a.py", "1", 0o644);
        let watched = Watched { program: dir.path().join("app"), others: vec![dir.path().join("src")] };
        (dir, Follower::new(watched, None), Instant::now())
    }

    /// Puts a file in place at once, as a linker does that renames.
    fn write(dir: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>, mode: u32) {
        let new = dir.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(new, dir.path().join(name)).unwrap();
    }

    /// Looks until the files have stood still.
    fn settled(follower: &mut Follower, now: Instant) -> Seen {
        match follower.look(now) {
            Seen::Unsettled => follower.look(now + STILL),
            seen => seen,
        }
    }

    #[test]
    fn a_change_counts_once_the_files_stand_still() {
        let (dir, mut follower, now) = followed();
        assert_eq!(follower.look(now), Seen::Nothing);
        write(&dir, "app", "#!/bin/sh\n# 2\n", 0o755);
        assert_eq!(follower.look(now), Seen::Unsettled);
        assert_eq!(follower.look(now + STILL / 2), Seen::Unsettled);
        write(&dir, "app", "#!/bin/sh\n# 3 \n", 0o755);
        assert_eq!(follower.look(now + STILL), Seen::Unsettled, "it was written meanwhile");
        assert_eq!(follower.look(now + STILL * 2), Seen::Changed(dir.path().join("app")));
        assert_eq!(settled(&mut follower, now), Seen::Nothing);
    }

    #[test]
    fn files_below_a_directory_count_and_those_that_a_program_makes_do_not() {
        let (dir, mut follower, now) = followed();
        for made in ["src/__pycache__", "src/.git"] {
            std::fs::create_dir(dir.path().join(made)).unwrap();
            write(&dir, &format!("{made}/x"), "x", 0o644);
        }
        write(&dir, "src/a.pyc", "x", 0o644);
        assert_eq!(settled(&mut follower, now), Seen::Nothing);
        write(&dir, "src/deep/a.py", "22", 0o644);
        assert_eq!(settled(&mut follower, now), Seen::Changed(dir.path().join("src/deep/a.py")));
        write(&dir, "src/b.py", "1", 0o644);
        assert_eq!(settled(&mut follower, now), Seen::Changed(dir.path().join("src/b.py")));
        std::fs::remove_file(dir.path().join("src/b.py")).unwrap();
        assert_eq!(settled(&mut follower, now), Seen::Changed(dir.path().join("src/b.py")));
    }

    #[test]
    fn a_program_that_cannot_be_tried_changes_nothing() {
        let (dir, mut follower, now) = followed();
        let unfit = |why: &str| Seen::Unfit(why.to_owned());
        write(&dir, "app", "", 0o755);
        assert_eq!(settled(&mut follower, now), unfit("it is empty"));
        let whole = std::fs::read("/bin/sh").unwrap();
        write(&dir, "app", &whole[..whole.len() / 2], 0o755);
        assert_eq!(settled(&mut follower, now), unfit("it is not complete"));
        write(&dir, "app", "#!/bin/sh\n# 2\n", 0o644);
        assert_eq!(settled(&mut follower, now), unfit("it is not executable (mode 0644)"));
        assert_eq!(settled(&mut follower, now + STILL), Seen::Nothing, "it is told once");
        std::fs::remove_file(dir.path().join("app")).unwrap();
        assert_eq!(settled(&mut follower, now), Seen::Nothing);
        write(&dir, "app", &whole, 0o755);
        assert_eq!(settled(&mut follower, now), Seen::Changed(dir.path().join("app")));
    }

    #[test]
    fn the_program_that_runs_is_the_one_that_is_known() {
        let (dir, follower, now) = followed();
        let runs = Stamp::of(&dir.path().join("app"));
        write(&dir, "app", "#!/bin/sh\n# 2\n", 0o755);
        let mut follower = Follower::new(follower.watched, runs);
        assert_eq!(settled(&mut follower, now), Seen::Changed(dir.path().join("app")));
    }
}

//! Notices that a configuration file has become another one, or any other files.
//!
//! Its directory is watched, not the file: editors write a new one and rename it, and Kubernetes replaces a symbolic link beside it
//! (`..data`) that the file's own link leads through. So is the directory of each link on the way. A directory that takes the place of
//! another one is watched in its turn. What counts is whether the text is another one, once whoever writes it is done.
//! [`Watch::follow`] leaves to its caller what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// How long nothing must have happened: an editor is done by then.
const QUIET: Duration = Duration::from_millis(100);
/// A file that somebody writes to is not read before it is closed, for so long.
const WRITING: Duration = Duration::from_secs(5);
/// Links that are followed (`ELOOP`, path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watch {
    // Its end is the thread's, too.
    _watcher: Arc<Mutex<RecommendedWatcher>>,
}

/// The outcome of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing is to be done before something happens.
    Done,
    /// To be called again in a moment, also if nothing happens.
    Again,
    /// To be called again after this time, also if nothing happens.
    After(Duration),
}

/// What a directory has said.
enum Said {
    /// Something came, went, or was renamed.
    Something,
    /// The file is being written.
    Writing,
    /// Whoever wrote is done.
    Written,
}

/// Where the file's path leads through.
#[derive(Debug, Default, PartialEq, Eq)]
struct Way {
    directories: BTreeSet<PathBuf>,
    /// The names of the links and of the file.
    names: BTreeSet<OsString>,
}

/// Identity of a directory in the whole system: device, inode, and its birth, for an inode may be used again.
type Place = (u64, u64, Option<SystemTime>);

/// The directories that are watched, by their paths. `None`: none was there.
type Places = BTreeMap<PathBuf, Option<Place>>;

impl Watch {
    /// Calls `changed`, on a thread of its own, whenever the file's text has become another one than `known`, and then than what it was
    /// at the call before; not if it cannot be read, or is empty.
    ///
    /// # Errors
    /// If its directory cannot be watched: it is not there, or there are too many watches (`fs.inotify.max_user_instances`).
    pub fn new(path: &Path, known: Vec<u8>, changed: impl Fn() + Send + 'static) -> notify::Result<Self> {
        let path = std::path::absolute(path)?;
        let (file, mut known) = (path.clone(), known);
        let look = move || {
            if let Ok(text) = std::fs::read(&file)
                && known != text
                && !text.trim_ascii().is_empty()
            {
                known = text;
                changed();
            }
            Look::Done
        };
        Self::follow("config", move || vec![path.clone()], look)
    }

    /// Calls `look`, on a thread of this name: at once, and each time when something has happened to one of the files that `paths` names,
    /// and nothing more does. After each happening `paths` is asked anew. A path must be absolute; of a directory, what comes and goes in
    /// it counts.
    ///
    /// # Errors
    /// If a directory cannot be watched: it is not there, or there are too many watches (`fs.inotify.max_user_instances`).
    pub fn follow(
        name: &str,
        paths: impl Fn() -> Vec<PathBuf> + Send + 'static,
        mut look: impl FnMut() -> Look + Send + 'static,
    ) -> notify::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let names = Arc::new(Mutex::new(BTreeSet::new()));
        let own_names = Arc::clone(&names);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let names = own_names.lock().unwrap_or_else(PoisonError::into_inner);
            let is_ours = || event.paths.iter().filter_map(|path| path.file_name()).any(|name| names.contains(name));
            let said = match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) if is_ours() => Said::Written,
                // Reading is no change.
                EventKind::Access(_) => return,
                // What is written to other files is their business; what comes, goes and is renamed may be a link on the way.
                EventKind::Modify(ModifyKind::Data(_)) if is_ours() => Said::Writing,
                // A program becomes executable.
                EventKind::Modify(ModifyKind::Metadata(_)) if is_ours() => Said::Something,
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => return,
                _ => Said::Something,
            };
            let _ = sender.send(said);
        })?;
        let way = way(&paths());
        let mut places = Places::new();
        for directory in &way.directories {
            places.insert(directory.clone(), place(directory));
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
        }
        names.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&way.names);
        let watcher = Arc::new(Mutex::new(watcher));
        let (weak, mut old) = (Arc::downgrade(&watcher), way);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // It may have changed before it was watched.
            while until_quiet(&receiver, look()) {
                let Some(watcher) = weak.upgrade() else { return };
                let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
                let new = way_of(&paths(), &old);
                for directory in old.directories.difference(&new.directories) {
                    places.remove(directory);
                    let _ = watcher.unwatch(directory);
                }
                new.directories.iter().for_each(|directory| watch_anew(&mut watcher, directory, &mut places));
                names.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&new.names);
                old = new;
            }
        })?;
        Ok(Self { _watcher: watcher })
    }
}

/// Until something has happened, and nothing more does, or it is time for another look; `false`: nobody watches any more.
fn until_quiet(receiver: &Receiver<Said>, looked: Look) -> bool {
    let first = match looked {
        Look::Done => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Look::Again => receiver.recv_timeout(QUIET),
        Look::After(wait) => receiver.recv_timeout(wait),
    };
    let first = match first {
        Ok(first) => first,
        Err(RecvTimeoutError::Timeout) => return true,
        Err(RecvTimeoutError::Disconnected) => return false,
    };
    let began = Instant::now();
    let mut is_writing = matches!(first, Said::Writing);
    loop {
        // Where something happens all the time nobody waits for ever.
        let most = if is_writing { WRITING } else { QUIET * 10 };
        let wait = if is_writing { most.saturating_sub(began.elapsed()) } else { QUIET };
        if began.elapsed() >= most {
            return true;
        }
        match receiver.recv_timeout(wait) {
            Ok(Said::Writing) => is_writing = true,
            Ok(Said::Written) => is_writing = false,
            Ok(Said::Something) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Watches the directory that is at this path now, unless it is watched already.
fn watch_anew(watcher: &mut RecommendedWatcher, directory: &Path, places: &mut Places) {
    let now = place(directory);
    if places.insert(directory.to_owned(), now) != Some(now) {
        let _ = watcher.unwatch(directory);
        // It is there, or was just now: the next event tells.
        let _ = watcher.watch(directory, RecursiveMode::NonRecursive);
    }
}

fn place(directory: &Path) -> Option<Place> {
    let metadata = directory.metadata().ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// A file that is gone for the moment comes back where it was. The return of its directory is noticed in the one above.
fn way_of(paths: &[PathBuf], old: &Way) -> Way {
    let mut both = way(paths);
    if paths.iter().any(|path| !path.exists()) {
        both.directories.extend(old.directories.iter().cloned());
        both.names.extend(old.names.iter().cloned());
        let gone = both.directories.iter().filter(|directory| !directory.is_dir());
        let above = gone.filter_map(|directory| directory.ancestors().find(|above| above.is_dir()));
        let above: Vec<PathBuf> = above.map(Path::to_owned).collect();
        both.directories.extend(above);
    }
    both
}

/// The directories of the files, and of each link that their paths lead through.
fn way(paths: &[PathBuf]) -> Way {
    let mut way = Way::default();
    paths.iter().for_each(|path| way.add(path));
    // One that is not there yet is noticed in the directory above it, if that is watched.
    let Way { directories, .. } = &mut way;
    let known = directories.clone();
    directories.retain(|own| own.is_dir() || own.parent().is_none_or(|parent| !known.contains(parent)));
    way
}

impl Way {
    fn add(&mut self, path: &Path) {
        if path.is_dir() {
            self.directories.insert(path.to_owned());
        }
        let mut rest = vec![path.to_owned()];
        for _ in 0..LINKS_MAX {
            let Some(path) = rest.pop() else { break };
            if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
                self.directories.insert(directory.to_owned());
                self.names.insert(name.to_owned());
            }
            let mut before = PathBuf::new();
            for part in path.components() {
                let directory = before.clone();
                before.push(part);
                if let Ok(target) = std::fs::read_link(&before) {
                    self.directories.insert(directory.clone());
                    // What stands behind the link goes on from where it leads.
                    let behind = path.strip_prefix(&before).unwrap_or(Path::new(""));
                    let leads = directory.join(target);
                    rest.push(if behind.as_os_str().is_empty() { leads } else { leads.join(behind) });
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn watched(path: &Path) -> (Watch, Receiver<String>) {
        let (sender, receiver) = mpsc::channel();
        let (own, known) = (path.to_owned(), std::fs::read(path).unwrap());
        let changed = move || drop(sender.send(std::fs::read_to_string(&own).unwrap_or_default()));
        (Watch::new(path, known, changed).unwrap(), receiver)
    }

    fn next(receiver: &Receiver<String>) -> String {
        receiver.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn a_file_that_is_written_or_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        std::fs::write(&file, "1").unwrap();
        let (_watch, changes) = watched(&file);
        std::fs::write(&file, "2").unwrap();
        assert_eq!(next(&changes), "2");
        // As editors do it. The same text once more is no change.
        std::fs::write(dir.path().join("new"), "2").unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        std::fs::write(dir.path().join("new"), "3").unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        assert_eq!(next(&changes), "3");
        // One that is gone is no change; its return with another text is.
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "4").unwrap();
        assert_eq!(next(&changes), "4");
    }

    #[test]
    fn a_change_before_it_was_watched_counts_and_half_a_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, "2").unwrap();
        let (sender, changes) = mpsc::channel();
        let own = path.clone();
        let changed = move || drop(sender.send(std::fs::read_to_string(&own).unwrap_or_default()));
        let _watch = Watch::new(&path, b"1".to_vec(), changed).unwrap();
        assert_eq!(next(&changes), "2");
        // Somebody uploads it: at first it is empty, then half of it is there, for longer than anybody is quiet.
        let mut file = std::fs::File::create(&path).unwrap();
        assert_eq!(changes.recv_timeout(QUIET * 3), Err(RecvTimeoutError::Timeout));
        file.write_all(b"ha").unwrap();
        assert_eq!(changes.recv_timeout(QUIET * 3), Err(RecvTimeoutError::Timeout));
        file.write_all(b"lf").unwrap();
        drop(file);
        assert_eq!(next(&changes), "half");
    }

    #[test]
    fn what_is_written_beside_it_all_the_time_keeps_nobody_from_noticing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, log) = (dir.path().join("a.toml"), dir.path().join("log"));
        std::fs::write(&file, "1").unwrap();
        let (_watch, changes) = watched(&file);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Writing, and files that come and go.
                    std::fs::write(&log, "x").unwrap();
                    let _ = std::fs::remove_file(&log);
                }
            });
            std::fs::write(&file, "2").unwrap();
            assert_eq!(next(&changes), "2");
            over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn another_look_is_taken_though_nothing_happens_and_new_files_are_watched() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, looks) = mpsc::channel();
        let (below, place) = (dir.path().join("below"), dir.path().to_owned());
        let paths = move || vec![place.clone(), place.join("below"), place.join("below/a")];
        let own = below.clone();
        let look = move || {
            let _ = sender.send(std::fs::read_to_string(own.join("a")).unwrap_or_default());
            if own.is_dir() { Look::Done } else { Look::Again }
        };
        let _watch = Watch::follow("test", paths, look).unwrap();
        assert_eq!([next(&looks), next(&looks)], ["", ""]);
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("a"), "1").unwrap();
        while next(&looks) != "1" {}
        std::fs::write(below.join("a"), "2").unwrap();
        while next(&looks) != "2" {}
    }

    #[test]
    fn a_directory_that_takes_the_place_of_another_is_watched_in_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let place = |name: &str, text: &str| {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("a.toml"), text).unwrap();
        };
        place("own", "0");
        let (_watch, changes) = watched(&at("own/a.toml"));
        for text in ["1", "2", "3"] {
            place("new", text);
            std::fs::rename(at("own"), at(&format!("before {text}"))).unwrap();
            std::fs::rename(at("new"), at("own")).unwrap();
            assert_eq!(next(&changes), text);
        }
        std::fs::remove_dir_all(at("own")).unwrap();
        assert_eq!(changes.recv_timeout(QUIET * 5), Err(RecvTimeoutError::Timeout));
        place("own", "4");
        assert_eq!(next(&changes), "4");
        std::fs::write(at("own/a.toml"), "5").unwrap();
        assert_eq!(next(&changes), "5");
    }

    #[test]
    fn links_are_followed_wherever_they_lead() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("gin.yaml"), text).unwrap();
        }
        // As Kubernetes does it.
        symlink("..1", at("..data")).unwrap();
        symlink("..data/gin.yaml", at("gin.yaml")).unwrap();
        let (_watch, changes) = watched(&at("gin.yaml"));
        symlink("..2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(next(&changes), "two");
        // The file that it leads to by now, in place.
        std::fs::write(at("..2/gin.yaml"), "three").unwrap();
        assert_eq!(next(&changes), "three");
        // A directory on the way.
        std::fs::create_dir_all(at("srv/releases/1")).unwrap();
        std::fs::create_dir_all(at("srv/releases/2")).unwrap();
        std::fs::write(at("srv/releases/1/a.toml"), "1").unwrap();
        std::fs::write(at("srv/releases/2/a.toml"), "2").unwrap();
        symlink("releases/1", at("srv/current")).unwrap();
        let (_watch, changes) = watched(&at("srv/current/a.toml"));
        symlink("releases/2", at("srv/new")).unwrap();
        std::fs::rename(at("srv/new"), at("srv/current")).unwrap();
        assert_eq!(next(&changes), "2");
        std::fs::write(at("srv/releases/2/a.toml"), "3").unwrap();
        assert_eq!(next(&changes), "3");
    }
}

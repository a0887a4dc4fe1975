//! What is known of files, for a second each: hot ones are answered from memory, without a system call.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::http::HeaderMap;
use bytes::Bytes;
use quick_cache::sync::{Cache as Quick, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use super::digest::digest;
use super::encoding::Coding;
use super::flights::Flights;
use super::freshness::Freshness;
use super::listing::{self, Form, Listing};
use super::resolve::Root;

/// Nothing is told of a file that has not been true within this time.
const FRESH: Duration = Duration::from_secs(1);
/// A larger file is read as it is sent.
pub(super) const WHOLE_MAX: u64 = 1 << 20;
/// What an entry costs beside its bytes.
const ENTRY: u64 = 512;

/// A file as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    dev: u64,
    inode: u64,
    pub(super) length: u64,
    seconds: i64,
    nanos: i64,
    /// When anything about it was changed last: nobody can set that back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            seconds: meta.mtime(),
            nanos: meta.mtime_nsec(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    pub(super) fn modified(&self) -> SystemTime {
        let seconds = Duration::from_secs(u64::try_from(self.seconds).unwrap_or(0));
        SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(0))
    }

    /// A name for this file as it is, without quotes, for one whose bytes are not looked at as a whole: its time and length, and a
    /// digest of what changes when somebody writes to it or puts another in its place and sets the time back.
    pub(super) fn tag(&self) -> String {
        let (seconds, nanos) = self.changed;
        let hidden: Vec<u8> =
            [self.inode.cast_signed(), seconds, nanos].into_iter().flat_map(i64::to_le_bytes).collect();
        format!("{:x}-{:x}-{:x}-{:x}", self.seconds, self.nanos, self.length, digest(&hidden))
    }
}

/// The headers of a usual answer, and the settings that they go by.
pub(super) type Usual = (Freshness, bool, HeaderMap);

/// Bytes in memory, and what is made of them once.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    digest: u64,
    /// Of the usual answer with these bytes, once there was one.
    pub(super) usual: OnceLock<Usual>,
}

impl Whole {
    fn new(bytes: Bytes) -> Arc<Self> {
        Arc::new(Self { digest: digest(&bytes), bytes, usual: OnceLock::new() })
    }

    /// A name for these bytes, without quotes, on whatever host they are.
    pub(super) fn tag(&self) -> String {
        format!("{:x}-{:x}", self.digest, self.bytes.len())
    }
}

/// What a path leads to.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Nothing,
    Directory,
    /// In memory.
    Whole(Stamp, Arc<Whole>),
    /// To be read as it is sent.
    Large(Stamp, Arc<File>),
}

impl Known {
    fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Whole(stamp, ..) | Self::Large(stamp, _) => Some(*stamp),
            Self::Nothing | Self::Directory => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    known: Known,
    /// In milliseconds since the cache was made.
    checked: AtomicU64,
}

/// A path, and what is kept of it.
type Key = (PathBuf, Kept);

/// Facts that are kept of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kept {
    /// The file.
    Plain,
    /// The file, compressed here.
    Compressed(Coding),
    /// The directory's list.
    Listed(Form),
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Arc<Entry>> for Weight {
    fn weight(&self, (path, _): &Key, entry: &Arc<Entry>) -> u64 {
        let bytes = match &entry.known {
            Known::Whole(_, whole) => whole.bytes.len() as u64,
            Known::Nothing | Known::Directory | Known::Large(..) => 0,
        };
        ENTRY + path.as_os_str().len() as u64 + bytes
    }
}

/// Of a directory's files.
pub(super) struct Cache {
    root: ArcSwap<Root>,
    /// When it was looked whether it is at its place still, in milliseconds since the beginning.
    root_checked: AtomicU64,
    /// A larger file is not kept.
    whole_max: u64,
    entries: Arc<Quick<Key, Arc<Entry>, Weight>>,
    reads: Flights<PathBuf, Known>,
    compressions: Flights<(PathBuf, Coding, Stamp), Arc<Whole>>,
    listings: Flights<(PathBuf, Form), Bytes>,
    began: Instant,
}

/// Number of compressions, and of listings, at once: they take half of the cores, and the other half serves.
fn heavy_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("root", &self.root.load()).finish_non_exhaustive()
    }
}

impl Cache {
    /// With so many bytes at most.
    pub(super) fn new(root: Root, memory: u64) -> Self {
        let items = usize::try_from(memory / 4096).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        // A part of it takes no entry that is larger than itself: each has room for some of the largest.
        let shards = usize::try_from(memory / (8 * WHOLE_MAX)).unwrap_or(usize::MAX).clamp(1, 64);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(memory)
            .shards(shards)
            .build()
            .expect("all that is needed is said");
        let entries = Quick::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default());
        // Of each kind: requests for listings do not keep files from being compressed.
        let places = || Arc::new(Semaphore::new(heavy_at_once()));
        Self {
            root: ArcSwap::from_pointee(root),
            root_checked: AtomicU64::new(0),
            whole_max: WHOLE_MAX.min(memory / 4),
            entries: Arc::new(entries),
            // Reads of different files are as many as there are threads for them.
            reads: Flights::new(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))),
            compressions: Flights::new(places()),
            listings: Flights::new(places()),
            began: Instant::now(),
        }
    }

    /// Opens a file or directory as it is now.
    ///
    /// # Errors
    /// The errors of `openat2(2)`.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        self.root.load().at(path).map(File::from)
    }

    fn root(&self) -> Arc<Root> {
        self.root.load_full()
    }

    /// Goes on with what lies at the directory's path, if that is another one.
    fn follow(&self, now: u64) {
        let checked = self.root_checked.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(checked) >= u64::try_from(FRESH.as_millis()).unwrap_or(0);
        // One of those that come at once looks.
        if is_due
            && self.root_checked.compare_exchange(checked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && let Some(next) = self.root.load().successor()
        {
            self.root.store(Arc::new(next));
            self.entries.clear();
        }
    }

    fn now(&self) -> u64 {
        millis_since(self.began)
    }

    /// What is there.
    ///
    /// # Errors
    /// Those of `openat2(2)` and `read(2)`, but for what comes to: nothing is there.
    pub(super) async fn look(&self, path: &Path) -> io::Result<Known> {
        let key = (path.to_owned(), Kept::Plain);
        let now = self.now();
        self.follow(now);
        if let Some(entry) = self.entries.get(&key) {
            if self.is_fresh(&entry, now) {
                return Ok(entry.known.clone());
            }
            if self.is_so_still(path, &entry.known) {
                entry.checked.fetch_max(now, Ordering::Relaxed);
                return Ok(entry.known.clone());
            }
        }
        let (root, path, whole_max) = (self.root(), path.to_owned(), self.whole_max);
        let known = self.reads.get(path.clone(), move || read(&root, &path, whole_max)).await?;
        // An open file is none of the memory that is counted here.
        if !matches!(known, Known::Large(..)) {
            self.entries.insert(key, Arc::new(Entry { known: known.clone(), checked: AtomicU64::new(now) }));
        }
        Ok(known)
    }

    fn is_fresh(&self, entry: &Entry, now: u64) -> bool {
        now.saturating_sub(entry.checked.load(Ordering::Relaxed)) < u64::try_from(FRESH.as_millis()).unwrap_or(0)
    }

    /// Once a second for a file: as cheap as handing it to another thread.
    fn is_so_still(&self, path: &Path, known: &Known) -> bool {
        let meta = self.root.load().at(path).and_then(|fd| File::from(fd).metadata());
        match (meta, known) {
            (Ok(meta), Known::Whole(stamp, ..)) => meta.is_file() && Stamp::of(&meta) == *stamp,
            (Ok(meta), Known::Directory) => meta.is_dir(),
            (Err(error), Known::Nothing) => is_nothing(&error),
            _ => false,
        }
    }

    /// The file in this coding, compressed once. Whoever asks meanwhile waits.
    ///
    /// # Errors
    /// If memory runs out.
    pub(super) async fn compressed(
        &self,
        path: &Path,
        stamp: Stamp,
        plain: &Bytes,
        coding: Coding,
        level: u8,
    ) -> io::Result<Arc<Whole>> {
        let key = (path.to_owned(), Kept::Compressed(coding));
        if let Some(entry) = self.entries.get(&key)
            && let Known::Whole(of, whole) = &entry.known
            && *of == stamp
        {
            return Ok(Arc::clone(whole));
        }
        let (plain, entries, began) = (plain.clone(), Arc::clone(&self.entries), self.began);
        let compress = move || {
            let whole = Whole::new(coding.compress(&plain, level)?.into());
            let known = Known::Whole(stamp, Arc::clone(&whole));
            entries.insert(key, Arc::new(Entry { known, checked: AtomicU64::new(millis_since(began)) }));
            Ok::<_, io::Error>(whole)
        };
        self.compressions.get((path.to_owned(), coding, stamp), compress).await
    }

    /// The list of a directory, as `render` writes it: read once a second at most, for all who ask.
    ///
    /// # Errors
    /// The errors of `openat2(2)` and `getdents(2)`.
    pub(super) async fn listed(
        &self,
        path: &Path,
        form: Form,
        allowed: &[String],
        render: impl FnOnce(&Listing) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Bytes> {
        let key = (path.to_owned(), Kept::Listed(form));
        if let Some(entry) = self.entries.get(&key)
            && self.is_fresh(&entry, self.now())
            && let Known::Whole(_, whole) = &entry.known
        {
            return Ok(whole.bytes.clone());
        }
        let (root, entries, began) = (self.root(), Arc::clone(&self.entries), self.began);
        let (own, allowed) = (path.to_owned(), allowed.to_vec());
        let list = move || {
            let checked = AtomicU64::new(millis_since(began));
            let dir = File::from(root.at(&own)?);
            let stamp = Stamp::of(&dir.metadata()?);
            let listing = listing::read(&root, &own, dir.into(), &allowed, listing::ENTRIES_MAX)?;
            let whole = Whole::new(render(&listing).into());
            let known = Known::Whole(stamp, Arc::clone(&whole));
            entries.insert(key, Arc::new(Entry { known, checked }));
            Ok::<_, io::Error>(whole.bytes.clone())
        };
        self.listings.get((path.to_owned(), form), list).await
    }
}

fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What comes to: there is no such file.
fn is_nothing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let nothing =
        [Errno::NOENT, Errno::NOTDIR, Errno::XDEV, Errno::LOOP, Errno::NAMETOOLONG, Errno::NXIO, Errno::INVAL];
    error.raw_os_error().is_some_and(|code| nothing.iter().any(|errno| errno.raw_os_error() == code))
}

fn read(root: &Root, path: &Path, whole_max: u64) -> io::Result<Known> {
    let fd = match root.at(path) {
        Ok(fd) => fd,
        Err(error) if is_nothing(&error) => return Ok(Known::Nothing),
        Err(error) => return Err(error),
    };
    let mut file = File::from(fd);
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Ok(Known::Directory);
    }
    if !meta.is_file() {
        return Ok(Known::Nothing);
    }
    let stamp = Stamp::of(&meta);
    if stamp.length > whole_max {
        return Ok(Known::Large(stamp, Arc::new(file)));
    }
    // It may be written to just now: what was read and the stamp must be of one time.
    let mut bytes = Vec::with_capacity(usize::try_from(stamp.length).unwrap_or(0));
    (&mut file).take(whole_max + 1).read_to_end(&mut bytes)?;
    let after = Stamp::of(&file.metadata()?);
    if after != stamp || bytes.len() as u64 != stamp.length {
        return Ok(Known::Large(after, Arc::new(file)));
    }
    Ok(Known::Whole(stamp, Whole::new(bytes.into())))
}

impl Known {
    /// Whether it is at least as new as this.
    pub(super) fn is_as_new_as(&self, other: &Stamp) -> bool {
        self.stamp().is_some_and(|own| (own.seconds, own.nanos) >= (other.seconds, other.nanos))
    }
}

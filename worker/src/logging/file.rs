//! A log file that several processes write to: whole lines, in files of bounded size, number and age.
//!
//! Each line is one `write(2)` with O_APPEND, which the kernel never mixes with another's. Whoever finds the file full renames it to
//! `NAME-2026-11-21T09-30-12.345.log` under a lock of its directory and begins a new one; the others see within a second that the path
//! leads elsewhere. Each has a shared lock (`flock(2)`) of the file that it writes to: an old file is compressed or removed only when nobody
//! writes to it any more.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

#[cfg(feature = "compression")]
use flate2::Compression;
#[cfg(feature = "compression")]
use flate2::write::GzEncoder;
use rustix::fs::{FlockOperation, flock};

use crate::config::Logging;

/// How often it is looked whether the path leads elsewhere.
const LOOK: Duration = Duration::from_secs(1);
/// After a file could not be put aside.
const AGAIN: Duration = Duration::from_secs(60);
/// No secrets of clients for everybody.
const MODE: u32 = 0o640;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LogFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// In bytes.
    max_size: u64,
    old: Old,
    state: Mutex<State>,
    /// There is a new old file.
    rotated: SyncSender<()>,
    rotations: Mutex<Option<Receiver<()>>>,
}

/// What becomes of old files.
#[derive(Debug, Clone, Copy)]
struct Old {
    count: usize,
    age: Option<Duration>,
    compress: bool,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The last line stands there in part: the disk was full.
    torn: bool,
    /// It could not be put aside: since when.
    stuck: Option<Instant>,
}

impl State {
    fn new(file: File) -> Self {
        Self { file, torn: false, stuck: None }
    }
}

impl LogFile {
    pub(super) fn open(path: &Path, config: &Logging) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = open(&path)?;
        let (rotated, rotations) = sync_channel(1);
        let days = |days| Duration::from_secs(days * 24 * 60 * 60);
        Ok(Self(Arc::new(Inner {
            max_size: config.max_size << 20,
            old: Old {
                count: config.max_backups,
                age: (config.max_age > 0).then(|| days(config.max_age)),
                compress: config.compress,
            },
            path,
            state: Mutex::new(State::new(file)),
            rotated,
            rotations: Mutex::new(Some(rotations)),
        })))
    }

    /// Has a thread look after it.
    pub(super) fn keep(&self) -> io::Result<()> {
        let rotations = self.0.rotations.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (own, Some(rotations)) = (self.clone(), rotations) else { return Ok(()) };
        std::thread::Builder::new().name("log-files".to_owned()).spawn(move || {
            // What an earlier process has left.
            let mut is_done = own.tidy();
            loop {
                match rotations.recv_timeout(LOOK) {
                    Ok(()) => is_done = false,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                // It may have been the last of an old file's writers.
                is_done &= !own.follow();
                if !is_done {
                    is_done = own.tidy();
                }
            }
        })?;
        Ok(())
    }

    /// The file at the path, whatever it is by now.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::new(open(&self.0.path)?);
        Ok(())
    }

    /// Goes on in a new file, if another process has begun one; gives whether it has.
    fn follow(&self) -> bool {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is gone is somebody's doing: who moves it says when to go on (SIGUSR1).
        if fs::metadata(&self.0.path).is_ok_and(|there| !is_same(&there, &state.file))
            && let Ok(file) = open(&self.0.path)
        {
            *state = State::new(file);
            return true;
        }
        false
    }

    /// Begins a new file, unless another process has just done so.
    fn rotate(&self, state: &mut State) -> io::Result<()> {
        let path = &self.0.path;
        let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
        flock(&directory, FlockOperation::LockExclusive)?;
        if fs::metadata(path).is_ok_and(|there| is_same(&there, &state.file)) {
            fs::rename(path, self.free_name())?;
        }
        *state = State::new(open(path)?);
        // Full: it will look anyway.
        let _ = self.0.rotated.try_send(());
        Ok(())
    }

    fn free_name(&self) -> PathBuf {
        let mut time = SystemTime::now();
        loop {
            let (before, behind) = self.around();
            let name = format!("{before}{}{behind}", stamp(time));
            let path = self.0.path.with_file_name(name);
            if !path.exists() && !gzipped(&path).exists() {
                return path;
            }
            time += Duration::from_millis(1);
        }
    }

    /// What stands in an old file's name before and behind its time.
    fn around(&self) -> (String, String) {
        let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let ending = self.0.path.extension().map(|ending| format!(".{}", ending.to_string_lossy()));
        (format!("{}-", text(self.0.path.file_stem())), ending.unwrap_or_default())
    }

    /// Old files and their times, the newest first.
    fn old(&self) -> io::Result<Vec<(SystemTime, PathBuf)>> {
        let (before, behind) = self.around();
        let mut all = Vec::new();
        for entry in fs::read_dir(self.0.path.parent().unwrap_or(Path::new("/")))? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let middle = name.strip_suffix(".gz").unwrap_or(name);
            let middle = middle.strip_prefix(&before).and_then(|middle| middle.strip_suffix(&behind));
            if let Some(time) = middle.and_then(time) {
                all.push((time, self.0.path.with_file_name(name)));
            }
        }
        all.sort();
        all.reverse();
        Ok(all)
    }

    /// Compresses and removes. Whether nothing is left to do.
    fn tidy(&self) -> bool {
        self.try_tidy().unwrap_or_else(|error| {
            tracing::warn!("old log files: {error}");
            true
        })
    }

    fn try_tidy(&self) -> io::Result<bool> {
        let Old { count, age, compress } = self.0.old;
        let mut all = self.old()?;
        let is_old = |time: &SystemTime| age.is_some_and(|age| time.elapsed().is_ok_and(|elapsed| elapsed > age));
        let mut is_done = true;
        let kept = if count == 0 { all.len() } else { count.min(all.len()) };
        let surplus = all.split_off(kept);
        let (aged, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|(time, _)| is_old(time));
        for (_, path) in surplus.iter().chain(&aged) {
            match of(path)? {
                Use::Free(_) => gone(fs::remove_file(path))?,
                Use::Busy => is_done = false,
                Use::Gone => {}
            }
        }
        for (_, path) in kept.iter().filter(|(_, path)| compress && path.extension() != Some(OsStr::new("gz"))) {
            match of(path)? {
                Use::Free(file) => compressed(&file, path)?,
                Use::Busy => is_done = false,
                Use::Gone => {}
            }
        }
        Ok(is_done)
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let length = state.file.metadata().map_or(0, |meta| meta.len());
        if length > 0
            && length + line.len() as u64 > self.0.max_size
            && state.stuck.is_none_or(|since| since.elapsed() > AGAIN)
            && let Err(error) = self.rotate(&mut state)
        {
            // Better too long than lost.
            state.stuck = Some(Instant::now());
            // A panic here would end the thread that writes: stderr may be full, too.
            let _ = writeln!(io::stderr(), "{}: cannot be put aside, and grows: {error}", self.0.path.display());
        }
        if state.torn {
            state.file.write_all(b"\n")?;
        }
        let written = state.file.write(line);
        state.torn = match written {
            Ok(length) => length < line.len(),
            Err(_) => state.torn,
        };
        // What is missing is lost: its rest would stand in another's line.
        written.map(|_| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
    // Where there are no such locks, old files are compressed a little early at worst.
    let _ = flock(&file, FlockOperation::NonBlockingLockShared);
    Ok(file)
}

/// What others do with an old file.
enum Use {
    /// Nothing: it is locked for us.
    Free(File),
    /// Somebody writes to it, or compresses it.
    Busy,
    /// Somebody has removed or compressed it.
    Gone,
}

fn of(path: &Path) -> io::Result<Use> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Use::Gone),
        Err(error) => return Err(error),
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(Use::Busy);
    }
    // It may have been removed between the two.
    Ok(if path.exists() { Use::Free(file) } else { Use::Gone })
}

/// What another has removed just now is removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn gzipped(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

#[cfg(not(feature = "compression"))]
fn compressed(_: &File, _: &Path) -> io::Result<()> {
    let text = "logging.compress: this program was built without the feature \"compression\" of gin-worker";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// One that is half done has another name.
#[cfg(feature = "compression")]
fn compressed(mut file: &File, path: &Path) -> io::Result<()> {
    let half = gzipped(path).with_extension("gz.tmp");
    let out = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(&half)?;
    let mut gzip = GzEncoder::new(io::BufWriter::new(out), Compression::default());
    let done = io::copy(&mut file, &mut gzip).and_then(|_| gzip.finish()?.into_inner()?.sync_all());
    match done {
        Ok(()) => {
            fs::rename(&half, gzipped(path))?;
            gone(fs::remove_file(path))
        }
        Err(error) => {
            let _ = fs::remove_file(&half);
            Err(error)
        }
    }
}

fn is_same(there: &fs::Metadata, ours: &File) -> bool {
    ours.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

/// `2026-11-21T09-30-12.345`
fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string().trim_end_matches('Z').replace(':', "-")
}

fn time(stamp: &str) -> Option<SystemTime> {
    let (date, time) = stamp.split_once('T')?;
    humantime::parse_rfc3339(&format!("{date}T{}Z", time.replace('-', ":"))).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut all: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    fn log(dir: &Path, config: Logging) -> LogFile {
        LogFile::open(&dir.join("shop.log"), &Logging { max_size: 1, ..config }).unwrap()
    }

    /// Of 64 KiB: sixteen fill a file.
    fn line(of: usize) -> Vec<u8> {
        let mut line = vec![b'a' + u8::try_from(of).unwrap(); 65_535];
        line.push(b'\n');
        line
    }

    #[test]
    fn several_writers_tear_no_line_and_lose_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = Logging { max_backups: 0, compress: true, ..Logging::default() };
        // Each has opened the file for itself, as processes do.
        let all: Vec<LogFile> = (0..4).map(|_| log(dir.path(), config.clone())).collect();
        std::thread::scope(|scope| {
            for (number, log) in all.iter().enumerate() {
                let mut log = log.clone();
                scope.spawn(move || (0..40).for_each(|_| log.write_all(&line(number)).unwrap()));
            }
        });
        let mut text = Vec::new();
        // While anybody writes to a file it stays as it is; then it is compressed.
        all[0].follow();
        assert!(!all[0].tidy() || names(dir.path()).len() > 9);
        for log in &all {
            log.follow();
        }
        assert!(all[0].tidy());
        for name in names(dir.path()) {
            let bytes = fs::read(dir.path().join(&name)).unwrap();
            if name.ends_with(".gz") {
                flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
            } else {
                assert_eq!(name, "shop.log");
                text.extend(bytes);
            }
        }
        let mut counts = [0; 4];
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(line.len() == 65_535 && line.iter().all(|byte| *byte == line[0]), "a torn line");
            counts[usize::from(line[0] - b'a')] += 1;
        }
        assert_eq!(counts, [40; 4]);
    }

    #[test]
    fn old_files_are_few_and_young() {
        let dir = tempfile::tempdir().unwrap();
        let mut own = log(dir.path(), Logging { max_backups: 2, max_age: 28, ..Logging::default() });
        fs::write(dir.path().join("shop-2020-01-01T00-00-00.000.log"), "old").unwrap();
        fs::write(dir.path().join("shop-notes.log"), "not ours").unwrap();
        assert!(own.tidy());
        assert_eq!(names(dir.path()), ["shop-notes.log", "shop.log"]);
        for _ in 0..5 * 16 {
            own.write_all(&line(0)).unwrap();
        }
        assert!(own.tidy());
        assert_eq!(names(dir.path()).len(), 4, "{:?}", names(dir.path()));
    }

    #[test]
    fn it_goes_on_where_it_is_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let mut own = log(dir.path(), Logging::default());
        own.write_all(b"one\n").unwrap();
        fs::rename(dir.path().join("shop.log"), dir.path().join("moved")).unwrap();
        own.follow();
        own.write_all(b"two\n").unwrap();
        own.reopen().unwrap();
        own.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("moved")).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(dir.path().join("shop.log")).unwrap(), "three\n");
    }

    #[test]
    fn times_in_names_are_read_back() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_253_412_345);
        assert_eq!(time(&stamp(then)), Some(then));
        assert_eq!(time("notes"), None);
    }
}

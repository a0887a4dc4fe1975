//! The room of a chat: all workers, of all generations, hear the same messages in the same order.
//!
//! A message is a line of JSON at the end of a file. Each worker has one task that reads new lines when the kernel reports a change,
//! and gives them to all of its members. A member's session is a place in that file, so any worker can go on with it:
//!
//! | happens | then |
//! |---|---|
//! | a member comes in | its place is the end of the file: it hears what is said from then on |
//! | its worker leaves | the next one sends it what stands between its place and the end, and goes on |
//! | a writer dies within a line | the next writer ends that line, and readers pass over it: it is no JSON |
//! | the disk is full | a line that was written in part is cut off again, and the writer hears of it |
//! | an account's login has ended ([`Hub::send_away`]) | a line says so: its members are closed in all workers, with code 1008 |
//! | more than 256 messages wait for a member that does not take them | it is closed, with code 1008 |
//! | a member's place is older than the last 7 MiB, or behind the end, as of another file | the same |
//!
//! The file keeps its last 8 MiB. What was before is given back to the file system as a hole: places stay as they are, and the file has at
//! most 9 MiB of the disk, however long it says it is. A file system that takes no holes is an error at the start.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gin_worker::serde_json;
use gin_worker::websocket::{Message, Received, Socket};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::AbortHandle;

pub use crate::room_file::Said;
use crate::room_file::{Content, Line, give_back, is_gone, is_whole, lines_after, takes_holes};

/// Messages that wait for a member at most: the documents' number.
const WAITING: usize = 256;
/// A member has not taken a message for so long: messages that wait are its fault, and not a busy worker's.
const SLOW: Duration = Duration::from_millis(250);

/// A member of the room: all that the next worker has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    pub user_id: String,
    /// The account that can be sent away. `None`: nobody has logged in.
    #[serde(default)]
    pub account: Option<String>,
    /// Bytes of the file that the member has heard, or was not there for.
    pub seen: u64,
    pub form: Form,
}

/// Form of the messages that a member gets. What it sends is text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The message alone.
    #[default]
    Text,
    /// A [`Said`].
    Json,
}

/// The room. A clone is the same one.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: Arc<File>,
    /// Bytes that this worker has read.
    read: Arc<AtomicU64>,
    lines: broadcast::Sender<Arc<Line>>,
    reader: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Hub {
    /// Opens the room in this file, which is made if it is not there, for the worker's user alone. Called within tokio's runtime.
    ///
    /// # Errors
    /// If the file cannot be opened, or not be watched, or would grow for ever.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).append(true).create(true).mode(0o600).open(path)?;
        // Nobody is within a line then.
        file.lock()?;
        let end = file.metadata()?.len();
        takes_holes(&file, end)?;
        file.unlock()?;
        let changed = Arc::new(Notify::new());
        let report = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // A watch that fails has the file looked at, too.
            if event.map_or(true, |event| event.kind.is_modify()) {
                report.notify_one();
            }
        });
        let mut watcher = watcher.map_err(io::Error::other)?;
        watcher.watch(path, RecursiveMode::NonRecursive).map_err(io::Error::other)?;
        let (file, read) = (Arc::new(file), Arc::new(AtomicU64::new(end)));
        let (lines, _) = broadcast::channel(WAITING);
        let (own, known) = (Arc::clone(&file), Arc::clone(&read));
        let reader = Reader { file: own, changed, _watcher: watcher, read: known, lines: lines.clone() };
        let reader = tokio::spawn(reader.run()).abort_handle();
        Ok(Self(Arc::new(Inner { path: path.to_owned(), file, read, lines, reader })))
    }

    /// Says something to all members. It blocks for a moment.
    ///
    /// # Errors
    /// If it cannot be written: then nobody hears it.
    pub fn say(&self, said: &Said) -> io::Result<()> {
        self.append(said)
    }

    /// Closes the connections of an account's members, in all workers. Those that come in behind the file's [`Self::end`] of now stay. It
    /// blocks for a moment.
    ///
    /// # Errors
    /// If it cannot be written: then nobody is sent away.
    #[allow(dead_code, reason = "of `full`: nobody logs in to `chat`")]
    pub fn send_away(&self, account: &str) -> io::Result<()> {
        self.append(&Content::Away { away: account.to_owned() })
    }

    fn append(&self, content: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(content)?;
        line.push(b'\n');
        // Opened anew: threads that share a descriptor share its lock.
        let mut file = File::options().read(true).append(true).open(&self.0.path)?;
        file.lock()?;
        let end = file.metadata()?.len();
        if !is_whole(&file, end)? {
            line.insert(0, b'\n');
        }
        if let Err(error) = file.write_all(&line) {
            file.set_len(end)?;
            return Err(error);
        }
        if let Err(error) = give_back(&file, end, end + line.len() as u64) {
            tracing::warn!("the chat's file {} keeps what is old: {error}", self.0.path.display());
        }
        Ok(())
    }

    /// The place of a member who comes in now: behind all that was said, if this worker has read it or not.
    pub fn end(&self) -> u64 {
        let read = self.0.read.load(Ordering::Acquire);
        self.0.file.metadata().map_or(read, |metadata| metadata.len().max(read))
    }

    /// Has a member in the room until it goes, or another worker takes it over.
    pub async fn serve(&self, socket: Socket, member: Member, form: Form) {
        let mut seat = Seat { socket, member, form, waited: Duration::ZERO };
        let end = self.talk(&mut seat).await;
        let Seat { socket, member, .. } = seat;
        match end {
            End::Left => socket.leave(&member).await,
            End::Closed => {}
            End::TooSlow => socket.end_with(1008, "too slow").await,
            End::SentAway => socket.end_with(1008, "the login has ended").await,
            End::Failed(error) => {
                tracing::error!("the chat's file {}: {error}", self.0.path.display());
                socket.end_with(1011, "the chat's file cannot be used").await;
            }
        }
    }

    async fn talk(&self, seat: &mut Seat) -> End {
        // Before the file is read, so that nothing is missed between.
        let mut lines = self.0.lines.subscribe();
        let mut done = self.catch_up(seat).await;
        loop {
            if let Err(end) = done {
                return end;
            }
            done = tokio::select! {
                received = seat.socket.receive() => match received {
                    Received::Message(Message::Text(text)) => self.hear(&seat.member, &text).await,
                    Received::Leaving => Err(End::Left),
                    Received::Closed => Err(End::Closed),
                    _ => Ok(()),
                },
                line = lines.recv() => match line {
                    Ok(line) => seat.tell(&line).await,
                    // The worker was busy: all is in the file.
                    Err(RecvError::Lagged(_)) if seat.waited < SLOW => self.catch_up(seat).await,
                    Err(_) => Err(End::TooSlow),
                },
            };
        }
    }

    async fn hear(&self, member: &Member, text: &str) -> Result<(), End> {
        let said = Said::new(Some(member.user_id.clone()), text);
        if said.message.is_empty() {
            return Ok(());
        }
        let hub = self.clone();
        blocking(move || hub.say(&said)).await.map_err(End::Failed)
    }

    /// Sends the lines between the member's place and the end.
    async fn catch_up(&self, seat: &mut Seat) -> Result<(), End> {
        let end = self.end();
        if seat.member.seen > end {
            // It would hear nothing until the file is as long.
            return Err(End::TooSlow);
        }
        while seat.member.seen < end {
            let place = seat.member.seen;
            let file = Arc::clone(&self.0.file);
            let found =
                blocking(move || if is_gone(&file, place)? { Ok(None) } else { lines_after(&file, place).map(Some) });
            let Some((lines, next)) = found.await.map_err(End::Failed)? else { return Err(End::TooSlow) };
            for line in lines {
                seat.tell(&line).await?;
            }
            // Behind the last line there may be one that is none.
            seat.member.seen = next;
            if next == place {
                break;
            }
        }
        Ok(())
    }
}

/// Why a member is not served any more.
enum End {
    /// Another worker takes it over.
    Left,
    Closed,
    TooSlow,
    /// Its login has ended.
    SentAway,
    Failed(io::Error),
}

/// A member with its connection.
struct Seat {
    socket: Socket,
    member: Member,
    form: Form,
    /// Time for which the last message waited until the member took it.
    waited: Duration,
}

impl Seat {
    /// Sends a line, if the member has not heard it.
    async fn tell(&mut self, line: &Line) -> Result<(), End> {
        if line.end <= self.member.seen {
            return Ok(());
        }
        let text = match (&line.content, self.form) {
            (Content::Away { away }, _) if self.member.account.as_ref() == Some(away) => return Err(End::SentAway),
            (Content::Away { .. }, _) => {
                self.member.seen = line.end;
                return Ok(());
            }
            (Content::Said(said), Form::Text) => &said.message,
            (Content::Said(_), Form::Json) => &line.json,
        };
        let began = Instant::now();
        self.socket.send(Message::Text(text.clone())).await.map_err(|_| End::Closed)?;
        self.waited = began.elapsed();
        self.member.seen = line.end;
        Ok(())
    }
}

/// The task that reads what all workers write.
struct Reader {
    file: Arc<File>,
    /// Somebody has written.
    changed: Arc<Notify>,
    /// The watch of the file, for as long as it lives.
    _watcher: RecommendedWatcher,
    read: Arc<AtomicU64>,
    lines: broadcast::Sender<Arc<Line>>,
}

impl Reader {
    async fn run(self) {
        loop {
            if let Err(error) = self.read_on().await {
                tracing::error!("the chat's file cannot be read: {error}");
            }
            // One look covers all reports that came before it.
            self.changed.notified().await;
        }
    }

    async fn read_on(&self) -> io::Result<()> {
        loop {
            let place = self.read.load(Ordering::Acquire);
            let file = Arc::clone(&self.file);
            let (lines, next) = blocking(move || lines_after(&file, place)).await?;
            for line in lines {
                // Before it is sent: a member who comes in between finds it in the file, and not here.
                self.read.store(line.end, Ordering::Release);
                // An error: nobody is in the room.
                let _ = self.lines.send(line);
            }
            self.read.store(next, Ordering::Release);
            if next == place {
                return Ok(());
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::room_file::{KEPT, LONG};

    fn said(message: &str) -> Said {
        Said::new(Some("ann".to_owned()), message)
    }

    fn message(line: &Line) -> &Said {
        let Content::Said(said) = &line.content else { panic!("{:?}", line.content) };
        said
    }

    async fn next(lines: &mut broadcast::Receiver<Arc<Line>>) -> String {
        message(&lines.recv().await.unwrap()).message.clone()
    }

    #[tokio::test]
    async fn two_workers_hear_the_same_in_the_same_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.log");
        let workers = [Hub::open(&path).unwrap(), Hub::open(&path).unwrap()];
        let mut lines = [workers[0].0.lines.subscribe(), workers[1].0.lines.subscribe()];
        for number in 0..100 {
            workers[number % 2].say(&said(&number.to_string())).unwrap();
        }
        for number in 0..100 {
            for lines in &mut lines {
                assert_eq!(next(lines).await, number.to_string());
            }
        }
        assert_eq!(workers[0].end(), std::fs::metadata(&path).unwrap().len());
    }

    #[tokio::test]
    async fn half_a_line_of_a_writer_that_died_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.log");
        std::fs::write(&path, "{\"user_id\":null,\"mess").unwrap();
        let hub = Hub::open(&path).unwrap();
        let mut lines = hub.0.lines.subscribe();
        hub.say(&said("whole")).unwrap();
        assert_eq!(next(&mut lines).await, "whole");
        let (all, end) = lines_after(&hub.0.file, 0).unwrap();
        assert_eq!((all.len(), message(&all[0])), (1, &said("whole")));
        assert_eq!(end, std::fs::metadata(&path).unwrap().len());
        // Nobody takes a line that is being written.
        std::fs::write(&path, "{\"user_id\":null").unwrap();
        assert_eq!(lines_after(&hub.0.file, 0).unwrap().1, 0);
    }

    #[tokio::test]
    async fn a_line_that_sends_an_account_away_is_no_message() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.log");
        let hub = Hub::open(&path).unwrap();
        hub.send_away("7").unwrap();
        hub.say(&said("next")).unwrap();
        let (all, _) = lines_after(&hub.0.file, 0).unwrap();
        let contents: Vec<_> = all.iter().map(|line| line.content.clone()).collect();
        assert_eq!(contents, [Content::Away { away: "7".to_owned() }, Content::Said(said("next"))]);
        // To a version that knows messages alone it is a line to pass over.
        assert!(serde_json::from_str::<Said>(&all[0].json).is_err());
    }

    #[tokio::test]
    async fn what_is_old_is_given_back_and_places_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.log");
        let hub = Hub::open(&path).unwrap();
        let long = said(&"😀".repeat(LONG + 1));
        assert_eq!(long.message.len(), 4 * LONG);
        let mut last = 0;
        while last < 3 * KEPT {
            last = std::fs::metadata(&path).unwrap().len();
            hub.say(&long).unwrap();
        }
        let metadata = std::fs::metadata(&path).unwrap();
        // A file system may set blocks aside behind the end.
        assert!(metadata.blocks() * 512 <= 2 * KEPT, "{metadata:?}");
        assert!(is_gone(&hub.0.file, 0).unwrap() && is_gone(&hub.0.file, u64::MAX).unwrap());
        assert!(!is_gone(&hub.0.file, last).unwrap());
        let (lines, end) = lines_after(&hub.0.file, last).unwrap();
        assert_eq!((message(&lines[0]), lines.len(), end), (&long, 1, metadata.len()));
    }

    #[tokio::test]
    async fn a_file_that_would_grow_for_ever_is_refused() {
        let refused = Hub::open(Path::new("/dev/null")).err().unwrap();
        assert!(refused.to_string().contains("takes no holes"), "{refused}");
    }
}

//! Lines on their way to their output: gathered in memory, written by a thread of its own, whole lines at a time.
//!
//! Who logs takes a lock that is nearly its own, copies, and goes on: an output that takes nothing costs lines, and how many is told, but stops no request. The
//! thread sleeps while there is nothing; once woken it writes what has gathered every [`PAUSE`], so that a busy worker pays for a
//! system call a batch and not a line.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use gin_shared::log_line::Shape;
use tracing_subscriber::fmt::MakeWriter;

use super::line::Direct;
use super::order::{Stamped, in_order, now};
use crate::shard::{SHARDS, shard};

/// Limit of the lines that wait in a shard, in bytes.
const WAITING_MAX: usize = 2 << 20;
/// Longest wait for the last lines at the end of the process.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// Pause between two writes.
const PAUSE: Duration = Duration::from_millis(2);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Length to which each line is cut before it is kept.
    shape: Shape,
    /// A lock that all threads take costs a busy worker more than the line.
    shards: [Shard; SHARDS],
    /// The thread that writes waits for something to come.
    sleeps: AtomicBool,
    over: AtomicBool,
    writer: OnceLock<Thread>,
}

/// Of the threads with this number; in cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    lines: Stamped,
    /// Lines that found no place.
    lost: u64,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits is written when it is dropped.
#[derive(Debug)]
pub(super) struct Flusher {
    queue: Queue,
    done: Receiver<()>,
}

impl Queue {
    /// Writes lines of this shape to `output`, in pieces of whole lines, of `piece` bytes at most unless one line is longer.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        piece: usize,
        shape: Shape,
    ) -> io::Result<(Self, Flusher)> {
        let own = Self(Arc::new(Inner {
            shape,
            shards: Default::default(),
            sleeps: AtomicBool::new(false),
            over: AtomicBool::new(false),
            writer: OnceLock::new(),
        }));
        let (thread, (ends, done)) = (own.clone(), channel());
        let writer = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            thread.run(output, piece);
            drop(ends);
        })?;
        let _ = own.0.writer.set(writer.thread().clone());
        Ok((own.clone(), Flusher { queue: own, done }))
    }

    /// A whole line. Lines are written in the order of these calls, whichever thread makes them.
    pub(super) fn put(&self, line: &str) {
        let line = self.0.shape.fit(line);
        let mut waiting = self.0.shards[shard()].lock();
        if waiting.lines.len() + line.len() > WAITING_MAX {
            waiting.lost += 1;
            return;
        }
        // Looked at with the lock held: who takes the lines later finds all that are older than that moment.
        waiting.lines.push(now(), &line);
        drop(waiting);
        if self.0.sleeps.load(Ordering::SeqCst) && self.0.sleeps.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// One that was made without an event.
    pub(crate) fn put_direct(&self, line: Direct) {
        self.put(&line.end());
    }

    fn wake(&self) {
        if let Some(writer) = self.0.writer.get() {
            writer.unpark();
        }
    }

    fn run(&self, mut output: impl Write, piece: usize) {
        let (mut taken, mut lines): ([Stamped; SHARDS], _) = Default::default();
        loop {
            // Asked before it is looked: what came before the end is written.
            let over = self.0.over.load(Ordering::SeqCst);
            let until = if over { u64::MAX } else { now() };
            let mut lost = 0;
            for (shard, taken) in self.0.shards.iter().zip(&mut taken) {
                let mut waiting = shard.lock();
                taken.append(&mut waiting.lines);
                lost += std::mem::take(&mut waiting.lost);
            }
            in_order(&mut taken, until, &mut lines);
            for piece in pieces(&lines, piece) {
                // Who has closed it does not want it; a full disk may have room later.
                let _ = output.write_all(piece);
            }
            // Those that came while it looked have their turn soon.
            let is_idle = lines.is_empty() && taken.iter().all(Stamped::is_empty);
            lines.clear();
            if lost > 0 {
                tracing::warn!(lost, "{lost} log lines were lost: their output took nothing");
            } else if over {
                let _ = output.flush();
                return;
            } else if is_idle {
                self.rest();
            } else {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Until something comes, or the end.
    fn rest(&self) {
        self.0.sleeps.store(true, Ordering::SeqCst);
        // Whoever came before that did not see it.
        let has_some = || self.0.shards.iter().any(|shard| !shard.lock().lines.is_empty());
        if !has_some() {
            while self.0.sleeps.load(Ordering::SeqCst) && !self.0.over.load(Ordering::SeqCst) {
                std::thread::park();
            }
        }
        self.0.sleeps.store(false, Ordering::SeqCst);
    }
}

/// Whole lines together, as many as fit.
fn pieces(lines: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = |within: &[u8]| within.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let fitting = if rest.len() <= most { Some(rest.len()) } else { end(&rest[..most]) };
        // One line that is longer goes alone.
        let length =
            fitting.or_else(|| rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1)).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(length);
        rest = behind;
        Some(piece)
    })
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.queue.0.over.store(true, Ordering::SeqCst);
        self.queue.wake();
        // An output that takes nothing keeps nobody from ending.
        let _ = self.done.recv_timeout(SHUTDOWN_GRACE);
    }
}

impl Write for Queue {
    /// A whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, SyncSender, sync_channel};

    use gin_shared::log_line::Form;

    use super::*;

    const SHAPE: Shape = Shape { form: Form::Text { has_colours: false }, length_max: usize::MAX };

    /// Says that it has been given a piece, and takes it when somebody asks for it.
    struct Slow(Sender<()>, SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Slow, Receiver<()>, Receiver<Vec<u8>>) {
        let ((entered, enters), (sender, receiver)) = (channel(), sync_channel(0));
        (Slow(entered, sender), enters, receiver)
    }

    #[test]
    fn lines_come_whole_and_in_order_and_the_last_ones_too() {
        let (output, _enters, pieces) = slow();
        let (mut queue, flusher) = Queue::start(output, 64, SHAPE).unwrap();
        let reader = std::thread::spawn(move || pieces.iter().collect::<Vec<_>>());
        let lines: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| queue.write_all(line.as_bytes()).unwrap());
        queue.write_all(("long".repeat(100) + "\n").as_bytes()).unwrap();
        drop(flusher);
        let pieces = reader.join().unwrap();
        assert!(pieces.iter().all(|piece| piece.ends_with(b"\n") && (piece.len() <= 64 || piece.len() == 401)));
        assert_eq!(pieces.concat(), [lines.concat(), "long".repeat(100), "\n".to_owned()].concat().into_bytes());
    }

    #[test]
    fn an_output_that_takes_nothing_costs_lines_and_no_time() {
        let (output, enters, pieces) = slow();
        let (mut queue, flusher) = Queue::start(output, 1 << 20, SHAPE).unwrap();
        queue.write_all(b"first\n").unwrap();
        // It hangs there from now on.
        enters.recv().unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            queue.write_all(&line).unwrap();
        }
        let lost: u64 = queue.0.shards.iter().map(|shard| shard.lock().lost).sum();
        assert_eq!(lost, 18, "two have room");
        // Nor does it keep anybody from ending.
        drop(flusher);
        assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), "first\n".len() + (2 << 20));
    }
}

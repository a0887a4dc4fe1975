//! The thread that takes a profile of the CPU: it starts the timers, reads what the handler sends, and ends both.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Cpu;
use super::modules::Modules;
use super::signal::{self, COPY_MOST, HEAD, Opened};
use super::stacks::{Stack, Stacks};
use super::timers::{Timers, Unsampled};

/// Time between two looks for new threads.
const LOOK: Duration = Duration::from_millis(250);

/// A profile as it is to be taken.
#[derive(Debug)]
pub(super) struct Sampler {
    what: Cpu,
    receiver: OwnedFd,
    sender: Arc<OwnedFd>,
}

/// A profile as it was taken: addresses without names.
#[derive(Debug)]
pub(super) struct Taken {
    /// Samples of a thread in a second of its time.
    pub(super) hz: u32,
    /// Begin.
    pub(super) began: SystemTime,
    /// Length.
    pub(super) took: Duration,
    /// True if it was ended before its time was over.
    pub(super) ended_early: bool,
    /// Stacks, each with the number of periods that it was seen in.
    pub(super) stacks: HashMap<Stack, u64>,
    /// Names of threads.
    pub(super) threads: HashMap<u32, String>,
    /// Threads that have none.
    pub(super) unsampled: Option<Unsampled>,
    /// Samples that were lost.
    pub(super) lost: u32,
    /// The code.
    pub(super) modules: Modules,
}

impl Sampler {
    /// Reads samples from `receiver`, which are written to `sender`, whose other owner ends the profile by `shutdown(2)`.
    pub(super) fn new(what: Cpu, receiver: OwnedFd, sender: Arc<OwnedFd>) -> Self {
        Self { what, receiver, sender }
    }

    /// Takes the profile. `ready` is told when samples are taken, or why there are none.
    pub(super) fn run(self, ready: &SyncSender<io::Result<()>>) -> Option<Taken> {
        let (began, start) = (SystemTime::now(), Instant::now());
        let opened = Opened::new(Arc::clone(&self.sender));
        let mut timers = match Timers::start(self.what.hz) {
            Ok(timers) => timers,
            Err(error) => {
                let _ = ready.send(Err(error));
                return None;
            }
        };
        let _ = ready.send(Ok(()));
        let read = catch_unwind(AssertUnwindSafe(|| {
            // Samples wait in the socket meanwhile.
            let modules = Modules::read();
            let mut stacks = Stacks::new(&modules);
            let mut buffer = vec![0; HEAD + COPY_MOST];
            let ended_early = self.read(start, &mut timers, &mut stacks, &mut buffer);
            (modules, stacks, buffer, ended_early)
        }));
        let took = start.elapsed();
        drop(opened);
        // A timer that is dropped by a panic is not ended: its signals would come for as long as the process lives.
        let ((threads, unsampled), lost) = (timers.end(), signal::lost());
        let (modules, mut stacks, mut buffer, ended_early) = match read {
            Ok(read) => read,
            Err(panic) => resume_unwind(panic),
        };
        while let Next::Sample(length) = next(&self.receiver, &mut buffer) {
            stacks.add(&buffer[..length]);
        }
        let stacks = stacks.into_counts();
        Some(Taken { hz: self.what.hz, began, took, ended_early, stacks, threads, unsampled, lost, modules })
    }

    /// Reads until the profile's time is over, or it is ended before: then this returns true.
    fn read(&self, start: Instant, timers: &mut Timers, stacks: &mut Stacks, buffer: &mut [u8]) -> bool {
        let end = start + self.what.time;
        let mut look = start + LOOK;
        loop {
            let now = Instant::now();
            if now >= end {
                return false;
            }
            if now >= look {
                // Threads that cannot be listed are missed; those that have a timer are sampled all the same.
                let _ = timers.look();
                look = now + LOOK;
            }
            match next(&self.receiver, buffer) {
                Next::Sample(length) => stacks.add(&buffer[..length]),
                Next::Nothing => wait(&self.receiver, end.min(look).saturating_duration_since(now)),
                Next::End => return true,
            }
        }
    }
}

/// The next message.
enum Next {
    /// A sample of this length.
    Sample(usize),
    /// There is none yet.
    Nothing,
    /// There will be none.
    End,
}

fn next(receiver: &OwnedFd, buffer: &mut [u8]) -> Next {
    match recv(receiver, buffer, RecvFlags::DONTWAIT) {
        Ok((0, _)) => Next::End,
        Ok((length, _)) => Next::Sample(length),
        Err(Errno::AGAIN | Errno::INTR) => Next::Nothing,
        Err(_) => Next::End,
    }
}

/// Waits for a sample, for the end of the profile, or for so long.
fn wait(receiver: &OwnedFd, time: Duration) {
    let time = Timespec::try_from(time).ok();
    let _ = poll(&mut [PollFd::new(receiver, PollFlags::IN)], time.as_ref());
}

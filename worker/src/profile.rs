#![doc = include_str!("profile.md")]

// How they are taken. CPU: each thread has a timer on its own CPU clock (`timers`). Its signal's handler sends the registers and a copy of
// the stack over a socket (`signal`). A thread of the profile's own reads them (`sampler`), unwinds and counts them (`stacks`), by what the
// mapped files say (`modules`). Heap: jemalloc samples allocations all the time, and writes down which of them live (`heap`). Names of
// functions are looked up at the end (`symbols`), on the same thread. Between two profiles there is no timer, no thread and no descriptor;
// a profile that is dropped ends by itself.
//
// No step waits for a client: the next profile can begin when this one has its names, whether anybody reads it or not. And the end of a
// process waits for no thread of a profile, as it does for tokio's threads for blocking work.

mod cpu;
mod heap;
mod modules;
mod sampler;
mod signal;
mod stacks;
mod symbols;
#[cfg(test)]
mod tests;
mod timers;

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use gin_shared::fault;
use gin_shared::pprof::Profile;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use tokio::sync::oneshot;

use self::sampler::Sampler;

#[cfg(feature = "profile-heap")]
pub use tikv_jemallocator::Jemalloc;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use self::heap::fuzzed;

#[cfg(not(target_env = "gnu"))]
compile_error!("the feature \"profile\" of gin-worker needs glibc");

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the feature \"profile\" of gin-worker needs x86_64 or aarch64");

/// Samples that the socket is to have room for, in bytes. The kernel may give less (`net.core.wmem_max`).
const ROOM: usize = 1024 * 1024;

/// True while a profile of the CPU is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Has this program's memory managed by jemalloc, which keeps a profile of the heap: `gin_worker::heap_profiles!();` in `main.rs`, outside
/// of any function. The environment variable `_RJEM_MALLOC_CONF` changes the options that it sets.
#[cfg(feature = "profile-heap")]
#[macro_export]
macro_rules! heap_profiles {
    () => {
        #[global_allocator]
        static JEMALLOC: $crate::profile::Jemalloc = $crate::profile::Jemalloc;

        // A pointer to text that ends with a zero, as jemalloc reads it before anything else runs.
        #[allow(unsafe_code, reason = "jemalloc finds its options by this name")]
        #[used]
        #[unsafe(export_name = "_rjem_malloc_conf")]
        static JEMALLOC_OPTIONS: &u8 = &b"prof:true,prof_active:true,lg_prof_sample:19\0"[0];
    };
}

/// A profile of the time on the CPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// Length: 1 to 300 s.
    pub(crate) time: Duration,
    /// Samples of a thread in a second of its time: 1 to 999.
    pub(crate) hz: u32,
}

/// A profile that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Another one is being taken.
    #[error("another profile is being taken; ask again when it is done")]
    Busy,
    /// Another part of the program handles SIGPROF.
    #[error("another part of this program handles SIGPROF, by which profiles are taken")]
    Signal,
    /// The system refuses.
    #[error("cannot take a profile: {0}")]
    Io(#[from] io::Error),
    /// The allocator tells nothing.
    #[error("{0}")]
    NoHeap(&'static str),
}

/// A profile that is being taken. If it is dropped, the profile ends.
#[derive(Debug)]
pub(crate) struct Running {
    stop: Stop,
    taken: oneshot::Receiver<Profile>,
}

/// Begins a profile. Samples are taken from here on.
///
/// # Errors
/// If none can be taken now.
pub(crate) fn begin(what: Cpu) -> Result<Running, ProfileError> {
    let claim = Claim::new(&IS_TAKEN).ok_or(ProfileError::Busy)?;
    if !signal::install()? {
        return Err(ProfileError::Signal);
    }
    fault::at("profile.socket").map_err(io::Error::from)?;
    let (receiver, sender) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(io::Error::from)?;
    // With less room more samples are lost, which is told.
    let _ = set_socket_send_buffer_size(&sender, ROOM);
    let sender = Arc::new(sender);
    let stop = Stop(Arc::downgrade(&sender));
    let (ready, is_ready) = mpsc::sync_channel(1);
    let (done, taken) = oneshot::channel();
    fault::at("profile.thread").map_err(io::Error::from)?;
    let thread = thread::Builder::new().name("gin-profiler".to_owned()).spawn(move || {
        let sampler = Sampler::new(what, receiver, sender);
        if let Some(profile) = take(sampler, claim, &ready, || !done.is_closed()) {
            let _ = done.send(profile);
        }
    })?;
    // As long as it takes to start a timer for each thread.
    if let Err(error) = is_ready.recv().unwrap_or_else(|_| Err(failed())) {
        // Its claim ends with it.
        let _ = thread.join();
        return Err(error.into());
    }
    Ok(Running { stop, taken })
}

/// Takes a profile on the thread that calls, and names its functions if somebody still waits for it. The claim ends with this, and not when
/// a client has the profile.
fn take(
    sampler: Sampler,
    _claim: Claim,
    ready: &SyncSender<io::Result<()>>,
    is_wanted: impl Fn() -> bool,
) -> Option<Profile> {
    let taken = sampler.run(ready)?;
    is_wanted().then(|| cpu::profile(taken))
}

/// Takes a profile of the heap.
///
/// # Errors
/// If the allocator tells nothing, or another one is being taken.
pub(crate) async fn heap() -> Result<Profile, ProfileError> {
    heap::take().await
}

impl Running {
    /// Waits for the end of the profile, which is the end of `ends_early` if that comes first.
    ///
    /// # Errors
    /// If the profile could not be taken.
    pub(crate) async fn finish(self, ends_early: impl Future<Output = ()>) -> Result<Profile, ProfileError> {
        let Self { stop, mut taken } = self;
        let ends_early = pin!(ends_early);
        let in_time = tokio::select! {
            biased;
            taken = &mut taken => Some(taken),
            () = ends_early => None,
        };
        drop(stop);
        let taken = match in_time {
            Some(taken) => taken,
            None => taken.await,
        };
        Ok(taken.map_err(|_| failed())?)
    }
}

fn failed() -> io::Error {
    io::Error::other("the thread that takes it has failed")
}

/// Ends a profile when it is dropped. It keeps no descriptor: the profile may have ended long before.
#[derive(Debug)]
struct Stop(Weak<OwnedFd>);

impl Drop for Stop {
    fn drop(&mut self) {
        // The reader finds the end behind the last sample, and a handler EPIPE.
        if let Some(sender) = self.0.upgrade() {
            let _ = shutdown(&*sender, Shutdown::Both);
        }
    }
}

/// The right to take a profile: one at a time.
#[derive(Debug)]
struct Claim(&'static AtomicBool);

impl Claim {
    fn new(flag: &'static AtomicBool) -> Option<Self> {
        (!flag.swap(true, Ordering::AcqRel)).then_some(Self(flag))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

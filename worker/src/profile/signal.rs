//! The handler of SIGPROF, and its socket: the one file of the profiler of the CPU that has `unsafe`.
//!
//! A handler may interrupt anything: an allocation, a lock that is held, half of a function's prologue. So it unwinds nothing. It
//! sends the registers and the readable part of the stack above them as one message over a socket pair, and returns. It calls
//! sendmsg(2) and rt_sigprocmask(2), and touches its arguments, errno and atomics alone. A thread of its own reads the messages
//! (`sampler.rs`).
//!
//! The handler stays installed when a profile ends: a signal that comes late finds no socket, and nothing happens. Without a handler
//! SIGPROF ends the process.
//!
//! The socket's number must not be used by a handler when the socket is closed, for the number may be a client's connection by then.
//! So a handler says that it is inside before it reads the number, and the end of [`Opened`] takes the number away and then waits
//! until nobody is inside.

#![allow(unsafe_code, reason = "a signal handler, and the registers of the code that it interrupts")]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void, iovec, msghdr, siginfo_t, ucontext_t};

/// Bytes of a stack that are copied at first.
const COPY_FIRST: usize = 16 * 1024;
/// Most bytes of a stack that are copied.
pub(super) const COPY_MOST: usize = 128 * 1024;
/// Fewest bytes that are tried where the kernel takes no more.
const COPY_LEAST: usize = 1024;
/// Steps in which the readable part of a stack is found: the smallest page of any machine.
const PAGE: u64 = 4096;

/// Words before the stack in a message.
const HEAD_WORDS: usize = 6;
/// The same in bytes.
pub(super) const HEAD: usize = HEAD_WORDS * 8;

/// Number of the socket that takes samples; -1: none.
static SOCKET: AtomicI32 = AtomicI32::new(-1);
/// Number of threads that are in the handler.
static INSIDE: AtomicU32 = AtomicU32::new(0);
/// Bytes of a stack that are to be copied.
static COPY: AtomicUsize = AtomicUsize::new(COPY_FIRST);
/// Samples that the socket had no room for.
static LOST: AtomicU32 = AtomicU32::new(0);

/// The registers of a thread, and what was copied of its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Address of the instruction.
    pub(super) ip: u64,
    /// Address where the copy of the stack begins.
    pub(super) sp: u64,
    /// The frame pointer.
    pub(super) fp: u64,
    /// The link register, on aarch64.
    pub(super) lr: u64,
    /// The thread.
    pub(super) thread: u32,
    /// Periods of its timer that the sample stands for: more than one where the kernel's tick is longer than a period.
    pub(super) periods: u32,
    /// Bytes that were to be copied.
    pub(super) wanted: usize,
}

impl Head {
    /// Reads a message: its head, and the stack behind it.
    pub(super) fn parse(message: &[u8]) -> Option<(Self, &[u8])> {
        let (head, stack) = message.split_first_chunk::<HEAD>()?;
        let (words, _) = head.as_chunks::<8>();
        let &[ip, sp, fp, lr, who, wanted] = words else { return None };
        let who = u64::from_ne_bytes(who);
        let head = Self {
            ip: u64::from_ne_bytes(ip),
            sp: u64::from_ne_bytes(sp),
            fp: u64::from_ne_bytes(fp),
            lr: u64::from_ne_bytes(lr),
            thread: (who >> 32) as u32,
            periods: who as u32,
            wanted: u64::from_ne_bytes(wanted) as usize,
        };
        Some((head, stack))
    }
}

/// Installs the handler. False: another part of the program has one.
///
/// # Errors
/// The errors of `sigaction(2)`.
pub(super) fn install() -> io::Result<bool> {
    // SAFETY: a sigaction without a handler is all zeros.
    let (mut before, mut own) = unsafe { (zeroed::<libc::sigaction>(), zeroed::<libc::sigaction>()) };
    own.sa_sigaction = sample as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as *const () as libc::sighandler_t;
    own.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: without a new action, sigaction(2) writes the present one to `before` and changes nothing.
    Errno::result(unsafe { libc::sigaction(libc::SIGPROF, ptr::null(), &raw mut before) })?;
    if before.sa_sigaction == own.sa_sigaction {
        return Ok(true);
    }
    if before.sa_sigaction != libc::SIG_DFL && before.sa_sigaction != libc::SIG_IGN {
        return Ok(false);
    }
    // SAFETY: `sample` has the signature that SA_SIGINFO asks for, and calls async-signal-safe functions alone.
    Errno::result(unsafe { libc::sigaction(libc::SIGPROF, &raw const own, ptr::null_mut()) })?;
    Ok(true)
}

/// Samples are sent to a socket for as long as this lives.
#[derive(Debug)]
pub(super) struct Opened(Arc<OwnedFd>);

impl Opened {
    /// Has samples sent to this socket from now on.
    pub(super) fn new(socket: Arc<OwnedFd>) -> Self {
        COPY.store(COPY_FIRST, Ordering::Relaxed);
        LOST.store(0, Ordering::Relaxed);
        SOCKET.store(socket.as_raw_fd(), Ordering::SeqCst);
        Self(socket)
    }
}

impl Drop for Opened {
    /// Ends the samples, and waits until no handler uses the socket.
    fn drop(&mut self) {
        SOCKET.store(-1, Ordering::SeqCst);
        for _ in 0..1000 {
            if INSIDE.load(Ordering::SeqCst) == 0 {
                return;
            }
            // A handler takes microseconds and cannot tell anybody that it is done. A thread that is traced or frozen takes longer.
            std::thread::sleep(Duration::from_millis(1));
        }
        // It stays open for as long as the process lives.
        std::mem::forget(Arc::clone(&self.0));
    }
}

/// Has more of each stack copied from now on. `from` is what was too little.
pub(super) fn grow(from: usize) {
    let more = from.saturating_mul(2).clamp(COPY_FIRST, COPY_MOST);
    COPY.fetch_max(more, Ordering::Relaxed);
}

/// Number of the samples that were lost since the socket was opened.
pub(super) fn lost() -> u32 {
    LOST.load(Ordering::Relaxed)
}

extern "C" fn sample(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: the kernel passes both to a handler with SA_SIGINFO, and they live until it returns.
    let (info, context) = unsafe { (&*info, &*context.cast::<ucontext_t>()) };
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let socket = SOCKET.load(Ordering::SeqCst);
    // A signal of kill(2) says nothing about the time on the CPU.
    if socket >= 0 && info.si_code == libc::SI_TIMER {
        send(socket, info, context);
    }
    INSIDE.fetch_sub(1, Ordering::SeqCst);
    Errno::set_raw(errno);
}

/// Sends a sample. It waits for nothing: what has no room is counted.
fn send(socket: c_int, info: &siginfo_t, context: &ucontext_t) {
    let [ip, sp, fp, lr] = registers(context);
    let wanted = COPY.load(Ordering::Relaxed);
    // SAFETY: a signal of a timer has both. The value is the thread, as `timers.rs` has written it.
    let (thread, more) = unsafe { (info.si_value().sival_ptr as usize as u64, info.si_overrun()) };
    let periods = u64::from(more.max(0).unsigned_abs().saturating_add(1));
    let head: [u64; HEAD_WORDS] = [ip, sp, fp, lr, (thread << 32) | periods, wanted as u64];
    let mut length = readable(sp, wanted);
    loop {
        let mut parts = [
            iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: HEAD },
            iovec { iov_base: sp as usize as *mut c_void, iov_len: length },
        ];
        // SAFETY: a message without contents is all zeros.
        let mut message = unsafe { zeroed::<msghdr>() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len();
        // SAFETY: the kernel reads the head, which lives, and the stack: where it cannot, it answers EFAULT.
        let sent = unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if sent >= 0 {
            return;
        }
        match Errno::last_raw() {
            // The stack has changed, or the socket's buffer is a small one.
            libc::EFAULT | libc::EMSGSIZE if length > 0 => length = if length > COPY_LEAST { length / 2 } else { 0 },
            // The profile has ended.
            libc::EPIPE => return,
            _ => {
                LOST.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Instruction, stack and frame pointers, link register.
#[cfg(target_arch = "x86_64")]
fn registers(context: &ucontext_t) -> [u64; 4] {
    let all = &context.uc_mcontext.gregs;
    let [ip, sp, fp] = [libc::REG_RIP, libc::REG_RSP, libc::REG_RBP].map(|which| all[which as usize] as u64);
    [ip, sp, fp, 0]
}

/// Instruction, stack and frame pointers, link register.
#[cfg(target_arch = "aarch64")]
fn registers(context: &ucontext_t) -> [u64; 4] {
    let all = &context.uc_mcontext;
    [all.pc, all.sp, all.regs[29], all.regs[30]]
}

/// Number of bytes from an address on that can be read, at most so many: a stack ends where a page cannot be read.
fn readable(from: u64, most: usize) -> usize {
    let last = from.saturating_add(most as u64);
    let mut end = (from | (PAGE - 1)).saturating_add(1);
    while end < last && is_readable(end) {
        end = end.saturating_add(PAGE);
    }
    end.min(last).saturating_sub(from) as usize
}

/// True if the kernel can read a word at the address. It copies the set of signals before it refuses an operation that there is not:
/// EFAULT, or EINVAL.
fn is_readable(address: u64) -> bool {
    let none: usize = 0;
    // SAFETY: the call changes nothing: there is no operation of this number. An address that cannot be read is EFAULT.
    let answer =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, c_int::MAX, address as usize, none, size_of::<u64>()) };
    answer == 0 || Errno::last_raw() != libc::EFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let words: [u64; HEAD_WORDS] = [1, 2, 3, 4, (7 << 32) | 9, 16384];
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        message.extend(b"stack");
        let head = Head { ip: 1, sp: 2, fp: 3, lr: 4, thread: 7, periods: 9, wanted: 16384 };
        assert_eq!(Head::parse(&message), Some((head, &b"stack"[..])));
        assert_eq!(Head::parse(&message[..HEAD - 1]), None);
    }

    #[test]
    fn the_readable_part_of_memory_ends_at_the_first_page_that_cannot_be_read() {
        let here = 0_u64;
        let start = &raw const here as u64;
        assert!(is_readable(start) && !is_readable(PAGE) && !is_readable(u64::MAX - 15));
        assert_eq!(readable(start, 8), 8);
        // Nothing is mapped at the beginning: it ends with the page.
        assert_eq!(readable(100, 64 * 1024), 4096 - 100);
        assert!(readable(u64::MAX - 100, 64 * 1024) <= 101);
    }
    extern "C" fn foreign(_: c_int) {}

    /// Has SIGPROF handled by this, and gives the handler before.
    fn handle(action: &libc::sigaction) -> libc::sigaction {
        // SAFETY: all zeros are a sigaction.
        let mut before = unsafe { zeroed() };
        // SAFETY: `foreign` does nothing, and the other action is the one that was there.
        let answer = unsafe { libc::sigaction(libc::SIGPROF, action, &raw mut before) };
        assert_eq!(answer, 0);
        before
    }

    #[test]
    fn a_handler_of_another_part_of_the_program_stays() {
        crate::profile::tests::alone(|| {
            // SAFETY: all zeros are a sigaction.
            let mut action = unsafe { zeroed::<libc::sigaction>() };
            action.sa_sigaction = foreign as extern "C" fn(c_int) as *const () as libc::sighandler_t;
            let before = handle(&action);
            let is_installed = install().unwrap();
            let found = handle(&before);
            assert!(!is_installed && found.sa_sigaction == action.sa_sigaction);
            assert!(install().unwrap() && install().unwrap());
        });
    }
}

//! Faults and deaths on demand, so that tests can have each call into the kernel fail, and a process die at each step. A
//! release build has none of it.
//!
//! `GIN_FAULTS` (in a worker `GIN_WORKER_FAULTS`) names a file, read at each point: `NAME EMFILE` makes the call of that name fail so, `NAME kill` kills this
//! process there, `NAME panic` panics, `NAME stop` stops it, `NAME kill 2` lets two pass before, from the order on, and
//! `NAME kill 0 once` ends one process alone, though several are under the same orders. Orders that were carried out stand in a file beside it, `.done`.

/// A call that may be made to fail.
///
/// # Errors
/// The one that was ordered.
#[cfg(not(debug_assertions))]
#[inline]
pub fn at(_: &'static str) -> nix::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
pub use ordered::at;

#[cfg(debug_assertions)]
mod ordered {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::io::Write;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use nix::errno::Errno;
    use nix::sys::signal::{Signal, raise};

    static FILE: OnceLock<Option<OsString>> = OnceLock::new();
    /// How often each order was met.
    static MET: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

    /// The supervisor's own; it is not passed on to workers, which are told otherwise.
    fn variable() -> Option<OsString> {
        std::env::var_os("GIN_FAULTS").or_else(|| std::env::var_os("GIN_WORKER_FAULTS"))
    }

    /// A call that may be made to fail.
    ///
    /// # Errors
    /// The one that was ordered.
    pub fn at(name: &'static str) -> nix::Result<()> {
        let Some(file) = FILE.get_or_init(variable) else { return Ok(()) };
        let orders = std::fs::read_to_string(file).unwrap_or_default();
        for order in orders.lines() {
            let mut words = order.split(' ');
            if words.next() != Some(name) {
                continue;
            }
            let (what, passes) =
                (words.next().unwrap_or_default(), words.next().and_then(|n| n.parse().ok()).unwrap_or(0));
            let mut done = file.clone();
            done.push(".done");
            if words.next() == Some("once")
                && std::fs::read_to_string(&done).is_ok_and(|done| done.lines().any(|line| line == order))
            {
                continue;
            }
            let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
            let count = met.entry(order.to_owned()).or_default();
            *count += 1;
            if *count <= passes {
                continue;
            }
            if *count == passes + 1
                && let Ok(mut done) = std::fs::File::options().append(true).create(true).open(done)
            {
                let _ = writeln!(done, "{order}");
            }
            let ends = match what {
                "kill" => Some(Signal::SIGKILL),
                "stop" if *count == passes + 1 => Some(Signal::SIGSTOP),
                _ => None,
            };
            drop(met);
            if let Some(signal) = ends {
                let _ = raise(signal);
            }
            assert!(what != "panic", "as ordered");
            let errno = match what {
                "EMFILE" => Errno::EMFILE,
                "ENOMEM" => Errno::ENOMEM,
                "ENOSPC" => Errno::ENOSPC,
                "EACCES" => Errno::EACCES,
                "EINTR" => Errno::EINTR,
                "EAGAIN" => Errno::EAGAIN,
                "ETOOMANYREFS" => Errno::ETOOMANYREFS,
                _ => continue,
            };
            return Err(errno);
        }
        Ok(())
    }
}

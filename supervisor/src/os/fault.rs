//! Faults and deaths on demand, so that tests can have each call of this layer fail, and the master die at each step. A
//! release build has none of it.
//!
//! `GIN_FAULTS` names a file, read at each point: `NAME EMFILE` makes the call of that name fail so, `NAME kill` kills this
//! process there, `NAME panic` panics, `NAME kill 2` lets two pass before, from the order on. Orders that were carried out stand in a file beside it, `.done`.

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

    static FILE: OnceLock<Option<OsString>> = OnceLock::new();
    /// How often each order was met.
    static MET: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

    /// A call that may be made to fail.
    ///
    /// # Errors
    /// The one that was ordered.
    pub fn at(name: &'static str) -> nix::Result<()> {
        let Some(file) = FILE.get_or_init(|| std::env::var_os("GIN_FAULTS")) else { return Ok(()) };
        let orders = std::fs::read_to_string(file).unwrap_or_default();
        for order in orders.lines() {
            let mut words = order.split(' ');
            if words.next() != Some(name) {
                continue;
            }
            let (what, passes) =
                (words.next().unwrap_or_default(), words.next().and_then(|n| n.parse().ok()).unwrap_or(0));
            let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
            let count = met.entry(order.to_owned()).or_default();
            *count += 1;
            if *count <= passes {
                continue;
            }
            if *count == passes + 1 {
                let mut done = file.clone();
                done.push(".done");
                if let Ok(mut done) = std::fs::File::options().append(true).create(true).open(done) {
                    let _ = writeln!(done, "{order}");
                }
            }
            drop(met);
            if what == "kill" {
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            }
            assert!(what != "panic", "as ordered");
            let errno = match what {
                "EMFILE" => Errno::EMFILE,
                "ENOMEM" => Errno::ENOMEM,
                "ENOSPC" => Errno::ENOSPC,
                "EACCES" => Errno::EACCES,
                "EINTR" => Errno::EINTR,
                "EAGAIN" => Errno::EAGAIN,
                _ => continue,
            };
            return Err(errno);
        }
        Ok(())
    }
}

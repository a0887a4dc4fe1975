//! Memory of this process: looked at ten times a second, if `limits.memory` says how much there may be.

use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

use crate::pressure;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Longest pause between two trims of the heap.
const TRIM_MAX: Duration = Duration::from_secs(3);

/// Trims of the heap near the limit: what is freed stays with the allocator otherwise, and counts. A trim walks through the whole heap,
/// so each pause is twice as long as the last one, while the process stays near its limit.
#[derive(Debug, Default)]
struct Trims {
    next: Option<Instant>,
    pause: Duration,
}

impl Trims {
    /// True if the heap is to be trimmed now, after a look at the memory.
    fn is_due(&mut self, is_near: bool, now: Instant) -> bool {
        if !is_near {
            *self = Self::default();
            return false;
        }
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.pause = (self.pause * 2).clamp(LOOK, TRIM_MAX);
        self.next = Some(now + self.pause);
        true
    }
}

/// Looks for as long as the process lives. `limit`: in bytes.
pub(super) async fn watch(limit: u64) {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096);
    let mut trims = Trims::default();
    loop {
        let is_near = resident(page).is_some_and(|used| used >= limit / 10 * 9);
        let now = Instant::now();
        if pressure::set(is_near, now) {
            if is_near {
                tracing::warn!("near limits.memory: new requests are answered with 503");
            } else {
                tracing::info!("below limits.memory again");
            }
        }
        if trims.is_due(is_near, now) {
            let _ = tokio::task::spawn_blocking(crate::heap::trim).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Memory that is resident, in bytes (proc_pid_statm(5)).
fn resident(page: u64) -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_is_trimmed_at_once_and_then_less_and_less_often() {
        let (mut trims, began) = (Trims::default(), Instant::now());
        let at = |looks: u32| began + LOOK * looks;
        let due: Vec<u32> = (0..200).filter(|looks| trims.is_due(true, at(*looks))).collect();
        assert_eq!(due[..6], [0, 1, 3, 7, 15, 31]);
        assert!(due[6..].windows(2).all(|pair| pair[1] - pair[0] == 30), "{due:?}");
        assert!(!trims.is_due(false, at(200)) && trims.is_due(true, at(201)), "another time");
    }
}

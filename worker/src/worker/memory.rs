//! Memory of this process: looked at ten times a second, if `limits.memory` says how much there may be.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::middleware::memory_pressure;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Looks for as long as the process lives. `limit`: in bytes.
pub(super) async fn watch(limit: u64) {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096);
    loop {
        let is_near = resident(page).is_some_and(|used| used >= limit / 10 * 9);
        if memory_pressure::set(is_near) {
            if is_near {
                tracing::warn!("near limits.memory: new requests are answered with 503");
            } else {
                tracing::info!("below limits.memory again");
            }
        }
        if is_near {
            // What is freed stays with the allocator otherwise, and counts.
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

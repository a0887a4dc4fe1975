//! Clients that go round while something happens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Has each client go round, again and again, while `meanwhile` happens, and once more when it is over. `go_round` is told whether it is
/// the last time. The clients are shared by so many threads at most.
pub fn rounds<C: Send>(
    clients: &mut [C],
    threads: usize,
    go_round: impl Fn(&mut C, bool) + Sync,
    meanwhile: impl FnOnce(),
) {
    let over = AtomicBool::new(false);
    let size = clients.len().div_ceil(threads);
    thread::scope(|scope| {
        for part in clients.chunks_mut(size) {
            let (over, go_round) = (&over, &go_round);
            scope.spawn(move || {
                loop {
                    // Each round is whole, so that each client has asked after all that has happened.
                    let is_last = over.load(Ordering::Acquire);
                    part.iter_mut().for_each(|client| go_round(client, is_last));
                    if is_last {
                        break;
                    }
                }
            });
        }
        meanwhile();
        over.store(true, Ordering::Release);
    });
}

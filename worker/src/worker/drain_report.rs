//! Reports to the master what becomes of the connections in a drain. Nothing depends on them.

use std::time::Duration;

use super::channel::Channel;
use crate::graceful::Life;

/// Time between two reports.
const INTERVAL: Duration = Duration::from_millis(200);
/// Time before the first report: most connections are handed over by then.
const FIRST: Duration = Duration::from_millis(50);

/// The last report, which is sent when this is dropped.
struct Last(Channel, Life);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.say_drained(self.1.fates());
    }
}

/// Reports every change now and then, and once more when this is dropped, even if it was never polled: a drain may end before the
/// runtime comes to it.
pub(super) fn send(channel: Channel, life: Life) -> impl Future<Output = ()> {
    let last = Last(channel, life);
    async move {
        let (mut reported, mut pause) = (None, FIRST);
        loop {
            tokio::time::sleep(std::mem::replace(&mut pause, INTERVAL)).await;
            let counts = last.1.fates();
            if reported.replace(counts) != Some(counts) {
                last.0.say_drained(counts);
            }
        }
    }
}

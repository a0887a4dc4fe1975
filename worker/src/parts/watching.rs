//! Looks at parts that are away, until they are back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Health, Part, Parts};

/// Time between two looks.
pub(crate) const LOOK: Duration = Duration::from_secs(2);
/// A look that takes longer is given up, so that the next one can begin.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Watches parts until it is dropped.
#[derive(Debug)]
pub(crate) struct Watching(#[expect(dead_code, reason = "its tasks end when it is dropped")] JoinSet<()>);

impl Parts {
    /// Looks at each part after this time, if it is away then; logs that it is away, and that it is back.
    pub(crate) fn watch(&self, every: Duration) -> Watching {
        let mut tasks = JoinSet::new();
        for part in &self.0.all {
            tasks.spawn(watch(Arc::clone(part), every));
        }
        Watching(tasks)
    }
}

async fn watch(part: Arc<dyn Part>, every: Duration) {
    let mut since = None;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if tell(&*part, &mut since) {
            // What it has found is what `health` tells then.
            let _ = timeout(LOOK_MAX, part.look()).await;
            tell(&*part, &mut since);
        }
    }
}

/// Logs a change since the last time. Returns true if the part is away.
fn tell(part: &dyn Part, since: &mut Option<Instant>) -> bool {
    let name = part.name();
    match (part.health(), *since) {
        (Health::Here, None) => false,
        (Health::Away { .. }, Some(_)) => true,
        (Health::Away { why }, None) => {
            *since = Some(Instant::now());
            tracing::warn!("the {name} is away: {why}");
            true
        }
        (Health::Here, Some(began)) => {
            *since = None;
            tracing::info!("the {name} is back after {} s", began.elapsed().as_secs());
            false
        }
    }
}

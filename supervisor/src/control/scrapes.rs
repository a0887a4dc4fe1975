//! `GET /v1/metrics`: the metrics of the supervisor, and those that all workers have counted together.
//!
//! They are gathered on a thread, and only when somebody asks: files in /proc, the disks, and the memory of the workers may take long. One
//! thread gathers at a time, whatever the number of callers; it ends with its answer, so an idle master has none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gin_shared::exit;
use gin_shared::metrics::{Family, Format, Memory, Snapshot, TakenNames, encode};
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};

use super::{error, look};
use crate::inbox::{Handle, Message};
use crate::samples::Samples;

/// Time for an answer, with the wait for those before it.
const PATIENCE: Duration = Duration::from_secs(8);

/// Metrics that cannot be had.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error("the supervisor is leaving")]
    Leaving,
    #[error("there is no thread to gather the metrics: {0}")]
    NoThread(io::Error),
    #[error("gathering the metrics failed; the supervisor's log says why")]
    Failed,
    #[error("the metrics could not be gathered within {} s: other scrapes come first, or a disk does not answer", PATIENCE.as_secs())]
    Late,
}

impl ScrapeError {
    fn exit(&self) -> u8 {
        match self {
            Self::Leaving => exit::NO_SUPERVISOR,
            Self::NoThread(_) | Self::Failed => exit::FAILED,
            Self::Late => exit::TIMED_OUT,
        }
    }
}

/// Gathers the metrics for those who ask. Cheap to clone; all copies gather one after the other.
#[derive(Debug, Clone)]
pub struct Scrapes {
    handle: Handle,
    sources: Arc<Sources>,
    /// The right to gather, which the thread has.
    turn: Arc<Semaphore>,
}

/// The sources that are the same for each answer.
#[derive(Debug)]
struct Sources {
    /// The memory in which the workers count.
    memory: Memory,
    /// The instance's name.
    instance: String,
}

/// The metrics that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The sums over all workers that there have been.
    Sum,
    /// The metrics of each worker that lives.
    Worker,
}

/// The query.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// `worker`, or nothing.
    #[serde(default)]
    by: Option<String>,
}

/// `GET /v1/metrics`, and `/metrics` of the listener for scrapers.
pub(super) async fn metrics(
    State(scrapes): State<Scrapes>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let by = match asked.by.as_deref() {
        None => By::Sum,
        Some("worker") => By::Worker,
        Some(_) => return error(StatusCode::BAD_REQUEST, exit::USAGE, "by: only by=worker is known"),
    };
    let format = Format::accepted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    match scrapes.text(by, format).await {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, why.exit(), why.to_string()),
    }
}

impl Scrapes {
    /// Reads this memory, for this instance.
    #[must_use]
    pub fn new(handle: Handle, memory: Memory, instance: String) -> Self {
        let sources = Arc::new(Sources { memory, instance });
        Self { handle, sources, turn: Arc::new(Semaphore::new(1)) }
    }

    async fn text(&self, by: By, format: Format) -> Result<String, ScrapeError> {
        tokio::time::timeout(PATIENCE, self.gather(by, format)).await.unwrap_or(Err(ScrapeError::Late))
    }

    async fn gather(&self, by: By, format: Format) -> Result<String, ScrapeError> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| ScrapeError::Leaving)?;
        let samples: Samples = look::answer(&self.handle, Message::Samples).await.ok_or(ScrapeError::Leaving)?;
        let sources = Arc::clone(&self.sources);
        let (sender, text) = oneshot::channel();
        let work = move || {
            let text = encode(sources.families(samples, by), format);
            // The next one may begin, also if nobody waits for this answer any more.
            drop(turn);
            let _ = sender.send(text);
        };
        std::thread::Builder::new().name("scrape".to_owned()).spawn(work).map_err(ScrapeError::NoThread)?;
        text.await.map_err(|_| ScrapeError::Failed)
    }
}

impl Sources {
    /// The supervisor's own families, and the workers' behind them.
    fn families(&self, samples: Samples, by: By) -> Vec<Family> {
        let Snapshot { families, dropped } = match by {
            By::Sum => self.memory.read(),
            By::Worker => self.memory.read_by_worker(),
        };
        let mut all = samples.families();
        let (families, clashing) = without_names_of(&all, families);
        let help = "Series in the workers' memory that were left out of this scrape: they make no sense, or others have their name.";
        let left_out = Family::gauge(DROPPED, help);
        all.push(left_out.with(&[("instance", self.instance.as_str())], (dropped + clashing) as f64));
        all.extend(families);
        all
    }
}

/// The name of the gauge that tells of series that were left out.
const DROPPED: &str = "gin_metrics_dropped_series";

/// Takes out the workers' families that have a sample of the same name as the supervisor's: a scraper refuses all of an answer that names
/// one twice. Gives those that are left, and the number of series that are not.
fn without_names_of(own: &[Family], families: Vec<Family>) -> (Vec<Family>, u64) {
    let mut taken = TakenNames::default();
    own.iter().chain([&Family::gauge(DROPPED, "")]).for_each(|family| _ = taken.take(family));
    let (left, clashing): (Vec<Family>, Vec<Family>) = families.into_iter().partition(|family| taken.take(family));
    (left, clashing.iter().map(|family| family.series.len() as u64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_family_does_not_take_a_name_of_the_supervisors() {
        let own = [
            Family::gauge("gin_down", "").with(&[], 0.0),
            Family::counter("gin_upgrades", "").with(&[], 1.0),
            Family::gauge("shop_orders_total", "").with(&[], 1.0),
        ];
        let two = |family: Family| family.with(&[("of", "a")], 1.0).with(&[("of", "b")], 2.0);
        let theirs = vec![
            two(Family::counter("gin_down", "")),
            two(Family::gauge("gin_upgrades_total", "")),
            two(Family::counter("shop_orders", "")),
            two(Family::gauge(DROPPED, "")),
            two(Family::counter("shop_carts", "")),
        ];
        let (left, dropped) = without_names_of(&own, theirs);
        assert_eq!(left.iter().map(|family| family.name.as_str()).collect::<Vec<_>>(), ["shop_carts"]);
        assert_eq!(dropped, 8);
    }
}

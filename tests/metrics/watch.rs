//! Scrapes while something happens, one place after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

use harness::{Failure, Scrape, Series};

use super::service::{Place, SUPERVISORS, WORKERS};

/// Scrapes until it is finished.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// The scrapes so far, and what they have shown.
#[derive(Debug, Default)]
pub struct Seen {
    /// Scrapes that were answered, by the place.
    pub answered: BTreeMap<&'static str, u64>,
    /// Scrapes that were not, by the place and the harm.
    pub missed: BTreeMap<(&'static str, Failure), u64>,
    /// Each counter that was less, or gone, in a later scrape of any place.
    pub set_back: Vec<String>,
}

impl Watch {
    /// Begins.
    pub fn start(places: Vec<Place>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let until = Arc::clone(&stop);
        Self { stop, thread: spawn(move || look(&places, &until)) }
    }

    /// Ends it.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a scrape is in the format")
    }
}

impl Seen {
    /// Each of so many places has answered, and no counter was set back.
    pub fn assert_steady(&self, places: usize) {
        println!("scrapes: {:?}, missed: {:?}", self.answered, self.missed);
        assert_eq!(self.set_back, Vec::<String>::new());
        assert_eq!(self.answered.len(), places, "a place has never answered: {self:?}");
    }

    /// Scrapes of this place that were not answered.
    pub fn missed_at(&self, name: &str) -> u64 {
        self.missed.iter().filter(|((place, _), _)| *place == name).map(|(_, count)| count).sum()
    }
}

fn look(places: &[Place], until: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    // Of the workers' and of the supervisor's own: a worker tells nothing of the latter.
    let mut last = [Scrape::default(), Scrape::default()];
    while !until.load(Ordering::Relaxed) {
        for place in places {
            match place.try_scrape() {
                Ok(scrape) => {
                    *seen.answered.entry(place.name).or_default() += 1;
                    compare(place, &scrape, &mut last, &mut seen.set_back);
                }
                Err(failure) => *seen.missed.entry((place.name, failure)).or_default() += 1,
            }
        }
    }
    seen
}

fn compare(place: &Place, scrape: &Scrape, last: &mut [Scrape; 2], set_back: &mut Vec<String>) {
    // What a worker has used is told for as long as it lives.
    let lasts = |series: &Series| !series.labels.contains_key("generation");
    for (prefix, before) in [WORKERS, SUPERVISORS].into_iter().zip(last) {
        let now = scrape.only(|series| series.name.starts_with(prefix) && lasts(series));
        if !now.samples().is_empty() {
            let told = before.set_back_in(&now);
            set_back.extend(told.into_iter().map(|series| format!("{}: {series}", place.name)));
            *before = now;
        }
    }
}

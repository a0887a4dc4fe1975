//! What is told of certificates: the list for `gin-ctl certs`, sentences for the status, lines of the log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gin_shared::generation::WorkerId;
use gin_shared::status::CertificateStatus;
use gin_shared::tls::certificate::Facts;
use gin_shared::tls::contents::day;

use super::expiry::{Expiry, next_telling};
use super::source::{Content, Source};
use super::{Bad, Certificates, Kept};

/// Time for which files may be bad before that is told: the other file of the pair may come yet.
const PATIENCE: Duration = Duration::from_secs(2);

// Getters.
impl Certificates {
    /// All certificates, by the order of their files. `refused`: workers that did not take the newest ones, each with its reason.
    #[must_use]
    pub fn told(&self, refused: &[(WorkerId, String)]) -> Vec<CertificateStatus> {
        let bad = |source: &Source| self.bad.get(source).filter(|bad| bad.is_told).map(|bad| bad.text.clone());
        let kept = self.kept.iter().filter_map(|(source, kept)| {
            let facts = kept.content.facts()?;
            let file = source.file().display().to_string();
            let refused = refused.iter().filter(|(_, text)| self.is_about(text, &file)).cloned().collect();
            Some(CertificateStatus {
                name: facts.name().to_owned(),
                names: facts.names.clone(),
                issuer: facts.issuer.clone(),
                ends_ms: milliseconds(facts.ends),
                file,
                number: kept.number,
                bad: bad(source),
                refused,
            })
        });
        kept.collect()
    }

    /// Everything that is wrong with certificates, a sentence each.
    #[must_use]
    pub fn problems(&self, now: SystemTime, refused: &[(WorkerId, String)]) -> Vec<String> {
        let bad = self.bad.iter().filter(|(_, bad)| bad.is_told).map(|(source, bad)| self.bad_line(source, bad));
        let ends = self.pairs().filter_map(|(source, facts)| end_line(source, facts, now));
        let refused =
            refused.iter().map(|(worker, text)| format!("worker {worker} goes on with other certificates: {text}"));
        bad.chain(ends).chain(refused).collect()
    }

    /// True if a certificate that is in use has ended.
    #[must_use]
    pub fn has_ended(&self, now: SystemTime) -> bool {
        self.pairs().any(|(_, facts)| Expiry::of(facts.ends, now) == Expiry::Ended)
    }

    /// The moment of the next line of the log.
    pub(super) fn next_line(&self) -> Option<SystemTime> {
        let bad = self.bad.values().filter(|bad| !bad.is_told).map(|bad| bad.since + PATIENCE);
        let ends = self.pairs().map(|(source, facts)| next_telling(facts.ends, self.warned.get(source).copied()));
        bad.chain(ends).min()
    }

    fn pairs(&self) -> impl Iterator<Item = (&Source, &Facts)> {
        self.kept.iter().filter_map(|(source, kept)| Some((source, kept.content.facts()?)))
    }

    /// True if a worker's text names this file, or none at all.
    fn is_about(&self, text: &str, file: &str) -> bool {
        let names_any = || self.kept.keys().any(|source| text.contains(&*source.file().to_string_lossy()));
        text.contains(file) || !names_any()
    }

    fn bad_line(&self, source: &Source, bad: &Bad) -> String {
        let stays = match self.kept.get(source).map(|kept| &kept.content) {
            Some(Content::Pair(read)) => format!("the one until {} stays in use", day(read.facts.ends)),
            Some(Content::Authority(_) | Content::TicketSecret { .. }) => "what it had before stays in use".to_owned(),
            None => "there is none to go on with".to_owned(),
        };
        format!("{}; {stays}", bad.text)
    }
}

// The log.
impl Certificates {
    /// Writes the lines that are due.
    pub(super) fn write_lines(&mut self, now: SystemTime) {
        for source in self.bad.keys().cloned().collect::<Vec<_>>() {
            let line = self.bad.get(&source).map(|bad| self.bad_line(&source, bad)).unwrap_or_default();
            if let Some(bad) = self.bad.get_mut(&source).filter(|bad| !bad.is_told && bad.since + PATIENCE <= now) {
                bad.is_told = true;
                tracing::warn!("{line}");
            }
        }
        let is_due =
            |(source, facts): &(&Source, &Facts)| next_telling(facts.ends, self.warned.get(*source).copied()) <= now;
        let due = self
            .pairs()
            .filter(is_due)
            .map(|(source, facts)| (source.clone(), facts.ends, end_line(source, facts, now)));
        for (source, ends, line) in due.collect::<Vec<_>>() {
            let line = line.unwrap_or_default();
            match Expiry::of(ends, now) {
                Expiry::Ended => tracing::error!("{line}"),
                Expiry::Soon(_) => tracing::warn!("{line}"),
                // The clock was set back.
                Expiry::Far => {}
            }
            self.warned.insert(source, now);
        }
    }
}

/// Tells that files were replaced.
pub(super) fn tell_replaced(source: &Source, kept: &Kept) {
    let file = source.file().display();
    match &kept.content {
        Content::Pair(read) => {
            tracing::info!("certificate replaced: {} (until {}), {file}", read.facts.name(), day(read.facts.ends));
        }
        Content::Authority(_) => tracing::info!("authorities of clients replaced: {file}"),
        Content::TicketSecret { .. } => tracing::info!("secret of session tickets replaced: {file}"),
    }
}

/// Tells that files that were told to be bad are again what is in use.
pub(super) fn tell_put_back(source: &Source) {
    tracing::info!("{} is good again: it is what is in use", source.file().display());
}

fn end_line(source: &Source, facts: &Facts, now: SystemTime) -> Option<String> {
    let (name, file) = (facts.name(), source.file().display());
    match Expiry::of(facts.ends, now) {
        Expiry::Far => None,
        Expiry::Soon(0) => Some(format!("certificate of {name} ends within a day: {file}")),
        Expiry::Soon(1) => Some(format!("certificate of {name} ends in 1 day: {file}")),
        Expiry::Soon(days) => Some(format!("certificate of {name} ends in {days} days: {file}")),
        Expiry::Ended => {
            Some(format!("certificate of {name} has ended on {}: {file}; replace the file", day(facts.ends)))
        }
    }
}

fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

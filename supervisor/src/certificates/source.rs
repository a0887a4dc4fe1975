//! Files that belong together and count as one: a pair, authorities of clients, or the secret of session tickets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gin_shared::config::listen::PairFiles;
use gin_shared::tls::certificate::Facts;
use gin_shared::tls::contents;
use gin_shared::tls::material::{Authority, Secret};
use gin_shared::tls::pem;
use serde::{Deserialize, Serialize};

use super::error::CertificateError;
use super::file::read_together;
use super::pair::{ReadPair, of_blocks};

/// The files that a generation's listeners need for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Certificates with their keys. Without any, no listener speaks TLS.
    pub pairs: BTreeSet<PairFiles>,
    /// Authorities of client certificates.
    pub authorities: BTreeSet<PathBuf>,
    /// Secret that hosts share, of which workers derive the keys of session tickets.
    pub ticket_secret: Option<PathBuf>,
    /// True if a core dump of a worker, or of the master, may have keys in it (`security.core_dumps`).
    pub core_dumps: bool,
}

impl Wanted {
    /// True if no listener speaks TLS.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All of them.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let pairs = self.pairs.iter().cloned().map(Source::Pair);
        let authorities = self.authorities.iter().cloned().map(Source::Authority);
        let none = self.is_empty();
        pairs.chain(authorities).chain(self.ticket_secret.clone().map(Source::TicketSecret)).filter(move |_| !none)
    }

    /// True if `source` is among them.
    #[must_use]
    pub fn names(&self, source: &Source) -> bool {
        self.sources().any(|one| one == *source)
    }

    /// Adds those of a newer generation. There is one secret of tickets: the newest that is named. The newest says what a core may have.
    pub fn extend(&mut self, newer: &Self) {
        self.pairs.extend(newer.pairs.iter().cloned());
        self.authorities.extend(newer.authorities.iter().cloned());
        if newer.ticket_secret.is_some() {
            self.ticket_secret.clone_from(&newer.ticket_secret);
        }
        if !newer.is_empty() {
            self.core_dumps = newer.core_dumps;
        }
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let of_pairs = self.pairs.iter().flat_map(|files| [&files.cert, &files.key]);
        of_pairs.chain(&self.authorities).chain(&self.ticket_secret).map(|path| absolute(path)).collect()
    }
}

/// Files that count as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A certificate and its key.
    Pair(PairFiles),
    /// Authorities of client certificates.
    Authority(PathBuf),
    /// The secret of session tickets.
    TicketSecret(PathBuf),
}

impl Source {
    /// The file by which people know it.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Pair(files) => &files.cert,
            Self::Authority(file) | Self::TicketSecret(file) => file,
        }
    }

    /// Reads it as it lies there now.
    ///
    /// # Errors
    /// If it cannot be used: see [`CertificateError`].
    pub fn read(&self, now: SystemTime) -> Result<Content, CertificateError> {
        match self {
            Self::Pair(files) => ReadPair::read(files, now).map(Content::Pair),
            Self::Authority(file) => read_authority(file).map(Content::Authority),
            Self::TicketSecret(file) => {
                read_secret(file).map(|secret| Content::TicketSecret { file: file.clone(), secret })
            }
        }
    }
}

/// Contents of files that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are a few, and they are moved at a change alone")]
pub enum Content {
    /// A certificate and its key.
    Pair(ReadPair),
    /// Authorities of client certificates.
    Authority(Authority),
    /// The secret of session tickets.
    TicketSecret {
        /// Its file.
        file: PathBuf,
        /// The secret.
        secret: Secret,
    },
}

impl Content {
    /// The files that it is from.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::Pair(read) => Source::Pair(read.pair.files.clone()),
            Self::Authority(authority) => Source::Authority(authority.file.clone()),
            Self::TicketSecret { file, .. } => Source::TicketSecret(file.clone()),
        }
    }

    /// Facts of a certificate.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Pair(read) => Some(&read.facts),
            Self::Authority(_) | Self::TicketSecret { .. } => None,
        }
    }
}

/// The outcome of reading files.
#[derive(Debug)]
pub struct Reading {
    /// The files.
    pub source: Source,
    /// What is in them.
    pub outcome: Result<Content, CertificateError>,
}

/// Reads all that is wanted, as it lies there now. It may take as long as the disk does.
#[must_use]
pub fn read_all(wanted: &Wanted, now: SystemTime) -> Vec<Reading> {
    let read = |source: Source| Reading { outcome: source.read(now), source };
    wanted.sources().map(read).collect()
}

fn read_authority(file: &Path) -> Result<Authority, CertificateError> {
    let [read] = read_together([file])?;
    contents::authorities(file, read.bytes())?;
    let pem = of_blocks(read.bytes(), |label| label == pem::CERTIFICATE.as_bytes());
    Ok(Authority { file: file.to_owned(), pem })
}

fn read_secret(file: &Path) -> Result<Secret, CertificateError> {
    let [secret] = read_together([file])?;
    contents::ticket_secret(file, secret.bytes().len())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use gin_shared::tls::contents::ContentError;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
    }

    #[test]
    fn authorities_are_certificates_and_nothing_else() {
        let read = |name| Source::Authority(fixture(name)).read(SystemTime::now());
        let Content::Authority(authority) = read("ca.pem").unwrap() else { panic!("no authority") };
        assert!(authority.pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(matches!(read("ca.key"), Err(CertificateError::Contents(ContentError::NoCertificate(_)))));
    }

    #[test]
    fn a_secret_is_neither_short_nor_a_book() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (length, is_taken) in [(31, false), (32, true), (1024, true), (1025, false)] {
            std::fs::write(&path, vec![7; length]).unwrap();
            assert_eq!(Source::TicketSecret(path.clone()).read(SystemTime::now()).is_ok(), is_taken, "{length}");
        }
    }

    #[test]
    fn without_a_pair_nothing_is_wanted() {
        let mut wanted = Wanted { authorities: [fixture("ca.pem")].into(), ..Wanted::default() };
        assert!(wanted.is_empty() && wanted.sources().next().is_none());
        let files = PairFiles { cert: fixture("server.pem"), key: fixture("server.key") };
        let newer = Wanted { pairs: [files].into(), ticket_secret: Some("/s".into()), ..Wanted::default() };
        wanted.extend(&newer);
        assert_eq!((wanted.sources().count(), wanted.paths().len()), (3, 4));
        assert!(wanted.names(&Source::TicketSecret("/s".into())));
    }
}

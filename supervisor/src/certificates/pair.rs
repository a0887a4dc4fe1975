//! A certificate and its key: read together, checked against each other and against the clock. There is no cryptography here; whether the
//! key fits is checked by comparing public halves, and once more by each worker that loads the pair.

use std::time::SystemTime;

use gin_shared::config::listen::PairFiles;
use gin_shared::tls::certificate::Facts;
use gin_shared::tls::contents;
use gin_shared::tls::material::{Pair, Secret};
use gin_shared::tls::pem;

use super::error::CertificateError;
use super::file::read_together;

/// A pair that fits together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPair {
    /// Certificate, chain and key, as workers get them.
    pub pair: Pair,
    /// Facts of the certificate.
    pub facts: Facts,
}

impl ReadPair {
    /// Reads the pair that lies at these paths now.
    ///
    /// # Errors
    /// If a file cannot be read, or holds something else; if certificate and key do not belong together; or if the certificate does not
    /// count at `now`.
    pub fn read(files: &PairFiles, now: SystemTime) -> Result<Self, CertificateError> {
        let [cert, key] = read_together([files.cert.as_path(), files.key.as_path()])?;
        let read = Self::of_text(files, cert.bytes(), key.bytes())?;
        read.check_time(now)?;
        Ok(read)
    }

    /// Takes a pair that a master before this one has checked.
    ///
    /// # Errors
    /// As [`Self::read`], whatever the time.
    pub fn resume(pair: &Pair) -> Result<Self, CertificateError> {
        Self::of_text(&pair.files, pair.chain.as_bytes(), pair.key.bytes())
    }

    fn of_text(files: &PairFiles, cert: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let facts = contents::pair(files, cert, key)?;
        let (chain, key) = (of_blocks(cert, |label| label == pem::CERTIFICATE.as_bytes()), of_blocks(key, is_key));
        let pair = Pair { files: files.clone(), chain, key: Secret::new(key.into_bytes()) };
        Ok(Self { pair, facts })
    }

    /// Checks that the certificate counts at `now`.
    ///
    /// # Errors
    /// If it has ended, or does not count yet.
    pub fn check_time(&self, now: SystemTime) -> Result<(), CertificateError> {
        Ok(contents::check_time(&self.pair.files.cert, &self.facts, now)?)
    }
}

fn is_key(label: &[u8]) -> bool {
    label == b"PRIVATE KEY" || label.ends_with(b" PRIVATE KEY")
}

/// The blocks of a file that was read, whose label is wanted, and nothing else of it: a file may have certificate and key in one.
pub(super) fn of_blocks(text: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> String {
    // It may be a key: no copy is left behind by a buffer that grows.
    let mut wanted = String::with_capacity(text.len() + 1);
    let mut is_within = false;
    for line in pem::lines(text) {
        is_within = is_within || pem::marker(line, "BEGIN").is_some_and(&is_wanted);
        if is_within {
            // A line of a block is base64.
            wanted.push_str(std::str::from_utf8(line).unwrap_or_default());
            wanted.push('\n');
            is_within = pem::marker(line, "END").is_none();
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use gin_shared::tls::contents::ContentError;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
    }

    fn files(cert: &str, key: &str) -> PairFiles {
        PairFiles { cert: fixture(cert), key: fixture(key) }
    }

    fn read(cert: &str, key: &str) -> Result<ReadPair, CertificateError> {
        ReadPair::read(&files(cert, key), SystemTime::now())
    }

    #[test]
    fn a_pair_that_fits_is_read_in_each_form_of_key() {
        for name in ["server", "rsa", "other"] {
            let read = read(&format!("{name}.pem"), &format!("{name}.key")).unwrap();
            assert!(!read.facts.names.is_empty());
            assert_eq!(ReadPair::resume(&read.pair).unwrap(), read);
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_told_with_both_files() {
        for key in ["mismatch.key", "rsa.key"] {
            let error = read("server.pem", key).unwrap_err();
            assert!(matches!(error, CertificateError::Contents(ContentError::Mismatch { .. })), "{error}");
            let text = error.to_string();
            assert!(text.contains("server.pem: the key in") && text.contains(&format!("{key} is another")), "{text}");
        }
    }

    #[test]
    fn a_kind_of_key_that_no_worker_takes_is_refused_here() {
        let error = read("ed25519.pem", "ed25519.key").unwrap_err().to_string();
        assert!(error.ends_with("of a kind that is not supported; use ECDSA or RSA"), "{error}");
    }

    #[test]
    fn a_certificate_counts_within_its_dates_alone() {
        let error = read("expired.pem", "expired.key").unwrap_err();
        assert!(error.to_string().contains("expired.pem: the certificate has ended on 2021-01-01"), "{error}");
        let pair = read("server.pem", "server.key").unwrap();
        let error = pair.check_time(pair.facts.starts - DAY).unwrap_err();
        assert!(matches!(error, CertificateError::Contents(ContentError::NotYet { .. })), "{error}");
        assert!(pair.check_time(pair.facts.ends - DAY).is_ok());
        assert!(matches!(
            pair.check_time(pair.facts.ends),
            Err(CertificateError::Contents(ContentError::Ended { .. }))
        ));
    }

    #[test]
    fn half_a_file_is_an_error_of_that_file() {
        let dir = tempfile::tempdir().unwrap();
        let own = PairFiles { cert: dir.path().join("a.pem"), key: dir.path().join("a.key") };
        let (cert, key) =
            (std::fs::read(fixture("server.pem")).unwrap(), std::fs::read(fixture("server.key")).unwrap());
        let error = |cert: &[u8], key: &[u8]| {
            std::fs::write(&own.cert, cert).unwrap();
            std::fs::write(&own.key, key).unwrap();
            ReadPair::read(&own, SystemTime::now()).unwrap_err()
        };
        assert!(matches!(error(b"", &key), CertificateError::Contents(ContentError::NoCertificate(_))));
        assert!(matches!(error(&cert, b""), CertificateError::Contents(ContentError::NoKey(_))));
        assert!(matches!(error(&key, &key), CertificateError::Contents(ContentError::NoCertificate(_))));
        assert!(matches!(error(&cert, &cert), CertificateError::Contents(ContentError::NoKey(_))));
        for length in [30, cert.len() / 2, cert.len() - 10] {
            let error = error(&cert[..length], &key);
            assert!(
                matches!(&error, CertificateError::Contents(ContentError::Pem { file, .. }) if *file == own.cert),
                "{length}: {error}"
            );
        }
        let half = error(&cert, &key[..key.len() / 2]);
        assert!(
            matches!(&half, CertificateError::Contents(ContentError::Pem { file, .. }) if *file == own.key),
            "{half}"
        );
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_another_pair() {
        let dir = tempfile::tempdir().unwrap();
        for (release, name) in [("1", "server"), ("2", "other")] {
            std::fs::create_dir(dir.path().join(release)).unwrap();
            for kind in ["pem", "key"] {
                let to = dir.path().join(release).join(format!("a.{kind}"));
                std::fs::copy(fixture(&format!("{name}.{kind}")), to).unwrap();
            }
        }
        let link = |release: &str| {
            symlink(release, dir.path().join("new")).unwrap();
            std::fs::rename(dir.path().join("new"), dir.path().join("live")).unwrap();
        };
        let own = PairFiles { cert: dir.path().join("live/a.pem"), key: dir.path().join("live/a.key") };
        link("1");
        let first = ReadPair::read(&own, SystemTime::now()).unwrap();
        link("2");
        let second = ReadPair::read(&own, SystemTime::now()).unwrap();
        assert_eq!(first.facts.name(), "localhost");
        assert_eq!(second.facts.name(), "other.test");
    }

    #[test]
    fn one_file_may_have_certificate_and_key_and_no_key_gets_into_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both.pem");
        let both = ["server.key", "server.pem"].map(|name| std::fs::read_to_string(fixture(name)).unwrap()).concat();
        std::fs::write(&path, both).unwrap();
        let own = PairFiles { cert: path.clone(), key: path };
        let read = ReadPair::read(&own, SystemTime::now()).unwrap();
        assert!(!read.pair.chain.contains("PRIVATE KEY") && read.pair.chain.contains("BEGIN CERTIFICATE"));
        let key = std::str::from_utf8(read.pair.key.bytes()).unwrap();
        assert!(!key.contains("CERTIFICATE") && key.contains("PRIVATE KEY"));
    }

    #[test]
    fn a_comment_may_be_in_any_encoding() {
        let dir = tempfile::tempdir().unwrap();
        let own = PairFiles { cert: dir.path().join("a.pem"), key: dir.path().join("a.key") };
        for (name, path) in [("server.pem", &own.cert), ("server.key", &own.key)] {
            let contents = std::fs::read(fixture(name)).unwrap();
            std::fs::write(path, [&b"subject=O=B\xfccher\n"[..], &contents, b"# \xff\n"].concat()).unwrap();
        }
        let read = ReadPair::read(&own, SystemTime::now()).unwrap();
        assert!(!read.pair.chain.contains("cher") && read.facts.name() == "localhost");
    }
}

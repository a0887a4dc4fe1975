//! Profiles and figures under `/debug/`: `[monitoring.pprof]`. A build without the feature `profile` checks them, too.

use std::fmt;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use gin_shared::config::Section;

use super::data::own_secret;
use super::within;

/// Fewest characters of a token: nobody shall find it by trying.
const TOKEN_LEAST: usize = 16;
/// The key of its file, for errors.
const TOKEN_FILE: &str = "monitoring.pprof.token_file";
/// Limits of `block`.
const BLOCK: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// `[monitoring.pprof]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profiling {
    /// True if there are profiles.
    pub is_on: bool,
    /// Opens them on public listeners.
    pub(crate) token: Option<Secret>,
    /// A file with the token.
    pub token_file: Option<PathBuf>,
    /// Time of a poll; a longer one blocks its thread.
    pub block: Duration,
}

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl Default for Profiling {
    fn default() -> Self {
        Self { is_on: false, token: None, token_file: None, block: Duration::from_millis(10) }
    }
}

#[cfg_attr(not(feature = "profile"), allow(dead_code, reason = "for the feature profile"))]
impl Secret {
    /// True if the other text is the same. Texts of one length take the same time, whatever they are.
    pub(crate) fn is(&self, other: &[u8]) -> bool {
        let differs = self.0.iter().zip(other).fold(0, |differs, (own, other)| differs | (own ^ other));
        black_box(differs) == 0 && self.0.len() == other.len()
    }
}

impl Profiling {
    /// Reads `[monitoring.pprof]`, and the switch in `[features]`.
    pub(super) fn read(features: &Section<'_>, monitoring: &Section<'_>) -> Self {
        let (base, is_on) = (Self::default(), features.boolean("pprof").unwrap_or_default());
        let Some(section) = monitoring.table("pprof") else { return Self { is_on, ..base } };
        // Nothing is said of the token itself: errors stand in logs.
        let token = section.string("token").filter(|token| !token.is_empty()).filter(|token| {
            let is_long = is_long(token);
            if !is_long {
                section.problem("token", &too_short());
            }
            is_long
        });
        let own = Self {
            is_on,
            token: token.map(secret),
            token_file: section.path("token_file"),
            block: within::time(&section, "block", &BLOCK).unwrap_or(base.block),
        };
        section.finish();
        own
    }

    /// The token: `token`, else the text of `token_file`. `None`: public listeners have no profiles.
    ///
    /// # Errors
    /// If the file cannot be read, or has no token: a sentence that names the key.
    pub(crate) fn read_token(&self) -> Result<Option<Secret>, String> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        match own_secret(None, TOKEN_FILE, self.token_file.as_deref())? {
            Some(token) if !is_long(&token) => Err(format!("{TOKEN_FILE}: {}", too_short())),
            token => Ok(token.map(secret)),
        }
    }
}

fn secret(text: String) -> Secret {
    Secret(text.into_bytes().into())
}

fn is_long(token: &str) -> bool {
    token.chars().count() >= TOKEN_LEAST
}

fn too_short() -> String {
    format!("a token has at least {TOKEN_LEAST} characters; `openssl rand -hex 32` makes one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_same_text_alone() {
        let own = secret("correct horse battery".to_owned());
        assert!(own.is(b"correct horse battery"));
        for other in ["correct horse batterY", "correct horse", "correct horse battery staple", ""] {
            assert!(!own.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{own:?}"), "********");
    }

    #[test]
    fn a_token_is_written_or_stands_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut profiling = Profiling { token_file: Some(file.path().to_owned()), ..Profiling::default() };
        for (text, fault) in [("", " is empty; "), ("too short\n", ": a token has at least 16 characters")] {
            std::fs::write(file.path(), text).unwrap();
            let refused = profiling.read_token().unwrap_err();
            assert!(refused.starts_with("monitoring.pprof.token_file: ") && refused.contains(fault), "{refused}");
        }
        std::fs::write(file.path(), "of the file, long\n").unwrap();
        assert!(profiling.read_token().unwrap().unwrap().is(b"of the file, long"));
        profiling.token = Some(secret("of the key, as long".to_owned()));
        assert!(profiling.read_token().unwrap().unwrap().is(b"of the key, as long"));
        assert_eq!(Profiling::default().read_token(), Ok(None));
    }
}

//! Requests of other origins: `[cors]`.

use std::time::Duration;

use gin_shared::config::Section;

/// `[cors]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cors {
    /// Whether other origins may read answers at all.
    pub enable: bool,
    /// Which.
    pub allow_origins: Vec<Origin>,
    /// With which methods.
    pub allow_methods: Vec<String>,
    /// With which headers.
    pub allow_headers: Vec<String>,
    /// Which of the answer's headers they may read.
    pub expose_headers: Vec<String>,
    /// Whether cookies may come along.
    pub allow_credentials: bool,
    /// For how long a browser need not ask again.
    pub max_age: Duration,
}

/// Who may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Everybody.
    Any,
    /// This one.
    Exactly(String),
    /// Every one below a domain: what stands before and behind the `*`.
    Below(String, String),
}

impl Default for Cors {
    fn default() -> Self {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        Self {
            enable: false,
            allow_origins: Vec::new(),
            allow_methods: texts(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
            allow_headers: texts(&["Origin", "Content-Length", "Content-Type"]),
            expose_headers: Vec::new(),
            allow_credentials: false,
            max_age: Duration::from_secs(12 * 60 * 60),
        }
    }
}

impl Cors {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let origins = section.texts("allow_origins").unwrap_or_default();
        let origin = |text: &String| Origin::parse(text).map_err(|error| section.problem("allow_origins", &error)).ok();
        let own = Self {
            enable: section.boolean("enable").unwrap_or(base.enable),
            allow_origins: origins.iter().filter_map(origin).collect(),
            allow_methods: section.texts("allow_methods").unwrap_or(base.allow_methods),
            allow_headers: section.texts("allow_headers").unwrap_or(base.allow_headers),
            expose_headers: section.texts("expose_headers").unwrap_or(base.expose_headers),
            allow_credentials: section.boolean("allow_credentials").unwrap_or(base.allow_credentials),
            max_age: section.duration("max_age").unwrap_or(base.max_age),
        };
        if own.allow_credentials && own.allow_origins.contains(&Origin::Any) {
            // Fetch, section 3.3.5: no browser takes that.
            section.problem("allow_credentials", "not with allow_origins = [\"*\"]: name the origins");
        }
        if own.allow_credentials && own.expose_headers.iter().any(|one| one == "*") {
            section.problem("expose_headers", "\"*\" is a header's name where allow_credentials = true: name them");
        }
        if own.enable && own.allow_origins.is_empty() {
            section.problem("allow_origins", "none may read anything: name them, or say \"*\"");
        }
        for (key, all) in [
            ("allow_methods", &own.allow_methods),
            ("allow_headers", &own.allow_headers),
            ("expose_headers", &own.expose_headers),
        ] {
            for word in all.iter().filter(|word| axum::http::HeaderName::from_bytes(word.as_bytes()).is_err()) {
                section.problem(key, &format!("\"{word}\" cannot be one"));
            }
        }
        own
    }
}

impl Origin {
    /// Reads an origin as a browser writes it, `https://*.example.org`, or `*`.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no origin; write it as \"https://example.org\", without a path, or \"*\"");
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '*', ' ', '?', '#', '@']);
        match host.strip_prefix("*.") {
            Some(rest) if is_host(rest) => Ok(Self::Below(format!("{scheme}://"), format!(".{rest}"))),
            None if is_host(host) => Ok(Self::Exactly(text.to_owned())),
            _ => Err(wrong()),
        }
    }

    /// Whether it is this one, as a browser writes it.
    #[must_use]
    pub fn is(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(one) => one == origin,
            Self::Below(before, behind) => origin
                .strip_prefix(before.as_str())
                .and_then(|host| host.strip_suffix(behind.as_str()))
                .is_some_and(|name| !name.is_empty() && !name.contains(['/', ':', '@'])),
        }
    }
}

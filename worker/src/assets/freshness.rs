//! For how long a client may keep a file before it asks whether the file has changed.
//!
//! A page names the scripts and styles of its release, so a page is asked for each time; a kept one would ask for scripts that are gone.
//! A file with a hash in its name is never another one under that name, so it may be kept for a year.

use std::path::Path;
use std::time::Duration;

use axum::http::HeaderValue;

use super::{ending, name};
use crate::config::Static;

/// Fewest characters of a hash in a name: what Vite, Rollup, esbuild and Parcel write. webpack writes 20.
const HASH_MIN: usize = 8;

/// Endings of pages.
const PAGES: [&str; 4] = ["html", "htm", "xhtml", "shtml"];

/// What a client is told about keeping a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The client asks each time, and is told 304 if the file is the same.
    Revalidate,
    /// The client asks after this time.
    For(Duration),
    /// The client never asks.
    Immutable,
}

impl Freshness {
    pub(super) fn of(settings: &Static, path: &Path) -> Self {
        let ending = ending(path);
        let age = if PAGES.iter().any(|page| page.eq_ignore_ascii_case(ending)) {
            settings.html_max_age
        } else if settings.immutable && has_hash(name(path)) {
            return Self::Immutable;
        } else {
            settings.cache_max_age
        };
        if age.as_secs() == 0 { Self::Revalidate } else { Self::For(age) }
    }

    /// The value of `Cache-Control`.
    pub(super) fn header(self) -> HeaderValue {
        match self {
            Self::Revalidate => HeaderValue::from_static("no-cache"),
            Self::For(age) => HeaderValue::try_from(format!("max-age={}", age.as_secs())).expect("digits"),
            Self::Immutable => HeaderValue::from_static("max-age=31536000, immutable"),
        }
    }
}

/// True for `name-HASH.ext` and `name.HASH.ext`, with more endings or without (`name.HASH.chunk.js`, `name-HASH.js.map`).
fn has_hash(name: &str) -> bool {
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    stem.split('.').enumerate().any(|(index, part)| {
        let behind_dash = part.rsplit_once('-').filter(|(before, _)| !before.is_empty());
        match behind_dash {
            Some((_, last)) => !is_uuid(part) && is_hash(last),
            // The name itself is no hash of anything.
            None => index > 0 && is_hash(part),
        }
    })
}

/// True if these characters are a hash, and could be no word, number or date. A wrong `true` shows an old file for a year; a wrong
/// `false` costs a question a day.
fn is_hash(text: &str) -> bool {
    let all = |is: fn(&u8) -> bool| text.bytes().all(|byte| is(&byte));
    // "chapter1" and "20240115" are none.
    let has_digit_before_letter = text
        .find(|c: char| c.is_ascii_digit())
        .is_some_and(|at| text[at..].contains(|c: char| c.is_ascii_alphabetic()));
    if text.len() < HASH_MIN || !has_digit_before_letter {
        return false;
    }
    let is_hexadecimal = all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_base32 = all(|byte| matches!(byte, b'2'..=b'7' | b'A'..=b'Z'));
    let is_base64url = all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    is_hexadecimal || is_base32 || (is_base64url && !is_of_words(text))
}

/// True if what stands between digits and `_` could be words: "15Jan2024", "2nd", "4K".
fn is_of_words(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphabetic()).all(|word| {
        let rest = word.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(word);
        rest.bytes().all(|byte| byte.is_ascii_lowercase()) || word.bytes().all(|byte| byte.is_ascii_uppercase())
    })
}

/// True for a name that ends in a UUID: that tells what a file is, and not what is in it.
fn is_uuid(part: &str) -> bool {
    let lengths = part.rsplit('-').map(str::len);
    lengths.take(4).eq([12_usize, 4, 4, 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: &Static, name: &str) -> HeaderValue {
        Freshness::of(settings, Path::new(name)).header()
    }

    #[test]
    fn a_page_is_asked_for_each_time_and_a_file_with_a_hash_never_again() {
        let settings = Static::default();
        for (name, value) in [
            ("index.html", "no-cache"),
            ("old/PAGE.HTM", "no-cache"),
            ("index-5f3a9c21.html", "no-cache"),
            ("app.js", "max-age=86400"),
            ("README", "max-age=86400"),
            ("assets/app-5f3a9c21.js", "max-age=31536000, immutable"),
        ] {
            assert_eq!(said(&settings, name), value, "{name}");
        }
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let other = Static {
            html_max_age: minutes(1),
            cache_max_age: Duration::from_millis(500),
            immutable: false,
            ..settings
        };
        for (name, value) in [("index.html", "max-age=60"), ("app.js", "no-cache"), ("app-5f3a9c21.js", "no-cache")] {
            assert_eq!(said(&other, name), value, "{name}");
        }
    }

    #[test]
    fn names_as_builders_write_them_have_a_hash() {
        for name in [
            "app-5f3a9c21.js",
            "app.5f3a9c21.js",
            "main.8e0d62a3c1f5e3b01234.css",
            "2.8e0d62a3.chunk.js",
            "main-8e0d62a3.js.map",
            "styles-5INURTSO.css",
            "chunk-NR7A5ZZB.js",
            "index-BkX1pZ3q.js",
            "my-app-gkvgaI9m.woff2",
            "vendor-d4_K9sXz.js",
        ] {
            assert!(has_hash(name), "{name}");
        }
    }

    #[test]
    fn words_numbers_dates_and_uuids_are_no_hashes() {
        for name in [
            "app.js",
            "jquery-3.7.1.min.js",
            "jquery-validation.js",
            "bootstrap-material.css",
            "deadbeef.js",
            "5f3a9c21.js",
            "-5f3a9c21.js",
            "app-5f3a9c2.js",
            "app-deadbeef.js",
            "app-20240115.js",
            "report-2024Jan15.pdf",
            "photo-15Jan2024.jpg",
            "Chapter-Version2.pdf",
            "paper-JSmith01.pdf",
            "log-20240115T1230.txt",
            "clip-1920x1080.mp4",
            "photo-550e8400-e29b-41d4-a716-44665544000f.jpg",
            "550e8400-e29b-41d4-a716-44665544000f.jpg",
            "photo-IMG_1234.jpg",
            "app-5f3a9c21",
            "résumé-été.pdf",
        ] {
            assert!(!has_hash(name), "{name}");
        }
    }
}

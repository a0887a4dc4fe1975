//! Conditional requests (RFC 9110, section 13): whether a client has a file already, or a part of it.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, Method, header};

/// What a representation is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// With its quotes, and `W/` if it is weak.
    pub(super) etag: String,
    pub(super) modified: SystemTime,
}

/// What a request's conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered; `ranges`: also in part.
    Answer { ranges: bool },
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// In the order of RFC 9110, section 13.2.2.
pub(super) fn judge(method: &Method, headers: &HeaderMap, now: &Validators) -> Verdict {
    let is_safe = method == Method::GET || method == Method::HEAD;
    let unmodified_since =
        || date(headers, &header::IF_UNMODIFIED_SINCE).is_none_or(|date| seconds(now.modified) <= seconds(date));
    let goes_on = match tags(headers, &header::IF_MATCH) {
        Some(tags) => tags.has(&now.etag, strong),
        None => unmodified_since(),
    };
    if !goes_on {
        return Verdict::Failed;
    }
    match tags(headers, &header::IF_NONE_MATCH) {
        Some(tags) if tags.has(&now.etag, weak) => return if is_safe { Verdict::NotModified } else { Verdict::Failed },
        Some(_) => {}
        None => {
            let since = date(headers, &header::IF_MODIFIED_SINCE);
            if is_safe && since.is_some_and(|date| seconds(now.modified) <= seconds(date)) {
                return Verdict::NotModified;
            }
        }
    }
    Verdict::Answer { ranges: method == Method::GET && if_range(headers, now) }
}

/// Whether a part fits to what the client has (section 13.1.5): by a strong tag, or by exactly this date.
fn if_range(headers: &HeaderMap, now: &Validators) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    match text.trim() {
        tag if tag.starts_with('"') || tag.starts_with("W/") => strong(tag, &now.etag),
        date => httpdate::parse_http_date(date).is_ok_and(|date| seconds(date) == seconds(now.modified)),
    }
}

/// A list of tags, or `*`.
struct Tags<'a>(Vec<&'a str>);

impl Tags<'_> {
    fn has(&self, etag: &str, is_same: fn(&str, &str) -> bool) -> bool {
        self.0.iter().any(|tag| *tag == "*" || is_same(tag, etag))
    }
}

fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Tags<'a>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    // A comma within a tag cuts it in two, which is none then: nobody makes such tags.
    let texts = values.filter_map(|value| value.to_str().ok());
    Some(Tags(texts.flat_map(|text| text.split(',')).map(str::trim).collect()))
}

/// Section 8.8.3.2.
fn strong(one: &str, other: &str) -> bool {
    one == other && one.starts_with('"')
}

fn weak(one: &str, other: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    opaque(one) == opaque(other)
}

/// One that cannot be read counts as none.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// HTTP's dates have no more.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn as_rfc_9110_says() {
        let modified = httpdate::parse_http_date(THEN).unwrap() + Duration::from_millis(700);
        let strong = Validators { etag: "\"a\"".to_owned(), modified };
        let weak = Validators { etag: "W/\"a\"".to_owned(), modified };
        let (all, whole) = (Verdict::Answer { ranges: true }, Verdict::Answer { ranges: false });
        let (same, failed) = (Verdict::NotModified, Verdict::Failed);
        for (of, headers, verdict) in [
            (&strong, vec![], all),
            (&strong, vec![("if-none-match", "\"a\"")], same),
            (&strong, vec![("if-none-match", "W/\"a\"")], same),
            (&weak, vec![("if-none-match", "\"a\"")], same),
            (&strong, vec![("if-none-match", "\"b\", \"a\"")], same),
            (&strong, vec![("if-none-match", "*")], same),
            (&strong, vec![("if-none-match", "\"b\"")], all),
            (&strong, vec![("if-modified-since", THEN)], same),
            (&strong, vec![("if-modified-since", NEW)], same),
            (&strong, vec![("if-modified-since", OLD)], all),
            (&strong, vec![("if-modified-since", "yesterday")], all),
            // The tag counts, and the date is not looked at (section 13.1.3).
            (&strong, vec![("if-none-match", "\"b\""), ("if-modified-since", NEW)], all),
            (&strong, vec![("if-match", "\"a\"")], all),
            (&strong, vec![("if-match", "*")], all),
            (&strong, vec![("if-match", "\"b\"")], failed),
            (&strong, vec![("if-match", "W/\"a\"")], failed),
            (&weak, vec![("if-match", "W/\"a\"")], failed),
            (&strong, vec![("if-unmodified-since", THEN)], all),
            (&strong, vec![("if-unmodified-since", OLD)], failed),
            (&strong, vec![("if-match", "\"a\""), ("if-unmodified-since", OLD)], all),
            (&strong, vec![("if-match", "\"a\""), ("if-none-match", "\"a\"")], same),
            (&strong, vec![("if-range", "\"a\"")], all),
            (&strong, vec![("if-range", "\"b\"")], whole),
            (&weak, vec![("if-range", "W/\"a\"")], whole),
            (&strong, vec![("if-range", THEN)], all),
            (&strong, vec![("if-range", NEW)], whole),
            (&strong, vec![("if-range", "nonsense")], whole),
        ] {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                .collect();
            assert_eq!(judge(&Method::GET, &headers, of), verdict, "{headers:?}");
        }
        let none_match: HeaderMap = [(header::IF_NONE_MATCH, "\"a\"".parse().unwrap())].into_iter().collect();
        assert_eq!(judge(&Method::PUT, &none_match, &strong), failed);
        assert_eq!(judge(&Method::HEAD, &none_match, &strong), same);
        assert_eq!(judge(&Method::HEAD, &HeaderMap::new(), &strong), whole, "a range of HEAD is none (section 14.2)");
    }
}

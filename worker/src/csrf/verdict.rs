//! The rule: what becomes of a request, by its head alone. The table at the head of [`crate::csrf`] has the same lines in the same order.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::config::Origin;
use crate::middleware::origin::is_allowed;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The handler gets it.
    GoOn,
    /// It is refused, for this reason.
    Refuse(&'static str),
    /// The handler gets it if it brings a token.
    NeedsToken,
}

/// True for a request that changes nothing (RFC 9110, section 9.2.1).
pub(super) fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// Judges a request for this host. `listed`: other origins that may send it. Of a header that stands there several times, each must be
/// right.
pub(super) fn judge(method: &Method, headers: &HeaderMap, host: Option<&str>, listed: &[Origin]) -> Verdict {
    if is_safe(method) || has_bearer(headers) {
        return Verdict::GoOn;
    }
    let has_origin = headers.contains_key(header::ORIGIN);
    let come_from = |host: Option<&str>, listed: &[Origin]| {
        let mut origins = headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes);
        has_origin && origins.all(|origin| is_allowed(Some(origin), host, listed))
    };
    if come_from(None, listed) {
        return Verdict::GoOn;
    }
    if headers.contains_key(&SEC_FETCH_SITE) {
        let mut sites = headers.get_all(&SEC_FETCH_SITE).iter();
        let is_own = sites.all(|site| site == "same-origin" || site == "none");
        return if is_own { Verdict::GoOn } else { Verdict::Refuse("Sec-Fetch-Site names another origin") };
    }
    if has_origin {
        let is_own = come_from(host, &[]);
        return if is_own { Verdict::GoOn } else { Verdict::Refuse("Origin is neither this host nor in csrf_origins") };
    }
    if headers.contains_key(header::COOKIE) { Verdict::NeedsToken } else { Verdict::GoOn }
}

fn has_bearer(headers: &HeaderMap) -> bool {
    let scheme = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..7));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: Verdict = Verdict::Refuse("Origin is neither this host nor in csrf_origins");
    const OTHER_SITE: Verdict = Verdict::Refuse("Sec-Fetch-Site names another origin");

    fn of(method: &Method, fields: &[(&'static str, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        judge(method, &headers, Some("shop.test"), &[Origin::parse("https://pay.test").unwrap()])
    }

    #[test]
    fn each_line_of_the_table_is_as_it_says() {
        use Verdict::{GoOn, NeedsToken};
        let (cookie, evil, own) =
            (("cookie", "session=1"), ("origin", "https://evil.test"), ("origin", "https://shop.test"));
        let table: &[(&[(&'static str, &str)], Verdict)] = &[
            (&[cookie, evil, ("authorization", "Bearer x")], GoOn),
            (&[cookie, evil, ("authorization", "bearer x")], GoOn),
            (&[cookie, evil, ("authorization", "Basic x")], FOREIGN),
            (&[cookie, evil, ("authorization", "Bearer")], FOREIGN),
            (&[cookie, ("origin", "https://pay.test")], GoOn),
            (&[cookie, ("origin", "https://pay.test"), ("sec-fetch-site", "cross-site")], GoOn),
            (&[cookie, ("origin", "https://pay.test"), evil], FOREIGN),
            (&[cookie, ("sec-fetch-site", "same-origin")], GoOn),
            (&[cookie, ("sec-fetch-site", "none")], GoOn),
            (&[cookie, ("sec-fetch-site", "same-site")], OTHER_SITE),
            (&[cookie, ("sec-fetch-site", "cross-site")], OTHER_SITE),
            (&[cookie, ("sec-fetch-site", "")], OTHER_SITE),
            (&[cookie, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], OTHER_SITE),
            (&[own, ("sec-fetch-site", "cross-site")], OTHER_SITE),
            (&[cookie, own], GoOn),
            (&[cookie, ("origin", "http://shop.test")], GoOn),
            (&[cookie, ("origin", "https://shop.test:8443")], FOREIGN),
            (&[cookie, own, evil], FOREIGN),
            (&[cookie, evil], FOREIGN),
            (&[evil], FOREIGN),
            (&[cookie, ("origin", "null")], FOREIGN),
            (&[cookie, ("origin", "")], FOREIGN),
            (&[], GoOn),
            (&[("authorization", "Basic x")], GoOn),
            (&[cookie], NeedsToken),
        ];
        for (fields, verdict) in table {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::CONNECT] {
                assert_eq!(of(&method, fields), *verdict, "{method} {fields:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
                assert_eq!(of(&method, fields), GoOn, "{method} {fields:?}");
            }
        }
        let unknown = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(of(&unknown, &[cookie, evil]), FOREIGN);
    }

    #[test]
    fn a_host_that_nobody_names_has_no_pages() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, "https://shop.test".parse().unwrap());
        assert_eq!(judge(&Method::POST, &headers, None, &[]), FOREIGN);
    }
}

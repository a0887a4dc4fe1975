//! Headers that keep browsers from guessing and framing.

use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::client_ip;
use crate::config::Security;
use crate::live::Snapshot;

/// Always.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Off: the filters of old browsers did more harm than good (OWASP Secure Headers Project).
    (header::X_XSS_PROTECTION, HeaderValue::from_static("0")),
    (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
];
/// The usual year. Only over TLS (RFC 6797, section 7.2).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// Sets `X-Frame-Options`, `X-Content-Type-Options`, `X-XSS-Protection`, `Referrer-Policy`, and over TLS
/// `Strict-Transport-Security` as `security.hsts` and `hsts_subdomains` say: over our own, and where a proxy of `server.trusted_proxies`
/// says that the client speaks it (`X-Forwarded-Proto`). A header that the handler has set stays.
pub async fn security_headers(request: Request, next: Next) -> Response {
    let hsts = client_ip::speaks_tls(request.extensions(), request.headers()).then(|| {
        let snapshot = request.extensions().get::<Snapshot>();
        snapshot.map_or_else(|| Hsts::of(&Security::default()), |snapshot| Hsts::of(&snapshot.0.config.security))
    });
    let mut response = next.run(request).await;
    set(response.headers_mut(), hsts);
    response
}

/// `Strict-Transport-Security` as the configuration has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hsts {
    max_age: Duration,
    with_subdomains: bool,
}

impl Hsts {
    pub(super) fn of(security: &Security) -> Self {
        Self { max_age: security.hsts, with_subdomains: security.hsts_subdomains }
    }

    /// The value for a client that speaks TLS; none for an age of zero.
    fn value(self) -> Option<HeaderValue> {
        match (self.max_age.as_secs(), self.with_subdomains) {
            (0, _) => None,
            (31_536_000, true) => Some(HSTS),
            (seconds, true) => HeaderValue::try_from(format!("max-age={seconds}; includeSubDomains")).ok(),
            (seconds, false) => HeaderValue::try_from(format!("max-age={seconds}")).ok(),
        }
    }
}

/// Sets the headers. `hsts` is for a client that speaks TLS.
pub(super) fn set(headers: &mut HeaderMap, hsts: Option<Hsts>) {
    let strict = hsts.and_then(Hsts::value);
    /// With room for what an answer has beside them.
    static TEMPLATE: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut headers = HeaderMap::with_capacity(12);
        headers.extend(HEADERS);
        headers
    });
    if headers.len() > 4 {
        let strict = strict.map(|value| (header::STRICT_TRANSPORT_SECURITY, value));
        for (name, value) in HEADERS.into_iter().chain(strict) {
            headers.entry(name).or_insert(value);
        }
        return;
    }
    // A copy of all of them, and the answer's few put over it, is less work than four insertions into a map that has to grow.
    let own = std::mem::replace(headers, TEMPLATE.clone());
    if let Some(strict) = strict {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, strict);
    }
    let mut last = None;
    for (name, value) in own {
        match (name, &last) {
            (Some(name), _) => {
                last = Some(name.clone());
                headers.insert(name, value);
            }
            // One more of the same name.
            (None, Some(name)) => drop(headers.append(name, value)),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hsts: Option<Hsts>, own: &[(HeaderName, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.extend(own.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
        set(&mut headers, hsts);
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
        headers.get(header::STRICT_TRANSPORT_SECURITY).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn over_tls_the_age_is_as_it_is_configured_and_zero_is_none() {
        let many = [header::VARY, header::ETAG, header::AGE, header::ALLOW, header::SERVER].map(|name| (name, "x"));
        for own in [&many[..], &[]] {
            assert_eq!(told(None, own), None);
            let week = Duration::from_secs(7 * 86_400);
            for (security, wanted) in [
                (Security::default(), Some("max-age=31536000; includeSubDomains")),
                (Security { hsts: week, ..Security::default() }, Some("max-age=604800; includeSubDomains")),
                (Security { hsts_subdomains: false, ..Security::default() }, Some("max-age=31536000")),
                (Security { hsts: Duration::ZERO, ..Security::default() }, None),
            ] {
                assert_eq!(told(Some(Hsts::of(&security)), own).as_deref(), wanted);
            }
        }
        let own = [(header::STRICT_TRANSPORT_SECURITY, "max-age=1")];
        assert_eq!(told(Some(Hsts::of(&Security::default())), &own).as_deref(), Some("max-age=1"));
    }
}

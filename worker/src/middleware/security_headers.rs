//! Headers that keep browsers from guessing and framing.

use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::client_ip;

/// Always.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Off: the filters of old browsers did more harm than good (OWASP Secure Headers Project).
    (header::X_XSS_PROTECTION, HeaderValue::from_static("0")),
    (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
];
/// Only over TLS, which a proxy speaks for us (RFC 6797, section 7.2).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// Sets `X-Frame-Options`, `X-Content-Type-Options`, `X-XSS-Protection`, `Referrer-Policy`, and `Strict-Transport-Security` where a
/// proxy of `server.trusted_proxies` says that the client speaks TLS (`X-Forwarded-Proto`); a header that the handler has set stays.
pub async fn security_headers(request: Request, next: Next) -> Response {
    let is_tls = client_ip::speaks_tls(request.extensions(), request.headers());
    let mut response = next.run(request).await;
    set(response.headers_mut(), is_tls);
    response
}

pub(super) fn set(headers: &mut HeaderMap, is_tls: bool) {
    /// With room for what an answer has beside them.
    static TEMPLATE: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut headers = HeaderMap::with_capacity(12);
        headers.extend(HEADERS);
        headers
    });
    if headers.len() > 4 {
        for (name, value) in HEADERS.into_iter().chain(is_tls.then_some((header::STRICT_TRANSPORT_SECURITY, HSTS))) {
            headers.entry(name).or_insert(value);
        }
        return;
    }
    // A copy of all of them, and the answer's few put over it, is less work than four insertions into a map that has to grow.
    let own = std::mem::replace(headers, TEMPLATE.clone());
    if is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
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

//! Which other origins may read answers (Fetch standard, section 3.3), by `[cors]`.
//!
//! Only preflights are answered here: `OPTIONS` with `Origin` and `Access-Control-Request-Method`. Every other request goes to its
//! handler, whatever its origin: without our headers a browser keeps the answer from the page, and that is all that CORS is.
//! An answer that depends on the origin says so (`Vary`), for caches.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Error;
use crate::config::{Cors, Origin};
use crate::live::Snapshot;

/// What a preflight's answer depends on.
const VARY: [HeaderName; 3] =
    [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS];

/// Goes by `[cors]`, also where [`crate::Server::new`] has not put it.
pub async fn cors(request: Request, next: Next) -> Response {
    let Some(Snapshot(live, _)) = request.extensions().get().cloned() else { return next.run(request).await };
    match before(&live.config.cors, request.method(), request.headers()) {
        Verdict::Answer(response) => response,
        Verdict::GoOn(added) => {
            let mut response = next.run(request).await;
            added.put(response.headers_mut());
            response
        }
    }
}

/// What becomes of a request.
pub(super) enum Verdict {
    /// It is a preflight.
    Answer(Response),
    /// Its answer gets these.
    GoOn(Added),
}

/// Headers for an answer.
#[derive(Debug, Default)]
pub(super) struct Added(Vec<(HeaderName, HeaderValue)>);

impl Added {
    pub(super) fn put(self, headers: &mut HeaderMap) {
        for (name, value) in self.0 {
            if name == header::VARY {
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
    }
}

pub(super) fn before(cors: &Cors, method: &Method, headers: &HeaderMap) -> Verdict {
    if !cors.enable {
        return Verdict::GoOn(Added::default());
    }
    let origin = headers.get(header::ORIGIN);
    let asks = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    if let (&Method::OPTIONS, Some(origin), Some(asks)) = (method, origin, asks) {
        return Verdict::Answer(preflight(cors, origin, asks, headers));
    }
    let mut added = Added::default();
    let allowed = origin.and_then(|origin| allow(cors, origin));
    if !is_for_all(cors) {
        added.0.push((header::VARY, HeaderValue::from_static("origin")));
    }
    if let Some(allowed) = allowed {
        added.0.extend(granted(cors, allowed));
        let exposed = list(&cors.expose_headers).map(|exposed| (header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed));
        added.0.extend(exposed);
    }
    Verdict::GoOn(added)
}

fn preflight(cors: &Cors, origin: &HeaderValue, asks: &HeaderValue, headers: &HeaderMap) -> Response {
    let refuse = |text: String| {
        let mut response = Error::forbidden(text).code("CORS_REFUSED").into_response();
        vary(response.headers_mut());
        response
    };
    let Some(allowed) = allow(cors, origin) else { return refuse(format!("the origin {origin:?} may not read this")) };
    let is_among = |all: &[String], word: &str| all.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(word));
    let method = asks.to_str().unwrap_or_default();
    // These need no leave (Fetch, section 2.2.1).
    if !["GET", "HEAD", "POST"].contains(&method) && !is_among(&cors.allow_methods, method) {
        return refuse(format!("{method:?} is not allowed from elsewhere"));
    }
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let wanted = wanted.and_then(|wanted| wanted.to_str().ok()).unwrap_or_default();
    let mut wanted = wanted.split(',').map(str::trim).filter(|name| !name.is_empty());
    if let Some(name) = wanted.find(|name| !is_among(&cors.allow_headers, name)) {
        return refuse(format!("the header {name:?} is not allowed from elsewhere"));
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let own = response.headers_mut();
    own.extend(granted(cors, allowed));
    // "*" is a method's name where there are cookies.
    let methods = if cors.allow_methods.iter().any(|one| one == "*") {
        headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).cloned()
    } else {
        list(&cors.allow_methods)
    };
    own.extend(methods.map(|all| (header::ACCESS_CONTROL_ALLOW_METHODS, all)));
    // "*" is not for requests with cookies, and never stands for Authorization: what was asked for is said.
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    own.extend(asked.map(|asked| (header::ACCESS_CONTROL_ALLOW_HEADERS, asked)));
    own.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
    vary(own);
    response
}

fn vary(headers: &mut HeaderMap) {
    for name in VARY {
        headers.append(header::VARY, HeaderValue::from_name(name));
    }
}

/// Whether everybody gets the same answer.
fn is_for_all(cors: &Cors) -> bool {
    cors.allow_origins.contains(&Origin::Any) && !cors.allow_credentials
}

/// What `Access-Control-Allow-Origin` says.
fn allow(cors: &Cors, origin: &HeaderValue) -> Option<HeaderValue> {
    let text = origin.to_str().ok()?;
    let is_allowed = cors.allow_origins.iter().any(|one| one.is(text));
    is_allowed.then(|| if is_for_all(cors) { HeaderValue::from_static("*") } else { origin.clone() })
}

fn granted(cors: &Cors, allowed: HeaderValue) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let credentials = (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    [(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed)].into_iter().chain(cors.allow_credentials.then_some(credentials))
}

fn list(all: &[String]) -> Option<HeaderValue> {
    (!all.is_empty()).then(|| HeaderValue::try_from(all.join(", ")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Config;

    fn cors_of(text: &str) -> Cors {
        Config::<()>::from_text(Path::new("a.toml"), &format!("[cors]\nenable = true\n{text}")).unwrap().cors
    }

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    /// Status (0: goes to its handler), and what is said of the origin, of credentials, and of what it depends on.
    fn ask(cors: &Cors, method: Method, all: &[(&str, &str)]) -> (u16, HeaderMap) {
        match before(cors, &method, &headers(all)) {
            Verdict::Answer(response) => (response.status().as_u16(), response.headers().clone()),
            Verdict::GoOn(added) => {
                let mut headers = HeaderMap::new();
                added.put(&mut headers);
                (0, headers)
            }
        }
    }

    #[test]
    fn preflights_are_answered_and_other_requests_go_on() {
        let cors = cors_of(
            "allow_origins = [\"https://a.org\", \"https://*.b.org\"]\nallow_headers = [\"X-One\"]\nmax_age = \"1m\"",
        );
        let (origin, method, names) = ("origin", "access-control-request-method", "access-control-request-headers");
        for (request, given, status, allowed) in [
            (Method::GET, vec![], 0, None),
            (Method::GET, vec![(origin, "https://a.org")], 0, Some("https://a.org")),
            (Method::GET, vec![(origin, "https://x.b.org")], 0, Some("https://x.b.org")),
            (Method::GET, vec![(origin, "https://evil.org")], 0, None),
            (Method::GET, vec![(origin, "null")], 0, None),
            (Method::OPTIONS, vec![], 0, None),
            (Method::OPTIONS, vec![(origin, "https://a.org")], 0, Some("https://a.org")),
            (Method::OPTIONS, vec![(origin, "https://a.org"), (method, "PUT")], 204, Some("https://a.org")),
            (Method::OPTIONS, vec![(origin, "https://a.org"), (method, "PURGE")], 403, None),
            (
                Method::OPTIONS,
                vec![(origin, "https://a.org"), (method, "PUT"), (names, "x-one")],
                204,
                Some("https://a.org"),
            ),
            (Method::OPTIONS, vec![(origin, "https://a.org"), (method, "PUT"), (names, "x-one,x-two")], 403, None),
            (Method::OPTIONS, vec![(origin, "https://evil.org"), (method, "GET")], 403, None),
        ] {
            let (got, headers) = ask(&cors, request.clone(), &given);
            let says = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap());
            assert_eq!((got, says), (status, allowed), "{request} {given:?}");
            assert!(headers.get_all(header::VARY).iter().any(|value| value == "origin"), "{given:?}");
        }
        let (_, headers) = ask(&cors, Method::OPTIONS, &[(origin, "https://a.org"), (method, "PUT"), (names, "x-one")]);
        assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "60");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS], "x-one");
        assert_eq!(headers.get_all(header::VARY).iter().count(), 3);
    }

    #[test]
    fn for_all_is_a_star_and_depends_on_nothing() {
        let (_, headers) = ask(
            &cors_of("allow_origins = \"*\"\nexpose_headers = [\"X-A\", \"X-B\"]"),
            Method::GET,
            &[("origin", "https://a.org")],
        );
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[header::ACCESS_CONTROL_EXPOSE_HEADERS], "X-A, X-B");
        assert!(!headers.contains_key(header::VARY) && !headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        let with = cors_of("allow_origins = \"https://a.org\"\nallow_credentials = true");
        assert_eq!(
            ask(&with, Method::GET, &[("origin", "https://a.org")]).1[header::ACCESS_CONTROL_ALLOW_CREDENTIALS],
            "true"
        );
        assert!(ask(&Cors::default(), Method::GET, &[("origin", "https://a.org")]).1.is_empty(), "off");
    }
}

//! Requests that hyper lets through and the standards do not: those whose host is unclear, or whose body is in a coding that nobody
//! asked for. Caches and proxies in front of us may see another request in them than we do.

use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};

use crate::config::Limits;

/// A reason to refuse a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
}

const fn bad(text: &'static str) -> Malformed {
    Malformed { status: StatusCode::BAD_REQUEST, text }
}

/// A path that is too long in its normal form.
pub(super) const TOO_LONG: Malformed = Malformed { status: StatusCode::URI_TOO_LONG, text: "the path is too long" };

/// Looks at the head of a request.
pub(super) fn check<B>(request: &Request<B>, limits: &Limits) -> Result<(), Malformed> {
    if request.version() == Version::HTTP_2 {
        // hyper counts the fields of HTTP/1.1 alone.
        if request.headers().len() > limits.head_fields as usize {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Malformed { status, text: "the head has too many fields" });
        }
        if request.method() == Method::CONNECT {
            return Err(Malformed { status: StatusCode::NOT_IMPLEMENTED, text: "CONNECT is for proxies" });
        }
        if request.uri().path_and_query().is_none() {
            return Err(bad("the pseudo-header :path is missing"));
        }
        return check_authority(request);
    }
    check_host(request.headers(), request.version())
}

/// RFC 9112, section 3.2: one `Host`, and a valid one. Where the target has a host of its own, that one counts; hyper has checked it.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Malformed> {
    // Mostly no field stands there twice, and this one is well.
    if headers.len() == headers.keys_len() && headers.get(header::HOST).is_some_and(|host| is_host(host.as_bytes())) {
        return Ok(());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(bad("the field Host is malformed")),
        (Some(_), Some(_)) => Err(bad("the field Host stands there twice")),
        (None, _) if version == Version::HTTP_11 => Err(bad("the field Host is missing")),
        (None, _) => Ok(()),
    }
}

/// RFC 9113, section 8.3.1: `:authority`, or `Host` in its place, and no other one beside it.
fn check_authority<B>(request: &Request<B>) -> Result<(), Malformed> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (request.uri().authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => Err(bad("the field Host stands there twice")),
        (Some(authority), None, None) if is_host(authority.as_str().as_bytes()) => Ok(()),
        (None, Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(authority), Some(host), None) if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            if is_host(host.as_bytes()) {
                Ok(())
            } else {
                Err(bad("the pseudo-header :authority is malformed"))
            }
        }
        (Some(_), Some(_), None) => Err(bad("the field Host differs from :authority")),
        (None, None, None) => Err(bad("the pseudo-header :authority is missing")),
        (Some(_), None, None) => Err(bad("the pseudo-header :authority is malformed")),
        (None, Some(_), None) => Err(bad("the field Host is malformed")),
    }
}

/// Looks at the codings of a body of HTTP/1.1. Only `chunked` is known here, and it must be the last one (RFC 9112, section 6.1).
pub(super) fn check_codings(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (first, second) => {
            let all = first.into_iter().chain(second).chain(values);
            let chunked = all
                .flat_map(|value| value.split(|byte| *byte == b','))
                .filter(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
                .count();
            let unknown = "Transfer-Encoding: only chunked is known here, once";
            if chunked > 1 {
                Err(bad(unknown))
            } else {
                Err(Malformed { status: StatusCode::NOT_IMPLEMENTED, text: unknown })
            }
        }
    }
}

/// True for `uri-host [ ":" port ]` with a host (RFC 3986, section 3.2.2; RFC 9110, section 4.2.1).
fn is_host(host: &[u8]) -> bool {
    let (is_name, port) = match host.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (end > 0 && rest[..end].iter().all(|byte| is_of_literal(*byte)), &rest[end + 1..]),
            None => (false, &[][..]),
        },
        None => {
            let end = host.iter().position(|byte| !is_of_name(*byte)).unwrap_or(host.len());
            (end > 0, &host[end..])
        }
    };
    is_name && (port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit)))
}

/// Unreserved characters, percent-encoding, sub-delimiters.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&'..=b',' | b';' | b'=')
}

fn is_of_literal(byte: u8) -> bool {
    is_of_name(byte) || byte == b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, target: &str, fields: &[(&str, &str)]) -> Result<(), &'static str> {
        let mut request = Request::get(target).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), &Limits::default()).map_err(|malformed| malformed.text)
    }

    #[test]
    fn a_request_has_one_host() {
        for host in ["x", "x.test:80", "x:", "127.0.0.1", "[::1]:8080", "a_b", "%41"] {
            assert_eq!(head(Version::HTTP_11, "/", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["", "a b", "a/../b", "a, b", "a@b", "x:80x", "[::1", "[]", "[::1]80", "a?b", "a#b", ":80"] {
            assert!(head(Version::HTTP_11, "/", &[("host", host)]).is_err(), "{host}");
        }
        assert!(head(Version::HTTP_11, "/", &[]).is_err());
        assert!(head(Version::HTTP_11, "/", &[("host", "x"), ("host", "x")]).is_err());
        assert!(head(Version::HTTP_11, "http://x/", &[]).is_err(), "an absolute target does not do without it");
        assert_eq!(head(Version::HTTP_11, "http://x/", &[("host", "y")]), Ok(()));
        assert_eq!(head(Version::HTTP_10, "/", &[]), Ok(()));
        assert!(head(Version::HTTP_10, "/", &[("host", "a b")]).is_err());
    }

    #[test]
    fn http2_has_an_authority_or_a_host() {
        assert_eq!(head(Version::HTTP_2, "http://x:80/", &[]), Ok(()));
        assert_eq!(head(Version::HTTP_2, "http://x/", &[("host", "X")]), Ok(()));
        assert_eq!(head(Version::HTTP_2, "/", &[("host", "x")]), Ok(()));
        for (target, fields) in [
            ("http://x/", &[("host", "y")][..]),
            ("http://x/", &[("host", "x"), ("host", "x")]),
            ("http://user@x/", &[]),
            ("/", &[]),
            ("/", &[("host", "a b")]),
            // Without :path.
            ("x:80", &[]),
        ] {
            assert!(head(Version::HTTP_2, target, fields).is_err(), "{target} {fields:?}");
        }
    }

    #[test]
    fn http2_has_so_many_fields_and_connects_to_nobody() {
        let limits = Limits { head_fields: 2, ..Limits::default() };
        let request = |method: &Method, fields: usize| {
            let mut request = Request::builder().method(method).uri("http://x/").version(Version::HTTP_2);
            for number in 0..fields {
                request = request.header(format!("x-{number}"), "y");
            }
            check(&request.body(()).unwrap(), &limits).err().map(|malformed| malformed.status.as_u16())
        };
        assert_eq!(request(&Method::GET, 2), None);
        assert_eq!(request(&Method::GET, 3), Some(431));
        assert_eq!(request(&Method::CONNECT, 0), Some(501));
    }

    #[test]
    fn a_body_is_chunked_once_or_not_at_all() {
        for (codings, status) in [
            (&[][..], None),
            (&["chunked"], None),
            (&[" Chunked "], None),
            (&["gzip, chunked"], Some(501)),
            (&["identity", "chunked"], Some(501)),
            (&["identity"], Some(501)),
            (&["chunked, chunked"], Some(400)),
            (&["chunked", "chunked"], Some(400)),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            let checked = check_codings(&headers).err().map(|malformed| malformed.status.as_u16());
            assert_eq!(checked, status, "{codings:?}");
        }
    }
}

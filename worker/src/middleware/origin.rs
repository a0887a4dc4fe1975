//! Pages that may send a request with a client's cookies. Browsers send cookies with a WebSocket's request (RFC 6455, section 10.2), and
//! with a form, whichever page asks, and no preflight goes before them; they name the page's origin.

use crate::config::Origin;

/// True if a page of this origin may send a request to this host (the `Host` of the request): the host's own pages may, and those
/// that are listed. Programs that are no browsers name none, and may.
pub(crate) fn is_allowed(origin: Option<&[u8]>, host: Option<&str>, listed: &[Origin]) -> bool {
    let Some(origin) = origin else { return true };
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    listed.iter().any(|one| one.is(origin)) || host.is_some_and(|host| is_of(origin, host))
}

/// True if an origin is of this host. A proxy in front of this server may have spoken TLS, so the port may be that of the
/// origin's scheme.
fn is_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let ((origin_name, origin_port), (name, port)) = (parts(authority), parts(host));
    !name.is_empty() && origin_name.eq_ignore_ascii_case(name) && origin_port.or(usual) == port.or(usual)
}

/// Name and port of an authority.
fn parts(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        // Else it is within an address of IPv6.
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_own_pages_may_and_others_if_they_are_listed() {
        let listed = [Origin::parse("https://*.example.org").unwrap()];
        for (origin, host, is) in [
            (None, None, true),
            (Some("http://shop.test"), Some("shop.test"), true),
            (Some("https://SHOP.test"), Some("shop.test:443"), true),
            (Some("http://shop.test:8080"), Some("shop.test:8080"), true),
            (Some("http://[::1]:8080"), Some("[::1]:8080"), true),
            (Some("http://[::1]"), Some("[::1]"), true),
            (Some("https://a.example.org"), Some("shop.test"), true),
            (Some("http://shop.test:8080"), Some("shop.test"), false),
            (Some("https://shop.test"), Some("shop.test:80"), false),
            (Some("http://evil.test"), Some("shop.test"), false),
            (Some("http://shop.test.evil.test"), Some("shop.test"), false),
            (Some("http://shop.test@evil.test"), Some("shop.test"), false),
            (Some("https://example.org"), Some("shop.test"), false),
            (Some("null"), Some("shop.test"), false),
            (Some("http://"), Some(""), false),
            (Some("http://shop.test"), None, false),
        ] {
            assert_eq!(is_allowed(origin.map(str::as_bytes), host, &listed), is, "{origin:?} {host:?}");
        }
        assert!(is_allowed(Some(b"null"), None, &[Origin::Any]));
        assert!(!is_allowed(Some(b"http://\xff"), Some("shop.test"), &[]));
    }
}

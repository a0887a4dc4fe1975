//! The path of a request in its normal form (RFC 3986, section 6.2.2), so that routes, guards and files see the same one.
//!
//! `/%70rivate/` and `/private/` are one path. Files are found by the decoded path; whoever compares the path of the URI would let the
//! first one pass. So letters, digits and `-._~` are never encoded here, everything else that a client has encoded stays so, with upper
//! case digits, and characters beyond ASCII are encoded, and spaces. A `%` that begins no escape stands for itself, as `%25`. The paths
//! of routes and the prefixes of files have the same form.

use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};

/// The URI as the client has sent it, if its path was another one: an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct AsSent(pub(crate) Uri);

/// The error of a path that is too long in its normal form (65,534 bytes with its query, by the `http` crate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Gives a request the normal form of its path. Without a `%`, and within ASCII, it has that already.
///
/// # Errors
/// [`TooLong`]: it may not be served, as a guard would see another path than files.
pub(crate) fn normalize<B>(request: &mut Request<B>) -> Result<(), TooLong> {
    let Some(target) = request.uri().path_and_query() else { return Ok(()) };
    // One pass: paths are short.
    let mut path = target.as_str().bytes().take_while(|byte| *byte != b'?');
    if path.all(|byte| byte.is_ascii() && byte != b'%') {
        return Ok(());
    }
    let path = normal_path(target.path());
    if path != request.uri().path() {
        let normal = with_path(request.uri(), path).ok_or(TooLong)?;
        let sent = std::mem::replace(request.uri_mut(), normal);
        request.extensions_mut().insert(AsSent(sent));
    }
    Ok(())
}

fn with_path(uri: &Uri, path: String) -> Option<Uri> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

/// The normal form of a path, or of a part of one.
pub(crate) fn normal_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, escaped(behind)) {
            (b'%', Some(byte)) => {
                rest = &behind[2..];
                if is_unreserved(byte) { out.push(char::from(byte)) } else { encode(&mut out, byte) }
            }
            (b'%', None) => encode(&mut out, b'%'),
            (b'!'..=0x7f, _) => out.push(char::from(*byte)),
            (byte, _) => encode(&mut out, *byte),
        }
    }
    out
}

/// The byte for which two digits stand behind a `%`.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn encode(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_form() {
        for (sent, normal) in [
            ("/%70rivate/%61%2Dz", "/private/a-z"),
            ("/%7euser", "/~user"),
            ("/%2e%2e/x", "/../x"),
            ("/a%2fb%3f", "/a%2Fb%3F"),
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            // Decoded once.
            ("/%2541", "/%2541"),
            ("/a%20b%2F", "/a%20b%2F"),
            ("/plain", "/plain"),
            // No escapes: what they would become could be one.
            ("/%%34%31", "/%2541"),
            ("/%zz%41", "/%25zzA"),
            ("/%70rivate/x%zz", "/private/x%25zz"),
            ("/%4", "/%254"),
            // No request has it; a route may.
            ("/a b", "/a%20b"),
            ("/%+1", "/%25+1"),
        ] {
            assert_eq!(normal_path(sent), normal, "{sent}");
            assert_eq!(normal_path(normal), normal, "it stays");
        }
    }

    #[test]
    fn a_path_that_is_too_long_in_its_normal_form_is_no_way_round_a_guard() {
        let sent = format!("/%70rivate/{}.pdf?{}", "报告".repeat(20), "a".repeat(65_300));
        let mut request = Request::get(sent).body(()).unwrap();
        assert_eq!(normalize(&mut request), Err(TooLong));
    }

    #[test]
    fn the_query_and_the_host_stay_and_what_was_sent_is_known() {
        let mut request = Request::get("http://shop.example/%61?q=%61").body(()).unwrap();
        normalize(&mut request).unwrap();
        assert_eq!(request.uri(), "http://shop.example/a?q=%61");
        assert_eq!(request.extensions().get::<AsSent>().unwrap().0.path(), "/%61");
        for same in ["/a?q=%61", "*", "/a%20b"] {
            let mut request = Request::get(same).body(()).unwrap();
            normalize(&mut request).unwrap();
            assert_eq!(request.uri(), same);
            assert!(request.extensions().get::<AsSent>().is_none());
        }
    }
}

//! The path of a request in its normal form (RFC 3986, section 6.2.2), so that routes, guards and files see the same one.
//!
//! `/%70rivate/` and `/private/` are one path. Files are found by the decoded path; whoever compares the path of the URI would let the
//! first one pass. So letters, digits and `-._~` are never encoded here, everything else that a client has encoded stays so, with upper
//! case digits, and characters beyond ASCII are encoded. A path with an escape that is none stays as it is: no file has it.

use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};

/// The URI as the client has sent it, if its path was another one: an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct AsSent(pub(crate) Uri);

/// Gives a request the normal form of its path. Without a `%`, and within ASCII, it has that already.
pub(crate) fn normalize<B>(request: &mut Request<B>) {
    if request.uri().path().bytes().all(|byte| byte != b'%' && byte.is_ascii()) {
        return;
    }
    if let Some(normal) = normal(request.uri()) {
        let sent = std::mem::replace(request.uri_mut(), normal);
        request.extensions_mut().insert(AsSent(sent));
    }
}

/// `None`: it stays as it is.
fn normal(uri: &Uri) -> Option<Uri> {
    let path = normal_path(uri.path())?;
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

fn normal_path(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                let byte = u8::try_from(high * 16 + low).ok()?;
                if is_unreserved(byte) { out.push(char::from(byte)) } else { encode(&mut out, byte) }
            }
            byte if byte.is_ascii() => out.push(char::from(byte)),
            byte => encode(&mut out, byte),
        }
    }
    (out != path).then_some(out)
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
            ("/%70rivate/%61%2Dz", Some("/private/a-z")),
            ("/%7euser", Some("/~user")),
            ("/%2e%2e/x", Some("/../x")),
            ("/a%2fb%3f", Some("/a%2Fb%3F")),
            ("/%c3%a9", Some("/%C3%A9")),
            ("/é", Some("/%C3%A9")),
            // Decoded once.
            ("/%2541", None),
            ("/a%20b%2F", None),
            ("/plain", None),
            // No escapes: what they would become could be one.
            ("/%%34%31", None),
            ("/%zz%41", None),
            ("/%4", None),
            ("/%+1", None),
        ] {
            assert_eq!(normal_path(sent).as_deref(), normal, "{sent}");
            if let Some(normal) = normal {
                assert_eq!(normal_path(normal), None, "{normal} is normal");
            }
        }
    }

    #[test]
    fn the_query_and_the_host_stay_and_what_was_sent_is_known() {
        let mut request = Request::get("http://shop.example/%61?q=%61").body(()).unwrap();
        normalize(&mut request);
        assert_eq!(request.uri(), "http://shop.example/a?q=%61");
        assert_eq!(request.extensions().get::<AsSent>().unwrap().0.path(), "/%61");
        for same in ["/a?q=%61", "*", "/a%20b"] {
            let mut request = Request::get(same).body(()).unwrap();
            normalize(&mut request);
            assert_eq!(request.uri(), same);
            assert!(request.extensions().get::<AsSent>().is_none());
        }
    }
}

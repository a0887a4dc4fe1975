//! The token of a request: as `Authorization: Bearer TOKEN`, or as the password of Basic, whose user does not count.
//!
//! `go tool pprof http://:TOKEN@host/debug/pprof/profile` sends the second. A token in the query does not count: queries stand in logs.

use axum::http::{HeaderMap, header};

/// True if the one header `Authorization` has a token of which `is_token` is true.
pub(super) fn opens(headers: &HeaderMap, is_token: impl FnOnce(&[u8]) -> bool) -> bool {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(given), None) = (all.next(), all.next()) else { return false };
    let given = given.as_bytes();
    let Some(space) = given.iter().position(|byte| *byte == b' ') else { return false };
    let (scheme, rest) = (&given[..space], given[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return is_token(rest);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let Some(decoded) = base64(rest) else { return false };
    let colon = decoded.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| is_token(&decoded[colon + 1..]))
}

/// The bytes of a text in base64 (RFC 4648, section 4), with or without its padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    if text.len() - end > 2 {
        return None;
    }
    let (mut bits, mut count, mut decoded) = (0_u32, 0, Vec::with_capacity(text.len() / 4 * 3 + 2));
    for byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdeF";

    fn is_open(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        opens(&headers, |given| given == TOKEN.as_bytes())
    }

    #[test]
    fn the_token_opens_as_bearer_and_as_the_password_of_anybody() {
        for given in [
            "Bearer 0123456789abcdeF",
            "bearer 0123456789abcdeF",
            "BEARER  0123456789abcdeF",
            // ":TOKEN", "me:TOKEN", and the second without its padding.
            "Basic OjAxMjM0NTY3ODlhYmNkZUY=",
            "Basic bWU6MDEyMzQ1Njc4OWFiY2RlRg==",
            "basic bWU6MDEyMzQ1Njc4OWFiY2RlRg",
        ] {
            assert!(is_open(&[given]), "{given}");
        }
    }

    #[test]
    fn nothing_else_does() {
        for given in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdeF",
            "Bearer 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdeFF",
            "Bearer 0123456789abcdeF x",
            "Token 0123456789abcdeF",
            "Basic 0123456789abcdeF",
            // "TOKEN:" and "TOKEN": the token as a user, and without a colon.
            "Basic MDEyMzQ1Njc4OWFiY2RlRjo=",
            "Basic MDEyMzQ1Njc4OWFiY2RlRg==",
            // ":" and nothing.
            "Basic Og==",
            "Basic ===",
            "Basic",
        ] {
            assert!(!is_open(&[given]), "{given}");
        }
        assert!(!is_open(&[]));
        let right = "Bearer 0123456789abcdeF";
        assert!(!is_open(&[right, right]) && !is_open(&["Bearer x", right]));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, decoded) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(decoded.as_bytes()));
        }
        assert_eq!(base64(b"+/+/").as_deref(), Some(&[0xfb, 0xff, 0xbf][..]));
        assert!(base64(b"Zm-v").is_none() && base64(b"Zg===").is_none());
    }
}

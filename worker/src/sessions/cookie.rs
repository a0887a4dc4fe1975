//! The cookie of a session: its id and a signature, 64 hexadecimal digits.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use axum::http::{HeaderMap, HeaderValue};

use super::record::Millis;
use crate::kept::cookie::all_of;
use crate::kept::id::{Id, hex, unhex};

/// Bytes of an id, and of a signature: half of HMAC-SHA-256's, as RFC 2104, section 5, allows.
const BYTES: usize = 16;

/// The value of a cookie. Its signature may be anybody's: [`Signer::is_ours`] tells.
#[derive(Clone, Copy)]
pub(super) struct Signed {
    pub(super) id: Id,
    tag: [u8; BYTES],
}

impl Signed {
    fn parse(text: &[u8]) -> Option<Self> {
        let (id, tag) = text.split_at_checked(2 * BYTES)?;
        Some(Self { id: Id::from_bytes(unhex(id)?), tag: unhex(tag)? })
    }

    fn text(&self) -> String {
        let mut text = self.id.text();
        text.push_str(&hex(&self.tag));
        text
    }

    /// The signature.
    pub(super) fn tag(&self) -> [u8; BYTES] {
        self.tag
    }

    /// True if the signature is this one. How long it takes says nothing about it.
    pub(super) fn has(&self, tag: &[u8; BYTES]) -> bool {
        verify_slices_are_equal(&self.tag, tag).is_ok()
    }
}

/// Signs ids, and gives users their keys in the store.
pub(super) struct Signer {
    key: hmac::Key,
    /// A cookie of another name is not ours.
    name: String,
}

impl Signer {
    pub(super) fn new(secret: &[u8], name: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), name: name.to_owned() }
    }

    pub(super) fn sign(&self, id: Id) -> Signed {
        Signed { id, tag: self.tag(b"gin session 1\0", &id.bytes()) }
    }

    /// The key by which the store finds a user's sessions. Names have no length, no alphabet and no order of letters that all stores
    /// agree about; the key has. User 7 of another service that shares the store has another key.
    pub(super) fn user_key(&self, user: &str) -> String {
        hex(&self.tag(b"gin user 1\0", user.as_bytes()))
    }

    fn tag(&self, kind: &[u8], signed: &[u8]) -> [u8; BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        let parts: [&[u8]; 4] = [kind, self.name.as_bytes(), b"\0", signed];
        for part in parts {
            context.update(part);
        }
        let mut tag = [0; BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..BYTES]);
        tag
    }

    pub(super) fn is_ours(&self, signed: &Signed) -> bool {
        signed.has(&self.sign(signed.id).tag)
    }
}

/// The session's cookie in a request: the first one of this name that can be one.
pub(super) fn find(headers: &HeaderMap, name: &str) -> Option<Signed> {
    all_of(headers, name).find_map(Signed::parse)
}

/// `Set-Cookie` for a session. `max_age`: in seconds.
pub(super) fn set(name: &str, signed: &Signed, max_age: Millis, is_secure: bool) -> HeaderValue {
    header_value(name, &signed.text(), max_age, is_secure)
}

/// `Set-Cookie` that takes the cookie away.
pub(super) fn removal(name: &str, is_secure: bool) -> HeaderValue {
    header_value(name, "", 0, is_secure)
}

fn header_value(name: &str, value: &str, max_age: Millis, is_secure: bool) -> HeaderValue {
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).expect("the configuration takes only names that can stand in a header")
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter().map(|line| (header::COOKIE, line.parse::<HeaderValue>().unwrap()));
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn a_cookie_of_ours_is_known_and_no_other() {
        let signer = Signer::new(&[7; 32], "session");
        let id = Id::random().unwrap();
        assert_ne!(id, Id::random().unwrap());
        let signed = signer.sign(id);
        let text = signed.text();
        assert_eq!(text.len(), 64);
        let read = Signed::parse(text.as_bytes()).unwrap();
        assert!(read.id == id && signer.is_ours(&read));
        for (name, other) in [("secret", Signer::new(&[8; 32], "session")), ("name", Signer::new(&[7; 32], "sessio"))] {
            assert!(!other.is_ours(&read), "another {name}");
        }
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert!(!signer.is_ours(&Signed::parse(&forged).unwrap()), "{at}");
        }
        assert!(Id::parse(&id.text()) == Some(id));
        let key = signer.user_key("ann");
        assert_eq!(key.len(), 32, "its column has no more");
        assert_ne!(key, signer.user_key("Ann"));
        assert_ne!(key, Signer::new(&[7; 32], "admin").user_key("ann"));
        assert_eq!(format!("{id:?}"), "Id(..)");
    }

    #[test]
    fn what_cannot_be_a_cookie_is_none() {
        let text = Signer::new(&[7; 32], "session").sign(Id::of(7)).text();
        for wrong in
            ["", "7", &text[1..], &format!("{text}0"), &format!("A{}", &text[1..]), &format!("+{}", &text[1..])]
        {
            assert!(Signed::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let text = Signer::new(&[7; 32], "session").sign(Id::of(7)).text();
        let id = |lines: &[&str]| find(&headers(lines), "session").map(|signed| signed.id);
        let ours = format!("session={text}");
        assert_eq!(id(&[&ours]), Some(Id::of(7)));
        assert_eq!(id(&[&format!("a=b; {ours}; c")]), Some(Id::of(7)));
        assert_eq!(id(&["a=b", &ours]), Some(Id::of(7)), "HTTP/2 may send a line for each");
        assert_eq!(id(&[&format!("session=nonsense;{ours}")]), Some(Id::of(7)));
        assert_eq!(id(&[&format!("my{ours}"), &format!("sessions={text}"), "session"]), None);
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn a_cookie_is_for_this_host_and_no_script() {
        let signed = Signer::new(&[7; 32], "id").sign(Id::of(7));
        let text = format!("id={}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure", signed.text());
        assert_eq!(set("id", &signed, 60, true), text);
        assert_eq!(removal("id", false), "id=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}

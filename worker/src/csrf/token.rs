//! Tokens of forms, and the cookie that binds them to a browser.

use std::fmt;
use std::iter;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::api::Argument;
use crate::config::{Config, Mode};
use crate::kept::cookie::all_of;
use crate::kept::id::{Id, hex, unhex};
use crate::{Connection, Error, Result};

/// The cookie that binds tokens to a browser. By the prefix of its name, browsers take it from this host over TLS alone (RFC 6265bis,
/// section 4.1.3): no other host of the domain can plant one, whose value it knows.
const COOKIE: &str = "__Host-csrf";
/// Its name over an unencrypted connection of the loopback network, in debug mode.
const INSECURE_COOKIE: &str = "csrf";
/// Bytes of a nonce, and of a signature: half of HMAC-SHA-256's, as RFC 2104, section 5, allows.
const BYTES: usize = 16;

/// A token that a page puts into its forms, for `security.enable_csrf`. See [`crate::csrf`].
///
/// An extractor. It is another one each time. Its digits, 0 to 9 and a to f, can stand in a page and in a URL as they are. The answer
/// gets `Cache-Control: no-store`, unless the handler says otherwise, and a cookie, unless the browser has it.
pub struct CsrfToken(String);

impl CsrfToken {
    /// The token: 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Without the token, which stands in no log.
impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(..)")
    }
}

impl Argument for CsrfToken {}

impl<S: Sync> FromRequestParts<S> for CsrfToken {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(slot) = parts.extensions.get::<Slot>() else {
            return Err(Error::internal(
                "the handler takes a CsrfToken, and its server looks for none: set security.enable_csrf = true",
            ));
        };
        slot.token(&parts.extensions, &parts.headers)
    }
}

/// The tokens of a server: an extension of its parts. A copy is the same.
#[derive(Clone)]
pub(super) struct Tokens(Arc<Inner>);

struct Inner {
    /// Name of the sessions' cookie.
    session: String,
    /// True if the cookie may go over an unencrypted connection of the loopback network, as the sessions' may.
    is_debug: bool,
    /// Signs, once the secret was read.
    key: OnceLock<hmac::Key>,
}

impl Tokens {
    pub(super) fn new(config: &Config) -> Self {
        let is_loopback = config.server.host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        let is_debug = config.server.mode == Mode::Debug && is_loopback;
        Self(Arc::new(Inner { session: config.sessions.cookie.clone(), is_debug, key: OnceLock::new() }))
    }

    /// Signs by this secret from now on. The first one counts.
    pub(super) fn open(&self, secret: &[u8]) {
        let _ = self.0.key.set(hmac::Key::new(hmac::HMAC_SHA256, secret));
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.key.get().is_some()
    }

    fn key(&self) -> Result<&hmac::Key> {
        self.0.key.get().ok_or_else(|| Error::internal("the secret of CSRF tokens is not read yet"))
    }

    /// A new token for this browser, with the sessions of a request.
    pub(super) fn token(&self, browser: Id, headers: &HeaderMap) -> Result<String> {
        let nonce = Id::random()?.bytes();
        let mut token = hex(&nonce);
        token.push_str(&hex(&self.tag(&nonce, browser, headers)?));
        Ok(token)
    }

    /// True if the token was given to the browser and the session that a request names.
    ///
    /// # Errors
    /// If the secret is not read yet.
    pub(super) fn is_good(&self, token: &str, headers: &HeaderMap) -> Result<bool> {
        let Some((nonce, tag)) = token.as_bytes().split_at_checked(2 * BYTES) else { return Ok(false) };
        let (Some(nonce), Some(tag), Some(browser)) = (unhex(nonce), unhex(tag), self.browser(headers)) else {
            return Ok(false);
        };
        Ok(verify_slices_are_equal(&tag, &self.tag(&nonce, browser, headers)?).is_ok())
    }

    /// The signature. All sessions that the request names count: another host of the domain can add a cookie, and take none away.
    fn tag(&self, nonce: &[u8; BYTES], browser: Id, headers: &HeaderMap) -> Result<[u8; BYTES]> {
        let mut context = hmac::Context::with_key(self.key()?);
        let parts: [&[u8]; 3] = [b"gin csrf 1\0", nonce, &browser.bytes()];
        for part in parts {
            context.update(part);
        }
        for session in all_of(headers, &self.0.session) {
            context.update(session);
            // No value of a cookie has it.
            context.update(b";");
        }
        let mut tag = [0; BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..BYTES]);
        Ok(tag)
    }

    /// The browser's id for this request, and the cookie that tells it.
    fn taken(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<Taken> {
        if let Some(browser) = self.browser(headers) {
            return Ok(Taken { browser, cookie: None });
        }
        let peer = extensions.get::<Connection>().and_then(Connection::peer);
        let is_insecure = self.0.is_debug && peer.is_some_and(|peer| peer.ip().is_loopback());
        let browser = Id::random()?;
        Ok(Taken { browser, cookie: Some(cookie(browser, !is_insecure)) })
    }

    /// The browser's id that a request names: the first that can be one.
    fn browser(&self, headers: &HeaderMap) -> Option<Id> {
        let insecure = self.0.is_debug.then_some(INSECURE_COOKIE);
        let names = iter::once(COOKIE).chain(insecure);
        names.flat_map(|name| all_of(headers, name)).find_map(unhex).map(Id::from_bytes)
    }
}

/// `Set-Cookie`, for as long as the browser runs.
fn cookie(browser: Id, is_secure: bool) -> HeaderValue {
    let (name, secure) = if is_secure { (COOKIE, "; Secure") } else { (INSECURE_COOKIE, "") };
    let text = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax{secure}", browser.text());
    HeaderValue::try_from(text).expect("it is of letters and digits")
}

/// The tokens of one request: an extension of it, by which its answer learns what the handler has taken.
#[derive(Clone)]
pub(super) struct Slot(Arc<OfRequest>);

struct OfRequest {
    tokens: Tokens,
    taken: OnceLock<Taken>,
}

/// The browser's id and cookie, for the first token of a request.
struct Taken {
    browser: Id,
    /// A new browser's.
    cookie: Option<HeaderValue>,
}

impl Slot {
    pub(super) fn new(tokens: Tokens) -> Self {
        Self(Arc::new(OfRequest { tokens, taken: OnceLock::new() }))
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// A token for a page. All tokens of a request are one browser's.
    fn token(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<CsrfToken> {
        let OfRequest { tokens, taken } = &*self.0;
        let taken = match taken.get() {
            Some(taken) => taken,
            None => {
                let new = tokens.taken(extensions, headers)?;
                taken.get_or_init(|| new)
            }
        };
        tokens.token(taken.browser, headers).map(CsrfToken)
    }

    /// The answer with the cookie, if it is a new browser's.
    pub(super) fn told(&self, mut response: Response) -> Response {
        let Some(taken) = self.0.taken.get() else { return response };
        let headers = response.headers_mut();
        if let Some(cookie) = &taken.cookie {
            headers.append(header::SET_COOKIE, cookie.clone());
        }
        // In another browser the token is worth nothing.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signing(secret: u8) -> Tokens {
        let tokens = Tokens::new(&Config::default());
        tokens.open(&[secret; 32]);
        tokens
    }

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().unwrap());
        }
        headers
    }

    /// A request of this browser.
    fn of(browser: u128, more: &str) -> HeaderMap {
        headers(&[&format!("__Host-csrf={}{more}", Id::of(browser).text())])
    }

    #[test]
    fn a_token_is_good_for_its_browser_and_session_alone() {
        let (tokens, asked) = (signing(7), of(7, "; session=ann"));
        let token = tokens.token(Id::of(7), &asked).unwrap();
        assert_eq!(token.len(), 64);
        assert_ne!(token, tokens.token(Id::of(7), &asked).unwrap(), "it is another one in each page");
        for (cookies, is) in [
            (asked, true),
            (of(7, "; a=b;session=ann"), true),
            (of(7, ""), false),
            (of(7, "; session="), false),
            (of(7, "; session=bob"), false),
            (of(7, "; session=ann; session=bob"), false),
            (of(7, "; session=bob; session=ann"), false),
            (of(8, "; session=ann"), false),
            (headers(&["session=ann"]), false),
            (headers(&["__Host-csrf=7; session=ann"]), false),
            (headers(&[&format!("csrf={}; session=ann", Id::of(7).text())]), false),
            (HeaderMap::new(), false),
        ] {
            assert_eq!(tokens.is_good(&token, &cookies).unwrap(), is, "{cookies:?}");
        }
        let asked = of(7, "; session=ann");
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert!(!tokens.is_good(std::str::from_utf8(&forged).unwrap(), &asked).unwrap(), "{at}");
        }
        for wrong in [
            "",
            "7",
            &token[1..],
            &format!("{token}0"),
            &token.to_uppercase().replace('0', "O"),
            "ä".repeat(32).as_str(),
        ] {
            assert!(!tokens.is_good(wrong, &asked).unwrap(), "{wrong}");
        }
        assert!(!signing(8).is_good(&token, &asked).unwrap(), "another secret");
    }

    #[test]
    fn without_a_session_a_token_is_good_until_the_login() {
        let tokens = signing(7);
        let token = tokens.token(Id::of(7), &of(7, "")).unwrap();
        assert!(tokens.is_good(&token, &of(7, "")).unwrap());
        assert!(!tokens.is_good(&token, &of(7, "; session=ann")).unwrap());
    }

    #[test]
    fn a_cookie_that_another_host_can_plant_counts_in_debug_mode_alone() {
        let both = headers(&[&format!("csrf={}; __Host-csrf={}", Id::of(8).text(), Id::of(7).text())]);
        let planted = headers(&[&format!("csrf={}", Id::of(8).text())]);
        let mut config = Config::default();
        for (mode, host, planted_counts) in
            [(Mode::Release, "127.0.0.1", false), (Mode::Debug, "0.0.0.0", false), (Mode::Debug, "127.0.0.1", true)]
        {
            (config.server.mode, config.server.host) = (mode, host.to_owned());
            let tokens = Tokens::new(&config);
            assert_eq!(tokens.browser(&both), Some(Id::of(7)), "{mode:?} {host}");
            assert_eq!(tokens.browser(&planted), planted_counts.then_some(Id::of(8)), "{mode:?} {host}");
        }
    }

    #[test]
    fn without_the_secret_nothing_is_signed() {
        let tokens = Tokens::new(&Config::default());
        assert!(!tokens.is_open() && tokens.token(Id::of(7), &HeaderMap::new()).is_err());
        assert!(tokens.is_good(&"0".repeat(64), &of(7, "")).is_err());
    }

    #[test]
    fn a_browser_gets_one_cookie_and_keeps_it() {
        let slot = Slot::new(signing(7));
        assert!(slot.told(Response::default()).headers().is_empty());
        let none = Extensions::new();
        let (one, other) =
            (slot.token(&none, &HeaderMap::new()).unwrap(), slot.token(&none, &HeaderMap::new()).unwrap());
        let answer = slot.told(Response::default());
        let cookies: Vec<_> = answer.headers().get_all(header::SET_COOKIE).iter().collect();
        let text = cookies[0].to_str().unwrap();
        assert!(cookies.len() == 1 && text.starts_with("__Host-csrf="), "{cookies:?}");
        assert!(text.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookies:?}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let asked = headers(&[text.split(';').next().unwrap()]);
        for token in [&one, &other] {
            assert!(slot.tokens().is_good(token.as_str(), &asked).unwrap());
        }
        assert_eq!((one.to_string().as_str(), format!("{one:?}")), (one.as_str(), "CsrfToken(..)".to_owned()));
        let known = Slot::new(signing(7));
        known.token(&none, &asked).unwrap();
        assert!(!known.told(Response::default()).headers().contains_key(header::SET_COOKIE));
    }
}

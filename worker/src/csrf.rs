//! Requests that pages of other origins send with a client's cookies are refused (CSRF). The feature `csrf`.
//!
//! A browser sends a client's cookies with a form, whichever page the form stands in. `security.enable_csrf = true` is enough: each
//! request is judged before its handler sees it, whatever the type of its body. The first line that fits counts:
//!
//! | request | what becomes of it |
//! |---|---|
//! | `GET`, `HEAD`, `OPTIONS`, `TRACE` | it goes on: a handler of these must change nothing |
//! | with `Authorization: Bearer` | it goes on: no page of another origin can send that without leave of `[cors]` |
//! | to a route that is left out ([`crate::Route::csrf_exempt`], [`crate::Group::csrf_exempt`]) | it goes on |
//! | `Origin` is one of `security.csrf_origins` | it goes on |
//! | `Sec-Fetch-Site` is `same-origin` or `none` | it goes on |
//! | `Sec-Fetch-Site` is anything else | it is refused |
//! | `Origin` is the host's own | it goes on |
//! | `Origin` is anything else, `null` too | it is refused |
//! | neither header, and no cookie | it goes on: a program, which has no client's right |
//! | neither header, and a cookie | it needs a token |
//!
//! The host is that of the request, behind a proxy of `server.trusted_proxies` the one that `X-Forwarded-Host` names. The answer to a
//! request that is refused is 403 with the code `CSRF`; the access log says why.
//!
//! Each browser since 2020 sends `Origin` with a form. A token is for older ones, for those behind a proxy that takes the header away, and
//! for programs with cookies. A page that has a form takes a [`CsrfToken`], and puts it into a hidden field `_csrf`. It is also looked for
//! in the header `X-CSRF-Token`, and in the query as `_csrf`, where forms with files must have it. A form of more than 64 KiB needs it in
//! one of these, too.
//!
//! ```
//! use gin_worker::axum::response::Html;
//! use gin_worker::csrf::CsrfToken;
//!
//! async fn page(token: CsrfToken) -> Html<String> {
//!     Html(format!(
//!         "<form method=post action=/order><input type=hidden name=_csrf value={token}><button>Order</button></form>"
//!     ))
//! }
//! ```
//!
//! A token is good for the browser that got it, by a cookie `__Host-csrf` (`csrf`, over an unencrypted connection of the loopback network
//! in debug mode), and for the session of that request: after a login or a logout, or when a session has begun, the page must be loaded
//! anew. So a handler that begins a session gives no token by the same answer. A token is another one in each page, so a compressed page
//! does not give it away (BREACH). It is signed by `security.csrf_secret`. Without one, the worker makes a secret and keeps it in the state
//! directory, `csrf.key`; several hosts need the same one, by `security.csrf_secret_file`.
//!
//! A WebSocket begins with a `GET`: its route judges the `Origin` by itself. Against a page of the same origin (XSS) nothing here helps.
//! `Authorization: Basic`, which browsers send by themselves as they do with cookies, counts as no cookie.

mod layer;
mod part;
mod sent;
#[cfg(test)]
mod tests;
mod token;
mod verdict;

use std::collections::HashSet;
use std::sync::Arc;

use axum::http::Method;

use crate::{Error, config};
pub(crate) use layer::CsrfLayer;
pub(crate) use part::CsrfPart;
pub use token::CsrfToken;

/// Routes that are left out: their method, if they have one, and their path in axum's words.
pub(crate) type Exempt = Arc<HashSet<(Option<Method>, String)>>;

/// The layer around all routes of a server. It stands outside of the sessions, and finds what the part lends in [`crate::parts::Parts`],
/// which is outside of it.
pub(crate) fn layer(config: &config::Security, exempt: Exempt) -> CsrfLayer {
    CsrfLayer::new(config.csrf_origins.clone(), exempt)
}

/// The answer to a request that is refused. `why`: for the access log.
fn refused(why: &'static str) -> Error {
    Error::forbidden("this page's origin may not do that").code("CSRF").caused_by(why)
}

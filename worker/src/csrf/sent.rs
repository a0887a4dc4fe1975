//! The token that a request brings.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::refused;
use crate::{Error, Result};

static HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
/// Its name in a query and in a form.
const FIELD: &str = "_csrf";
/// Bytes of the longest form in which it is looked for: each such form is read before its handler runs.
const FORM_MAX: usize = 64 << 10;

/// The token, if there is one, and the request as it was.
///
/// # Errors
/// If the body is a form that is too long, or cannot be read.
pub(super) async fn token(request: Request) -> Result<(Option<String>, Request)> {
    if let Some(token) = in_head(&request) {
        return Ok((Some(token), request));
    }
    if !is_form(request.headers()) {
        return Ok((None, request));
    }
    let (head, body) = request.into_parts();
    let form = whole(body).await?;
    let token = field(&form);
    Ok((token, Request::from_parts(head, Body::from(form))))
}

fn in_head(request: &Request) -> Option<String> {
    if let Some(token) = request.headers().get(&HEADER) {
        return token.to_str().ok().map(str::to_owned);
    }
    field(request.uri().query()?.as_bytes())
}

/// The first field of this name.
fn field(fields: &[u8]) -> Option<String> {
    form_urlencoded::parse(fields).find(|(name, _)| name == FIELD).map(|(_, value)| value.into_owned())
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The whole form, in one piece.
async fn whole(mut body: Body) -> Result<Bytes> {
    let mut form = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::bad_request("the form cannot be read").caused_by(error))?;
        let Ok(data) = frame.into_data() else { continue };
        if form.len() + data.len() > FORM_MAX {
            return Err(refused("the form is longer than 64 KiB, and its token is not in the query or X-CSRF-Token"));
        }
        form.extend_from_slice(&data);
    }
    Ok(form.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn request(uri: &str, header: Option<&str>, kind: &str, body: impl Into<Body>) -> Request {
        let mut request = Request::post(uri).header("content-type", kind);
        if let Some(header) = header {
            request = request.header("x-csrf-token", header);
        }
        request.body(body.into()).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_in_the_header_the_query_or_the_form() {
        for (uri, header, kind, body, found) in [
            ("/", Some("1"), FORM, "_csrf=3", Some("1")),
            ("/?_csrf=2", Some("1"), FORM, "_csrf=3", Some("1")),
            ("/?a=b&_csrf=2", None, FORM, "_csrf=3", Some("2")),
            ("/", None, FORM, "a=b&_csrf=3", Some("3")),
            ("/", None, "Application/X-WWW-Form-Urlencoded; charset=utf-8", "%5Fcsrf=3&_csrf=4", Some("3")),
            ("/?a=b", None, "text/plain", "_csrf=3", None),
            ("/", None, "application/json", r#"{"_csrf":"3"}"#, None),
            ("/", None, FORM, "xcsrf=3&_csrf", Some("")),
            ("/", None, FORM, "", None),
        ] {
            let (token, request) = token(request(uri, header, kind, body)).await.unwrap();
            assert_eq!(token.as_deref(), found, "{uri} {body}");
            assert_eq!(request.uri().to_string(), uri);
            assert_eq!(request.headers()["content-type"], kind);
            let rest = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(rest, body, "the handler reads it again");
        }
    }

    #[tokio::test]
    async fn a_form_has_a_bound() {
        let form = |length: usize| format!("_csrf=3&a={}", "x".repeat(length - 10));
        let (token, _) = token(request("/", None, FORM, form(FORM_MAX))).await.unwrap();
        assert_eq!(token.as_deref(), Some("3"));
        let error = super::token(request("/", None, FORM, form(FORM_MAX + 1))).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.report().code.as_deref()), (403, Some("CSRF")));
        let broken = Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        let error = super::token(request("/", None, FORM, broken)).await.unwrap_err();
        assert_eq!(error.status().as_u16(), 400);
    }
}

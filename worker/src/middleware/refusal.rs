//! One shape for every refusal: `{"error", "details"?, "code"?}`, whoever has refused.
//!
//! axum's own rejections are a line of text, and so are those of many handlers; others are a status alone. Nothing tells them apart, so
//! all of them get the shape. A refusal of any other content type is the application's own, and stays.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::body::Body;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::recover;
use crate::error::{AsItIs, Report, in_words};
use crate::{Error, current_request};

/// Longest text of a refusal that gets the shape.
const TEXT_MAX: u64 = 64 << 10;

/// An application's own answer to refusals.
pub(crate) struct OnError(Box<dyn Fn(Report) -> Response + Send + Sync>);

impl OnError {
    pub(crate) fn new<R: IntoResponse>(f: impl Fn(Report) -> R + Send + Sync + 'static) -> Self {
        Self(Box::new(move |report| f(report).into_response()))
    }
}

impl fmt::Debug for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnError").finish_non_exhaustive()
    }
}

/// `Accept-Language` of a request. Of several lines the first.
pub(crate) fn language(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::ACCEPT_LANGUAGE).cloned()
}

/// A response as it goes out: a refusal in the one shape, or as the application answers it. `language`: what [`language`] has found.
pub(crate) fn answered(response: Response, on_error: Option<&OnError>, language: Option<HeaderValue>) -> Response {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let mut response = shaped(response);
    let Some(OnError(f)) = on_error else { return response };
    let Some(mut report) = response.extensions_mut().remove::<Report>() else { return response };
    report.accept_language = language.and_then(|language| language.to_str().ok().map(str::to_owned));
    let (old, _) = response.into_parts();
    let new = catch_unwind(AssertUnwindSafe(|| f(report))).unwrap_or_else(|_| recover::answer());
    let mut response = with(old, new);
    response.extensions_mut().insert(AsItIs);
    response
}

/// A refusal in the one shape, if it is a line of text or nothing.
fn shaped(response: Response) -> Response {
    let has_shape = |response: &Response| {
        let extensions = response.extensions();
        extensions.get::<Report>().is_some() || extensions.get::<AsItIs>().is_some()
    };
    if has_shape(&response) || !is_text(response.headers(), response.body()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    match text(body) {
        Ok(text) => {
            let message = if text.trim().is_empty() { in_words(parts.status) } else { text.trim().to_owned() };
            let new = answer(Error::new(parts.status, message));
            with(parts, new)
        }
        Err(body) => Response::from_parts(parts, body),
    }
}

/// The answer, with a line in the log if it is a failure of which the log says nothing yet.
fn answer(error: Error) -> Response {
    if current_request::is_told() { error.into_refusal() } else { error.into_response() }
}

/// Logs why a request failed, if the answer alone says it: in a text, as axum's own rejections do, or by its status. The answer stays
/// as it is.
pub(super) fn told(response: Response) -> Response {
    let is_told = !response.status().is_server_error() || current_request::is_told();
    if is_told || !is_text(response.headers(), response.body()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let (text, body) = peek(body);
    let reason = text.filter(|text| !text.trim().is_empty());
    current_request::failed(parts.status, reason.as_deref().map_or(&*in_words(parts.status), str::trim));
    Response::from_parts(parts, body)
}

/// The text of a body that is short and there at once, with the body as it was.
fn peek(mut body: Body) -> (Option<String>, Body) {
    let length = body.size_hint().exact().filter(|length| (1..=TEXT_MAX).contains(length));
    let first = length.and_then(|_| body.frame().now_or_never()).flatten();
    let data = match first {
        None => return (None, body),
        Some(Err(error)) => return (None, Body::from_stream(stream::iter([Err::<Bytes, _>(error)]))),
        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(&data).into_owned();
    // A text is one frame.
    let is_whole = length == Some(data.len() as u64);
    let body = if is_whole {
        Body::from(data)
    } else {
        Body::from_stream(stream::iter([Ok(data)]).chain(body.into_data_stream()))
    };
    (Some(text), body)
}

/// A new answer with what else the old one said: its headers, but for those that tell of its body, and what the log is to say.
fn with(old: Parts, mut new: Response) -> Response {
    let own: Vec<HeaderName> = new.headers().keys().cloned().collect();
    for (name, value) in &old.headers {
        if !own.contains(name) && !tells_of_body(name) {
            new.headers_mut().append(name, value.clone());
        }
    }
    new.extensions_mut().extend(old.extensions);
    new
}

/// True for a header of a body, and not of what was asked for, as Content-Range is.
fn tells_of_body(name: &HeaderName) -> bool {
    use header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE};
    [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION].contains(name)
}

fn is_text(headers: &HeaderMap, body: &Body) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    match headers.get(header::CONTENT_TYPE) {
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
        None => body.size_hint().exact() == Some(0),
    }
}

/// The text of a body that is short and there at once; else the body.
fn text(mut body: Body) -> Result<String, Body> {
    match body.size_hint().exact() {
        Some(0) => return Ok(String::new()),
        Some(length) if length <= TEXT_MAX => {}
        _ => return Err(body),
    }
    // A text is one frame. What is not there at once has not been touched.
    let first = body.frame().now_or_never();
    match first {
        Some(Some(Ok(frame))) => {
            Ok(frame.into_data().map(|data| String::from_utf8_lossy(&data).into_owned()).unwrap_or_default())
        }
        Some(Some(Err(_)) | None) => Ok(String::new()),
        None => Err(body),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::to_bytes;
    use axum::http::StatusCode;
    use axum::response::Html;
    use axum::response::sse::{Event, Sse};
    use http_body::{Frame, SizeHint};

    use super::*;

    async fn text_of(response: Response) -> String {
        let body = to_bytes(answered(response, None, None).into_body(), 1 << 20).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_in_text_or_by_a_status_alone_gets_the_shape() {
        let refused = (StatusCode::CONFLICT, [(header::RETRY_AFTER, "1")], "taken\n").into_response();
        let answer = answered(refused, None, None);
        assert_eq!(
            (answer.status(), &answer.headers()[header::RETRY_AFTER]),
            (StatusCode::CONFLICT, &"1".parse().unwrap())
        );
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(text_of(answer).await, "{\"error\":\"taken\"}");
        assert_eq!(text_of(StatusCode::FORBIDDEN.into_response()).await, "{\"error\":\"forbidden\"}");
        let own = text_of(Error::conflict("taken").code("TAKEN").into_response()).await;
        assert!(own.contains("\"error\":\"taken\"") && own.contains("\"code\":\"TAKEN\""), "{own}");
    }

    #[tokio::test]
    async fn what_is_the_applications_own_stays() {
        assert_eq!(text_of("fine".into_response()).await, "fine");
        assert_eq!(text_of((StatusCode::NOT_FOUND, Html("<p>no</p>")).into_response()).await, "<p>no</p>");
        let events = stream::iter([Ok::<_, Infallible>(Event::default().data("x"))]);
        assert!(text_of((StatusCode::GONE, Sse::new(events)).into_response()).await.starts_with("data: x"));
    }

    /// A body that knows its length, in pieces.
    struct Pieces(Vec<&'static str>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = (!self.0.is_empty()).then(|| self.0.remove(0));
            Poll::Ready(next.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
        }
    }

    #[tokio::test]
    async fn a_body_that_was_looked_at_is_as_it_was() {
        for text in ["", "cannot load order"] {
            let response = told((StatusCode::BAD_GATEWAY, text).into_response());
            assert_eq!(to_bytes(response.into_body(), 1 << 20).await.unwrap(), text);
        }
        let (text, body) = peek(Body::new(Pieces(vec!["cannot ", "load order"])));
        assert_eq!(text.as_deref(), Some("cannot "));
        assert_eq!(to_bytes(body, 1 << 20).await.unwrap(), "cannot load order");
    }

    #[tokio::test]
    async fn an_application_answers_in_a_shape_of_its_own_and_a_panic_there_is_an_answer() {
        let own = OnError::new(|report: Report| (report.status, format!("! {}", report.message)));
        let cookies = [("set-cookie", "a=1"), ("x-a", "1")];
        let mut refused = (StatusCode::FORBIDDEN, cookies, "no").into_response();
        refused.headers_mut().append("set-cookie", "b=2".parse().unwrap());
        let answer = answered(answered(refused, Some(&own), None), Some(&own), None);
        assert_eq!(
            (answer.headers().get_all("set-cookie").iter().count(), &answer.headers()["x-a"]),
            (2, &"1".parse().unwrap())
        );
        assert_eq!(text_of(answer).await, "! no");
        let panics = OnError::new(|_: Report| -> Response { panic!("as told") });
        assert_eq!(answered(StatusCode::FORBIDDEN.into_response(), Some(&panics), None).status(), 500);
    }
}

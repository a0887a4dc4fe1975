//! Fields of a request, by the place that they come from, and a type of them that keeps its own rules.

use std::collections::BTreeMap;

use axum::RequestExt;
use axum::extract::{FromRequest, FromRequestParts, Multipart, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::Bindable;
use super::fields::{Fields, Mismatch};
use crate::{Error, Result};

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const MULTIPART: &str = "multipart/form-data";

/// Reads a type from fields, and checks it by its own rules. An error names every field that is missing, does not fit, or breaks a rule.
pub(super) fn checked<T: Bindable>(fields: Fields) -> Result<T> {
    let (value, mismatches) = fields.read::<T>();
    let mut wrong: BTreeMap<String, Vec<String>> =
        mismatches.into_iter().map(|Mismatch { field, text }| (field, vec![text])).collect();
    let value = value.ok_or_else(|| invalid(wrong.clone()))?;
    if let Err(report) = value.validate() {
        let replaced: Vec<String> = wrong.keys().cloned().collect();
        // A rule says nothing of what is not there.
        let is_replaced = |path: &str| {
            let mut behind = replaced.iter().filter_map(|field| path.strip_prefix(field.as_str()));
            behind.any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        for (path, error) in report.iter().map(|(path, error)| (path.to_string(), error)) {
            if !is_replaced(&path) {
                wrong.entry(path).or_default().push(error.to_string());
            }
        }
    }
    if wrong.is_empty() { Ok(value) } else { Err(invalid(wrong)) }
}

fn invalid(wrong: impl IntoIterator<Item = (String, Vec<String>)>) -> Error {
    let details: BTreeMap<String, Vec<String>> = wrong
        .into_iter()
        .map(|(field, texts)| (if field.is_empty() { "request".to_owned() } else { field }, texts))
        .collect();
    Error::bad_request("invalid request").details(details)
}

fn whole(text: impl Into<String>) -> Error {
    invalid([(String::new(), vec![text.into()])])
}

/// The media type of a body without its parameters, in small letters.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) async fn any<S: Send + Sync>(request: Request, state: &S) -> Result<Fields> {
    let query = pairs(request.uri().query().unwrap_or_default().as_bytes());
    let body = match content_type(request.headers()).as_str() {
        // Without a body a type means nothing: many clients send one with each GET.
        _ if request.body().is_end_stream() => Fields::default(),
        kind if kind == JSON || kind.ends_with("+json") => json(request, state).await?,
        FORM | MULTIPART => form(request, state).await?,
        kind => of_no_body(request, kind, &[JSON, FORM, MULTIPART]).await?,
    };
    Ok(body.or(query))
}

/// No fields, of a body that is empty. One that is not has a type that cannot be read: passed over, it would be lost without a word.
async fn of_no_body(request: Request, kind: &str, readable: &[&str]) -> Result<Fields> {
    let mut body = request.with_limited_body().into_body();
    while let Some(frame) = body.frame().await {
        if frame.map_err(not_read)?.data_ref().is_some_and(|data| !data.is_empty()) {
            let what =
                if kind.is_empty() { "a body without Content-Type".to_owned() } else { format!("a body of {kind}") };
            let text = format!("{what} cannot be read; send {}", readable.join(" or "));
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    }
    Ok(Fields::default())
}

pub(super) async fn json<S>(request: Request, _: &S) -> Result<Fields> {
    let body = bytes(request).await?;
    if body.is_empty() {
        return Err(whole("the body is empty; it must be JSON"));
    }
    let value = serde_json::from_slice(&body).map_err(|error| whole(format!("not JSON: {error}")))?;
    Fields::of_json(value).ok_or_else(|| whole("not a JSON object"))
}

pub(super) async fn form<S: Send + Sync>(request: Request, state: &S) -> Result<Fields> {
    match content_type(request.headers()).as_str() {
        MULTIPART => {}
        FORM => return Ok(pairs(&bytes(request).await?)),
        kind => return of_no_body(request, kind, &[FORM, MULTIPART]).await,
    }
    let rejected = |error: axum::extract::multipart::MultipartError| {
        Error::new(error.status(), "invalid request").details(BTreeMap::from([("request", [error.body_text()])]))
    };
    let mut parts = Multipart::from_request(request, state).await.map_err(|error| whole(error.body_text()))?;
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(rejected)? {
        // Files are the handler's, by axum's own Multipart.
        let Some(name) = part.name().filter(|_| part.file_name().is_none()).map(str::to_owned) else { continue };
        fields.push((name, part.text().await.map_err(rejected)?));
    }
    Ok(Fields::of_pairs(fields))
}

/// A whole body, in one piece. Each frame is copied and dropped: kept, it would keep the buffer that it is a part of.
async fn bytes(request: Request) -> Result<Bytes> {
    let mut body = request.with_limited_body().into_body();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(not_read)?.into_data() else { continue };
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The answer when a body cannot be read. One that was ended by us has its answer from the connection.
fn not_read(error: axum::Error) -> Error {
    let error = error.into_inner();
    let is_long = std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source())
        .any(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
    let status = if is_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
    let text = format!("the body cannot be read: {error}");
    Error::new(status, "invalid request").details(BTreeMap::from([("request", [text])]))
}

pub(super) async fn query<S: Sync>(parts: &mut Parts, _: &S) -> Result<Fields> {
    Ok(pairs(parts.uri.query().unwrap_or_default().as_bytes()))
}

pub(super) async fn path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Fields> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|rejected| Error::new(StatusCode::BAD_REQUEST, rejected.body_text()))?;
    Ok(Fields::of_pairs(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()))))
}

pub(super) async fn headers<S: Sync>(parts: &mut Parts, _: &S) -> Result<Fields> {
    let texts = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().replace('-', "_"), value.to_str().ok()?.to_owned())));
    Ok(Fields::of_pairs(texts))
}

fn pairs(text: &[u8]) -> Fields {
    Fields::of_pairs(form_urlencoded::parse(text).into_owned())
}

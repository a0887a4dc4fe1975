//! Answers over HTTP/1.1.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, header};
use http_body_util::{BodyExt, Full};

use super::{Body, behaviour};

pub(super) fn taken(rejected: u64) -> Response<Body> {
    let body = Full::new(behaviour::response(rejected)).boxed();
    Response::builder().header(header::CONTENT_TYPE, "application/x-protobuf").body(body).unwrap()
}

pub(super) fn refused(status: u16, after: Option<Duration>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    if let Some(after) = after {
        response = response.header(header::RETRY_AFTER, after.as_secs());
    }
    response.body(Full::new(Bytes::from_static(b"the test refuses")).boxed()).unwrap()
}

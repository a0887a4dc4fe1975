//! Messages and answers of gRPC.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use gin_shared::protobuf::Writer;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt, Empty, Full};

use super::{Body, behaviour};

/// A byte that says whether it is compressed, and four for its length.
const PREFIX: usize = 5;

/// The one message of a request.
pub(super) fn message(body: &[u8]) -> Result<&[u8], String> {
    let (prefix, message) = body.split_at_checked(PREFIX).ok_or("a body of gRPC begins with five bytes")?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || length as usize != message.len() {
        return Err(format!("prefix {prefix:?} of a message of {} bytes", message.len()));
    }
    Ok(message)
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).expect("an answer is short"));
    bytes.put_slice(message);
    bytes.freeze()
}

pub(super) fn taken(rejected: u64) -> Response<Body> {
    let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), HeaderValue::from(0))]);
    let body = Full::new(framed(&behaviour::response(rejected))).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header(header::CONTENT_TYPE, "application/grpc").body(body.boxed()).unwrap()
}

/// A refusal, in the head alone: that is what servers of gRPC do.
pub(super) fn refused(status: u16, after: Option<Duration>) -> Response<Body> {
    let code = match (status, after) {
        (_, Some(_)) | (429, _) => 8,
        (401, _) => 16,
        (404, _) => 12,
        (502..=504, _) => 14,
        _ => 3,
    };
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "application/grpc")
        .header("grpc-status", code)
        .header("grpc-message", "the test refuses");
    let response = match after {
        Some(after) => response.header("grpc-status-details-bin", base64(&details(code, after))),
        None => response,
    };
    response.body(Empty::new().boxed()).unwrap()
}

/// `google.rpc.Status` with a `RetryInfo`.
fn details(code: u64, after: Duration) -> Vec<u8> {
    let mut status = Writer::new();
    status.number(1, code);
    status.message(3, |any| {
        any.text(1, "type.googleapis.com/google.rpc.RetryInfo");
        any.message(2, |info| {
            info.message(1, |delay| {
                delay.number(1, after.as_secs());
                delay.number(2, after.subsec_nanos().into());
            });
        });
    });
    status.into_vec()
}

/// Base64 without padding, as gRPC writes it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize % 64]);
        text.extend((0..=three.len()).map(digit));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_no_padding() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}

//! Exports by OTLP over gRPC, which is HTTP/2.

use std::future::poll_fn;
use std::time::SystemTime;

use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, StatusCode};

use crate::batch::{Payload, partial_success};
use crate::connection::{Driver, Stream};
use crate::http::{ANSWER_MAX, reason, too_long};
use crate::machine::Answer;
use crate::rpc_status::{RpcStatus, shown};

/// Content type of an export.
pub(crate) const GRPC: &str = "application/grpc";

/// Codes of gRPC that say that another try may have success.
const RETRYABLE: [u32; 6] = [1, 4, 10, 11, 14, 15];

/// The code of a receiver that is full.
const RESOURCE_EXHAUSTED: u32 = 8;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Sends requests over a connection.
pub(crate) struct Sender(SendRequest<Payload>);

/// Makes a connection of a stream.
///
/// # Errors
/// If it cannot begin, with the reason.
pub(crate) async fn open(stream: Box<dyn Stream>) -> Result<(Sender, Driver), String> {
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(ANSWER_MAX as u32);
    let (sender, connection) = builder.handshake(stream).await.map_err(|error| reason(&error))?;
    // An error of the connection is the exchange's, too.
    let driver = Driver::new(async move { drop(connection.await) });
    Ok((Sender(sender), driver))
}

impl Sender {
    /// Sends one export.
    ///
    /// # Errors
    /// If there is no whole answer, with the reason.
    pub(crate) async fn export(&mut self, request: Request<Payload>) -> Result<Answer, String> {
        let told = |error: h2::Error| reason(&error);
        poll_fn(|context| self.0.poll_ready(context)).await.map_err(told)?;
        let (head, payload) = request.into_parts();
        let (response, mut stream) = self.0.send_request(Request::from_parts(head, ()), false).map_err(told)?;
        stream.send_data(payload, true).map_err(told)?;
        let (head, mut body) = response.await.map_err(told)?.into_parts();
        let mut message = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(told)?;
            if message.len() + data.len() > ANSWER_MAX {
                return Ok(too_long(head.status, &head.headers));
            }
            body.flow_control().release_capacity(data.len()).map_err(told)?;
            message.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.map_err(told)?;
        // An answer without a message has its trailers in its head.
        Ok(answer(head.status, &head.headers, trailers.as_ref().unwrap_or(&head.headers), &message))
    }
}

/// Prefix of a message that is not compressed.
pub(crate) fn prefix(length: usize) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// Meaning of an answer.
pub(crate) fn answer(status: StatusCode, headers: &HeaderMap, trailers: &HeaderMap, message: &[u8]) -> Answer {
    let Some(code) = trailers.get("grpc-status") else {
        // A proxy has answered, or no receiver of gRPC at all.
        return match crate::http::answer(status, headers, &[], SystemTime::now()) {
            Answer::Taken { .. } => Answer::Refused { why: format!("{status} without a grpc-status; is it gRPC?") },
            other @ (Answer::Away { .. } | Answer::Refused { .. }) => other,
        };
    };
    let Some(code) = code.to_str().ok().and_then(|code| code.parse::<u32>().ok()) else {
        return Answer::Refused { why: "a grpc-status that is no number".to_owned() };
    };
    if code == 0 {
        // A message that cannot be read says nothing about the spans.
        let message = message.strip_prefix(&[0_u8]).and_then(|rest| rest.get(PREFIX - 1..)).unwrap_or_default();
        let (rejected, message) = partial_success(message).unwrap_or_default();
        return Answer::Taken { rejected, message: shown(message) };
    }
    let details = trailers.get("grpc-status-details-bin").and_then(|text| base64(text.as_bytes()));
    let details = details.and_then(|bytes| RpcStatus::decode(&bytes).ok()).unwrap_or_default();
    let text = trailers.get("grpc-message").map(|text| shown(&percent_decoded(text.as_bytes())));
    let text = text.filter(|text| !text.is_empty()).unwrap_or(details.message);
    let why = format!("gRPC status {code}: {text}");
    let why = why.trim_end_matches([':', ' ']).to_owned();
    if RETRYABLE.contains(&code) || (code == RESOURCE_EXHAUSTED && details.retry.is_some()) {
        Answer::Away { why, after: details.retry }
    } else {
        Answer::Refused { why }
    }
}

/// Bytes of a text in base64, with padding or without.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii_end();
    let digits = text.iter().rposition(|byte| *byte != b'=').map_or(&text[..0], |last| &text[..=last]);
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            bits = bits << 6 | group.get(at).map_or(Some(0), |digit| sextet(*digit))?;
        }
        let [_, group_bytes @ ..] = bits.to_be_bytes();
        let count = group.len() - 1;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&group_bytes[..count]);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Bytes of a text with escapes of the form %XX. What is no escape stays.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        let escape = (*first == b'%').then(|| more.first_chunk::<2>()).flatten();
        let escaped = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// `google.rpc.Status { code: 8, message: "full", details: [RetryInfo { retry_delay: 7 s }] }`
    pub(crate) const FULL: &str = "CAgSBGZ1bGwaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw==";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().expect("a name"), HeaderValue::from_static(value))).collect()
    }

    fn answered(trailers: &[(&'static str, &'static str)], message: &[u8]) -> Answer {
        answer(StatusCode::OK, &HeaderMap::new(), &headers(trailers), message)
    }

    fn refused(why: &str) -> Answer {
        Answer::Refused { why: why.to_owned() }
    }

    #[test]
    fn a_success_may_be_partial() {
        let taken = Answer::Taken { rejected: 0, message: String::new() };
        for message in [&b""[..], b"\0\0\0\0\0", b"\x01\0\0\0\x01x", b"\0\0"] {
            assert_eq!(answered(&[("grpc-status", "0")], message), taken, "{message:x?}");
        }
        let partial = answered(&[("grpc-status", "0")], b"\0\0\0\0\x08\x0a\x06\x08\x03\x12\x02no");
        assert_eq!(partial, Answer::Taken { rejected: 3, message: "no".to_owned() });
    }

    #[test]
    fn codes_decide_on_another_try() {
        for code in ["1", "4", "10", "11", "14", "15"] {
            let expected = Answer::Away { why: format!("gRPC status {code}"), after: None };
            assert_eq!(answered(&[("grpc-status", code)], b""), expected);
        }
        for code in ["2", "3", "5", "6", "7", "8", "9", "12", "13", "16", "99"] {
            assert_eq!(answered(&[("grpc-status", code)], b""), refused(&format!("gRPC status {code}")));
        }
        assert_eq!(answered(&[("grpc-status", "ok")], b""), refused("a grpc-status that is no number"));
        let told = answered(&[("grpc-status", "16"), ("grpc-message", "no%20token%0A100%")], b"");
        assert_eq!(told, refused("gRPC status 16: no token"));
    }

    #[test]
    fn a_full_receiver_names_a_pause() {
        for details in [FULL, FULL.trim_end_matches('=')] {
            for (code, text) in [("8", "gRPC status 8: full"), ("14", "gRPC status 14: full")] {
                let trailers = [("grpc-status", code), ("grpc-status-details-bin", details)];
                let expected = Answer::Away { why: text.to_owned(), after: Some(Duration::from_secs(7)) };
                assert_eq!(answered(&trailers, b""), expected);
            }
            let refused = answered(&[("grpc-status", "3"), ("grpc-status-details-bin", details)], b"");
            assert!(matches!(refused, Answer::Refused { .. }), "{refused:?}");
        }
        let nonsense = answered(&[("grpc-status", "8"), ("grpc-status-details-bin", "%%%")], b"");
        assert!(matches!(nonsense, Answer::Refused { .. }), "{nonsense:?}");
    }

    #[test]
    fn an_answer_without_a_code_is_a_proxys() {
        let from = |status: u16, pairs: &[(&'static str, &'static str)]| {
            answer(StatusCode::from_u16(status).expect("a status"), &headers(pairs), &HeaderMap::new(), b"")
        };
        let expected = Answer::Away { why: "503 Service Unavailable".to_owned(), after: Some(Duration::from_secs(7)) };
        assert_eq!(from(503, &[("retry-after", "7")]), expected);
        assert_eq!(from(404, &[]), refused("404 Not Found"));
        assert_eq!(from(200, &[]), refused("200 OK without a grpc-status; is it gRPC?"));
    }

    #[test]
    fn base64_is_read_with_padding_and_without() {
        let cases: [(&str, Option<&[u8]>); 9] = [
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zg", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm8", Some(b"fo")),
            ("Zm9vYmE=", Some(b"fooba")),
            ("-_+/", Some(b"\xfb\xff\xbf")),
            ("Z", None),
            ("Zm 8", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(base64(text.as_bytes()).as_deref(), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status in "[0-9]{0,3}", details: Vec<u8>, text: Vec<u8>, message: Vec<u8>) {
            let _ = (base64(&details), percent_decoded(&text), shown(&text));
            if let Ok(status) = HeaderValue::from_str(&status) {
                let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), status)]);
                let _ = answer(StatusCode::OK, &HeaderMap::new(), &trailers, &message);
            }
        }
    }
}

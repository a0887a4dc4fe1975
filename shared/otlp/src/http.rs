//! Exports by OTLP over HTTP/1.1.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::batch::{Payload, partial_success};
use crate::connection::{Driver, Stream};
use crate::machine::Answer;
use crate::rpc_status::{RpcStatus, shown};

/// Bytes of the longest head and of the longest body of an answer.
pub(crate) const ANSWER_MAX: usize = 64 * 1024;

/// Content type of an export.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";

/// Sends requests over a connection.
pub(crate) struct Sender(http1::SendRequest<Full<Payload>>);

/// Makes a connection of a stream.
///
/// # Errors
/// If it cannot begin, with the reason.
pub(crate) async fn open(stream: Box<dyn Stream>) -> Result<(Sender, Driver), String> {
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(ANSWER_MAX).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| error.to_string())?;
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
        let told = |error: hyper::Error| reason(&error);
        self.0.ready().await.map_err(told)?;
        let response = self.0.send_request(request.map(Full::new)).await.map_err(told)?;
        let (head, body) = response.into_parts();
        match Limited::new(body, ANSWER_MAX).collect().await {
            Ok(body) => Ok(answer(head.status, &head.headers, &body.to_bytes(), SystemTime::now())),
            Err(error) if error.is::<LengthLimitError>() => Ok(too_long(head.status, &head.headers)),
            Err(error) => Err(format!("the answer has no end: {error}")),
        }
    }
}

/// Meaning of an answer.
pub(crate) fn answer(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Answer {
    if status.is_success() {
        // A body that cannot be read says nothing about the spans.
        let (rejected, message) = partial_success(body).unwrap_or_default();
        return Answer::Taken { rejected, message: shown(message) };
    }
    let is_protobuf = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(PROTOBUF.as_bytes()));
    let message = RpcStatus::decode(body).ok().filter(|_| is_protobuf).map(|status| status.message);
    let message = message.filter(|message| !message.is_empty());
    let why = message.map_or_else(|| status.to_string(), |message| format!("{status}: {message}"));
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Away { why, after: retry_after(headers, now) },
        _ => Answer::Refused { why },
    }
}

/// Meaning of an answer whose body is longer than [`ANSWER_MAX`]: it is that of the head, if that asks for another try.
pub(crate) fn too_long(status: StatusCode, headers: &HeaderMap) -> Answer {
    match answer(status, headers, &[], SystemTime::now()) {
        away @ Answer::Away { .. } => away,
        Answer::Taken { .. } | Answer::Refused { .. } => {
            Answer::Refused { why: format!("{status}, with a body of more than {} KiB", ANSWER_MAX / 1024) }
        }
    }
}

/// The pause that a receiver asks for: seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Reason of an error: that of the system, where there is one. It is cut as a receiver's text is: a GOAWAY has some of that.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    match text.split_once(" (os error") {
        Some((before, _)) => before.to_lowercase(),
        None => shown(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().expect("a name"), HeaderValue::from_static(value))).collect()
    }

    fn answered(status: u16, pairs: &[(&'static str, &'static str)], body: &[u8]) -> Answer {
        // Fri, 27 Nov 2026 10:00:00 GMT.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_773_600);
        answer(StatusCode::from_u16(status).expect("a status"), &headers(pairs), body, now)
    }

    fn after(answer: &Answer) -> Option<Duration> {
        match answer {
            Answer::Away { after, .. } => *after,
            Answer::Taken { .. } | Answer::Refused { .. } => panic!("{answer:?}"),
        }
    }

    #[test]
    fn a_success_may_be_partial() {
        assert_eq!(answered(200, &[], b""), Answer::Taken { rejected: 0, message: String::new() });
        assert_eq!(answered(202, &[], b"{}\xff"), Answer::Taken { rejected: 0, message: String::new() });
        let partial = answered(200, &[], b"\x0a\x06\x08\x03\x12\x02no");
        assert_eq!(partial, Answer::Taken { rejected: 3, message: "no".to_owned() });
    }

    #[test]
    fn a_receiver_that_is_away_may_name_a_time() {
        for status in [429, 502, 503, 504] {
            assert_eq!(after(&answered(status, &[], b"")), None, "{status}");
            let seconds = answered(status, &[("retry-after", "7")], b"");
            assert_eq!(after(&seconds), Some(Duration::from_secs(7)), "{status}");
        }
        let date = |text| after(&answered(503, &[("retry-after", text)], b""));
        assert_eq!(date("Fri, 27 Nov 2026 10:00:42 GMT"), Some(Duration::from_secs(42)));
        assert_eq!(date("Fri, 27 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(date(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_means_what_its_head_says() {
        let asks = headers(&[("retry-after", "7")]);
        let away = too_long(StatusCode::SERVICE_UNAVAILABLE, &asks);
        assert_eq!(after(&away), Some(Duration::from_secs(7)));
        for status in [StatusCode::OK, StatusCode::BAD_REQUEST] {
            let told = too_long(status, &asks);
            assert!(matches!(&told, Answer::Refused { why } if why.ends_with("more than 64 KiB")), "{told:?}");
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let error = std::io::Error::other(format!("no {}\nmore", "x".repeat(10_000)));
        let told = reason(&error);
        assert!(told.len() <= 200 && told.starts_with("no x") && !told.contains('\n'), "{told}");
        let system = std::io::Error::from_raw_os_error(111);
        assert_eq!(reason(&system), "connection refused");
    }

    #[test]
    fn other_answers_are_final() {
        for status in [301, 307, 400, 401, 403, 404, 413, 500, 501] {
            let why = StatusCode::from_u16(status).expect("a status").to_string();
            assert_eq!(answered(status, &[("retry-after", "7")], b""), Answer::Refused { why }, "{status}");
        }
        let told = answered(400, &[("content-type", "application/x-protobuf")], b"\x08\x03\x12\x03bad");
        assert_eq!(told, Answer::Refused { why: "400 Bad Request: bad".to_owned() });
        let html = answered(404, &[("content-type", "text/html")], b"\x12\x03bad");
        assert_eq!(html, Answer::Refused { why: "404 Not Found".to_owned() });
    }
}

//! The message `google.rpc.Status`, in which receivers tell of errors.

use std::time::Duration;

use gin_shared::plain_text::plain;
use gin_shared::protobuf::{Field, Malformed, Reader};

/// Most characters of a receiver's message that are shown.
const SHOWN_MAX: usize = 200;

/// Type of the detail that names a time for another try.
const RETRY_INFO: &[u8] = b"google.rpc.RetryInfo";

/// Status of an error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RpcStatus {
    pub(crate) message: String,
    /// Pause before another try.
    pub(crate) retry: Option<Duration>,
}

impl RpcStatus {
    /// Reads a status.
    ///
    /// # Errors
    /// If the bytes are no such message.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut status = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next()? {
            match field {
                (2, Field::Bytes(message)) => status.message = shown(message),
                (3, Field::Bytes(detail)) => status.retry = retry_info(detail)?.or(status.retry),
                _ => {}
            }
        }
        Ok(status)
    }
}

/// A receiver's text as it may stand in a log: its first line, cut, with escapes for what is not printable.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.trim().lines().next().unwrap_or_default();
    let cut: String = line.chars().take(SHOWN_MAX).collect();
    plain(&cut).into_owned()
}

/// Pause of a message `Any { type_url 1, value 2 }`, if it is a `RetryInfo { retry_delay 1 }`.
fn retry_info(detail: &[u8]) -> Result<Option<Duration>, Malformed> {
    let (mut kind, mut value) = (&b""[..], &b""[..]);
    let mut reader = Reader::new(detail);
    while let Some(field) = reader.next()? {
        match field {
            (1, Field::Bytes(url)) => kind = url,
            (2, Field::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    if kind.rsplit(|byte| *byte == b'/').next() != Some(RETRY_INFO) {
        return Ok(None);
    }
    let mut reader = Reader::new(value);
    let mut pause = None;
    while let Some(field) = reader.next()? {
        if let (1, Field::Bytes(delay)) = field {
            pause = Some(duration(delay)?);
        }
    }
    // Without a delay it says that another try may have success.
    Ok(Some(pause.unwrap_or_default()))
}

/// A message `Duration { seconds 1, nanos 2 }`. A negative one is zero.
fn duration(bytes: &[u8]) -> Result<Duration, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next()? {
        match field {
            (1, Field::Number(number)) => seconds = u64::try_from(number as i64).unwrap_or_default(),
            (2, Field::Number(number)) => nanos = u32::try_from(number).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u64::from(nanos))))
}

#[cfg(test)]
mod tests {
    use gin_shared::protobuf::Writer;

    use super::*;

    fn status(message: &str, kind: &str, seconds: u64, nanos: u64) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.number(1, 8);
        writer.text(2, message);
        writer.message(3, |detail| {
            detail.text(1, kind);
            detail.message(2, |info| {
                info.message(1, |delay| {
                    delay.number(1, seconds);
                    delay.number(2, nanos);
                });
            });
        });
        writer.into_vec()
    }

    #[test]
    fn a_retry_info_names_a_pause() {
        let kind = "type.googleapis.com/google.rpc.RetryInfo";
        let read = |bytes: &[u8]| RpcStatus::decode(bytes).expect("a status");
        let expected = RpcStatus { message: "full".to_owned(), retry: Some(Duration::from_millis(2500)) };
        assert_eq!(read(&status("full", kind, 2, 500_000_000)), expected);
        assert_eq!(read(&status("", kind, 0, 0)).retry, Some(Duration::ZERO));
        assert_eq!(read(&status("", kind, -5_i64 as u64, 0)).retry, Some(Duration::ZERO));
        assert_eq!(read(&status("", "type.googleapis.com/google.rpc.DebugInfo", 2, 0)).retry, None);
        assert_eq!(read(b""), RpcStatus::default());
        assert!(RpcStatus::decode(b"<html>").is_err());
    }

    #[test]
    fn a_receivers_text_is_one_printable_line() {
        assert_eq!(shown(b"  no\x1b[31m\nsecond line"), "no\\u{1b}[31m");
        assert_eq!(shown(&[b'a'; 1000]).len(), SHOWN_MAX);
        assert_eq!(shown(b""), "");
    }
}

//! What time it is, in words (RFC 3339, in UTC, with microseconds): of one second most is the same for all lines.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

/// `2026-11-21T09:30:12.345678Z`
const LENGTH: usize = 27;

thread_local! {
    /// The second that it is of, and the text.
    static LAST: RefCell<(u64, [u8; LENGTH])> = const { RefCell::new((u64::MAX, [0; LENGTH])) };
}

/// Gives it to `f`.
pub(super) fn now<T>(f: impl FnOnce(&str) -> T) -> T {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    at(since, f)
}

fn at<T>(since: Duration, f: impl FnOnce(&str) -> T) -> T {
    LAST.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
            let words = humantime::format_rfc3339_micros(whole).to_string();
            if words.len() == LENGTH {
                text.copy_from_slice(words.as_bytes());
                *second = since.as_secs();
            }
        }
        let mut micros = since.subsec_micros();
        for digit in text[20..26].iter_mut().rev() {
            *digit = b'0' + u8::try_from(micros % 10).unwrap_or(0);
            micros /= 10;
        }
        f(std::str::from_utf8(text).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_library_says() {
        for micros in [0, 1, 999_999, 1_000_000, 1_795_253_412_345_678, 1_795_253_412_000_009] {
            let since = Duration::from_micros(micros);
            let expected = humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since).to_string();
            assert_eq!(at(since, str::to_owned), expected);
        }
    }
}

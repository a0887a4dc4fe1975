//! Text of others, made safe for a terminal: by the rule of [`crate::log_line`], and with its escapes.

use std::borrow::Cow;

use serde_json::Value;

use crate::log_line::{Form, is_printable};

/// The text with an escape for each character that is not printable. Ends of lines and tabs stay.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, Form::Text { has_colours: false }, "")
}

/// The same for metrics in one of Prometheus' formats. They have no such escapes, and a reader refuses all of a text with one. So a
/// backslash more is before each: the reader finds our escape where the character was.
#[must_use]
pub fn plain_metrics(text: &str) -> Cow<'_, str> {
    escaped(text, Form::Text { has_colours: false }, "\\")
}

/// The same for JSON that was not read yet: its texts say the same afterwards.
#[must_use]
pub fn plain_unread_json(json: &str) -> Cow<'_, str> {
    escaped(json, Form::Json, "")
}

/// `before` stands before each escape.
fn escaped<'a>(text: &'a str, form: Form, before: &str) -> Cow<'a, str> {
    let stays = |character: char| is_printable(character) || matches!(character, '\n' | '\t');
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if stays(character) {
            out.push(character);
        } else {
            out.push_str(before);
            form.escape(&mut out, character);
        }
    }
    Cow::Owned(out)
}

/// Makes each text in a JSON value plain; the names of fields, too.
#[must_use]
pub fn plain_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain(&text).into_owned()),
        Value::Array(all) => Value::Array(all.into_iter().map(plain_json).collect()),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (plain(&name).into_owned(), plain_json(value))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_a_cursor_turn_text_around_or_not_be_seen_is_escaped() {
        assert_eq!(plain("two\nlines\tof ünïcödé, 报告 ❤\u{fe0f}"), "two\nlines\tof ünïcödé, 报告 ❤\u{fe0f}");
        assert_eq!(plain("\x1b[2J\x07\x7f\r"), "\\u{1b}[2J\\u{7}\\u{7f}\\r");
        assert_eq!(plain("\u{9b}31m\u{85}"), "\\u{9b}31m\\u{85}");
        assert_eq!(plain("\u{202e}txt\u{2066}\u{200f}\u{2028}"), "\\u{202e}txt\\u{2066}\\u{200f}\\u{2028}");
        // Without width: "shop" and "sh\u{200b}op" are two names.
        for character in
            ['\u{200b}', '\u{200d}', '\u{2060}', '\u{2064}', '\u{feff}', '\u{e0001}', '\u{e0041}', '\u{ad}']
        {
            assert_eq!(plain(&format!("sh{character}op")), format!("sh\\u{{{:x}}}op", u32::from(character)));
        }
        let value = serde_json::json!({ "\u{1b}a": ["\u{9b}", { "b": "\u{202e}" }], "n": 7, "none": null });
        let expected = serde_json::json!({ "\\u{1b}a": ["\\u{9b}", { "b": "\\u{202e}" }], "n": 7, "none": null });
        assert_eq!(plain_json(value), expected);
    }

    #[test]
    fn metrics_can_be_read_by_others_afterwards() {
        let told = "# HELP a b\n# TYPE a gauge\na{of=\"ü\\n\u{1b}[2J\u{200d}\r\"} 1\n";
        assert_eq!(plain_metrics(told), "# HELP a b\n# TYPE a gauge\na{of=\"ü\\n\\\\u{1b}[2J\\\\u{200d}\\\\r\"} 1\n");
        assert!(matches!(plain_metrics("a 1\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_that_was_not_read_says_the_same_afterwards() {
        let raw = "{\"path\":\"a\u{200b}\u{9b}b\u{e0041}\"}";
        let made = plain_unread_json(raw);
        assert_eq!(made, "{\"path\":\"a\\u200b\\u009bb\\udb40\\udc41\"}");
        assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), serde_json::from_str::<Value>(raw).unwrap());
        assert!(matches!(plain_unread_json("{\"a\":1}"), Cow::Borrowed(_)));
    }
}

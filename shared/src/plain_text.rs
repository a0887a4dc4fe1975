//! Text of others, made safe for a terminal and for a line of a log.

use std::borrow::Cow;

use serde_json::Value;

/// True if a character moves no cursor, changes no colour and does not turn the text around: no control character (C0, DEL, C1),
/// no bidirectional mark, no line separator of Unicode.
#[must_use]
pub fn is_plain(character: char) -> bool {
    let turns = matches!(
        character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !character.is_control() && !turns
}

/// The text with a space for each character that is not plain. Ends of lines and tabs stay.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    let stays = |character: char| is_plain(character) || matches!(character, '\n' | '\t');
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|character| if stays(character) { character } else { ' ' }).collect())
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
    fn what_would_move_a_cursor_or_turn_text_around_becomes_a_space() {
        assert_eq!(plain("two\nlines\tof ünïcödé, 报告"), "two\nlines\tof ünïcödé, 报告");
        assert_eq!(plain("\x1b[2J\x07\x7f\r"), " [2J   ");
        assert_eq!(plain("\u{9b}31m\u{85}"), " 31m ");
        assert_eq!(plain("\u{202e}txt\u{2066}\u{200f}\u{2028}"), " txt   ");
        let value = serde_json::json!({ "\u{1b}a": ["\u{9b}", { "b": "\u{202e}" }], "n": 7, "none": null });
        assert_eq!(plain_json(value), serde_json::json!({ " a": [" ", { "b": " " }], "n": 7, "none": null }));
    }
}

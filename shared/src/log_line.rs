//! Lines of a log: printable, and of bounded length, whatever a client, a worker or a file's name puts into them.
//!
//! A terminal obeys control characters (C0, and C1 such as U+009B), and a reader is misled by characters that turn the direction of
//! writing, break a line, or have no width. So each character that is not printable is written as an escape. A line that is too long is
//! cut, and says how many bytes are left out.

use std::borrow::Cow;
use std::fmt::Write;

/// Longest line of the supervisor, in bytes; of a worker, unless `logging.max_line` says otherwise.
pub const LENGTH_MAX: usize = 8 << 10;
/// Texts in a line of JSON are not cut shorter than this, in bytes.
const TEXT_MIN: usize = 32;
/// Room for the field `truncated`, in bytes.
const FIELD: usize = 36;

/// Form of a log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An object of JSON a line, without a line break in it.
    Json,
    /// Text for people.
    Text {
        /// True if the formatter colours lines for a terminal. Those sequences stay.
        has_colours: bool,
    },
}

/// Form and length of a log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Form of each line.
    pub form: Form,
    /// Longest line, in bytes, without its line break and without the note that it was cut.
    pub length_max: usize,
}

impl Shape {
    /// Makes a formatted line fit to be written. A line break at its end stays.
    #[must_use]
    pub fn fit<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
        if text.len() <= self.length_max && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Cow::Borrowed(line);
        }
        let escaped = self.form.escaped(text);
        let mut fitting = match self.form {
            _ if escaped.len() <= self.length_max => escaped,
            Form::Json => cut_json(&escaped, self.length_max),
            Form::Text { has_colours } => cut_text(&escaped, self.length_max, has_colours),
        };
        fitting.push_str(end);
        Cow::Owned(fitting)
    }
}

impl Form {
    fn escaped(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        // End of the colour that begins before here.
        let mut colour_end = 0;
        for (at, c) in text.char_indices() {
            if c == '\u{1b}' && self == (Self::Text { has_colours: true }) {
                colour_end = colour_end.max(at + colour_length(&text[at..]));
            }
            if at < colour_end || is_printable(c) {
                out.push(c);
            } else {
                self.escape(&mut out, c);
            }
        }
        out
    }

    /// Writes the escape of a character. Writing to a text cannot fail.
    pub(crate) fn escape(self, out: &mut String, c: char) {
        match (self, c) {
            // It stands in quotes: nowhere else has an object of JSON such a character.
            (Self::Json, c) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                    let _ = write!(out, "\\u{unit:04x}");
                });
            }
            (Self::Text { .. }, '\n') => out.push_str("\\n"),
            (Self::Text { .. }, '\r') => out.push_str("\\r"),
            (Self::Text { .. }, '\t') => out.push_str("\\t"),
            (Self::Text { .. }, c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
}

/// True if a character is seen as itself, and changes nothing about others: by Unicode's tables, as the standard library has them.
#[must_use]
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Letters and marks that are not seen (Default_Ignorable_Code_Point), but for those that choose another's variant.
    if matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}') {
        return false;
    }
    // Behind another character, a combining one is not escaped, and so is a letter of Hindi or Thai.
    let mut bytes = [b'a'; 5];
    let length = c.encode_utf8(&mut bytes[1..]).len();
    std::str::from_utf8(&bytes[..=length]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// Length of the sequence that sets a colour (ECMA-48, SGR), if the text begins with one; else 0.
fn colour_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return 0 };
    let numbers = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    if rest.as_bytes().get(numbers) == Some(&b'm') { 2 + numbers + 1 } else { 0 }
}

fn cut_text(line: &str, most: usize, has_colours: bool) -> String {
    let at = line.floor_char_boundary(most);
    let reset = if has_colours { "\u{1b}[0m" } else { "" };
    format!("{}{reset}… ({} bytes more)", &line[..at], line.len() - at)
}

/// Shortens the longest texts of an object until it fits, and adds the field `truncated`: the number of bytes that are left out.
fn cut_json(line: &str, most: usize) -> String {
    let mut text_max = most / 2;
    while text_max >= TEXT_MIN {
        let (cut, left_out) = shortened(line, text_max);
        if let Some(open) = cut.strip_suffix('}').filter(|open| open.len() + FIELD <= most) {
            return format!("{open},\"truncated\":{left_out}}}");
        }
        text_max /= 2;
    }
    // It has too many fields.
    let length = line.len();
    format!("{{\"level\":\"warn\",\"message\":\"a line of the log was too long\",\"truncated\":{length}}}")
}

/// The same object with each text cut to so many bytes, and how many bytes are left out.
fn shortened(line: &str, text_max: usize) -> (String, usize) {
    let (mut out, mut left_out, mut rest) = (String::with_capacity(line.len()), 0, line);
    while let Some(quote) = rest.find('"') {
        let (before, text) = rest.split_at(quote + 1);
        let (text, behind) = text.split_at(text_length(text));
        let kept = if text.len() > text_max { whole_units(text, text_max) } else { text.len() };
        out.push_str(before);
        out.push_str(&text[..kept]);
        if kept < text.len() {
            out.push('…');
            left_out += text.len() - kept;
        }
        // The closing quote.
        let (closing, behind) = behind.split_at(behind.len().min(1));
        out.push_str(closing);
        rest = behind;
    }
    out.push_str(rest);
    (out, left_out)
}

/// Bytes before the quote that ends a text.
fn text_length(text: &str) -> usize {
    let mut is_escaped = false;
    let is_end = |byte: u8| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    };
    text.bytes().position(is_end).unwrap_or(text.len())
}

/// The largest length up to `most` at which no character and no escape is cut in two.
fn whole_units(text: &str, most: usize) -> usize {
    let mut at = 0;
    loop {
        let next = at + unit_length(&text[at..]);
        if next == at || next > most {
            return at;
        }
        at = next;
    }
}

/// Length of the character, or of the escape, that a text in JSON begins with.
fn unit_length(text: &str) -> usize {
    let length = match text.as_bytes() {
        // Two surrogates are one character.
        [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _, b'\\', b'u', ..] => 12,
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        _ => text.chars().next().map_or(0, char::len_utf8),
    };
    length.min(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const JSON: Shape = Shape { form: Form::Json, length_max: LENGTH_MAX };
    const TEXT: Shape = Shape { form: Form::Text { has_colours: false }, length_max: LENGTH_MAX };
    const COLOURED: Shape = Shape { form: Form::Text { has_colours: true }, length_max: LENGTH_MAX };

    /// Characters that turn, break or hide text: C0 and DEL, C1, marks of direction, separators of lines, characters without width.
    fn hostile() -> Vec<char> {
        let ranges = [
            ('\u{0}', '\u{1f}'),
            ('\u{7f}', '\u{9f}'),
            ('\u{200b}', '\u{200f}'),
            ('\u{2028}', '\u{202e}'),
            ('\u{2060}', '\u{206f}'),
            ('\u{feff}', '\u{feff}'),
            ('\u{61c}', '\u{61c}'),
            ('\u{ad}', '\u{ad}'),
            ('\u{e0001}', '\u{e0001}'),
            ('\u{e0020}', '\u{e007f}'),
            ('\u{115f}', '\u{1160}'),
            ('\u{3164}', '\u{3164}'),
        ];
        ranges.into_iter().flat_map(|(first, last)| first..=last).collect()
    }

    #[test]
    fn no_character_that_is_not_printable_is_written() {
        for c in hostile() {
            assert!(!is_printable(c), "{c:?}");
            let text = format!("a{c}b\n");
            let fitted = TEXT.fit(&text);
            assert!(fitted.trim_end_matches('\n').chars().all(is_printable) && fitted.ends_with("b\n"), "{fitted:?}");
            let line = json!({ "path": format!("a{c}b") }).to_string() + "\n";
            let fitted = JSON.fit(&line);
            assert!(fitted.trim_end_matches('\n').chars().all(is_printable), "{fitted:?}");
            assert_eq!(serde_json::from_str::<Value>(&fitted).unwrap(), json!({ "path": format!("a{c}b") }));
        }
        assert_eq!(TEXT.fit("a\u{9b}31m\u{202e}b\nc\n"), "a\\u{9b}31m\\u{202e}b\\nc\n");
        for c in ['\u{fe0f}', '\u{e0100}', 'a', '~', 'ä', 'ж', '中', '\u{301}', '\u{93e}', '😀', 'א'] {
            assert!(is_printable(c), "{c:?}");
        }
    }

    #[test]
    fn colours_stay_where_there_are_some_and_nothing_else_of_a_terminal_does() {
        let line = "\u{1b}[2mtime\u{1b}[0m \u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{7} \u{1b}[2J\n";
        let expected = "\u{1b}[2mtime\u{1b}[0m \u{1b}[1;31mred\u{1b}[0m \\u{1b}]0;title\\u{7} \\u{1b}[2J\n";
        assert_eq!(COLOURED.fit(line), expected);
        assert!(!TEXT.fit(line).contains('\u{1b}'));
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let fits = "x".repeat(LENGTH_MAX) + "\n";
        assert_eq!(TEXT.fit(&fits), fits);
        let long = "ä".repeat(LENGTH_MAX);
        assert_eq!(TEXT.fit(&long), format!("{}… (8192 bytes more)", "ä".repeat(LENGTH_MAX / 2)));
        let path = "/\"\\".repeat(20_000);
        let line = json!({ "level": "info", "message": format!("GET {path} 404"), "path": path, "status": 404 });
        let text = line.to_string() + "\n";
        let cut = JSON.fit(&text);
        assert!(cut.len() <= LENGTH_MAX + 1 && cut.ends_with("}\n"), "{}", cut.len());
        let cut: Value = serde_json::from_str(&cut).unwrap();
        assert_eq!((&cut["level"], &cut["status"]), (&json!("info"), &json!(404)));
        assert!(cut["path"].as_str().unwrap().ends_with('…') && cut["truncated"].as_u64().unwrap() > 100_000, "{cut}");
        // One with too many fields for any of them to help.
        let many: Value =
            (0..10_000).map(|number| (format!("field{number}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
        let text = many.to_string();
        let cut: Value = serde_json::from_str(&JSON.fit(&text)).unwrap();
        assert_eq!(cut["truncated"], json!(text.len()));
    }

    proptest! {
        #[test]
        fn what_is_cut_is_valid_json_and_within_the_limit(
            chars in proptest::collection::vec(any::<char>(), 0..300),
            length_max in 100_usize..1000,
        ) {
            let text: String = chars.into_iter().collect();
            let line = json!({ "message": text, "path": text, "n": 1 }).to_string();
            let fitted = Shape { form: Form::Json, length_max }.fit(&line).into_owned();
            prop_assert!(fitted.len() <= length_max, "{}", fitted.len());
            prop_assert!(fitted.chars().all(is_printable));
            serde_json::from_str::<Value>(&fitted).unwrap();
        }
    }
}

//! Names of stored files. Nothing here touches a disk.
//!
//! A name is made of the client's: `Q3 report.PDF` becomes `Q3_report_1f00c0de1f00c0de.pdf`. Only such names are ever read or removed.

use super::error::UploadError;

/// Most bytes of the part before the number.
const STEM_MAX: usize = 80;
/// Hexadecimal digits of the number.
const DIGITS: usize = 16;

/// The name of a stored file: `{stem}_{16 hexadecimal digits}.{ending}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    /// Makes the name of a file that a client calls `original`. `number` keeps two of them apart.
    ///
    /// # Errors
    /// [`UploadError::Type`] if its ending is not in `allow`, which has them in lower case.
    pub(crate) fn of(original: &str, number: u64, allow: &[String]) -> Result<Self, UploadError> {
        let last = last_piece(original);
        let (stem, ending) = last.rsplit_once('.').unwrap_or((last, ""));
        let ending = ending.to_ascii_lowercase();
        if !allow.contains(&ending) {
            return Err(UploadError::Type { name: last.to_owned(), found: None });
        }
        Ok(Self(format!("{}_{number:016x}.{ending}", stem_of(stem))))
    }

    /// Reads a name that [`Self::of`] could have made.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (front, ending) = text.rsplit_once('.')?;
        let (stem, digits) = front.rsplit_once('_')?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_ending = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_ours = !stem.is_empty()
            && stem.len() <= STEM_MAX
            && !stem.starts_with('-')
            && stem.chars().all(|letter| kept(letter) == Some(letter))
            && digits.len() == DIGITS
            && digits.bytes().all(is_digit)
            && !ending.is_empty()
            && ending.bytes().all(is_ending);
        is_ours.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The ending, in lower case, without its dot.
    pub(crate) fn ending(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, ending)| ending)
    }
}

/// The client's name of a file without its directories. Old browsers send a whole path, with either stroke.
pub(super) fn last_piece(original: &str) -> &str {
    original.rsplit(['/', '\\']).next().unwrap_or_default().trim()
}

/// Letters that are harmless in a name, and `file` if there is none.
fn stem_of(original: &str) -> String {
    let mut stem = String::new();
    for letter in original.chars().filter_map(kept).skip_while(|letter| *letter == '-') {
        if stem.len() + letter.len_utf8() > STEM_MAX {
            break;
        }
        stem.push(letter);
    }
    if stem.is_empty() { "file".to_owned() } else { stem }
}

/// The letter as it stands in a name, if it may stand there.
fn kept(letter: char) -> Option<char> {
    match letter {
        ' ' => Some('_'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then_some(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow() -> Vec<String> {
        ["png", "pdf", "txt"].map(str::to_owned).into()
    }

    fn name(original: &str) -> String {
        Name::of(original, 0xbeef, &allow()).unwrap().0
    }

    #[test]
    fn a_name_keeps_what_is_harmless_of_the_clients() {
        for (original, expected) in [
            ("report.pdf", "report"),
            ("Q3 report.PDF", "Q3_report"),
            ("../../x.pdf", "x"),
            ("..\\..\\x.pdf", "x"),
            ("C:\\Users\\ann\\x.pdf", "x"),
            ("/etc/x.pdf", "x"),
            ("a\0b.pdf", "ab"),
            ("a\r\nb\".pdf", "ab"),
            ("a.exe.pdf", "aexe"),
            ("-rf.pdf", "rf"),
            ("报告.pdf", "报告"),
            // A letter that turns the direction of writing would show "fdp.exe" as "exe.pdf".
            ("gpj\u{202e}fdp.pdf", "gpjfdp"),
            (".pdf", "file"),
            ("....pdf", "file"),
            ("   .pdf", "file"),
            (" x.pdf ", "x"),
        ] {
            assert_eq!(name(original), format!("{expected}_000000000000beef.pdf"), "{original:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_two_letters() {
        assert_eq!(name(&format!("{}.txt", "x".repeat(300))), format!("{}_000000000000beef.txt", "x".repeat(80)));
        // Three bytes each.
        assert_eq!(name(&format!("{}.txt", "报".repeat(100))), format!("{}_000000000000beef.txt", "报".repeat(26)));
    }

    #[test]
    fn an_ending_that_is_not_allowed_is_refused() {
        for original in ["virus.exe", "x", "", ".htaccess", "a.pdf/", "a.pdf.exe", "a.p\0df", "a.pdf\0", "a.pdf."] {
            assert!(matches!(Name::of(original, 0, &allow()), Err(UploadError::Type { .. })), "{original:?}");
        }
    }

    #[test]
    fn only_names_that_were_made_here_are_read() {
        for original in ["a.pdf", "../../x y.PDF", "报告.txt", "_.png", "a-b_c.png", "-", "x".repeat(300).as_str()] {
            let Ok(made) = Name::of(&format!("{original}.png"), u64::MAX, &allow()) else { panic!("{original}") };
            assert_eq!(Name::parse(made.as_str()), Some(made.clone()), "{original}");
            assert_eq!(made.ending(), "png");
        }
        for foreign in [
            "",
            "a.pdf",
            ".lock",
            ".tus",
            "_000000000000beef.pdf",
            "a_000000000000beef",
            "a_000000000000beef.",
            "a_000000000000BEEF.pdf",
            "a_00000000000beef.pdf",
            "a_000000000000beef.PDF",
            "../a_000000000000beef.pdf",
            "a/b_000000000000beef.pdf",
            "a\0_000000000000beef.pdf",
            ".a_000000000000beef.pdf",
            "-a_000000000000beef.pdf",
            "a b_000000000000beef.pdf",
        ] {
            assert_eq!(Name::parse(foreign), None, "{foreign:?}");
        }
    }
}

//! The type of a file, by its ending and its contents. Nothing here touches a disk.
//!
//! | ending | the contents must be |
//! |---|---|
//! | `txt`, `csv`, `md`, `json`, `log` | UTF-8 to the last byte, without control characters but tab, line ends and form feed |
//! | `docx`, `xlsx`, `pptx` | a zip archive that names `word/`, `xl/` or `ppt/` in its first 8 KiB |
//! | `doc`, `xls`, `ppt`, `msi` | a compound file of Microsoft's |
//! | `zip` | a zip archive of any kind |
//! | any other | what `infer` knows by that ending, by its first 8 KiB |
//!
//! A file may be of two types at once: a PDF with a script in front is a PDF for some readers. So an upload is never sent as what it claims
//! to be, but as `application/octet-stream` to be saved ([`super::Uploads::download`]).

use super::error::UploadError;
use super::names::Name;

/// First bytes of a file, by which its type is told.
const HEAD: usize = 8 << 10;
/// Marks of so few letters that a text may begin with them.
const WEAK_MARKS: [&str; 3] = ["bc", "bmp", "pem"];
const ZIP: &[u8] = b"PK\x03\x04";
const COMPOUND: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";

/// Contents that belong to an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// A text, of this media type.
    Text(&'static str),
    /// An Office document of this media type: a zip archive with files below this directory.
    Office(&'static str, &'static str),
    /// A compound file of this media type.
    Compound(&'static str),
    /// A zip archive.
    Zip,
    /// Contents to which `infer` gives this ending.
    Marked(&'static str),
    /// Contents to which `infer` gives the file's own ending.
    Own,
}

impl Family {
    fn of(ending: &str) -> Self {
        match ending {
            "txt" | "log" => Self::Text("text/plain"),
            "csv" => Self::Text("text/csv"),
            "md" => Self::Text("text/markdown"),
            "json" => Self::Text("application/json"),
            "docx" => Self::Office("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "word/"),
            "xlsx" => Self::Office("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xl/"),
            "pptx" => Self::Office("application/vnd.openxmlformats-officedocument.presentationml.presentation", "ppt/"),
            "doc" => Self::Compound("application/msword"),
            "xls" => Self::Compound("application/vnd.ms-excel"),
            "ppt" => Self::Compound("application/vnd.ms-powerpoint"),
            "msi" => Self::Compound("application/x-ole-storage"),
            "zip" => Self::Zip,
            "jpeg" => Self::Marked("jpg"),
            "tiff" => Self::Marked("tif"),
            "mpeg" => Self::Marked("mpg"),
            "heic" => Self::Marked("heif"),
            "htm" => Self::Marked("html"),
            _ => Self::Own,
        }
    }
}

/// True if the contents of files with this ending can be told.
pub(super) fn is_known(ending: &str) -> bool {
    Family::of(ending) != Family::Own || infer::is_supported(ending)
}

/// A mark of other contents, for a file whose first bytes these are.
fn mark(head: &[u8]) -> Option<infer::Type> {
    // `infer` takes a PDF's mark anywhere in the first KiB: any text about PDFs would be one.
    infer::get(head).filter(|found| found.extension() != "pdf" || begins_as_pdf(head))
}

fn begins_as_pdf(head: &[u8]) -> bool {
    head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start().starts_with(b"%PDF-")
}

/// The media type of a file with this ending that begins so. Of a text only its beginning is judged.
///
/// # Errors
/// The media type of other contents, if it is known.
fn judge(ending: &str, head: &[u8]) -> Result<&'static str, Option<&'static str>> {
    let found = mark(head);
    let other = || Err(found.map(|found| found.mime_type()));
    match Family::of(ending) {
        Family::Text(kind) if found.is_none_or(|found| may_be_text(&found)) => Ok(kind),
        Family::Office(kind, _) if found.is_some_and(|found| found.mime_type() == kind) => Ok(kind),
        Family::Office(kind, place)
            if found.is_some_and(|found| found.extension() == "zip") && contains(head, place.as_bytes()) =>
        {
            Ok(kind)
        }
        Family::Compound(kind) if head.starts_with(COMPOUND) => Ok(kind),
        Family::Zip if head.starts_with(ZIP) => Ok("application/zip"),
        Family::Marked(known) => found.filter(|found| found.extension() == known).map_or_else(other, of_mark),
        Family::Own => found.filter(|found| found.extension() == ending).map_or_else(other, of_mark),
        Family::Text(_) | Family::Office(..) | Family::Compound(_) | Family::Zip => other(),
    }
}

fn of_mark(found: infer::Type) -> Result<&'static str, Option<&'static str>> {
    Ok(found.mime_type())
}

/// True for HTML, XML and scripts, too: to whoever reads a text, they are one.
fn may_be_text(found: &infer::Type) -> bool {
    found.matcher_type() == infer::MatcherType::Text || WEAK_MARKS.contains(&found.extension())
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// Looks at a file's contents as they come.
#[derive(Debug)]
pub(crate) struct Check {
    name: Name,
    /// The file's first bytes, until they are judged.
    head: Vec<u8>,
    /// Known once the head is judged.
    kind: Option<&'static str>,
    /// Looked at if the file must be a text.
    text: Option<Text>,
}

impl Check {
    pub(crate) fn new(name: &Name) -> Self {
        let text = matches!(Family::of(name.ending()), Family::Text(_)).then(Text::default);
        Self { name: name.clone(), head: Vec::new(), kind: None, text }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// [`UploadError::Type`] if the file is of another type than its ending says.
    pub(crate) fn block(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        if let Some(text) = &mut self.text
            && !text.goes_on_with(bytes)
        {
            return Err(self.refused(None));
        }
        if self.kind.is_none() {
            let missing = HEAD - self.head.len();
            self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            if self.head.len() == HEAD {
                self.judge()?;
            }
        }
        Ok(())
    }

    /// True if no byte that follows can change the outcome: only a text is looked at to its end.
    pub(crate) fn is_settled(&self) -> bool {
        self.kind.is_some() && self.text.is_none()
    }

    /// The media type of the whole file.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub(crate) fn end(mut self) -> Result<&'static str, UploadError> {
        if self.text.as_ref().is_some_and(|text| !text.rest.is_empty()) {
            return Err(self.refused(None));
        }
        match self.kind {
            Some(kind) => Ok(kind),
            None => self.judge(),
        }
    }

    fn judge(&mut self) -> Result<&'static str, UploadError> {
        let head = std::mem::take(&mut self.head);
        let kind = judge(self.name.ending(), &head).map_err(|found| self.refused(found))?;
        self.kind = Some(kind);
        Ok(kind)
    }

    fn refused(&self, found: Option<&'static str>) -> UploadError {
        UploadError::Type { name: self.name.as_str().to_owned(), found }
    }
}

/// A text that comes in pieces.
#[derive(Debug, Default)]
struct Text {
    /// Bytes of a letter that has not come whole: three at most.
    rest: Vec<u8>,
}

impl Text {
    /// False if this is no text.
    fn goes_on_with(&mut self, bytes: &[u8]) -> bool {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { self.takes(bytes) } else { self.takes(&[&rest, bytes].concat()) }
    }

    fn takes(&mut self, bytes: &[u8]) -> bool {
        let (text, rest) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, &[][..]),
            Err(error) if error.error_len().is_none() => {
                let (whole, rest) = bytes.split_at(error.valid_up_to());
                (std::str::from_utf8(whole).unwrap_or_default(), rest)
            }
            Err(_) => return false,
        };
        self.rest = rest.to_vec();
        !text.chars().any(|letter| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r' | '\x0c'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(ending: &str, bytes: &[u8]) -> Result<&'static str, Option<&'static str>> {
        let name = Name::of(&format!("x.{ending}"), 0, &[ending.to_owned()]).unwrap();
        // Cut anywhere, it is the same.
        let told = |size: usize| {
            let mut check = Check::new(&name);
            let blocks = bytes.chunks(size).try_for_each(|block| check.block(block));
            match blocks.and_then(|()| check.end()) {
                Ok(kind) => Ok(kind),
                Err(UploadError::Type { found, .. }) => Err(found),
                Err(error) => panic!("{error}"),
            }
        };
        let whole = told(usize::MAX);
        assert_eq!(told(1).is_ok(), whole.is_ok(), "{ending}");
        assert_eq!(told(4097).is_ok(), whole.is_ok(), "{ending}");
        whole
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
    const PDF: &[u8] = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n";

    /// A zip archive that begins with a file of this name.
    fn zip(name: &str) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04\x14\0\0\0\x08\0\0\0!\0\0\0\0\0\x05\0\0\0\x05\0\0\0".to_vec();
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes.extend(b"hello");
        bytes
    }

    #[test]
    fn contents_are_what_the_ending_says() {
        assert_eq!(kind("png", PNG), Ok("image/png"));
        assert_eq!(kind("jpg", JPEG), Ok("image/jpeg"));
        assert_eq!(kind("jpeg", JPEG), Ok("image/jpeg"));
        assert_eq!(kind("gif", b"GIF89a\x01\0\x01\0"), Ok("image/gif"));
        assert_eq!(kind("pdf", PDF), Ok("application/pdf"));
        assert_eq!(kind("zip", &zip("a.txt")), Ok("application/zip"));
        assert_eq!(kind("zip", &zip("word/document.xml")), Ok("application/zip"));
        let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert_eq!(kind("docx", &zip("word/document.xml")), Ok(word));
        assert_eq!(kind("docx", &[zip("mimetype"), zip("word/document.xml")].concat()), Ok(word));
        assert_eq!(kind("doc", &[COMPOUND, &[0; 600]].concat()), Ok("application/msword"));
        assert_eq!(kind("xls", &[COMPOUND, &[0; 600]].concat()), Ok("application/vnd.ms-excel"));
    }

    #[test]
    fn other_contents_are_refused() {
        assert_eq!(kind("png", JPEG), Err(Some("image/jpeg")));
        assert_eq!(kind("jpg", b"MZ\x90\0\x03\0\0\0"), Err(Some("application/vnd.microsoft.portable-executable")));
        assert_eq!(kind("png", b""), Err(None));
        assert_eq!(kind("png", b"hello"), Err(None));
        assert_eq!(kind("docx", &zip("a.txt")), Err(Some("application/zip")));
        assert_eq!(kind("docx", b"hello"), Err(None));
        assert_eq!(kind("zip", PDF), Err(Some("application/pdf")));
        assert!(kind("txt", PNG).is_err() && kind("txt", PDF).is_err() && kind("txt", &zip("a")).is_err());
        assert!(kind("doc", PDF).is_err());
        // A page with a PDF's mark behind it.
        assert_eq!(kind("pdf", b"<html><script>x</script>\n%PDF-1.7\n"), Err(None));
        assert!(kind("gif", b"<html>GIF89a").is_err());
    }

    #[test]
    fn a_text_is_one_to_its_last_byte() {
        assert_eq!(kind("txt", b""), Ok("text/plain"));
        assert_eq!(kind("txt", "\u{feff}Grüße, 世界\r\n\tx\x0c".as_bytes()), Ok("text/plain"));
        assert_eq!(kind("md", b"<p align=\"center\">"), Ok("text/markdown"));
        assert_eq!(kind("csv", b"BMW,BC\n"), Ok("text/csv"));
        assert_eq!(kind("txt", b"begin a PDF by %PDF-1.7"), Ok("text/plain"));
        assert_eq!(kind("json", b"{}"), Ok("application/json"));
        let long = "世".repeat(HEAD);
        assert_eq!(kind("txt", long.as_bytes()), Ok("text/plain"));
        for bytes in [&b"a\0b"[..], b"a\x1b[31m", b"a\xff", "a\u{85}".as_bytes(), &"世".as_bytes()[..2]] {
            assert_eq!(kind("txt", bytes), Err(None), "{bytes:?}");
            let late = [long.as_bytes(), bytes].concat();
            assert_eq!(kind("txt", &late), Err(None), "{bytes:?}");
        }
        // A program that would pass as a text is none.
        assert!(kind("txt", b"MZ is how it begins").is_err());
    }

    #[test]
    fn only_a_text_is_looked_at_to_its_end() {
        let settled = |ending: &str, bytes: &[u8]| {
            let mut check = Check::new(&Name::of(&format!("x.{ending}"), 0, &[ending.to_owned()]).unwrap());
            check.block(bytes).unwrap();
            check.is_settled()
        };
        assert!(!settled("png", PNG), "more may come of its head");
        assert!(settled("png", &[PNG, &[0; HEAD]].concat()));
        assert!(!settled("txt", &[b'x'; 2 * HEAD]));
    }

    #[test]
    fn an_ending_whose_contents_nobody_can_tell_is_unknown() {
        for ending in ["jpg", "jpeg", "png", "gif", "pdf", "doc", "docx", "txt", "csv", "zip", "mp4", "heic", "html"] {
            assert!(is_known(ending), "{ending}");
        }
        for ending in ["svg", "js", "blend", ""] {
            assert!(!is_known(ending), "{ending}");
        }
    }
}

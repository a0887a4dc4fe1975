//! Blocks of a PEM file (RFC 7468): a label, and bytes in base64.

use super::material::Secret;

/// The label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a private key under a password.
pub const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// The most blocks that are read.
pub const BLOCKS_MAX: usize = 1000;

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its label: [`CERTIFICATE`], "PRIVATE KEY".
    pub label: String,
    /// Its bytes, which may be a key.
    pub contents: Secret,
}

impl Block {
    /// True for a certificate.
    #[must_use]
    pub fn is_certificate(&self) -> bool {
        self.label == CERTIFICATE
    }

    /// True for a private key, in whichever form.
    #[must_use]
    pub fn is_private_key(&self) -> bool {
        self.label == "PRIVATE KEY" || self.label.ends_with(" PRIVATE KEY")
    }
}

/// A text that is no PEM. Lines are counted from 1; nothing of the text is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A block has no last line.
    #[error("the block that begins in line {0} has no end: the file was not written whole")]
    NoEnd(usize),
    /// The last line of a block names another label.
    #[error("line {0} ends another block than was begun")]
    OtherEnd(usize),
    /// A line of a block is no base64.
    #[error("line {0} is no base64")]
    Base64(usize),
    /// A key is under a password.
    #[error(
        "the key in line {0} needs a password, and nobody is there to type it; write it without: openssl pkey -in FILE"
    )]
    Encrypted(usize),
    /// More than [`BLOCKS_MAX`].
    #[error("it has more than {BLOCKS_MAX} blocks")]
    TooMany,
}

/// Reads all blocks, in their order. What stands between them is passed over, in whichever encoding it is.
///
/// ```
/// use gin_shared::tls::pem;
///
/// let text = "shop.example\n-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
/// let blocks = pem::blocks(text)?;
/// assert!(blocks[0].is_certificate());
/// assert_eq!(blocks[0].contents.bytes(), [0, 1, 2]);
/// # Ok::<(), pem::PemError>(())
/// ```
///
/// # Errors
/// If a block is not whole, not base64, or needs a password.
pub fn blocks(text: impl AsRef<[u8]>) -> Result<Vec<Block>, PemError> {
    let text = text.as_ref();
    let mut all = Vec::new();
    let mut lines = lines(text).enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(label) = marker(line, "BEGIN") else { continue };
        if all.len() == BLOCKS_MAX {
            return Err(PemError::TooMany);
        }
        if label == ENCRYPTED.as_bytes() {
            return Err(PemError::Encrypted(index + 1));
        }
        let contents = contents(label, index, text.len(), &mut lines)?;
        all.push(Block { label: String::from_utf8_lossy(label).into_owned(), contents });
    }
    Ok(all)
}

/// Lines of a file, without the space around them.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

/// The label of a line such as `-----BEGIN CERTIFICATE-----`; `word`: "BEGIN" or "END".
#[must_use]
pub fn marker<'a>(line: &'a [u8], word: &str) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(b"-----")?.strip_suffix(b"-----")?;
    rest.strip_prefix(word.as_bytes())?.strip_prefix(b" ")
}

/// The bytes of the block that has begun in the line of this index. No more than `room` characters follow.
fn contents<'a>(
    label: &[u8],
    begin: usize,
    room: usize,
    lines: &mut impl Iterator<Item = (usize, &'a [u8])>,
) -> Result<Secret, PemError> {
    // It does not grow: that would leave parts of a key behind.
    let mut digits = Secret::new(Vec::with_capacity(room));
    let mut is_padded = false;
    for (index, line) in lines {
        let wrong = PemError::Base64(index + 1);
        if let Some(end) = marker(line, "END") {
            let bytes = decoded(digits.bytes()).ok_or(wrong)?;
            return if end == label { Ok(bytes) } else { Err(PemError::OtherEnd(index + 1)) };
        }
        if marker(line, "BEGIN").is_some() {
            break;
        }
        if line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED") {
            return Err(PemError::Encrypted(begin + 1));
        }
        for byte in line {
            match digit(*byte) {
                Some(digit) if !is_padded => digits.0.push(digit),
                None if *byte == b'=' => is_padded = true,
                Some(_) | None => return Err(wrong),
            }
        }
    }
    Err(PemError::NoEnd(begin + 1))
}

/// The value of a digit of base64 (RFC 4648, section 4).
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

fn decoded(digits: &[u8]) -> Option<Secret> {
    let mut bytes = Vec::with_capacity(digits.len());
    for four in digits.chunks(4) {
        match *four {
            [a, b, c, d] => bytes.extend([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]),
            [a, b, c] => bytes.extend([a << 2 | b >> 4, b << 4 | c >> 2]),
            [a, b] => bytes.push(a << 2 | b >> 4),
            _ => return None,
        }
    }
    Some(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Result<Vec<u8>, PemError> {
        let text = format!("-----BEGIN X-----\n{text}\n-----END X-----\n");
        blocks(&text).map(|blocks| blocks[0].contents.bytes().to_vec())
    }

    #[test]
    fn base64_is_read_in_lines_of_any_length() {
        let cases: [(&str, &[u8]); 6] = [
            ("", b""),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9v\nYmFy", b"foobar"),
            ("+/+/", b"\xfb\xff\xbf"),
        ];
        for (text, bytes) in cases {
            assert_eq!(block(text).as_deref(), Ok(bytes), "{text:?}");
        }
        for (text, line) in [("Z", 3), ("Zm9vY", 3), ("Zm 9v", 2), ("Zg==Zg==", 2), ("Zm9v\n#", 3)] {
            assert_eq!(block(text), Err(PemError::Base64(line)), "{text:?}");
        }
    }

    #[test]
    fn text_around_blocks_is_passed_over() {
        let text = "a\r\n-----BEGIN A B-----\r\nZg==\r\n-----END A B-----\r\nb\n-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----";
        let all = blocks(text).unwrap();
        let labels: Vec<&str> = all.iter().map(|block| block.label.as_str()).collect();
        assert_eq!(labels, ["A B", "PRIVATE KEY"]);
        assert_eq!((all[0].contents.bytes(), all[0].is_private_key()), (&b"f"[..], false));
        assert!(all[1].is_private_key() && !all[1].is_certificate());
        assert_eq!(blocks("no block"), Ok(Vec::new()));
        // A comment in Latin-1.
        let bytes = [&b"subject=O=B\xfccher\n"[..], text.as_bytes()].concat();
        assert_eq!(blocks(bytes), Ok(all));
    }

    #[test]
    fn a_block_that_is_not_whole_is_told_with_its_line() {
        assert_eq!(blocks("x\n-----BEGIN A-----\nZg==\n"), Err(PemError::NoEnd(2)));
        assert_eq!(blocks("-----BEGIN A-----\n-----BEGIN A-----\n-----END A-----\n"), Err(PemError::NoEnd(1)));
        assert_eq!(blocks("-----BEGIN A-----\n-----END B-----\n"), Err(PemError::OtherEnd(2)));
    }

    #[test]
    fn a_key_under_a_password_says_what_to_do() {
        let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nZg==\n-----END EC PRIVATE KEY-----";
        assert_eq!(blocks(old), Err(PemError::Encrypted(1)));
        let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nZg==\n-----END ENCRYPTED PRIVATE KEY-----";
        let error = blocks(new).unwrap_err();
        assert_eq!(error, PemError::Encrypted(1));
        assert!(error.to_string().contains("openssl pkey -in FILE"), "{error}");
    }
}

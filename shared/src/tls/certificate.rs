//! Facts of an X.509 certificate (RFC 5280): for whom it is, who has signed it, and until when. Signatures are not checked.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::der::{self, DerError, Reader, Value};
use super::private_key::{EC, RSA};

/// The most names of a certificate that are read.
pub const NAMES_MAX: usize = 1000;
/// The most characters of a text that are kept.
const TEXT_MAX: usize = 256;
/// The most bytes of a serial number. RFC 5280 allows 20.
const SERIAL_MAX: usize = 64;

/// Facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its holder, as RFC 4514 writes it: `CN=client-7,O=gin`. Empty if the certificate has names alone.
    pub subject: String,
    /// The holder's common name.
    pub common_name: Option<String>,
    /// The authority in one word: its organisation, else its common name, else all of it.
    pub issuer: String,
    /// The authority, as RFC 4514 writes it.
    pub issuer_name: String,
    /// Names that it is for: hosts, addresses, e-mail addresses and URIs, in the order of the certificate.
    pub names: Vec<String>,
    /// Serial number, in hexadecimal digits.
    pub serial: String,
    /// The moment from which it counts.
    pub starts: SystemTime,
    /// The moment at which it ends.
    pub ends: SystemTime,
    /// Contents of the public key, as [`public_half`](super::private_key::public_half) gives them of the private one.
    pub public_key: Vec<u8>,
    /// True if the key is of a kind by which a server of gin can sign: ECDSA or RSA. It is not for Ed25519.
    pub has_usable_key: bool,
}

impl Facts {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// If it is none.
    pub fn of_der(bytes: &[u8]) -> Result<Self, DerError> {
        let mut outer = Reader::new(bytes);
        let mut certificate = outer.nested(der::SEQUENCE, "certificate")?;
        outer.finish()?;
        let mut signed = certificate.nested(der::SEQUENCE, "signed part")?;
        certificate.value(der::SEQUENCE, "algorithm of the signature")?;
        certificate.value(der::BIT_STRING, "signature")?;
        certificate.finish()?;
        Self::of_signed(&mut signed)
    }

    /// The part that the authority has signed.
    fn of_signed(signed: &mut Reader<'_>) -> Result<Self, DerError> {
        signed.optional(VERSION)?;
        let serial = signed.value(der::INTEGER, "serial number")?;
        signed.value(der::SEQUENCE, "algorithm")?;
        let issuer = Name::read(signed, "issuer")?;
        let mut validity = signed.nested(der::SEQUENCE, "validity")?;
        let starts = time(validity.any()?)?;
        let ends = time(validity.any()?)?;
        validity.finish()?;
        let subject = Name::read(signed, "subject")?;
        let (algorithm, public_key) = public_key(&mut signed.nested(der::SEQUENCE, "public key")?)?;
        signed.optional(ISSUER_ID)?;
        signed.optional(SUBJECT_ID)?;
        let names = match signed.optional(EXTENSIONS)? {
            Some(value) => names(&mut signed.within(value)?.nested(der::SEQUENCE, "extensions")?)?,
            None => Vec::new(),
        };
        Ok(Self {
            subject: subject.text(),
            common_name: subject.first(COMMON_NAME).map(str::to_owned),
            issuer: issuer.short(),
            issuer_name: issuer.text(),
            names,
            serial: hex(serial.contents),
            starts,
            ends,
            public_key,
            has_usable_key: USABLE_KEYS.contains(&algorithm),
        })
    }

    /// A name for people: the first that it is for, else the holder's common name, else the holder.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().or(self.common_name.as_ref()).unwrap_or(&self.subject)
    }
}

/// Kinds of keys by which a server of gin can sign; `id-RSASSA-PSS` is 1.2.840.113549.1.1.10.
const USABLE_KEYS: [&[u8]; 3] = [EC, RSA, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a]];
/// Tag of the version.
const VERSION: u8 = 0xa0;
/// Tag of a name for the issuer that nobody uses.
const ISSUER_ID: u8 = 0x81;
/// The same for the subject.
const SUBJECT_ID: u8 = 0x82;
/// Tag of the extensions.
const EXTENSIONS: u8 = 0xa3;
/// `subjectAltName`, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `organizationName`, 2.5.4.10.
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

/// Attributes that have a short name (RFC 4514, section 3, and what OpenSSL writes).
const ATTRIBUTES: [(&[u8], &str); 11] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (ORGANISATION, "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
];

/// A name of X.500: attributes in groups, which have one each as a rule.
struct Name<'a>(Vec<Vec<(&'a [u8], String)>>);

impl<'a> Name<'a> {
    fn read(reader: &mut Reader<'a>, name: &'static str) -> Result<Self, DerError> {
        let mut groups = reader.nested(der::SEQUENCE, name)?;
        let mut all = Vec::new();
        while !groups.is_empty() {
            let mut group = groups.nested(der::SET, name)?;
            let mut attributes = Vec::new();
            while !group.is_empty() {
                let mut attribute = group.nested(der::SEQUENCE, name)?;
                let kind = attribute.value(der::OBJECT_IDENTIFIER, name)?.contents;
                attributes.push((kind, text(attribute.any()?)));
                attribute.finish()?;
            }
            all.push(attributes);
        }
        Ok(Self(all))
    }

    /// The last attribute of this kind, which is the most special one.
    fn first(&self, kind: &[u8]) -> Option<&str> {
        let all = self.0.iter().rev().flatten();
        all.filter(|(of, _)| *of == kind).map(|(_, text)| text.as_str()).find(|text| !text.is_empty())
    }

    fn short(&self) -> String {
        self.first(ORGANISATION).or(self.first(COMMON_NAME)).map_or_else(|| self.text(), str::to_owned)
    }

    /// As RFC 4514 writes it: the last group first.
    fn text(&self) -> String {
        let attribute = |(kind, text): &(&[u8], String)| {
            let name = ATTRIBUTES.iter().find(|(of, _)| of == kind).map(|(_, name)| (*name).to_owned());
            format!("{}={}", name.unwrap_or_else(|| dotted(kind)), escaped(text))
        };
        let group = |group: &Vec<_>| group.iter().map(attribute).collect::<Vec<_>>().join("+");
        self.0.iter().rev().map(group).collect::<Vec<_>>().join(",")
    }
}

/// A value of an attribute (RFC 4514, section 2.4).
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        let at_end = character == ' ' && (index == 0 || index == last);
        if matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\') || at_end || (character == '#' && index == 0) {
            out.push('\\');
        }
        if character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "\\{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// The common name in a subject that [`Facts::subject`] has written.
#[must_use]
pub fn common_name(subject: &str) -> Option<String> {
    let mut rest = subject;
    while !rest.is_empty() {
        let end = end_of_attribute(rest);
        let (attribute, behind) = rest.split_at(end);
        if let Some(value) = attribute.strip_prefix("CN=").filter(|value| !value.is_empty()) {
            return Some(unescaped(value));
        }
        rest = behind.get(1..).unwrap_or_default();
    }
    None
}

/// The place of the first separator that is not escaped.
fn end_of_attribute(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' | '+' => return at,
            _ => {}
        }
    }
    text.len()
}

fn unescaped(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.bytes().peekable();
    while let Some(byte) = rest.next() {
        let Some(next) = rest.next_if(|_| byte == b'\\') else {
            out.push(byte);
            continue;
        };
        let digits = [Some(next), rest.peek().copied()];
        let [high, low] = digits.map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        match (high, low) {
            (Some(high), Some(low)) => {
                rest.next();
                out.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
            }
            _ => out.push(next),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An object identifier as people write it.
fn dotted(contents: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in contents.iter().take(TEXT_MAX) {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= 40 * first;
            }
            numbers.push(number);
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// A text in any of the forms that certificates have. Any other value is an empty text.
fn text(value: Value<'_>) -> String {
    let bytes = value.contents;
    let all = match value.tag {
        // UTF8String, PrintableString, IA5String, NumericString.
        0x0c | 0x12 | 0x13 | 0x16 => String::from_utf8_lossy(bytes).into_owned(),
        // TeletexString, which everybody reads as Latin-1.
        0x14 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        // BMPString.
        0x1e => {
            let (units, _) = bytes.as_chunks::<2>();
            char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)))
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        // UniversalString.
        0x1c => {
            let (units, _) = bytes.as_chunks::<4>();
            let character = |unit: &[u8; 4]| char::from_u32(u32::from_be_bytes(*unit));
            units.iter().map(|unit| character(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::new(),
    };
    cut(&all)
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// The names in the extensions.
fn names(extensions: &mut Reader<'_>) -> Result<Vec<String>, DerError> {
    let mut all = Vec::new();
    while !extensions.is_empty() {
        let mut extension = extensions.nested(der::SEQUENCE, "extension")?;
        let kind = extension.value(der::OBJECT_IDENTIFIER, "kind of an extension")?.contents;
        extension.optional(der::BOOLEAN)?;
        let contents = extension.value(der::OCTET_STRING, "contents of an extension")?;
        extension.finish()?;
        if kind == ALTERNATIVE_NAMES {
            let mut list = extensions.within(contents)?.nested(der::SEQUENCE, "list of names")?;
            while !list.is_empty() && all.len() < NAMES_MAX {
                all.extend(alternative_name(list.any()?));
            }
        }
    }
    Ok(all)
}

/// A name by its tag; `None` for a kind that is not told.
fn alternative_name(value: Value<'_>) -> Option<String> {
    match (value.tag, value.contents) {
        // E-mail address, host, URI: ASCII, whose other characters could make people read another name.
        (0x81 | 0x82 | 0x86, bytes) => {
            Some(bytes.iter().take(TEXT_MAX).flat_map(|byte| byte.escape_ascii()).map(char::from).collect())
        }
        (0x87, bytes) => {
            let address = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The kind of the public key, and its contents.
fn public_key<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Vec<u8>), DerError> {
    let mut algorithm = reader.nested(der::SEQUENCE, "algorithm of the public key")?;
    let kind = algorithm.value(der::OBJECT_IDENTIFIER, "algorithm of the public key")?.contents;
    let bits = reader.value(der::BIT_STRING, "public key")?;
    Ok((kind, whole_bytes(bits.contents)?.to_vec()))
}

/// Bits that are whole bytes, without the number of those that are not used.
pub(super) fn whole_bytes(bits: &[u8]) -> Result<&[u8], DerError> {
    match bits {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(DerError::Malformed("public key")),
    }
}

fn hex(serial: &[u8]) -> String {
    let bytes = match serial {
        // In front of a number that would be negative without.
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let mut text = String::new();
    for byte in bytes.iter().take(SERIAL_MAX) {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
fn time(value: Value<'_>) -> Result<SystemTime, DerError> {
    let wrong = DerError::Malformed("time");
    let (year_digits, bytes) = match (value.tag, value.contents) {
        (der::UTC_TIME, bytes) if bytes.len() == 13 => (2, bytes),
        (der::GENERALIZED_TIME, bytes) if bytes.len() == 15 => (4, bytes),
        _ => return Err(wrong),
    };
    let [digits @ .., b'Z'] = bytes else { return Err(wrong) };
    let (year, rest) = digits.split_at(year_digits);
    let year = number(year).ok_or(wrong)?;
    let year = match (year_digits, year) {
        (2, 0..50) => 2000 + year,
        (2, _) => 1900 + year,
        _ => year,
    };
    let (pairs, _) = rest.as_chunks::<2>();
    let mut fields = [0; 5];
    for (field, pair) in fields.iter_mut().zip(pairs) {
        *field = number(pair).ok_or(wrong)?;
    }
    let [month, day, hour, minute, second] = fields;
    let is_time = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !is_time {
        return Err(wrong);
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moment.ok_or(wrong)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Days from 1970 to a day of the Gregorian calendar, whose year begins in March here: the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leap_days + of_year - 719_468
}

#[cfg(test)]
mod tests;

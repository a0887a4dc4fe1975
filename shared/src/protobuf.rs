//! Bytes of protocol buffers, written and read. Fields of the value 0 are left out, as proto3 does.

/// Wire types, as the encoding numbers them.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const LENGTH: u32 = 2;
const FOUR_BYTES: u32 = 5;

/// Bytes of the longest varint.
const VARINT_MAX: usize = 10;

/// Writes the fields of a message.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Makes a writer of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all bytes, and keeps their memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// Writes a number, unless it is 0.
    pub fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.number_always(field, value);
        }
    }

    /// Writes a number, also if it is 0.
    pub fn number_always(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// Writes a number of eight bytes, unless it is 0.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, EIGHT_BYTES);
            self.raw(&value.to_le_bytes());
        }
    }

    /// Writes a number of four bytes, unless it is 0.
    pub fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.tag(field, FOUR_BYTES);
            self.raw(&value.to_le_bytes());
        }
    }

    /// Writes a floating-point number, unless it is 0. The number -0 is written.
    pub fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// Writes a floating-point number, also if it is 0.
    pub fn double_always(&mut self, field: u32, value: f64) {
        self.tag(field, EIGHT_BYTES);
        self.raw(&value.to_bits().to_le_bytes());
    }

    /// Writes bytes, unless there are none.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_always(field, value);
        }
    }

    /// Writes a text, unless it is empty.
    pub fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// Writes a text, also if it is empty.
    pub fn text_always(&mut self, field: u32, value: &str) {
        self.bytes_always(field, value.as_bytes());
    }

    /// Writes numbers as one field, unless there are none.
    pub fn packed(&mut self, field: u32, values: impl IntoIterator<Item = u64>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.message(field, |message| values.for_each(|value| message.varint(value)));
        }
    }

    /// Writes a message within this one, also if it is empty.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH);
        // One byte suffices for the length of most messages. Only a longer one is moved, behind its length.
        let length_at = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - length_at - 1;
        if length < 0x80 {
            self.0[length_at] = length as u8;
        } else {
            let (bytes, count) = encoded(length as u64);
            self.0.splice(length_at..=length_at, bytes[..count].iter().copied());
        }
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Writes the number of a field whose value is these many bytes, and their number. [`Self::raw`] writes the bytes afterwards.
    pub fn length(&mut self, field: u32, length: usize) {
        self.tag(field, LENGTH);
        self.varint(length as u64);
    }

    fn bytes_always(&mut self, field: u32, value: &[u8]) {
        self.length(field, value.len());
        self.raw(value);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, value: u64) {
        let (bytes, count) = encoded(value);
        self.raw(&bytes[..count]);
    }
}

/// A varint, and the number of its bytes.
fn encoded(mut value: u64) -> ([u8; VARINT_MAX], usize) {
    let mut bytes = [0; VARINT_MAX];
    let mut count = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[count] = if value == 0 { low } else { low | 0x80 };
        count += 1;
        if value == 0 {
            return (bytes, count);
        }
    }
}

/// Goes on behind bytes that exist.
impl From<Vec<u8>> for Writer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// Value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'a> {
    /// A varint.
    Number(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

/// Reads the fields of a message.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Makes a reader of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads the next field, with its number.
    ///
    /// # Errors
    /// If the bytes are no protocol buffer.
    #[allow(clippy::should_implement_trait, reason = "an iterator gives no errors that end it")]
    pub fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).ok().filter(|field| (1..1 << 29).contains(field));
        let field = field.ok_or(Malformed("a field's number is not between 1 and 2^29"))?;
        let value = match tag as u32 & 7 {
            VARINT => Field::Number(self.varint()?),
            EIGHT_BYTES => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            LENGTH => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            FOUR_BYTES => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Malformed("a field's type is not known")),
        };
        Ok(Some((field, value)))
    }

    /// Numbers of a field, packed or not.
    ///
    /// # Errors
    /// If the field has no numbers.
    pub fn numbers(field: Field<'a>) -> Result<Vec<u64>, Malformed> {
        match field {
            Field::Number(number) => Ok(vec![number]),
            Field::Bytes(bytes) => {
                let mut packed = Self(bytes);
                let mut numbers = Vec::new();
                while !packed.0.is_empty() {
                    numbers.push(packed.varint()?);
                }
                Ok(numbers)
            }
            Field::Fixed64(_) | Field::Fixed32(_) => Err(Malformed("a field has no varints")),
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (at, byte) in self.0.iter().take(VARINT_MAX).enumerate() {
            let low = u64::from(byte & 0x7f);
            if at == VARINT_MAX - 1 && low > 1 {
                return Err(Malformed("a number has more than 64 bits"));
            }
            value |= low << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("a number has no end"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let parts = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let (taken, rest) = parts.ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(*array)
    }
}

/// The error of a message without its end.
const CUT_OFF: Malformed = Malformed("a field is cut off");

/// Bytes that are no protocol buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no protocol buffer: {0}")]
pub struct Malformed(pub(crate) &'static str);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Field<'_>)>, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut fields = Vec::new();
        while let Some(field) = reader.next()? {
            fields.push(field);
        }
        Ok(fields)
    }

    /// The examples of the encoding's documentation.
    #[test]
    fn bytes_are_those_of_the_documentation() {
        let mut writer = Writer::new();
        writer.number(1, 150);
        writer.text(2, "testing");
        writer.message(3, |message| message.number(1, 150));
        writer.packed(6, [3, 270, 86_942]);
        let bytes = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01\x32\x06\x03\x8e\x02\x9e\xa7\x05";
        assert_eq!(writer.as_slice(), bytes);
    }

    #[test]
    fn zero_is_left_out_unless_it_is_asked_for() {
        let mut writer = Writer::new();
        writer.number(1, 0);
        writer.fixed64(1, 0);
        writer.fixed32(1, 0);
        writer.double(1, 0.0);
        writer.bytes(1, b"");
        writer.text(1, "");
        writer.packed(1, []);
        assert!(writer.is_empty());
        writer.number_always(1, 0);
        writer.double_always(2, 0.0);
        writer.text_always(3, "");
        writer.message(4, |_| ());
        let expected = [(1, Field::Number(0)), (2, Field::Fixed64(0)), (3, Field::Bytes(b"")), (4, Field::Bytes(b""))];
        assert_eq!(fields(writer.as_slice()), Ok(expected.to_vec()));
    }

    #[test]
    fn a_long_message_is_moved_behind_its_length() {
        for length in [0, 1, 125, 126, 127, 128, 16_380, 16_384, 3_000_000] {
            let content = vec![7; length];
            let mut writer = Writer::new();
            writer.message(1, |outer| {
                outer.message(2, |inner| inner.raw(&content));
                outer.number(3, 1);
            });
            writer.number(4, 2);
            let outer = fields(writer.as_slice()).expect("well-formed");
            let [(1, Field::Bytes(bytes)), (4, Field::Number(2))] = outer[..] else { panic!("{length}: {outer:?}") };
            assert_eq!(fields(bytes), Ok(vec![(2, Field::Bytes(&content)), (3, Field::Number(1))]), "{length}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        let cases: [(&[u8], &str); 9] = [
            (b"\x08", "a number has no end"),
            (b"\x08\xff", "a number has no end"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "a number has more than 64 bits"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", "a number has no end"),
            (b"\x00\x01", "a field's number is not between 1 and 2^29"),
            (b"\x0b", "a field's type is not known"),
            (b"\x12\x02a", "a field is cut off"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a field is cut off"),
            (b"\x0d\x01\x02\x03", "a field is cut off"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(fields(bytes), Err(Malformed(reason)), "{bytes:x?}");
        }
        assert!(Reader::numbers(Field::Fixed32(1)).is_err());
        assert!(Reader::numbers(Field::Bytes(b"\x80")).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(number: u64, fixed: u64, four: u32, double: f64, many: Vec<u64>, bytes: Vec<u8>) {
            let mut writer = Writer::new();
            writer.number_always(1, number);
            writer.fixed64(2, fixed | 1);
            writer.fixed32(3, four | 1);
            writer.double_always(4, double);
            writer.packed(5, many.iter().copied());
            writer.bytes(536_870_911, &bytes);
            let mut reader = Reader::new(writer.as_slice());
            prop_assert_eq!(reader.next(), Ok(Some((1, Field::Number(number)))));
            prop_assert_eq!(reader.next(), Ok(Some((2, Field::Fixed64(fixed | 1)))));
            prop_assert_eq!(reader.next(), Ok(Some((3, Field::Fixed32(four | 1)))));
            prop_assert_eq!(reader.next(), Ok(Some((4, Field::Fixed64(double.to_bits())))));
            if !many.is_empty() {
                let packed = reader.next()?.expect("packed numbers").1;
                prop_assert_eq!(Reader::numbers(packed), Ok(many));
            }
            if !bytes.is_empty() {
                prop_assert_eq!(reader.next(), Ok(Some((536_870_911, Field::Bytes(&bytes)))));
            }
            prop_assert_eq!(reader.next(), Ok(None));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            for (_, field) in fields(&bytes).unwrap_or_default() {
                let _ = Reader::numbers(field);
            }
        }
    }
}

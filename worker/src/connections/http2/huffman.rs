//! Number of symbols in a Huffman string of HPACK (RFC 7541, section 5.2 and appendix B).
//!
//! The code is canonical: codes of one length follow one another, and begin where the shorter ones end. So the number of symbols of each
//! length is enough to count the symbols of a string. Which ones they are is hyper's to know.

/// Number of symbols whose codes have 5, 6, ... 30 bits. The last code of 30 bits ends a string (EOS).
const SYMBOLS: [u32; 26] = [10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4];
const SHORTEST: usize = 5;
const EOS: u32 = (1 << 30) - 1;
/// Most bits behind the last symbol.
const PADDING_MAX: usize = 7;

/// Bits that were read and are no symbol yet.
#[derive(Debug, Default)]
struct Code {
    bits: usize,
    value: u32,
    /// First code of this length.
    first: u32,
}

impl Code {
    /// Takes one more bit. True if a symbol is complete; `None` if no code begins so.
    fn push(&mut self, bit: u32) -> Option<bool> {
        self.value = self.value << 1 | bit;
        self.first <<= 1;
        self.bits += 1;
        let Some(row) = self.bits.checked_sub(SHORTEST) else { return Some(false) };
        let symbols = *SYMBOLS.get(row)?;
        if self.value.wrapping_sub(self.first) >= symbols {
            self.first += symbols;
            return Some(false);
        }
        if self.value == EOS {
            return None;
        }
        *self = Self::default();
        Some(true)
    }

    fn is_padding(&self) -> bool {
        self.bits <= PADDING_MAX && self.value == (1 << self.bits) - 1
    }
}

/// Counts the symbols. `None`: this is no Huffman string.
pub(super) fn symbols(raw: &[u8]) -> Option<usize> {
    let (mut count, mut code) = (0, Code::default());
    for byte in raw {
        for shift in (0..8).rev() {
            count += usize::from(code.push(u32::from(byte >> shift & 1))?);
        }
    }
    code.is_padding().then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length in bits of the code of each byte, as RFC 7541 prints it in appendix B.
    const LENGTHS: [usize; 256] = [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
        28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15,
        6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22,
        20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23,
        23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22,
        22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26,
        27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27,
        26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    ];

    /// Canonical code of a byte: symbols of one length are in the order of their values.
    fn code(byte: usize) -> (u32, usize) {
        let bits = LENGTHS[byte];
        let shorter: u64 = LENGTHS.iter().filter(|length| **length < bits).map(|length| 1 << (30 - length)).sum();
        let before = LENGTHS[..byte].iter().filter(|length| **length == bits).count();
        (u32::try_from((shorter >> (30 - bits)) + before as u64).unwrap(), bits)
    }

    fn encode(bytes: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in bytes {
            let (code, length) = code(usize::from(*byte));
            bits.extend((0..length).rev().map(|shift| code >> shift & 1));
        }
        let whole = bits.len().div_ceil(8) * 8;
        bits.resize(whole, 1);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | u8::try_from(*bit).unwrap())).collect()
    }

    #[test]
    fn the_numbers_of_symbols_are_those_of_the_printed_code() {
        for (row, symbols) in SYMBOLS.iter().enumerate() {
            let bits = row + SHORTEST;
            let end = u32::from(bits == 30);
            let printed = LENGTHS.iter().filter(|length| **length == bits).count();
            assert_eq!(*symbols, u32::try_from(printed).unwrap() + end, "{bits} bits");
        }
        assert_eq!((code(0), code(usize::from(b'&')), code(249)), ((0x1ff8, 13), (0xf8, 8), (0x0fff_fffe, 28)));
    }

    #[test]
    fn every_byte_is_one_symbol_alone_and_between_others() {
        for byte in 0..=u8::MAX {
            assert_eq!(symbols(&encode(&[byte])), Some(1), "{byte}");
            assert_eq!(symbols(&encode(&[b'a', byte, 0xff, byte])), Some(4), "{byte}");
        }
        assert_eq!(symbols(b""), Some(0));
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(symbols(&encode(&all)), Some(256));
        // The example of RFC 7541, appendix C.4.1.
        let example = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(symbols(&example), Some("www.example.com".len()));
        assert_eq!(encode(b"www.example.com"), example);
    }

    #[test]
    fn a_string_that_ends_wrongly_is_none() {
        assert_eq!(symbols(&[0xff]), None, "padding of a whole byte");
        assert_eq!(symbols(&[0x00]), None, "padding of zeros");
        assert_eq!(symbols(&[0xff; 4]), None, "EOS");
        assert_eq!(symbols(&[0xff, 0xff, 0xff, 0xfc, 0x07]), None, "EOS, then more");
    }
}

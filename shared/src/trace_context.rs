//! W3C trace context, and which traces are sampled.

use std::fmt;

/// Id of a trace: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Id of a span: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Makes an id of these bytes, unless all are zero.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Option<Self> {
        if u128::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Derives an id from parts: the same parts give the same id in every build.
    #[must_use]
    pub fn derived(parts: &[&[u8]]) -> Self {
        let (high, low) = hashed(parts);
        let id = u128::from(mixed(high)) << 64 | u128::from(mixed(low));
        Self(id.max(1).to_be_bytes())
    }
}

impl SpanId {
    /// Makes an id of these bytes, unless all are zero.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Option<Self> {
        if u64::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// Derives an id from parts: the same parts give the same id in every build.
    #[must_use]
    pub fn derived(parts: &[&[u8]]) -> Self {
        let (high, low) = hashed(parts);
        Self(mixed(high ^ mixed(low)).max(1).to_be_bytes())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span, as another process is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
    /// True if the spans of the trace are sent.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads a header `traceparent`. Of a version that is not known, the parts that all versions have are read.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_first_chunk::<TEXT_LENGTH>()?;
        let [version] = hexadecimal(&head[..2])?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        if !is_whole || [head[2], head[35], head[52]] != [b'-'; 3] {
            return None;
        }
        let [flags] = hexadecimal(&head[53..])?;
        let trace = TraceId::new(hexadecimal(&head[3..35])?)?;
        Some(Self { trace, span: SpanId::new(hexadecimal(&head[36..52])?)?, is_sampled: flags & 1 == 1 })
    }

    /// The header `traceparent`, of version 00.
    #[must_use]
    pub fn text(&self) -> [u8; TEXT_LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hexadecimal(&mut text[3..35], &self.trace.0);
        write_hexadecimal(&mut text[36..52], &self.span.0);
        write_hexadecimal(&mut text[53..], &[u8::from(self.is_sampled)]);
        text
    }
}

/// Bytes of a header `traceparent` of version 00.
const TEXT_LENGTH: usize = 55;

/// Bytes of lower hexadecimal digits, two for each byte. Upper case is refused, as the specification wants it.
fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

fn write_hexadecimal(to: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (digits, byte) in to.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// Part of the traces that are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// Makes a ratio of a rate between 0 and 1. A rate outside of them is the nearer one, and no number is 0.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self((rate.clamp(0.0, 1.0) * RATIO_MAX as f64) as u64)
    }

    /// True if it takes this trace. OpenTelemetry's libraries decide alike: by the last 63 bits of the id.
    #[must_use]
    pub fn takes(self, trace: TraceId) -> bool {
        let half = trace.0.last_chunk().map_or(0, |half| u64::from_be_bytes(*half));
        half >> 1 < self.0
    }
}

/// The ratio that takes all traces.
const RATIO_MAX: u64 = 1 << 63;

/// Most bytes of a `tracestate` that is passed on.
const STATE_MAX: usize = 512;

/// Most members of a `tracestate`.
const MEMBERS_MAX: usize = 32;

/// Joins the headers `tracestate` of a request. One that is too long or malformed is none.
#[must_use]
pub fn tracestate<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Box<str>> {
    let mut state = String::new();
    let mut count = 0;
    for value in values {
        for member in std::str::from_utf8(value).ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let is_visible = member.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            count += 1;
            if !is_visible || member.find('=').is_none_or(|at| at == 0) || count > MEMBERS_MAX {
                return None;
            }
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
            if state.len() > STATE_MAX {
                return None;
            }
        }
    }
    Some(state.into_boxed_str()).filter(|state| !state.is_empty())
}

/// Hashes parts by FNV-1a of 128 bits, each with its length before it. Gives the upper and the lower half.
fn hashed(parts: &[&[u8]]) -> (u64, u64) {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = parts.iter().flat_map(|part| (part.len() as u64).to_le_bytes().into_iter().chain(part.iter().copied()));
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    ((hash >> 64) as u64, hash as u64)
}

/// The number in which each bit depends on all bits of this one (splitmix64).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn parse(text: &str) -> Option<String> {
        let context = TraceContext::parse(text.as_bytes())?;
        Some(format!("{} {} {}", context.trace, context.span, context.is_sampled))
    }

    /// The cases of the W3C's test suite that concern one header.
    #[test]
    fn only_a_well_formed_header_is_read() {
        let read = |text: &str, is_sampled: bool| {
            assert_eq!(parse(text), Some(format!("{TRACE} b7ad6b7169203331 {is_sampled}")), "{text}");
        };
        read(&format!("00-{TRACE}-b7ad6b7169203331-01"), true);
        read(&format!("00-{TRACE}-b7ad6b7169203331-00"), false);
        read(&format!("00-{TRACE}-b7ad6b7169203331-ff"), true);
        read(&format!("00-{TRACE}-b7ad6b7169203331-02"), false);
        read(&format!("01-{TRACE}-b7ad6b7169203331-01"), true);
        read(&format!("cc-{TRACE}-b7ad6b7169203331-01-what-the-future-will-be-like"), true);
        let refused = [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("ff-{TRACE}-b7ad6b7169203331-01-more"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("00-{TRACE}-b7ad6b7169203331-01-"),
            format!("00-{TRACE}-b7ad6b7169203331-01 "),
            format!("cc-{TRACE}-b7ad6b7169203331-01.more"),
            format!(" 00-{TRACE}-b7ad6b7169203331-01"),
            format!(".0-{TRACE}-b7ad6b7169203331-01"),
            format!("0-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-b7ad6b7169203331-1"),
            format!("00-{TRACE}-b7ad6b7169203331-.0"),
            format!("00-{TRACE}-b7ad6b7169203331-0G"),
            format!("00-{TRACE}-b7ad6b716920333-01"),
            format!("00-{TRACE}-B7AD6B7169203331-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}_b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", &TRACE[1..]),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
        ];
        for text in refused {
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    /// Two builds that tell of one trace must give it one id: these values never change.
    #[test]
    fn derived_ids_are_the_same_in_every_build() {
        let derived = |parts: &[&[u8]]| format!("{} {}", TraceId::derived(parts), SpanId::derived(parts));
        assert_eq!(derived(&[]), "4063e00bcd986211bada9fd79951a20f aacb9fc67332c17a");
        assert_eq!(derived(&[b""]), "3f7e7ba6865c9c3f11df256d9f87f147 fbb7bf74f79599b0");
        assert_eq!(derived(&[b"restart", b"shop", b"7"]), "2907340da516365ac56cd55acccd10bf 45d8b1012b14d4ad");
        assert_eq!(derived(&[b"restart", b"shop7"]), "21c8c317895c5b949ae8d9c385366cb8 e03abc2404d3a66d");
        assert_eq!(derived(&[b"restart", b"shop", b"8"]), "a7a78c3f3f6dfc138df2a36edcf28439 2d924f47c072c46d");
    }

    #[test]
    fn a_ratio_decides_as_other_libraries() {
        let trace = |half: u64| TraceId(u128::from(half).max(1).to_be_bytes());
        assert_eq!((Ratio::new(-1.0), Ratio::new(f64::NAN), Ratio::new(2.0)), (Ratio(0), Ratio(0), Ratio(RATIO_MAX)));
        for half in [0, 1, 2, u64::MAX / 2, u64::MAX] {
            assert!(!Ratio::new(0.0).takes(trace(half)), "{half}");
            assert!(Ratio::new(1.0).takes(trace(half)), "{half}");
        }
        let half = Ratio::new(0.5);
        assert!(half.takes(trace(u64::MAX / 2)) && !half.takes(trace(u64::MAX / 2 + 1)));
        let id = TraceId(*b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10");
        assert!(half.takes(id) && !Ratio::new(0.01).takes(id));
    }

    #[test]
    fn a_tenth_of_many_traces_is_a_tenth() {
        let ratio = Ratio::new(0.1);
        let taken = (0..100_000_u32).filter(|number| ratio.takes(TraceId::derived(&[&number.to_le_bytes()]))).count();
        // The standard deviation of 100,000 decisions is 95.
        assert!((9_715..=10_285).contains(&taken), "{taken}");
    }

    #[test]
    fn states_are_joined_or_refused() {
        let joined = |values: &[&str]| tracestate(values.iter().map(|value| value.as_bytes()));
        assert_eq!(joined(&[]), None);
        assert_eq!(joined(&["", " , "]), None);
        assert_eq!(joined(&["a=1, b=2,", "\tc@d=3 4 "]).as_deref(), Some("a=1,b=2,c@d=3 4"));
        for refused in ["a", "=1", "a=\u{e4}", "a=\u{7f}", "a=1\tb"] {
            assert_eq!(joined(&["ok=1", refused]), None, "{refused:?}");
        }
        assert_eq!(tracestate([&b"a=\xff"[..]].into_iter()), None);
        assert!(joined(&["a=1"; 32]).is_some());
        assert_eq!(joined(&["a=1"; 33]), None);
        assert!(joined(&[&format!("a={}", "1".repeat(510))]).is_some());
        assert_eq!(joined(&[&format!("a={}", "1".repeat(511))]), None);
    }

    proptest! {
        #[test]
        fn a_context_comes_back(trace in 1_u128.., span in 1_u64.., is_sampled: bool) {
            let (trace, span) = (TraceId(trace.to_be_bytes()), SpanId(span.to_be_bytes()));
            let context = TraceContext { trace, span, is_sampled };
            prop_assert_eq!(TraceContext::parse(&context.text()), Some(context));
        }

        #[test]
        fn no_header_makes_it_panic(text: Vec<u8>) {
            let _ = TraceContext::parse(&text);
            let _ = tracestate([&text[..]].into_iter());
        }
    }
}

//! `Accept-Encoding` (RFC 9110, section 12.5.3): in which coding a file is sent.

use std::io;

/// A coding, in the order in which we like them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

pub(super) const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

impl Coding {
    /// As `Content-Encoding` says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The ending of a file that is compressed already, beside the original.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Zstd => "zst",
            Self::Brotli => "br",
            Self::Gzip => "gz",
        }
    }

    /// Compresses; `level` is 1 to 9.
    ///
    /// # Errors
    /// If memory runs out.
    #[cfg(feature = "compression")]
    pub(super) fn compress(self, bytes: &[u8], level: u8) -> io::Result<Vec<u8>> {
        use std::io::Write;
        match self {
            Self::Zstd => {
                // 1 to 19: 6 is 11, about as slow as gzip's 6.
                let mut encoder = zstd::bulk::Compressor::new(i32::from(level) * 2 - 1)?;
                encoder.compress(bytes)
            }
            Self::Brotli => {
                let params = brotli::enc::BrotliEncoderParams { quality: i32::from(level), ..Default::default() };
                let mut compressed = Vec::with_capacity(bytes.len() / 2);
                brotli::BrotliCompress(&mut &*bytes, &mut compressed, &params)?;
                Ok(compressed)
            }
            Self::Gzip => {
                let level = flate2::Compression::new(u32::from(level));
                let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 2), level);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }

    /// Not in this build: files that are compressed already are sent, and no others are made.
    #[cfg(not(feature = "compression"))]
    pub(super) fn compress(self, _: &[u8], _: u8) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The codings that a client takes, the one that it likes best first, and whether it takes the plain file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) codings: Vec<Coding>,
    pub(super) plain: bool,
}

/// Reads the header; `None`: there is none, which is to say the plain file (whoever wants more says so).
pub(super) fn accepted(value: Option<&str>) -> Accepted {
    let Some(value) = value else { return Accepted { codings: Vec::new(), plain: true } };
    let mut said: Vec<(&str, u16)> = Vec::new();
    for one in value.split(',').take(32) {
        let mut parts = one.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        said.push((name, quality.map_or(1000, thousandths)));
    }
    let of = |names: &[&str]| {
        let named = said.iter().find(|(name, _)| names.iter().any(|one| one.eq_ignore_ascii_case(name)));
        named.or_else(|| said.iter().find(|(name, _)| *name == "*")).map(|(_, quality)| *quality)
    };
    let mut codings: Vec<(Coding, u16)> = ALL
        .into_iter()
        .filter_map(|coding| {
            let names: &[&str] = if coding == Coding::Gzip { &["gzip", "x-gzip"] } else { &[coding.name()] };
            of(names).filter(|quality| *quality > 0).map(|quality| (coding, quality))
        })
        .collect();
    codings.sort_by_key(|(coding, quality)| (std::cmp::Reverse(*quality), *coding));
    // Acceptable unless it is ruled out; liked less than what is named, unless it is named as more.
    let plain = of(&["identity"]).is_none_or(|quality| quality > 0);
    let identity =
        said.iter().find(|(name, _)| name.eq_ignore_ascii_case("identity")).map_or(0, |(_, quality)| *quality);
    codings.retain(|(_, quality)| *quality >= identity);
    Accepted { codings: codings.into_iter().map(|(coding, _)| coding).collect(), plain }
}

/// "0.5" is 500. What is no quality is none.
fn thousandths(text: &str) -> u16 {
    let quality = text.trim().parse::<f32>().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    let whole = (quality * 1000.0).round() as u16;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_quality_and_then_by_our_own_liking() {
        use Coding::{Brotli, Gzip, Zstd};
        for (value, codings, plain) in [
            ("gzip", vec![Gzip], true),
            ("gzip, deflate, br, zstd", vec![Zstd, Brotli, Gzip], true),
            ("gzip;q=1.0, br;q=0.5", vec![Gzip, Brotli], true),
            ("br;q=0, gzip", vec![Gzip], true),
            ("*", vec![Zstd, Brotli, Gzip], true),
            ("*;q=0", vec![], false),
            ("gzip, *;q=0", vec![Gzip], false),
            ("identity;q=0, gzip", vec![Gzip], false),
            ("identity, gzip;q=0.5", vec![], true),
            ("identity;q=0.5, gzip;q=0.5", vec![Gzip], true),
            ("x-gzip", vec![Gzip], true),
            ("GZIP;Q=0.8", vec![Gzip], true),
            ("gzip;q=2", vec![], true),
            ("gzip;q=x", vec![], true),
            ("", vec![], true),
            ("deflate", vec![], true),
        ] {
            assert_eq!(accepted(Some(value)), Accepted { codings, plain }, "{value}");
        }
        assert_eq!(accepted(None), Accepted { codings: vec![], plain: true });
    }

    #[test]
    fn each_coding_makes_text_smaller() {
        let text = "zero downtime ".repeat(200);
        for coding in ALL {
            for level in [1, 6, 9] {
                let compressed = coding.compress(text.as_bytes(), level).unwrap();
                assert!(compressed.len() < text.len() / 5, "{coding:?} {level}: {}", compressed.len());
            }
        }
    }
}

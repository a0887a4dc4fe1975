//! A number by which the same bytes are known, on every host and in every build.

/// Start of each digest, and a step that keeps zeros from being passed over (2^64 divided by the golden ratio).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Digest of these bytes. Other bytes of the same length have another one, but for one case in 2^64: it tells versions of a file apart,
/// and not those of somebody who looks for two that have the same.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain(std::iter::once(&last)).map(|word| u64::from_le_bytes(*word));
    words.fold(mix(STEP ^ bytes.len() as u64), |state, word| mix(state ^ word).wrapping_add(STEP))
}

/// Each bit of the result depends on each bit of the value, and no two values have the same result (MurmurHash3's finalizer).
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn other_bytes_have_another_digest() {
        let mut seen = HashSet::new();
        for length in 0..40 {
            let mut bytes = vec![0; length];
            assert!(seen.insert(digest(&bytes)), "{length} zeros");
            for at in 0..length {
                for bit in 0..8 {
                    bytes[at] = 1 << bit;
                    assert!(seen.insert(digest(&bytes)), "{bytes:?}");
                }
                bytes[at] = 0;
            }
        }
    }
}

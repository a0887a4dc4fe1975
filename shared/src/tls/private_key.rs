//! The public half of a private key, to tell whether it belongs to a certificate without any cryptography.
//!
//! | label | form | the public half |
//! |---|---|---|
//! | `PRIVATE KEY` | PKCS#8 (RFC 5958) | behind the key, or in it: one of the two forms below |
//! | `RSA PRIVATE KEY` | PKCS#1 (RFC 8017) | always: modulus and exponent |
//! | `EC PRIVATE KEY` | SEC1 (RFC 5915) | as OpenSSL, certbot and Go write it; it may be left out |

use super::certificate::whole_bytes;
use super::der::{self, DerError, Reader};

/// `rsaEncryption`, 1.2.840.113549.1.1.1.
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`, 1.2.840.10045.2.1.
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// Tag of the parameters of an EC key.
const PARAMETERS: u8 = 0xa0;
/// Tag of the public half of an EC key.
const EC_PUBLIC: u8 = 0xa1;
/// Tag of attributes in PKCS#8.
const ATTRIBUTES: u8 = 0xa0;
/// Tag of the public half in PKCS#8.
const PUBLIC: u8 = 0x81;

/// The public half of a key in a block of PEM with this label, as the certificate of the key has it
/// ([`Facts::public_key`](super::certificate::Facts::public_key)). `None`: the key has none, or is in a form that is not known here.
#[must_use]
pub fn public_half(key: &[u8], label: &str) -> Option<Vec<u8>> {
    let half = match label {
        "PRIVATE KEY" => pkcs8(key),
        "RSA PRIVATE KEY" => pkcs1(key),
        "EC PRIVATE KEY" => sec1(key),
        _ => Ok(None),
    };
    half.ok().flatten()
}

/// True unless the key is another certificate's for certain. A point of an elliptic curve can be written in two lengths, of which the other
/// one says nothing here.
///
/// ```
/// use gin_shared::tls::private_key::may_belong;
///
/// assert!(may_belong(None, &[4, 1, 2]) && may_belong(Some(&[4, 1, 2]), &[4, 1, 2]));
/// assert!(!may_belong(Some(&[4, 7, 7]), &[4, 1, 2]));
/// ```
#[must_use]
pub fn may_belong(public_half: Option<&[u8]>, public_key: &[u8]) -> bool {
    let is_compressed = |point: &[u8]| matches!(point.first(), Some(2 | 3));
    public_half.is_none_or(|half| half == public_key || is_compressed(half) != is_compressed(public_key))
}

fn pkcs8(key: &[u8]) -> Result<Option<Vec<u8>>, DerError> {
    let mut reader = Reader::new(key).nested(der::SEQUENCE, "key")?;
    reader.value(der::INTEGER, "version")?;
    let mut algorithm = reader.nested(der::SEQUENCE, "algorithm")?;
    let algorithm = algorithm.value(der::OBJECT_IDENTIFIER, "algorithm")?.contents;
    let inner = reader.value(der::OCTET_STRING, "key")?.contents;
    reader.optional(ATTRIBUTES)?;
    let outer = reader.optional(PUBLIC)?;
    if let Some(bits) = outer {
        return whole_bytes(bits.contents).map(|half| Some(half.to_vec()));
    }
    match algorithm {
        RSA => pkcs1(inner),
        EC => sec1(inner),
        _ => Ok(None),
    }
}

/// The certificate has modulus and exponent in a sequence of their own.
fn pkcs1(key: &[u8]) -> Result<Option<Vec<u8>>, DerError> {
    let mut reader = Reader::new(key).nested(der::SEQUENCE, "key")?;
    reader.value(der::INTEGER, "version")?;
    let modulus = reader.value(der::INTEGER, "modulus")?.whole;
    let exponent = reader.value(der::INTEGER, "exponent")?.whole;
    Ok(der::write(der::SEQUENCE, &[modulus, exponent].concat()))
}

fn sec1(key: &[u8]) -> Result<Option<Vec<u8>>, DerError> {
    let mut reader = Reader::new(key).nested(der::SEQUENCE, "key")?;
    reader.value(der::INTEGER, "version")?;
    reader.value(der::OCTET_STRING, "key")?;
    reader.optional(PARAMETERS)?;
    let Some(public) = reader.optional(EC_PUBLIC)? else { return Ok(None) };
    let bits = reader.within(public)?.value(der::BIT_STRING, "public half")?;
    whole_bytes(bits.contents).map(|half| Some(half.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::super::certificate::Facts;
    use super::super::pem;
    use super::*;

    fn file(name: &str) -> String {
        std::fs::read_to_string(format!("{}/../tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn half(name: &str) -> (String, Option<Vec<u8>>) {
        let block = pem::blocks(file(name)).unwrap().into_iter().find(pem::Block::is_private_key).unwrap();
        let half = public_half(block.contents.bytes(), &block.label);
        (block.label, half)
    }

    fn certificate(name: &str) -> Facts {
        Facts::of_der(pem::blocks(file(name)).unwrap()[0].contents.bytes()).unwrap()
    }

    #[test]
    fn a_key_of_each_form_has_the_public_half_of_its_certificate() {
        for (name, label) in [("server", "PRIVATE KEY"), ("rsa", "RSA PRIVATE KEY"), ("other", "EC PRIVATE KEY")] {
            let (of, half) = half(&format!("{name}.key"));
            assert_eq!(of, label);
            assert_eq!(half.as_ref(), Some(&certificate(&format!("{name}.pem")).public_key), "{name}");
        }
    }

    #[test]
    fn the_same_rsa_key_in_pkcs8_has_the_same_half() {
        let block = pem::blocks(file("rsa.key")).unwrap().remove(0);
        let algorithm = der::write(der::OBJECT_IDENTIFIER, RSA).unwrap();
        let parts = [
            vec![der::INTEGER, 1, 0],
            der::write(der::SEQUENCE, &[&algorithm[..], &[5, 0]].concat()).unwrap(),
            der::write(der::OCTET_STRING, block.contents.bytes()).unwrap(),
        ];
        let pkcs8 = der::write(der::SEQUENCE, &parts.concat()).unwrap();
        assert_eq!(public_half(&pkcs8, "PRIVATE KEY"), Some(certificate("rsa.pem").public_key));
    }

    #[test]
    fn the_key_of_another_certificate_is_told_apart() {
        let (_, mismatch) = half("mismatch.key");
        let server = certificate("server.pem").public_key;
        assert!(mismatch.is_some() && !may_belong(mismatch.as_deref(), &server));
        assert!(!may_belong(half("rsa.key").1.as_deref(), &server));
        // The same point in its short form says nothing.
        assert!(may_belong(Some(&[2, 7]), &server));
    }

    #[test]
    fn what_is_no_key_has_no_half() {
        let key = pem::blocks(file("server.key")).unwrap().remove(0).contents;
        for length in 0..key.bytes().len() {
            assert_eq!(public_half(&key.bytes()[..length], "PRIVATE KEY"), None, "{length} bytes");
        }
        for label in ["RSA PRIVATE KEY", "DSA PRIVATE KEY", "CERTIFICATE"] {
            assert_eq!(public_half(key.bytes(), label), None, "{label}");
        }
        // Ed25519 without its public half.
        let ed25519 = [0x30, 14, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 2, 4, 0];
        assert_eq!(public_half(&ed25519, "PRIVATE KEY"), None);
    }
}

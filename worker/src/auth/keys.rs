//! Keys of access tokens: one signs, all verify. The algorithm of a token is that of its key, whatever its header says.

use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{digest, hmac, rsa};
use gin_shared::config::Problem;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm as Jwa, DecodingKey, EncodingKey, Header, Validation, crypto};

use super::claims::Claims;
use super::refresh::RefreshKey;
use super::refusal::Bad;
use crate::config::{Algorithm, Auth, AuthKey};
use crate::kept::id::hex;
use crate::{Result, ResultExt};

/// Type of our tokens: RFC 9068, section 2.1. A token of another kind that the same key has signed is none.
const TYPE: &str = "at+jwt";
/// Fewest bytes of an RSA modulus: 2,048 bits.
const RSA_LEAST: usize = 256;

/// Keys that are in force together.
pub(super) struct Ring {
    /// Header of the tokens that are made, and the key that signs them.
    signing: (Header, EncodingKey),
    all: Vec<Key>,
    /// Tells another ring from the same one.
    digest: digest::Digest,
}

/// A key that verifies.
struct Key {
    kid: String,
    decoding: DecodingKey,
    validation: Validation,
}

/// A key as it is read: the one that signs, if it can, and the one that verifies.
struct Pair {
    encoding: Option<EncodingKey>,
    decoding: DecodingKey,
}

/// The secret of a service, and what is derived of it.
pub(super) struct Secret {
    secret: Vec<u8>,
    users: hmac::Key,
}

impl Secret {
    pub(super) fn new(secret: Vec<u8>) -> Self {
        let users = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Self { secret, users }
    }

    /// The key of refresh tokens.
    pub(super) fn refresh_key(&self) -> RefreshKey {
        RefreshKey::new(&self.derived(hmac::HMAC_SHA256, b"gin refresh 1"))
    }

    /// The key by which the store finds a user's logins: of one length and one alphabet, whatever the name is. User 7 of another service
    /// that shares the store has another key.
    pub(super) fn user_key(&self, user: &str) -> String {
        let mut context = hmac::Context::with_key(&self.users);
        context.update(b"gin auth user 1\0");
        context.update(user.as_bytes());
        hex(&context.sign().as_ref()[..16])
    }

    fn derived(&self, hash: hmac::Algorithm, of: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hash, &self.secret), of).as_ref().to_vec()
    }
}

impl Ring {
    /// The keys of `[auth] keys`, or the one of the secret where there are none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn of(auth: &Auth, secret: &Secret) -> Result<Self, Problem> {
        if !auth.keys.is_empty() {
            return Self::read(auth);
        }
        check_algorithm(auth)?;
        let own = secret.derived(hash(auth.algorithm).unwrap_or(hmac::HMAC_SHA256), b"gin access 1");
        let kid = hex(&secret.derived(hmac::HMAC_SHA256, b"gin kid 1")[..4]);
        let pair = Pair { encoding: Some(EncodingKey::from_secret(&own)), decoding: DecodingKey::from_secret(&own) };
        Self::made(auth, vec![(kid, auth.algorithm, pair)])
    }

    /// The keys of `[auth] keys`, which there are.
    ///
    /// # Errors
    /// If a file cannot be read or has no such key, or none of the keys can sign.
    pub(super) fn read(auth: &Auth) -> Result<Self, Problem> {
        let read = |key: &AuthKey| -> Result<_, Problem> {
            let algorithm = key.algorithm.unwrap_or(auth.algorithm);
            let pair = Pair::read(key, algorithm);
            let pair = pair.map_err(|text| Problem { place: format!("auth.keys {:?}", key.kid), text })?;
            Ok((key.kid.clone(), algorithm, pair))
        };
        Self::made(auth, auth.keys.iter().map(read).collect::<Result<_, Problem>>()?)
    }

    fn made(auth: &Auth, pairs: Vec<(String, Algorithm, Pair)>) -> Result<Self, Problem> {
        let digest = digest_of(&pairs);
        let (mut signing, mut all) = (None, Vec::new());
        for (kid, algorithm, Pair { encoding, decoding }) in pairs {
            if signing.is_none() {
                signing = encoding.map(|encoding| (header(&kid, algorithm), encoding));
            }
            all.push(Key { kid, decoding, validation: validation(auth, algorithm) });
        }
        let signing = signing.ok_or_else(|| Problem {
            place: "auth.keys".to_owned(),
            text: "none of them can sign; give one of them a private_key_file or a secret_file".to_owned(),
        })?;
        Ok(Self { signing, all, digest })
    }

    /// True if it has the same keys in the same order.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest.as_ref() == other.digest.as_ref()
    }

    /// The token of these contents.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String> {
        let (header, key) = &self.signing;
        jsonwebtoken::encode(header, claims, key).internal()
    }

    /// The contents of a token that one of the keys has signed, for this service. Whether it is good now is not asked.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, Bad> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| Bad::Invalid(reason(error.kind())))?;
        if header.crit.is_some() {
            return Err(Bad::Invalid("its header has crit"));
        }
        if header.typ.as_deref() != Some(TYPE) {
            return Err(Bad::Invalid("its typ is not at+jwt"));
        }
        let key = self.all.iter().find(|key| header.kid.as_deref() == Some(&*key.kid));
        let key = key.ok_or(Bad::Invalid("no key has its kid"))?;
        let read = jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation);
        read.map(|read| read.claims).map_err(|error| Bad::Invalid(reason(error.kind())))
    }
}

/// Checks that tokens can be signed where there are no keys.
///
/// # Errors
/// If the algorithm needs a pair of keys.
pub(super) fn check_algorithm(auth: &Auth) -> Result<(), Problem> {
    if !auth.keys.is_empty() || auth.algorithm.is_symmetric() {
        return Ok(());
    }
    let text = "this algorithm needs keys: write [[auth.keys]] with kid and private_key_file, or leave it at \"HS256\"";
    Err(Problem { place: "auth.algorithm".to_owned(), text: text.to_owned() })
}

impl Pair {
    /// # Errors
    /// A sentence that names the file, and has nothing of its contents.
    fn read(key: &AuthKey, algorithm: Algorithm) -> Result<Self, String> {
        if let Some(path) = &key.secret_file {
            return Self::of_secret(path, algorithm);
        }
        let private = key.private_key_file.as_deref().map(|path| private(path, algorithm)).transpose()?;
        let public = key.public_key_file.as_deref().map(|path| public(path, algorithm)).transpose()?;
        match (private, public) {
            (Some((encoding, own)), None) => Self { encoding: Some(encoding), decoding: own }.tried(algorithm),
            (Some((encoding, _)), Some(decoding)) => Self { encoding: Some(encoding), decoding }.tried(algorithm),
            (None, Some(decoding)) => Ok(Self { encoding: None, decoding }),
            (None, None) => Err("it has no file; give it a private_key_file or a public_key_file".to_owned()),
        }
    }

    fn of_secret(path: &Path, algorithm: Algorithm) -> Result<Self, String> {
        let contents = contents(path)?;
        let secret = contents.strip_suffix(b"\n").unwrap_or(&contents);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        // RFC 7518, section 3.2: no shorter than the hash.
        let least = hash(algorithm).map_or(usize::MAX, |hash| hash.tag_len());
        if secret.len() < least {
            let (path, bytes) = (path.display(), secret.len());
            return Err(format!("{path} has {bytes} bytes, and needs {least}: `openssl rand -hex {least}` makes them"));
        }
        Ok(Self { encoding: Some(EncodingKey::from_secret(secret)), decoding: DecodingKey::from_secret(secret) })
    }

    /// The pair, if the one verifies what the other signs.
    fn tried(self, algorithm: Algorithm) -> Result<Self, String> {
        let (message, algorithm) = (b"gin", jwa(algorithm));
        let signed = self.encoding.as_ref().map(|key| crypto::sign(message, key, algorithm));
        let is_pair = match signed {
            Some(Ok(signature)) => crypto::verify(&signature, message, &self.decoding, algorithm).unwrap_or(false),
            Some(Err(_)) => false,
            None => true,
        };
        if is_pair {
            return Ok(self);
        }
        Err("its public key does not verify what its private key signs; give both files of one pair".to_owned())
    }
}

/// The private key in a PEM file, and its public one.
fn private(path: &Path, algorithm: Algorithm) -> Result<(EncodingKey, DecodingKey), String> {
    let pem = contents(path)?;
    let encoding = match algorithm {
        Algorithm::Es256 => EncodingKey::from_ec_pem(&pem),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(&pem),
        _ => EncodingKey::from_rsa_pem(&pem),
    };
    let pair = encoding.ok().and_then(|encoding| {
        let decoding = public_of(encoding.as_bytes(), algorithm)?;
        Some((encoding, decoding))
    });
    pair.ok_or_else(|| {
        let make = match algorithm {
            Algorithm::Es256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            Algorithm::EdDsa => "-algorithm ED25519",
            _ => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        };
        format!("{} has no private key for it; `openssl genpkey {make}` makes one", path.display())
    })
}

/// The public key of a private one.
fn public_of(private: &[u8], algorithm: Algorithm) -> Option<DecodingKey> {
    match algorithm {
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private).ok()?;
            Some(DecodingKey::from_ec_der(pair.public_key().as_ref()))
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(private).ok()?;
            Some(DecodingKey::from_ed_der(pair.public_key().as_ref()))
        }
        _ => {
            let pair = RsaKeyPair::from_der(private).ok()?;
            Some(DecodingKey::from_rsa_der(pair.public_key().as_ref()))
        }
    }
}

/// The public key in a PEM file.
fn public(path: &Path, algorithm: Algorithm) -> Result<DecodingKey, String> {
    let pem = contents(path)?;
    let key = match algorithm {
        Algorithm::Es256 => DecodingKey::from_ec_pem(&pem),
        Algorithm::EdDsa => DecodingKey::from_ed_pem(&pem),
        _ => DecodingKey::from_rsa_pem(&pem),
    };
    key.ok().filter(|key| is_public(key, algorithm)).ok_or_else(|| {
        format!(
            "{} has no public key for it; `openssl pkey -in PRIVATE.pem -pubout` writes that of a private one",
            path.display()
        )
    })
}

/// True for a public key that can verify: PEM is read without a look at what is in it.
fn is_public(key: &DecodingKey, algorithm: Algorithm) -> bool {
    let Ok(bytes) = key.try_get_as_bytes() else { return false };
    match algorithm {
        // Uncompressed, P-256.
        Algorithm::Es256 => bytes.len() == 65 && bytes[0] == 4,
        Algorithm::EdDsa => bytes.len() == 32,
        _ => rsa::PublicKey::from_der(bytes)
            .is_ok_and(|key| RsaPublicKeyComponents::<Vec<u8>>::from(&key).n.len() >= RSA_LEAST),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path)
        .map_err(|error| format!("cannot read {}: {error}; the worker's user must be able to read it", path.display()))
}

fn header(kid: &str, algorithm: Algorithm) -> Header {
    let mut header = Header::new(jwa(algorithm));
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(kid.to_owned());
    header
}

/// Checks of a token with a key of this algorithm, and no other. Times are checked by [`Claims::user`].
fn validation(auth: &Auth, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(jwa(algorithm));
    validation.validate_exp = false;
    validation.set_issuer(&[&auth.issuer]);
    validation.set_audience(&[&auth.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

fn jwa(algorithm: Algorithm) -> Jwa {
    match algorithm {
        Algorithm::Hs256 => Jwa::HS256,
        Algorithm::Hs384 => Jwa::HS384,
        Algorithm::Hs512 => Jwa::HS512,
        Algorithm::Es256 => Jwa::ES256,
        Algorithm::EdDsa => Jwa::EdDSA,
        Algorithm::Rs256 => Jwa::RS256,
    }
}

/// The hash of an algorithm with one secret.
fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        Algorithm::Es256 | Algorithm::EdDsa | Algorithm::Rs256 => None,
    }
}

/// A digest of all that makes a ring what it is.
fn digest_of(pairs: &[(String, Algorithm, Pair)]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for (kid, algorithm, pair) in pairs {
        let algorithm = format!("{algorithm:?}");
        let private = pair.encoding.as_ref().map_or(&[][..], EncodingKey::as_bytes);
        let public = pair.decoding.try_get_as_bytes().unwrap_or_default();
        for part in [kid.as_bytes(), algorithm.as_bytes(), private, public] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    context.finish()
}

/// The reason for the log, without anything of the token.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAlgorithm => "its alg is not the key's",
        ErrorKind::InvalidIssuer => "its issuer is another one",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks exp, iss, aud or sub",
        _ => "it cannot be read",
    }
}

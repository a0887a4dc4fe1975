//! Access tokens that somebody has made up, changed or kept too long; and keys that change while the service runs.

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use jsonwebtoken::{Algorithm as Jwa, EncodingKey, crypto};
use serde_json::{Value, json};

use super::tests::{code, config, count, logged_in, part, server, user_of};
use super::*;
use crate::config::{Algorithm, AuthKey};
use crate::kept::id::Id;
use crate::parts::{Part, Registered};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Base64 without padding. `last`: the two last letters of the alphabet.
fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
    const FIRST: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |value: u32| {
        let value = (value & 63) as usize;
        char::from(FIRST.get(value).copied().unwrap_or_else(|| last[value - FIRST.len()]))
    };
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=three.len()].copy_from_slice(three);
        let word = u32::from_be_bytes(word);
        text.extend([18, 12, 6, 0].iter().take(three.len() + 1).map(|shift| letter(word >> shift)));
    }
    text
}

fn url(value: &Value) -> String {
    base64(value.to_string().as_bytes(), b"-_")
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = base64(der, b"+/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A token of these contents, signed by HMAC-SHA-256 with this secret, whatever its header says.
fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", url(header), url(claims));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Jwa::HS256).unwrap();
    format!("{message}.{signature}")
}

/// The header of a token.
fn header_of(token: &str) -> Value {
    serde_json::to_value(jsonwebtoken::decode_header(token).unwrap()).unwrap()
}

/// The contents of a token, which anybody can read.
fn claims_of(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap()
}

/// The same with other fields. Null: without the field.
fn with(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = change.clone();
        }
    }
    value
}

/// A file of a pair of keys, and what everybody may have of it.
struct Pair {
    private: PathBuf,
    public: PathBuf,
    public_der: Vec<u8>,
}

fn pair(directory: &Path, name: &str, private: &[u8], public: &[u8]) -> Pair {
    let path = |of: &str| directory.join(format!("{name}-{of}.pem"));
    let pair = Pair { private: path("private"), public: path("public"), public_der: public.to_vec() };
    std::fs::write(&pair.private, pem("PRIVATE KEY", private)).unwrap();
    std::fs::write(&pair.public, pem("PUBLIC KEY", public)).unwrap();
    pair
}

fn x509(public: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    public.as_der().unwrap().as_ref().to_vec()
}

fn ec(directory: &Path, name: &str) -> Pair {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    pair(directory, name, pkcs8.as_ref(), &x509(key.public_key()))
}

fn ed(directory: &Path, name: &str) -> Pair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    pair(directory, name, pkcs8.as_ref(), &x509(key.public_key()))
}

fn rsa(directory: &Path, name: &str) -> Pair {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'static> = key.as_der().unwrap();
    pair(directory, name, pkcs8.as_ref(), &x509(key.public_key()))
}

fn key(kid: &str, algorithm: Algorithm, private: Option<&Path>, public: Option<&Path>) -> AuthKey {
    AuthKey {
        kid: kid.to_owned(),
        algorithm: Some(algorithm),
        private_key_file: private.map(Path::to_owned),
        public_key_file: public.map(Path::to_owned),
        ..AuthKey::default()
    }
}

fn secret_key(directory: &Path, kid: &str, secret: &str) -> AuthKey {
    let path = directory.join(kid);
    std::fs::write(&path, secret).unwrap();
    AuthKey { kid: kid.to_owned(), secret_file: Some(path), ..AuthKey::default() }
}

async fn refused(part: &AuthPart, token: &str) -> String {
    let error = part.auth().verify(token).await.unwrap_err();
    assert_eq!(error.status(), 401, "{token}");
    error.report().code.unwrap_or_default()
}

#[tokio::test]
async fn a_token_whose_letter_was_changed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let token = logged_in(&part, "ann").await.access;
    // Remembered, too: what is remembered is not found by a part of it.
    assert_eq!(user_of(&part, &token).await.as_deref(), Some("ann"));
    for at in 0..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(refused(&part, std::str::from_utf8(&forged).unwrap()).await, "TOKEN_INVALID", "{at}");
    }
    for wrong in
        [&token[1..], &token[..token.len() - 1], &format!("{token}A"), &format!("{token}="), &format!("{token}.")]
    {
        assert_eq!(refused(&part, wrong).await, "TOKEN_INVALID", "{wrong}");
    }
    let parts: Vec<&str> = token.split('.').collect();
    for wrong in [parts[..2].join("."), format!("{}.{}.", parts[0], parts[1]), parts[0].to_owned(), "..".to_owned()] {
        assert_eq!(refused(&part, &wrong).await, "TOKEN_INVALID", "{wrong}");
    }
    assert_eq!(refused(&part, "").await, "TOKEN_INVALID");
    assert_eq!(user_of(&part, &token).await.as_deref(), Some("ann"));
}

#[tokio::test]
async fn the_algorithm_is_the_keys_and_none_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.auth.keys = vec![secret_key(directory.path(), "a", SECRET)];
    let part = part(directory.path(), &config).await;
    let token = logged_in(&part, "ann").await.access;
    let (header, claims) = (header_of(&token), claims_of(&token));
    assert_eq!(header, json!({ "typ": "at+jwt", "alg": "HS256", "kid": "a" }));
    let ours = |header: &Value, claims: &Value| signed(header, claims, SECRET.as_bytes());
    assert_eq!(user_of(&part, &ours(&header, &claims)).await.as_deref(), Some("ann"), "the forger makes good tokens");
    for alg in ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256", "hs256", ""] {
        let header = with(header.clone(), &json!({ "alg": alg }));
        let forged = ours(&header, &claims);
        assert_eq!(refused(&part, &forged).await, "TOKEN_INVALID", "{alg}");
        let (message, _) = forged.rsplit_once('.').unwrap();
        assert_eq!(refused(&part, &format!("{message}.")).await, "TOKEN_INVALID", "{alg} without a signature");
    }
    for change in [
        json!({ "kid": "b" }),
        json!({ "kid": null }),
        json!({ "kid": "" }),
        json!({ "kid": "../a" }),
        json!({ "typ": "JWT" }),
        json!({ "typ": null }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "alg": null }),
    ] {
        let forged = ours(&with(header.clone(), &change), &claims);
        assert_eq!(refused(&part, &forged).await, "TOKEN_INVALID", "{change}");
    }
}

#[tokio::test]
async fn contents_that_lack_something_or_are_anothers_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.auth.keys = vec![secret_key(directory.path(), "a", SECRET)];
    (config.auth.issuer, config.auth.audience) = ("https://shop".to_owned(), "shop".to_owned());
    let part = part(directory.path(), &config).await;
    let token = logged_in(&part, "ann").await.access;
    let (header, claims) = (header_of(&token), claims_of(&token));
    assert_eq!(
        (&claims["iss"], &claims["aud"], &claims["sub"]),
        (&json!("https://shop"), &json!("shop"), &json!("ann"))
    );
    let id = Id::random().unwrap().text();
    for change in [
        json!({ "iss": "https://office" }),
        json!({ "iss": null }),
        json!({ "aud": "office" }),
        json!({ "aud": ["office"] }),
        json!({ "aud": null }),
        json!({ "sub": null }),
        json!({ "exp": null }),
        json!({ "exp": "4000000000" }),
        json!({ "exp": 1.5 }),
        json!({ "exp": u64::MAX }),
        json!({ "nbf": 4_000_000_000_u64 }),
        json!({ "sid": null }),
        json!({ "sid": "" }),
        json!({ "sid": id }),
    ] {
        let forged = signed(&header, &with(claims.clone(), &change), SECRET.as_bytes());
        assert_eq!(refused(&part, &forged).await, "TOKEN_INVALID", "{change}");
    }
    for exp in [0, 1, now() / 1000] {
        let forged = signed(&header, &with(claims.clone(), &json!({ "exp": exp })), SECRET.as_bytes());
        assert_eq!(refused(&part, &forged).await, "TOKEN_EXPIRED", "{exp}");
    }
    let other = signed(&header, &claims, &[7; 32]);
    assert_eq!(refused(&part, &other).await, "TOKEN_INVALID");
    for nonsense in ["[]", "{", "null", "\u{e9}"] {
        let message = format!("{}.{}", url(&header), base64(nonsense.as_bytes(), b"-_"));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = crypto::sign(message.as_bytes(), &key, Jwa::HS256).unwrap();
        assert_eq!(refused(&part, &format!("{message}.{signature}")).await, "TOKEN_INVALID", "{nonsense}");
    }
}

/// Whoever has the public key, and everybody may have it, signs with it as if it were a secret.
#[tokio::test]
async fn hs256_with_a_public_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (algorithm, keys) in [
        (Algorithm::Rs256, rsa(directory.path(), "rsa")),
        (Algorithm::Es256, ec(directory.path(), "ec")),
        (Algorithm::EdDsa, ed(directory.path(), "ed")),
    ] {
        let mut config = config();
        config.auth.keys = vec![key("a", algorithm, Some(&keys.private), None)];
        let part = part(directory.path(), &config).await;
        let token = logged_in(&part, "ann").await.access;
        assert_eq!(user_of(&part, &token).await.as_deref(), Some("ann"), "{algorithm:?}");
        let claims = claims_of(&token);
        let header = with(header_of(&token), &json!({ "alg": "HS256" }));
        let pem = std::fs::read(&keys.public).unwrap();
        for secret in [&pem[..], pem.trim_ascii_end(), &keys.public_der] {
            let forged = signed(&header, &claims, secret);
            assert_eq!(refused(&part, &forged).await, "TOKEN_INVALID", "{algorithm:?}");
        }
        // Its own algorithm in the header, and an HMAC as the signature.
        let forged = signed(&header_of(&token), &claims, &pem);
        assert_eq!(refused(&part, &forged).await, "TOKEN_INVALID", "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_token_names_its_key_and_not_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (ec(directory.path(), "one"), ec(directory.path(), "other"));
    let mut config = config();
    config.auth.keys = vec![
        key("one", Algorithm::Es256, Some(&one.private), Some(&one.public)),
        key("other", Algorithm::Es256, Some(&other.private), None),
        AuthKey { algorithm: Some(Algorithm::Hs256), ..secret_key(directory.path(), "hs", SECRET) },
    ];
    let part = part(directory.path(), &config).await;
    let token = logged_in(&part, "ann").await.access;
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(header_of(&token)["kid"], "one", "the first one signs");
    for kid in ["other", "hs"] {
        let header = url(&with(header_of(&token), &json!({ "kid": kid })));
        assert_eq!(refused(&part, &format!("{header}.{}.{}", parts[1], parts[2])).await, "TOKEN_INVALID", "{kid}");
    }
    // A good signature by the secret, under the name of a pair.
    let header = json!({ "typ": "at+jwt", "alg": "HS256", "kid": "one" });
    let forged = signed(&header, &claims_of(&token), SECRET.as_bytes());
    assert_eq!(refused(&part, &forged).await, "TOKEN_INVALID");
}

#[tokio::test]
async fn a_token_is_short_and_stands_in_one_header() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let ann = logged_in(&part, "ann").await.access;
    for long in ["x".repeat(4097), format!("{ann}{}", "x".repeat(4097 - ann.len()))] {
        let answer = app.get("/me").bearer(&long).send().await;
        assert_eq!(code(answer.assert_status(401)), "TOKEN_INVALID");
    }
    let header = format!("Bearer {ann}");
    let two = app.get("/me").header("authorization", &header).header("authorization", &header).send().await;
    assert_eq!(code(two.assert_status(401)), "TOKEN_INVALID");
    for wrong in [format!("Basic {ann}"), format!("Token {ann}"), format!("Bearer {ann}, Bearer {ann}"), String::new()]
    {
        let answer = app.get("/me").header("authorization", &wrong).send().await;
        assert_eq!(code(answer.assert_status(401)), "TOKEN_INVALID", "{wrong}");
        app.get("/who").header("authorization", &wrong).send().await.assert_status(401);
    }
    app.get("/me").header("authorization", &header).send().await.assert_text("ann");
    assert!(count(&part, "refused") >= 10);
}

#[tokio::test]
async fn keys_rotate_while_the_service_runs() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    let of_secret = part(directory.path(), &config).await;
    let before = logged_in(&of_secret, "ann").await;
    assert_eq!(user_of(&of_secret, &before.access).await.as_deref(), Some("ann"));
    drop(of_secret);

    let keys = ed(directory.path(), "ed");
    let old = secret_key(directory.path(), "old", &format!("{SECRET}\r\n"));
    let new = key("new", Algorithm::EdDsa, Some(&keys.private), None);
    config.auth.keys = vec![old.clone()];
    let part = part(directory.path(), &config).await;
    assert_eq!(user_of(&part, &before.access).await, None, "the key of the secret is no key any more");
    let ann = part.auth().refresh(&before.refresh).await.unwrap();
    assert_eq!(user_of(&part, &ann.access).await.as_deref(), Some("ann"), "the client goes on");

    // 1. All verify the new one.
    config.auth.keys = vec![old.clone(), new.clone()];
    part.reconfigure(&config).unwrap();
    let bob = logged_in(&part, "bob").await;
    assert_eq!(header_of(&bob.access)["kid"], "old");
    // 2. It signs.
    config.auth.keys = vec![new.clone(), old.clone()];
    part.reconfigure(&config).unwrap();
    let eve = logged_in(&part, "eve").await;
    assert_eq!(header_of(&eve.access), json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "new" }));
    for (tokens, user) in [(&ann, "ann"), (&bob, "bob"), (&eve, "eve")] {
        assert_eq!(user_of(&part, &tokens.access).await.as_deref(), Some(user));
        assert_eq!(user_of(&part, &tokens.access).await.as_deref(), Some(user), "remembered");
    }
    let cached = count(&part, "cached");
    // The same keys again: what was verified is remembered.
    part.reconfigure(&config).unwrap();
    assert_eq!(user_of(&part, &bob.access).await.as_deref(), Some("bob"));
    assert_eq!(count(&part, "cached"), cached + 1);
    // 3. The old one is taken out, and its tokens are not remembered.
    config.auth.keys = vec![new];
    part.reconfigure(&config).unwrap();
    assert_eq!((user_of(&part, &bob.access).await, user_of(&part, &eve.access).await), (None, Some("eve".to_owned())));
    let bob = part.auth().refresh(&bob.refresh).await.unwrap();
    assert_eq!(user_of(&part, &bob.access).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_leaves_those_before_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, other) = (ec(directory.path(), "ec"), ec(directory.path(), "other"));
    let mut config = config();
    config.auth.keys = vec![key("a", Algorithm::Es256, Some(&keys.private), None)];
    let part = part(directory.path(), &config).await;
    let ann = logged_in(&part, "ann").await;
    let nonsense = directory.path().join("nonsense.pem");
    std::fs::write(&nonsense, pem("PRIVATE KEY", b"nonsense")).unwrap();
    let vanished = directory.path().join("vanished.pem");
    let short = secret_key(directory.path(), "short", "hunter2");
    for (keys, said) in [
        (vec![key("b", Algorithm::Es256, Some(&vanished), None)], "vanished.pem: No such file"),
        (vec![key("b", Algorithm::Es256, Some(&nonsense), None)], "nonsense.pem has no private key"),
        (vec![key("b", Algorithm::Es256, Some(&keys.public), None)], "openssl genpkey"),
        (vec![key("b", Algorithm::EdDsa, Some(&keys.private), None)], "has no private key"),
        (vec![key("b", Algorithm::Rs256, Some(&keys.private), None)], "has no private key"),
        (vec![key("b", Algorithm::Es256, None, Some(&keys.private))], "has no public key"),
        (vec![key("b", Algorithm::Es256, Some(&keys.private), Some(&other.public))], "both files of one pair"),
        (vec![key("b", Algorithm::Es256, None, Some(&keys.public))], "none of them can sign"),
        (vec![short], "has 7 bytes, and needs 32"),
    ] {
        let changed = Config { auth: crate::config::Auth { keys, ..config.auth.clone() }, ..config.clone() };
        let why = part.reconfigure(&changed).unwrap_err();
        assert!(why.starts_with("auth.keys") && why.contains(said) && !why.contains("hunter2"), "{said}: {why}");
        // A start says the same.
        let problem = AuthPart::new(&changed, &Registered::default()).err().unwrap();
        assert_eq!(problem.to_string(), why);
    }
    assert_eq!(user_of(&part, &ann.access).await.as_deref(), Some("ann"));
    let public = key("b", Algorithm::Es256, None, Some(&other.public));
    config.auth.keys.push(public);
    part.reconfigure(&config).unwrap();
}

#[test]
fn an_algorithm_of_two_keys_without_keys_is_an_error_of_the_start() {
    for (algorithm, is_refused) in [
        (Algorithm::Hs256, false),
        (Algorithm::Hs384, false),
        (Algorithm::Hs512, false),
        (Algorithm::Es256, true),
        (Algorithm::EdDsa, true),
        (Algorithm::Rs256, true),
    ] {
        let mut config = config();
        config.auth.algorithm = algorithm;
        let problem = AuthPart::new(&config, &Registered::default()).err().map(|problem| problem.to_string());
        assert_eq!(problem.is_some(), is_refused, "{algorithm:?}: {problem:?}");
        assert!(problem.is_none_or(|problem| problem.starts_with("auth.algorithm: ")));
    }
}

/// The log names whose login was stolen, perhaps; and no token.
#[cfg(feature = "logging")]
#[tokio::test]
async fn a_refresh_token_that_is_used_twice_is_told_in_the_log() {
    use crate::logging::captured::Lines;
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let (inner, begun) = (&part.auth().inner, now());
    let first = inner.login("ann".to_owned(), Grants::default(), begun).await.unwrap();
    let second = inner.refresh(&first.refresh, None, begun).await.unwrap();
    let lines = Lines::default();
    let own = lines.clone();
    let log = tracing_subscriber::fmt().json().without_time().with_max_level(tracing::Level::WARN);
    let _log = tracing::subscriber::set_default(log.with_writer(move || own.clone()).finish());
    inner.refresh(&first.refresh, Some(IpAddr::from([10, 0, 0, 7_u8])), begun + 60_000).await.unwrap_err();
    let told = lines.text();
    assert!(told.contains(r#""user_id":"ann","client_ip":"10.0.0.7""#) && told.contains("second time"), "{told}");
    assert!(![&first.refresh, &second.refresh, &first.access].iter().any(|token| told.contains(*token)), "{told}");
}

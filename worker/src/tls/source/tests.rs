use gin_shared::config::listen::TlsSettings;

use super::*;
use crate::tls::test_pair::{client, connect, fixture, listener, settings};

/// A pair of files in a directory, with these contents.
fn written(dir: &Path, cert: &str, key: &str) -> TlsSettings {
    let files = PairFiles { cert: dir.join("a.pem"), key: dir.join("a.key") };
    fs::write(&files.cert, fixture(cert)).unwrap();
    fs::write(&files.key, fixture(key)).unwrap();
    TlsSettings { pairs: vec![files], ..settings(&[]) }
}

#[tokio::test]
async fn files_that_change_count_and_bad_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(written(dir.path(), "server.pem", "server.key"));
    let source = Source::open(&[Arc::clone(&listener)], None, None).unwrap().unwrap();
    let shakes = async || {
        let config = source.context().of(&listener).unwrap();
        let (_, client) = connect(&config, client("20251014"), "localhost").await;
        client.map(drop)
    };
    shakes().await.unwrap();
    assert_eq!((source.number(), source.look(true)), (0, None));
    assert_eq!(source.context().number(), 1);
    // The key is on its way.
    fs::write(dir.path().join("a.pem"), fixture("rsa.pem")).unwrap();
    assert_eq!((source.look(false), source.look(true)), (Some(SOON), None));
    assert_eq!(source.context().number(), 1);
    shakes().await.unwrap();
    fs::write(dir.path().join("a.key"), fixture("rsa.key")).unwrap();
    assert_eq!(source.look(false), None);
    assert_eq!(source.context().number(), 2);
    shakes().await.unwrap();
    // A certificate for other names.
    written(dir.path(), "other.pem", "other.key");
    assert_eq!(source.look(false), None);
    shakes().await.unwrap_err();
}

#[test]
fn a_comment_beside_a_certificate_may_be_in_any_encoding() {
    let dir = tempfile::tempdir().unwrap();
    let settings = written(dir.path(), "server.pem", "server.key");
    let chain = [&b"subject=O=B\xfccher\n"[..], fixture("server.pem").as_bytes()].concat();
    fs::write(&settings.pairs[0].cert, chain).unwrap();
    assert!(Source::open(&[listener(settings)], None, None).unwrap().is_some());
}

#[test]
fn a_start_fails_with_bad_files_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let error = |settings, secret: Option<&Path>| {
        Source::open(&[listener(settings)], None, secret).map(drop).unwrap_err().to_string()
    };
    let mismatch = error(written(dir.path(), "server.pem", "mismatch.key"), None);
    assert!(mismatch.contains("a.pem with the key") && mismatch.ends_with("another certificate's"), "{mismatch}");
    let good = || written(dir.path(), "server.pem", "server.key");
    let secret = dir.path().join("secret");
    let missing = error(good(), Some(&secret));
    assert!(missing.starts_with("cannot read ") && missing.contains("secret"), "{missing}");
    fs::write(&secret, "short").unwrap();
    let short = error(good(), Some(&secret));
    assert!(short.contains(": 5 bytes"), "{short}");
    fs::write(&secret, [7; 40]).unwrap();
    Source::open(&[listener(good())], None, Some(&secret)).unwrap().unwrap().renew();
}

#[tokio::test]
async fn ticket_keys_are_renewed_by_the_first_handshake_after_a_long_sleep() {
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(written(dir.path(), "server.pem", "server.key"));
    let source = Source::open(&[Arc::clone(&listener)], None, None).unwrap().unwrap();
    let is_old = || source.context().has_old_keys(SystemTime::now());
    let renewing = tokio::spawn(renew_each_period(Arc::downgrade(&source)));
    tokio::task::yield_now().await;
    assert!(!is_old());
    source.context().sleep_over_a_period();
    assert!(is_old());
    source.context().of(&listener).unwrap();
    // Nothing tells of it.
    while is_old() {
        tokio::task::yield_now().await;
    }
    renewing.abort();
}

#[test]
fn cleartext_needs_no_source() {
    assert!(Source::open(&[Arc::new(ListenerFacts::named("http"))], None, None).unwrap().is_none());
}

#[test]
fn what_is_bad_is_told_when_it_stays_so_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::of(&[listener(written(dir.path(), "server.pem", "server.key"))], None).unwrap();
    let (began, error) = (Instant::now(), TlsError::Library("no"));
    assert_eq!(files.note_trouble(&error, false, began), Some(SOON));
    assert_eq!(files.note_trouble(&error, false, began + PATIENCE / 2), Some(SOON));
    assert!(files.trouble.as_ref().is_some_and(|trouble| trouble.told.is_none()));
    assert_eq!(files.note_trouble(&error, false, began + PATIENCE), None);
    assert_eq!(files.trouble.and_then(|trouble| trouble.told), Some("no".to_owned()));
}

#[test]
fn files_that_cannot_be_read_are_looked_at_again_by_themselves_ever_more_rarely() {
    let dir = tempfile::tempdir().unwrap();
    let settings = written(dir.path(), "server.pem", "server.key");
    let cert = settings.pairs[0].cert.clone();
    let source = Source::open(&[listener(settings)], None, None).unwrap().unwrap();
    // A directory is there, and cannot be read.
    fs::remove_file(&cert).unwrap();
    fs::create_dir(&cert).unwrap();
    assert_eq!(source.look(false), Some(SOON));
    let pauses: Vec<u64> = (0..7).map(|_| source.look(true).unwrap().as_secs()).collect();
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
    fs::remove_dir(&cert).unwrap();
    fs::write(&cert, fixture("server.pem")).unwrap();
    assert_eq!(source.look(false), None);
}

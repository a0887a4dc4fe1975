//! The store of sessions: away, damaged, and the files of it.

use super::*;
use crate::kept::private_files::private_files;

#[tokio::test]
async fn a_store_that_is_away_is_told_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let ann = logged_in(&part, "ann").await;
    let app = server(&part).await;
    let refused: Result<()> = part.sessions().ask(async { Err("the disk is full".into()) }).await;
    assert_eq!((refused.unwrap_err().status().as_u16(), part.health()), (503, Health::Here));
    let gone = sea_orm::DbErr::Conn(sea_orm::RuntimeErr::Internal("the server is gone".to_owned()));
    let failed: Result<()> = part.sessions().ask(async { Err(gone.into()) }).await;
    assert_eq!(failed.unwrap_err().status(), 503);
    assert!(matches!(part.health(), Health::Away { why } if why.contains("the server is gone")));
    part.look().await;
    assert_eq!(part.health(), Health::Here);
    app.get("/user").cookie("session", &ann).send().await.assert_text("ann");
    part.close().await;
    app.get("/login/bob").send().await.assert_status(503).assert_header("retry-after", "1");
    assert!(matches!(part.health(), Health::Away { .. }));
    // A request that takes no session does not notice.
    app.get("/plain").cookie("session", &ann).send().await.assert_status(200);
}

#[tokio::test]
async fn a_session_that_cannot_be_read_keeps_nobody_from_a_login() {
    use sea_orm::ConnectionTrait;
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let ann = app.client();
    ann.get("/login/ann").send().await.assert_status(200);
    let somebody = sqlite::open(directory.path()).await.unwrap();
    somebody.execute_unprepared("UPDATE gin_sessions SET data = '['").await.unwrap();
    ann.get("/user").send().await.assert_text("nobody");
    ann.get("/login/ann").send().await.assert_status(200);
    ann.get("/user").send().await.assert_text("ann");
}

#[tokio::test]
async fn a_table_that_cannot_be_used_is_an_error_of_the_start() {
    use sea_orm::ConnectionTrait;
    let directory = tempfile::tempdir().unwrap();
    let somebody = sqlite::open(directory.path()).await.unwrap();
    somebody.execute_unprepared("CREATE TABLE gin_sessions (id TEXT NOT NULL PRIMARY KEY, data TEXT)").await.unwrap();
    let part = SessionsPart::at(&config(), Some(directory.path().to_owned()), Place::Directory);
    let error = part.open().await.unwrap_err().to_string();
    assert!(error.contains("cannot make or use the table gin_sessions: ") && error.contains("user_key"), "{error}");
}

#[tokio::test]
async fn a_secret_that_is_configured_counts() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = config();
    config.sessions.secret = Some("0123456789abcdef0123456789abcdef".to_owned());
    let part = part(one.path(), &config).await;
    assert!(!one.path().join("sessions.key").exists());
    let ann = logged_in(&part, "ann").await;
    let id = Id::parse(&ann[..32]).unwrap();
    assert!(
        Signer::new(b"0123456789abcdef0123456789abcdef", "session")
            .sign(id)
            .has(&part.sessions().opened().unwrap().signer.sign(id).tag())
    );
    config.sessions.secret = Some("short".to_owned());
    let short = SessionsPart::at(&config, Some(other.path().to_owned()), Place::Directory);
    let error = short.open().await.unwrap_err().to_string();
    assert!(error.contains("sessions.secret has 5 bytes") && !error.contains("short"), "{error}");
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    logged_in(&part, "ann").await;
    let names = private_files(directory.path());
    assert_eq!(names, ["sessions.db", "sessions.db-shm", "sessions.db-wal", "sessions.key", "sessions.marks"]);
}

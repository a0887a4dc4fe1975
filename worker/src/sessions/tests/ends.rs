//! The lives of sessions: over restarts, until they are old, or are ended.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_restart_logs_nobody_out_and_a_logout_counts_in_all_workers() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (part(directory.path(), &config()).await, part(directory.path(), &config()).await);
    let ann = logged_in(&one, "ann").await;
    for _ in 0..2 {
        assert_eq!(user_of(&other, &ann).await.as_deref(), Some("ann"));
    }
    assert_eq!(count(&other, "cached"), 1);
    // A stolen cookie is worth nothing after the logout, though the other worker has the session in its memory.
    let session = taken(&one, &ann).await;
    session.logout().await.unwrap();
    assert_eq!(user_of(&other, &ann).await, None);
    finished(session).await;

    let bob = logged_in(&one, "bob").await;
    one.close().await;
    drop((one, other));
    let next = part(directory.path(), &config()).await;
    assert_eq!((user_of(&next, &bob).await.as_deref(), user_of(&next, &ann).await), (Some("bob"), None));
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    (config.sessions.idle, config.sessions.absolute) = (Duration::from_secs(100), Duration::from_secs(250));
    let part = part(directory.path(), &config).await;
    let (ann, begun) = (logged_in(&part, "ann").await, now());
    let (sessions, id) = (part.sessions(), Id::parse(&ann[..32]).unwrap());
    let alive = async |seconds: i64| sessions.read(id, begun + seconds * 1000).await.unwrap().is_some();
    assert!(alive(90).await && !alive(101).await);
    // As it would be after a use.
    sessions.touch(id, begun + 150_000).await.unwrap();
    assert!(alive(149).await && !alive(151).await);
    sessions.touch(id, begun).await.unwrap();
    assert!(alive(149).await, "no use makes it shorter");
    let record = sessions.read(id, begun).await.unwrap().unwrap();
    assert!(sessions.rules().lifetime.end(record.created, begun + 240_000) <= begun + 250_000);
    // What has expired is not in the cache, either.
    let signed = sessions.opened().unwrap().signer.sign(id);
    assert!(sessions.load(&signed, begun).await.unwrap().is_some());
    assert!(sessions.load(&signed, begun + 151_000).await.unwrap().is_none());
}

/// A release with other rules finds the sessions of the one before.
#[tokio::test]
async fn a_shorter_absolute_ends_sessions_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    let before = part(directory.path(), &config).await;
    let (ann, begun) = (logged_in(&before, "ann").await, now());
    config.sessions.absolute = Duration::from_secs(30);
    let next = part(directory.path(), &config).await;
    let (sessions, id) = (next.sessions(), Id::parse(&ann[..32]).unwrap());
    let signed = sessions.opened().unwrap().signer.sign(id);
    for _ in 0..2 {
        assert!(sessions.load(&signed, begun).await.unwrap().is_some());
    }
    assert!(sessions.load(&signed, begun + 30_000).await.unwrap().is_none());
    assert!(before.sessions().load(&signed, begun + 30_000).await.unwrap().is_some());
}

/// A use is noted before the answer goes out, once in a tenth of `idle`.
#[tokio::test]
async fn a_use_lets_a_session_live_on() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let ann = logged_in(&part, "ann").await;
    let (sessions, id) = (part.sessions(), Id::parse(&ann[..32]).unwrap());
    // As it is when the last use was long ago.
    let soon = now() + 60_000;
    let record = Record::clone(&sessions.read(id, now()).await.unwrap().unwrap());
    assert!(sessions.update(id, id, &Record { expires: soon, ..record }).await.unwrap());
    let mut session = taken(&part, &ann).await;
    assert_eq!(session.user().await.unwrap().as_deref(), Some("ann"));
    assert!(!session.is_settled());
    let response = finished(session).await;
    assert!(!response.headers().contains_key("set-cookie"));
    assert!(sessions.read(id, soon + 1).await.unwrap().is_some());
    let mut session = taken(&part, &ann).await;
    session.user().await.unwrap();
    let copy = session.clone();
    assert!(session.is_settled(), "the next use is noted in 5 minutes");
    drop(copy);
    assert!(session.is_settled(), "nor is it where nobody else has it");
    assert!(session.insert("late", 1).await.is_err(), "the answer is on its way");
}

#[tokio::test]
async fn what_has_expired_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let sessions = part.sessions();
    let alive = logged_in(&part, "ann").await;
    for _ in 0..600 {
        sessions
            .create(&Record { user: Some("bob".to_owned()), expires: now() - 1, ..Record::default() })
            .await
            .unwrap();
    }
    sessions.sweep().await.unwrap();
    assert_eq!((count(&part, "expired"), count(&part, "alive")), (600, 1));
    assert_eq!(user_of(&part, &alive).await.as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_the_oldest_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.sessions.per_user = 2;
    let part = part(directory.path(), &config).await;
    let others = logged_in(&part, "bob").await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(logged_in(&part, "ann").await);
        // The next one is newer, by the clock that orders them.
        let then = now();
        while now() == then {
            tokio::task::yield_now().await;
        }
    }
    let mut users = Vec::new();
    for cookie in &all {
        users.push(user_of(&part, cookie).await);
    }
    let ann = Some("ann".to_owned());
    assert_eq!(users, [None, None, ann.clone(), ann]);
    assert_eq!(user_of(&part, &others).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_user_is_logged_out_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let (phone, laptop, other) = (app.client(), app.client(), app.client());
    phone.get("/login/ann").send().await.assert_status(200);
    laptop.get("/login/ann").send().await.assert_status(200);
    other.get("/login/Ann").send().await.assert_status(200);
    laptop.get("/user").send().await.assert_text("ann");
    let answer = phone.get("/everywhere/ann").send().await;
    assert!(cookie(&answer).unwrap().contains("Max-Age=0"));
    laptop.get("/user").send().await.assert_text("nobody");
    other.get("/user").send().await.assert_text("Ann");
    // Somebody else's: one's own session stays.
    assert_eq!(cookie(&other.get("/everywhere/ann").send().await), None);
    other.get("/user").send().await.assert_text("Ann");
}

#[tokio::test]
async fn a_user_whose_sessions_cannot_all_be_ended_is_told() {
    use sea_orm::ConnectionTrait;
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    logged_in(&part, "ann").await;
    // Somebody who has one of them gives it a new id each time that the others are looked up.
    let somebody = sqlite::open(directory.path()).await.unwrap();
    let again = "CREATE TRIGGER again AFTER DELETE ON gin_sessions BEGIN INSERT INTO gin_sessions \
                 VALUES (lower(hex(randomblob(16))), OLD.user_key, OLD.data, OLD.created, OLD.expires, OLD.version); END";
    somebody.execute_unprepared(again).await.unwrap();
    assert_eq!(part.sessions().end_all("ann").await.unwrap_err().status(), 409);
    somebody.execute_unprepared("DROP TRIGGER again").await.unwrap();
    part.sessions().end_all("ann").await.unwrap();
}

/// User 1 of the shop is a customer, and user 1 of its back office an employee.
#[tokio::test]
async fn services_that_share_a_store_do_not_share_users() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    let shop = part(directory.path(), &config).await;
    (config.sessions.cookie, config.sessions.per_user) = ("office".to_owned(), 1);
    let office = part(directory.path(), &config).await;
    let customer = logged_in(&shop, "1").await;
    let record = Record { user: Some("1".to_owned()), created: now(), expires: now() + 60_000, ..Record::default() };
    let employee = office.sessions().create(&record).await.unwrap();
    office.sessions().limit("1", now()).await.unwrap();
    assert_eq!(user_of(&shop, &customer).await.as_deref(), Some("1"));
    shop.sessions().end_all("1").await.unwrap();
    assert_eq!(user_of(&shop, &customer).await, None);
    assert!(office.sessions().read(employee, now()).await.unwrap().is_some());
}

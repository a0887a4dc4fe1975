//! A database as handlers use it, on SQLite, and servers that are none.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, TransactionError, TransactionTrait};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::config::Driver;
use crate::parts::Part;

/// A table with one row, whose number is counted up.
const TABLE: &str = "CREATE TABLE counts (id INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE)";
const ROW: &str = "INSERT INTO counts VALUES (1, 0)";

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("shop.db")
}

fn in_file(dir: &TempDir) -> config::Database {
    config::Database { database: Some(path(dir).display().to_string()), ..config::Database::default() }
}

fn in_memory() -> config::Database {
    config::Database { database: Some(":memory:".to_owned()), ..config::Database::default() }
}

async fn with_table(config: &config::Database) -> Database {
    let db = Database::open(config).await.unwrap();
    db.execute_unprepared(TABLE).await.unwrap();
    db.execute_unprepared(ROW).await.unwrap();
    db
}

async fn number(db: &impl ConnectionTrait) -> Result<i32, DbErr> {
    let question = Statement::from_string(DbBackend::Sqlite, "SELECT number FROM counts WHERE id = 1");
    db.query_one_raw(question).await?.expect("there is a row").try_get("", "number")
}

async fn count_up(db: Database, times: usize) -> Result<(), DbErr> {
    for _ in 0..times {
        let transaction = db.begin().await?;
        let next = number(&transaction).await? + 1;
        transaction.execute_unprepared(&format!("UPDATE counts SET number = {next}")).await?;
        transaction.commit().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_generations_write_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let old = with_table(&in_file(&dir)).await;
    let new = Database::open(&in_file(&dir)).await.unwrap();
    let mut writers = JoinSet::new();
    for db in [&old, &new] {
        for _ in 0..4 {
            writers.spawn(count_up(db.clone(), 25));
        }
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!((number(&old).await, number(&new).await), (Ok(200), Ok(200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_open_a_new_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..4 {
        let config = in_file(&dir);
        workers.spawn(async move { Database::open(&config).await });
    }
    while let Some(opened) = workers.join_next().await {
        opened.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_file_is_its_users_alone() {
    let dir = tempfile::tempdir().unwrap();
    let _db = with_table(&in_file(&dir)).await;
    for file in ["shop.db", "shop.db-wal"] {
        let mode = dir.path().join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[cfg(feature = "logging")]
#[tokio::test]
async fn a_slow_query_is_logged_without_its_values() {
    use std::io::{self, Write};
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let own = lines.clone();
    let log = tracing_subscriber::fmt().json().without_time().with_max_level(tracing::Level::WARN);
    let _log = tracing::subscriber::set_default(log.with_writer(move || own.clone()).finish());
    let query = "SELECT number FROM counts WHERE id = ? AND 'hidden' <> 4711";
    let ask = |config: config::Database| async move {
        let db = with_table(&config).await;
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, query, ["secret".into()]);
        assert!(db.query_one_raw(statement).await.unwrap().is_none());
    };
    let text = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    ask(config::Database { slow: Duration::ZERO, ..in_memory() }).await;
    assert_eq!(text(), "");
    ask(config::Database { slow: Duration::from_nanos(1), ..in_memory() }).await;
    let told = text();
    assert!(told.contains("slow query: ") && told.contains("WHERE id = ? AND ? <> ?"), "{told}");
    assert!(!["secret", "hidden", "4711"].iter().any(|value| told.contains(value)), "{told}");
}

#[tokio::test]
async fn who_waits_for_a_connection_is_counted() {
    let db = with_table(&in_memory()).await;
    let transaction = db.begin().await.unwrap();
    let mut waits = pin!(number(&db));
    assert_eq!(waits.as_mut().now_or_never(), None);
    assert_eq!(db.sample(), Sample { open: 1, idle: 0, waiting: 1 });
    transaction.rollback().await.unwrap();
    assert_eq!(waits.await, Ok(0));
    assert_eq!(db.sample().waiting, 0);
}

#[tokio::test]
async fn a_query_that_is_given_up_makes_connections_doubtful() {
    let db = with_table(&in_memory()).await;
    let _transaction = db.begin().await.unwrap();
    assert!(!db.0.state.doubts_returned());
    assert_eq!(number(&db).now_or_never(), None);
    assert!(db.0.state.doubts_returned());
    assert_eq!(db.sample().waiting, 0);
}

#[tokio::test]
async fn a_transaction_is_committed_or_taken_back() {
    let db = with_table(&in_memory()).await;
    let refused = db.transaction(|transaction| {
        Box::pin(async move {
            transaction.execute_unprepared("UPDATE counts SET number = 7").await?;
            Err::<(), Error>(Error::conflict("it is taken"))
        })
    });
    let error = refused.await.unwrap_err();
    assert!(matches!(&error, TransactionError::Transaction(own) if own.status() == 409));
    assert_eq!(number(&db).await, Ok(0));
    let done = db.transaction(|transaction| {
        Box::pin(async move { transaction.execute_unprepared("UPDATE counts SET number = 7").await.map(|_| ()) })
    });
    done.await.unwrap();
    assert_eq!(number(&db).await, Ok(7));
}

#[tokio::test]
async fn a_value_that_is_there_is_told_from_other_errors() {
    let db = with_table(&in_memory()).await;
    let twice = db.execute_unprepared("INSERT INTO counts VALUES (2, 0)").await.unwrap_err();
    assert!(is_unique_violation(&twice) && !is_away(&twice), "{twice}");
    let wrong = db.execute_unprepared("SELECT nothing FROM nowhere").await.unwrap_err();
    assert!(!is_unique_violation(&wrong) && !is_away(&wrong), "{wrong}");
}

#[tokio::test]
async fn while_the_database_is_away_nothing_waits_for_it() {
    let db = with_table(&in_memory()).await;
    db.0.state.judge(Some("connection refused".to_owned()));
    let refused = number(&db).now_or_never().expect("it does not wait").unwrap_err();
    assert!(is_away(&refused) && refused.to_string().contains("connection refused"), "{refused}");
    assert_eq!(Error::from(refused).status(), 503);
    db.0.state.look().await;
    assert_eq!((db.0.state.health(), number(&db).await), (Health::Here, Ok(0)));
}

#[tokio::test]
async fn a_server_that_says_nothing_or_is_not_there_is_an_error_with_its_reason() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config::Database {
        driver: Driver::Mysql,
        port: server.local_addr().unwrap().port(),
        database: Some("shop".to_owned()),
        username: Some("ann".to_owned()),
        password: Some("secret".to_owned()),
        acquire_timeout: Duration::from_millis(50),
        ..config::Database::default()
    };
    let part = DatabasePart::new(&config, None).unwrap();
    let silent = part.open().await.unwrap_err().to_string();
    assert!(silent.contains(&format!("127.0.0.1:{} (shop): no answer", config.port)), "{silent}");
    assert!(matches!(part.health(), Health::Away { .. }));
    drop(server);
    let refused = part.open().await.unwrap_err().to_string();
    assert!(refused.contains("refused"), "{refused}");
    let told = format!("{silent} {refused} {} {:?} {:?}", part.details(), part.health(), part.handle());
    assert!(!told.contains("secret"), "{told}");
}

/// The configuration of a server of MySQL that refuses one connection with this number.
fn refusing(number: u16) -> config::Database {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut packet = vec![10, 0, 0, 0, 0xff];
        packet.extend(number.to_le_bytes());
        packet.extend(b"refused");
        stream.write_all(&packet).unwrap();
    });
    let (database, username) = (Some("shop".to_owned()), Some("ann".to_owned()));
    config::Database { driver: Driver::Mysql, port, database, username, ..config::Database::default() }
}

#[tokio::test]
async fn a_server_without_room_for_one_more_is_there_and_one_that_ends_is_not() {
    for (number, is_here) in [(1040, true), (1203, true), (1226, true), (1045, true), (1053, false)] {
        let part = DatabasePart::new(&refusing(number), None).unwrap();
        part.look().await;
        assert_eq!(part.health() == Health::Here, is_here, "{number}: {:?}", part.health());
    }
}

#[tokio::test]
async fn a_database_is_closed_with_its_last_clone() {
    let db = with_table(&in_memory()).await;
    let pool = db.connection().clone();
    let clone = db.clone();
    drop(db);
    pool.ping().await.unwrap();
    drop(clone);
    assert!(is_away(&pool.ping().await.unwrap_err()));
}

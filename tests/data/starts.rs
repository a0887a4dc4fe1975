//! A start whose database or Redis cannot be used: the reason is told, and an older generation goes on.

use harness::{PASSWORD, Service, ServiceKind};

use crate::data::site::{SOON, site};
use crate::data::store::{Kind, Store};
use crate::data::traffic::{LONGEST, Traffic};

/// A password that is wrong, and that nobody is to read in a log either.
const WRONG: &str = "halibut-52e0d7";

fn a_wrong_password_keeps_the_old_version(kind: Kind) {
    let store = Store::start(kind);
    let gin = site(2, "database", &[&store.section()]).set("ready_timeout = \"3s\"").start();
    let (workers, generation) = (gin.workers(), gin.generation());
    let traffic = Traffic::start(&gin.tcp(), 4);
    traffic.flows(20);
    gin.configure(|text| text.replace(PASSWORD, WRONG));
    gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
    gin.until_log("the database: ");
    traffic.flows(50);
    assert_eq!((gin.workers(), gin.generation()), (workers, generation));
    let counts = traffic.finish();
    counts.assert_right(LONGEST);
    assert_eq!((counts.away, counts.cut), (0, 0), "{}", gin.log());
    for secret in [PASSWORD, WRONG] {
        assert!(!gin.log().contains(secret), "{}", gin.log());
    }
    gin.configure(|text| text.replace(WRONG, PASSWORD));
    gin.restart();
    gin.ends_sound();
}

#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn a_wrong_password_for_mariadb_keeps_the_old_version() {
    a_wrong_password_keeps_the_old_version(Kind::MariaDb);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn a_wrong_password_for_postgresql_keeps_the_old_version() {
    a_wrong_password_keeps_the_old_version(Kind::Postgres);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn a_first_start_waits_for_its_database_and_tells_why() {
    let mut store = Store::start(Kind::Postgres);
    store.server().kill();
    let builder = site(2, "database", &[&store.section()]).set("ready_timeout = \"30s\"");
    let log = builder.dir().join("log");
    let mut gin = builder.spawn();
    let told = || std::fs::read_to_string(&log).unwrap_or_default();
    harness::on_change(&log, "the log names the database", told, |text| text.contains("database"));
    store.server().start_again();
    let _ = gin.told().until(0, "READY=1");
    assert!(!gin.is_dead());
    gin.ends_sound();
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn a_first_start_without_its_database_fails_with_the_reason() {
    let mut store = Store::start(Kind::Postgres);
    store.server().kill();
    let (code, log) = site(1, "database", &[&store.section()]).set("ready_timeout = \"2s\"").fails();
    assert_ne!(code, 0, "{log}");
    assert!(log.contains("the database: "), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn sessions_in_redis_with_a_wrong_password_keep_the_old_version() {
    let redis = Service::start(ServiceKind::Redis);
    let sections = [&*(redis.section() + SOON), "[sessions]\nstore = \"redis\"\n"];
    let gin = site(2, "sessions", &sections).set("ready_timeout = \"3s\"").start();
    gin.configure(|text| text.replace(PASSWORD, WRONG));
    gin.refuses_restart(&["nothing changed"]);
    gin.until_log("the sessions: ");
    assert!(!gin.log().contains(WRONG) && !gin.log().contains(PASSWORD), "{}", gin.log());
    gin.configure(|text| text.replace(WRONG, PASSWORD));
    gin.ends_sound();
}

//! A server is killed, stopped in order, and stopped by SIGSTOP, under load and with restarts of the service meanwhile.

use std::collections::BTreeSet;

use harness::{Ctl, Load, Service, ServiceKind, Supervisor};

use crate::data::site::{SOON, private, site, until_ready_is};
use crate::data::store::{Kind, Store};
use crate::data::traffic::{LONGEST, Traffic};

/// A handler has so long, and [`LONGEST`] is more than that.
const REQUEST: &str = "[timeouts]\nrequest = \"5s\"\n";

fn start(store: &Store) -> Supervisor {
    site(2, "database", &[&store.section(), REQUEST]).set("ready_timeout = \"5s\"").start()
}

/// All parts as an operator sees them.
fn assert_told_away(gin: &Supervisor) {
    let body = until_ready_is(gin, 503);
    assert_eq!(body["error"], "the database is away", "{body}");
    let told = private(gin, "/readyz");
    assert!(told.iter().any(|answer| answer.contains("database") && answer.contains("away")), "{told:?}");
    // A cluster that asks so keeps its replicas, for the requests that need no database.
    assert_eq!(gin.get("/readyz?exclude=parts").status, 200);
    let told = private(gin, "/readyz?exclude=parts");
    assert!(!told.is_empty() && told.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{told:?}");
    // Whoever restarts a process because of a database that is away makes it worse.
    assert_eq!((gin.get("/livez").status, gin.get("/health").status), (200, 200));
}

/// Whatever was acknowledged is there.
fn assert_kept(store: &Store, kept: &[i64]) {
    let rows: BTreeSet<i64> = store.rows("SELECT id FROM items").iter().map(|id| id.parse().unwrap()).collect();
    let lost: Vec<&i64> = kept.iter().filter(|id| !rows.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged, and lost: {lost:?}");
}

fn killed_and_stopped(kind: Kind) {
    let mut store = Store::start(kind);
    let gin = start(&store);
    let workers = gin.workers();
    let traffic = Traffic::start(&gin.tcp(), 6);
    traffic.flows(50);

    store.server().kill();
    traffic.is_told(20);
    assert_told_away(&gin);
    store.server().start_again();
    traffic.flows(100);
    until_ready_is(&gin, 200);

    store.server().stop();
    traffic.is_told(20);
    store.server().start_again();
    traffic.flows(100);
    assert_eq!(gin.workers(), workers, "it recovers without a restart");

    let counts = traffic.finish();
    counts.assert_right(LONGEST);
    assert!(counts.away >= 40, "{counts:?}");
    assert_kept(&store, &counts.kept);
    gin.ends_sound();
}

fn paused(kind: Kind) {
    let mut store = Store::start(kind);
    let gin = start(&store);
    let traffic = Traffic::start(&gin.tcp(), 6);
    traffic.flows(50);
    store.server().pause();
    traffic.is_told(12);
    assert_told_away(&gin);
    store.server().resume();
    traffic.flows(100);
    until_ready_is(&gin, 200);
    // As long as the server stands still nobody knows what has become of a write.
    let counts = traffic.finish();
    counts.assert_right(LONGEST);
    assert_kept(&store, &counts.kept);
    gin.ends_sound();
}

fn restarted_meanwhile(kind: Kind) {
    let mut store = Store::start(kind);
    let gin = start(&store);
    let traffic = Traffic::start(&gin.tcp(), 6);
    traffic.flows(50);
    // All is well: a restart hurts nobody.
    gin.restart();
    traffic.flows(50);

    // The server stays away: the candidate is not fit, and the old generation goes on.
    let (workers, generation) = (gin.workers(), gin.generation());
    store.server().kill();
    traffic.is_told(10);
    gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
    gin.until_log("the database: ");
    assert_eq!((gin.workers(), gin.generation()), (workers, generation));
    store.server().start_again();
    traffic.flows(50);

    // It comes back while the candidate waits.
    store.server().kill();
    traffic.is_told(10);
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("begins");
    store.server().start_again();
    Ctl::from(restart.wait_with_output().unwrap()).assert(0, &["serves"]);
    assert!(gin.generation() > generation);
    traffic.flows(100);

    let counts = traffic.finish();
    counts.assert_right(LONGEST);
    assert_kept(&store, &counts.kept);
    // A worker that dies while the server is away is replaced when that is back.
    store.server().kill();
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    store.server().start_again();
    events.until("serving");
    gin.ends_sound();
}

#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn mariadb_is_killed_and_stopped_under_load() {
    killed_and_stopped(Kind::MariaDb);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn postgresql_is_killed_and_stopped_under_load() {
    killed_and_stopped(Kind::Postgres);
}

#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn mariadb_stands_still_under_load() {
    paused(Kind::MariaDb);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn postgresql_stands_still_under_load() {
    paused(Kind::Postgres);
}

#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn the_service_is_restarted_while_mariadb_comes_and_goes() {
    restarted_meanwhile(Kind::MariaDb);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn the_service_is_restarted_while_postgresql_comes_and_goes() {
    restarted_meanwhile(Kind::Postgres);
}

#[test]
#[ignore = "needs the fixture with a database: tests/run --services"]
fn generations_on_one_file_of_sqlite_overlap_without_a_locked_database() {
    let store = Store::start(Kind::Sqlite);
    let mut gin = site(3, "database", &[&store.section(), REQUEST]).start();
    let traffic = Traffic::start(&gin.tcp(), 8);
    for _ in 0..3 {
        traffic.flows(50);
        gin.restart();
    }
    gin.die_and_adopt();
    traffic.flows(50);
    let counts = traffic.finish();
    counts.assert_right(LONGEST);
    assert_eq!((counts.away, counts.cut), (0, 0), "{}", gin.log());
    assert!(!gin.log().contains("locked"), "{}", gin.log());
    assert_kept(&store, &counts.kept);
    gin.ends_sound();
}

/// The rate limit asks Redis for each request, and does without it. A start does not wait for a cache.
#[test]
#[ignore = "needs Redis: tests/run --services"]
fn redis_comes_and_goes_with_restarts_meanwhile_and_nobody_is_hurt() {
    let mut redis = Service::start(ServiceKind::Redis);
    let of_redis = redis.section() + SOON;
    let limit = "[rate_limit]\nenable = true\nrate = 1000000000\nstore = \"redis\"\n";
    let gin = site(2, "cache", &[&of_redis, limit, "[cache]\nlevels = \"both\"\n"]).start();
    let load = Load::new().keep_alive(&gin.tcp(), 4).one_shot(&gin.tcp(), 4);
    load.flows(100);
    redis.kill();
    load.flows(100);
    gin.restart();
    load.flows(100);
    redis.start_again();
    load.flows(100);
    redis.pause();
    load.flows(100);
    gin.restart();
    load.flows(100);
    redis.resume();
    load.flows(100);
    gin.restart();
    load.finish().assert_unhurt();
    gin.ends_sound();
}

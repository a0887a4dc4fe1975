//! Migrations by many workers at once; ones that fail, hang, or are killed half way.

use std::collections::BTreeSet;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Builder, Ctl, Held, Hold, Load, Supervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::data::site::{of_each_worker, site};
use crate::data::store::{Kind, Store};
use crate::data::traffic::{LONGEST, Traffic};

const FIRST: [&str; 3] = ["m1_items", "m2_marks", "m3_second"];

fn applied(store: &Store) -> Vec<String> {
    store.rows("SELECT version FROM seaql_migrations ORDER BY version")
}

/// Each migration wrote one row, and said once that it was done.
fn assert_once(store: &Store, logs: &[String], names: &[&str]) {
    assert_eq!(applied(store), names);
    // The first one makes a table before there is one for marks.
    assert_eq!(store.rows("SELECT name FROM marks ORDER BY name"), names[1..]);
    for name in names {
        // The supervisor's own lines repeat what a worker said before it failed.
        let text = format!("fixture: {name} is done");
        let done = logs.iter().flat_map(|log| log.lines()).filter(|line| *line == text).count();
        assert_eq!(done, 1, "{name}: {logs:#?}");
    }
}

fn host(store: &Store, mode: &str) -> Builder {
    // The first start of MariaDB's tables takes its time on two cores with eight workers.
    site(4, mode, &[&store.section()]).set("ready_timeout = \"40s\"")
}

/// Two supervisors, so two generations of four workers each, one of them of a newer release.
fn eight_workers_migrate_at_once(kind: Kind) {
    let store = Store::start(kind);
    let modes = ["database", "database expand"];
    let fleets: Vec<Supervisor> = thread::scope(|scope| {
        let store = &store;
        let starts = modes.map(|mode| scope.spawn(move || host(store, mode).start()));
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let logs: Vec<String> = fleets.iter().map(Supervisor::log).collect();
    assert_once(&store, &logs, &[FIRST.as_slice(), &["m4_expand"]].concat());
    for gin in fleets {
        assert_eq!(of_each_worker(&gin, "/").len(), 4);
        gin.ends_sound();
    }
}

/// A newer release adds a column under load; workers of the older one start beside it, and after a rollback.
fn an_older_release_goes_on_with_the_newer_ones_database(kind: Kind) {
    let store = Store::start(kind);
    let gin = host(&store, "database").start();
    let traffic = Traffic::start(&gin.tcp(), 4);
    traffic.flows(20);
    gin.releases().release("two", "database expand");
    gin.restart();
    traffic.flows(50);
    assert_once(&store, &[gin.log()], &[FIRST.as_slice(), &["m4_expand"]].concat());
    gin.ctl(&["rollback"]).assert(0, &[]);
    assert_eq!(gin.who()["release"], "one");
    traffic.flows(50);
    let counts = traffic.finish();
    counts.assert_right(LONGEST);
    assert_eq!(counts.away, 0, "{}", gin.log());
    // A worker that crashes is replaced by one of the older release.
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("serving");
    gin.releases().point_to("one");
    gin.ends_sound();
}

/// A failing migration keeps the old generation. What remains of it depends on the database.
fn a_migration_that_fails_keeps_the_old_generation(kind: Kind) {
    let store = Store::start(kind);
    let gin = host(&store, "database").start();
    gin.releases().release("two", "database expand failing");
    gin.refuses_restart(&["nothing changed"]);
    gin.until_log("migration m5_failing failed");
    // Those before it have been applied, each as a whole.
    assert_eq!(applied(&store), [FIRST.as_slice(), &["m4_expand"]].concat());
    if kind == Kind::MariaDb {
        // It commits each change of a table at once: the release's next start finds a half, refuses, and names it.
        assert!(store.has_table("half"));
        gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
        gin.until_log("m5_failing (up)");
    } else {
        assert!(!store.has_table("half"));
        assert_eq!(store.rows("SELECT name FROM marks WHERE name = 'm5_failing'"), Vec::<String>::new());
    }
    // Whatever has become of it, a worker of the old generation that crashes is replaced, and a release without it starts.
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("serving");
    gin.releases().release("three", "database expand");
    gin.restart();
    gin.ends_sound();
}

/// Makes a release whose migration waits half way.
fn release_held(gin: &Supervisor, hold: &Hold) {
    let socket = hold.target().replace("/held?by=", "");
    gin.releases().release("two", &format!("database held={socket}"));
}

/// Starts a restart to it.
fn held(gin: &Supervisor, hold: &Hold) -> (Child, Held) {
    release_held(gin, hold);
    let restart = gin.ctl_in_background(&["restart"]);
    (restart, hold.arrived())
}

/// The PID that has begun a migration last.
fn migrates(gin: &Supervisor) -> i32 {
    let log = gin.log();
    let begun: Vec<&str> = log.split("fixture: m6_held begins in ").skip(1).collect();
    let digits: String = begun.last().expect("one has begun").chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// A migration may take longer than a start: the holder and those who wait extend their time.
fn a_long_migration_is_waited_for(kind: Kind) {
    let store = Store::start(kind);
    let gin = site(4, "database", &[&store.section()]).set("ready_timeout = \"3s\"").start();
    // SQLite takes no writes while it is migrated, so these clients ask for what needs no database.
    let load = Load::new().keep_alive(&gin.tcp(), 2);
    let hold = gin.hold();
    let (restart, migration) = held(&gin, &hold);
    // Nobody tells that the time of a start is over and that it goes on all the same.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        load.flows(10);
    }
    migration.release();
    Ctl::from(restart.wait_with_output().unwrap()).assert(0, &["serves"]);
    assert_once(&store, &[gin.log()], &[FIRST.as_slice(), &["m6_held"]].concat());
    load.finish().assert_unhurt();
    gin.ends_sound();
}

/// SIGKILL of the worker that migrates frees the lock.
fn a_migration_is_killed_half_way(kind: Kind) {
    let store = Store::start(kind);
    let gin = host(&store, "database").start();
    let hold = gin.hold();
    let (restart, migration) = held(&gin, &hold);
    gin.kill_worker(migrates(&gin));
    // Another worker may be at it already: it is let go.
    drop((migration, hold));
    if kind == Kind::MariaDb {
        Ctl::from(restart.wait_with_output().unwrap()).assert(1, &["nothing changed"]);
        gin.ctl(&["restart"]).assert(1, &["nothing changed"]);
        gin.until_log("m6_held (up)");
        assert_eq!(applied(&store), FIRST);
        assert!(!gin.workers().is_empty());
        return;
    }
    // Another one of its generation has the lock next, or the generation has failed with the dead one. In both cases nothing of the
    // first attempt remains, and the next one is made as a whole.
    let _ = restart.wait_with_output().unwrap();
    gin.ctl(&["restart"]).assert(0, &["serves"]);
    assert_once(&store, &[gin.log()], &[FIRST.as_slice(), &["m6_held"]].concat());
    gin.ends_sound();
}

/// MariaDB commits at each change of a table, so a worker that is asked to stop ends its migration first.
#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn a_worker_that_is_stopped_ends_a_migration_that_cannot_be_undone() {
    let store = Store::start(Kind::MariaDb);
    let gin = host(&store, "database").start();
    let hold = gin.hold();
    let (restart, migration) = held(&gin, &hold);
    kill(Pid::from_raw(migrates(&gin)), Signal::SIGTERM).unwrap();
    gin.until_log("a migration without a transaction runs");
    migration.release();
    // The candidate may fail with the worker that has ended: another start finds all of it done.
    let _ = restart.wait_with_output().unwrap();
    gin.ctl(&["restart"]).assert(0, &["serves"]);
    assert_once(&store, &[gin.log()], &[FIRST.as_slice(), &["m6_held"]].concat());
    gin.ends_sound();
}

/// The same of the program that `gin-ctl migrate` has started, when the supervisor stops.
#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn a_supervisor_that_stops_waits_for_a_migration_that_cannot_be_undone() {
    let store = Store::start(Kind::MariaDb);
    let mut gin = host(&store, "database").start();
    let hold = gin.hold();
    release_held(&gin, &hold);
    let migrate = gin.ctl_in_background(&["migrate", "up"]);
    let migration = hold.arrived();
    let stop = gin.ctl_in_background(&["stop"]);
    gin.until_log("its program is asked to end");
    migration.release();
    Ctl::from(stop.wait_with_output().unwrap()).assert(0, &["stopped"]);
    let _ = migrate.wait_with_output().unwrap();
    gin.assert_gone(0);
    assert_eq!(applied(&store), [FIRST.as_slice(), &["m6_held"]].concat());
}

/// `gin-ctl migrate` is called off half way. It is alone meanwhile, and the service goes on.
fn a_migration_is_called_off(kind: Kind) {
    let store = Store::start(kind);
    let gin = host(&store, "database").start();
    let hold = gin.hold();
    release_held(&gin, &hold);
    let migrate = gin.ctl_in_background(&["migrate", "up"]);
    let migration = hold.arrived();
    gin.ctl(&["migrate", "status"]).assert(4, &["migrates already"]);
    assert_eq!(gin.who()["release"], "one");
    gin.ctl(&["cancel"]).assert(0, &["cancelled"]);
    Ctl::from(migrate.wait_with_output().unwrap()).assert(6, &["cancelled"]);
    drop((migration, hold));
    assert_eq!(applied(&store), FIRST);
    if kind == Kind::MariaDb {
        gin.ctl(&["migrate", "status"]).assert(1, &["m6_held"]);
        return;
    }
    assert!(!store.has_table("held"));
    gin.restart();
    assert_once(&store, &[gin.log()], &[FIRST.as_slice(), &["m6_held"]].concat());
    gin.ends_sound();
}

fn commands(kind: Kind) {
    let store = Store::start(kind);
    let gin = host(&store, "database expand").start();
    gin.ctl(&["migrate", "status"]).assert(0, &[FIRST[0], FIRST[1], FIRST[2], "m4_expand"]);
    gin.ctl(&["migrate", "down", "1"]).assert(0, &["m4_expand"]);
    assert_eq!(applied(&store), FIRST);
    gin.ctl(&["migrate", "up"]).assert(0, &["m4_expand"]);
    gin.ctl(&["migrate", "up"]).assert(0, &[]);
    let names: BTreeSet<String> = applied(&store).into_iter().collect();
    assert_eq!(names.len(), 4);
    gin.ends_sound();
}

macro_rules! on_each {
    ($($name:ident = $test:ident;)*) => {
        mod sqlite {
            $(
                #[test]
                #[ignore = "needs the fixture with a database: tests/run --services"]
                fn $name() {
                    super::$test(super::Kind::Sqlite);
                }
            )*
        }

        mod mariadb {
            $(
                #[test]
                #[ignore = "needs MariaDB: tests/run --services"]
                fn $name() {
                    super::$test(super::Kind::MariaDb);
                }
            )*
        }

        mod postgresql {
            $(
                #[test]
                #[ignore = "needs PostgreSQL: tests/run --services"]
                fn $name() {
                    super::$test(super::Kind::Postgres);
                }
            )*
        }
    };
}

on_each! {
    each_runs_once_by_eight_workers = eight_workers_migrate_at_once;
    an_older_release_goes_on_beside_a_newer_one = an_older_release_goes_on_with_the_newer_ones_database;
    one_that_fails_keeps_the_old_generation = a_migration_that_fails_keeps_the_old_generation;
    a_long_one_is_waited_for = a_long_migration_is_waited_for;
    one_that_is_killed_half_way_hurts_no_later_one = a_migration_is_killed_half_way;
    one_by_gin_ctl_is_called_off = a_migration_is_called_off;
    they_are_shown_and_taken_back_by_gin_ctl = commands;
}

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, Statement};
use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::*;

/// Names the database of the process that is killed.
const HOLD: &str = "GIN_TEST_MIGRATE_AND_HOLD";

/// A migration of some statements.
struct Sql {
    name: &'static str,
    up: &'static [&'static str],
    down: &'static [&'static str],
    transaction: Option<bool>,
    /// Never ends, once its statements are done and `held` is printed.
    holds: bool,
}

impl Sql {
    const fn new(name: &'static str, up: &'static [&'static str], down: &'static [&'static str]) -> Self {
        Self { name, up, down, transaction: None, holds: false }
    }
}

impl MigrationName for Sql {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait]
impl MigrationTrait for Sql {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in self.up {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        if self.holds {
            println!("held");
            io::stdout().flush().map_err(|error| DbErr::Custom(error.to_string()))?;
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in self.down {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        self.transaction
    }
}

macro_rules! migrator {
    ($name:ident: $($migration:expr),* $(,)?) => {
        struct $name;

        impl MigratorTrait for $name {
            fn migrations() -> Vec<Box<dyn MigrationTrait>> {
                vec![$(Box::new($migration)),*]
            }
        }
    };
}

/// Its table counts how often it was applied.
const RUNS: Sql = Sql::new("m1", &["CREATE TABLE IF NOT EXISTS runs (name TEXT)", COUNTED], &["DROP TABLE runs"]);
const COUNTED: &str = "INSERT INTO runs VALUES ('m1')";
const USERS: Sql =
    Sql::new("m2", &["CREATE TABLE users (id INTEGER)", "INSERT INTO runs VALUES ('m2')"], &["DROP TABLE users"]);
/// The same, with a statement that fails behind those that do not.
const BROKEN: Sql = Sql::new("m2", &["CREATE TABLE users (id INTEGER)", "INSERT INTO nowhere VALUES (1)"], &[]);

migrator!(First: RUNS);
migrator!(Both: RUNS, USERS);
migrator!(Breaks: RUNS, BROKEN);
migrator!(BreaksOpenly: RUNS, Sql { transaction: Some(false), ..BROKEN });
migrator!(BothOpenly: RUNS, Sql { transaction: Some(false), ..USERS });
migrator!(Beside: RUNS, Sql::new("m3", &["CREATE TABLE others (id INTEGER)"], &[]));
migrator!(Holds: RUNS, Sql { holds: true, ..USERS });

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.db");
    (directory, path)
}

async fn target(path: &Path) -> Target {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
    options.max_connections(1);
    let connection = Database::connect(options).await.unwrap();
    Target { connection, kind: Kind::Sqlite(Some(path.to_owned())), uncut: Uncut::default() }
}

async fn has_table(target: &Target, table: &str) -> bool {
    SchemaManager::new(&target.connection).has_table(table).await.unwrap()
}

async fn runs(target: &Target) -> Vec<String> {
    let question =
        Statement::from_string(target.connection.get_database_backend(), "SELECT name FROM runs ORDER BY name");
    let rows = target.connection.query_all_raw(question).await.unwrap();
    rows.iter().map(|row| row.try_get("", "name").unwrap()).collect()
}

/// By hand, as an operator does.
async fn execute(target: &Target, statement: &str) {
    target.connection.execute_unprepared(statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_start_at_once_apply_each_migration_once() {
    let (_directory, path) = place();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                let target = target(&path).await;
                of::<Both>().up(&target, None).await.unwrap()
            })
        })
        .collect();
    let mut applied = Vec::new();
    for start in starts {
        applied.extend(start.await.unwrap());
    }
    assert_eq!(applied, ["m1", "m2"]);
    assert_eq!(runs(&target(&path).await).await, ["m1", "m2"]);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_and_those_before_it_stay() {
    let (_directory, path) = place();
    let target = target(&path).await;
    let error = of::<Breaks>().up(&target, None).await.unwrap_err().to_string();
    assert!(error.starts_with("migration m2 failed (up)") && error.ends_with("nothing of it remains"), "{error}");
    assert!(error.contains("nowhere"), "{error}");
    assert!(has_table(&target, "runs").await && !has_table(&target, "users").await);
    assert_eq!(of::<Both>().up(&target, None).await.unwrap(), ["m2"]);
    assert_eq!(of::<Both>().up(&target, None).await.unwrap(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_number_is_kept_to_and_the_last_one_is_taken_back_first() {
    let (_directory, path) = place();
    let target = target(&path).await;
    let both = of::<Both>();
    let told = both.status(&target).await.unwrap().to_string();
    assert_eq!(told, "m1  pending\nm2  pending");
    assert!(!has_table(&target, "seaql_migrations").await, "a look creates nothing");
    assert_eq!(both.up(&target, Some(1)).await.unwrap(), ["m1"]);
    assert_eq!(both.up(&target, Some(5)).await.unwrap(), ["m2"]);
    assert_eq!(both.down(&target, 1).await.unwrap(), ["m2"]);
    assert!(!has_table(&target, "users").await && has_table(&target, "runs").await);
    assert_eq!(both.down(&target, 5).await.unwrap(), ["m1"]);
    assert!(!has_table(&target, "runs").await);
}

/// A rollback, or a worker of the old generation that crashes while the new one is there.
#[tokio::test]
async fn migrations_of_a_newer_version_keep_no_older_one_from_starting() {
    let (_directory, path) = place();
    let target = target(&path).await;
    of::<Both>().up(&target, None).await.unwrap();
    let older = of::<First>();
    assert_eq!(older.up(&target, None).await.unwrap(), [] as [&str; 0]);
    assert!(older.status(&target).await.unwrap().to_string().contains("by a newer version"));
    let error = older.down(&target, 1).await.unwrap_err();
    assert!(matches!(&error, MigrateError::Unknown(names) if *names == ["m2"]), "{error}");
}

#[tokio::test]
async fn a_migration_without_a_transaction_that_fails_is_refused_until_its_end_is_told() {
    let (_directory, path) = place();
    let target = target(&path).await;
    let open = of::<BreaksOpenly>();
    let error = open.up(&target, None).await.unwrap_err().to_string();
    assert!(error.contains("m2") && error.contains("a part of it may remain"), "{error}");
    assert!(has_table(&target, "users").await, "nobody has undone it");
    for _ in 0..2 {
        let error = open.up(&target, None).await.unwrap_err();
        let MigrateError::HalfWay(advice) = &error else { panic!("{error}") };
        assert!(advice.contains("m2"), "{advice}");
    }
    assert!(open.status(&target).await.unwrap().is_marked);

    // Finished by hand.
    execute(&target, "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m2', 1)").await;
    assert_eq!(open.up(&target, None).await.unwrap(), [] as [&str; 0]);
    assert!(!open.status(&target).await.unwrap().is_marked);
}

#[tokio::test]
async fn a_process_that_is_asked_to_stop_begins_nothing_that_cannot_be_undone() {
    let (_directory, path) = place();
    let asked = target(&path).await;
    asked.uncut.leave().await;
    let error = of::<BothOpenly>().up(&asked, None).await.unwrap_err();
    assert!(matches!(error, MigrateError::Stopped), "{error}");
    assert!(!has_table(&asked, "users").await && !of::<BothOpenly>().status(&asked).await.unwrap().is_marked);
    assert_eq!(of::<BothOpenly>().up(&target(&path).await, None).await.unwrap(), ["m2"]);
}

/// A worker of the old generation crashes after the new one has failed to migrate.
#[tokio::test]
async fn a_newer_version_that_has_ended_half_way_keeps_no_older_one_from_starting() {
    let (_directory, path) = place();
    let target = target(&path).await;
    of::<BreaksOpenly>().up(&target, None).await.unwrap_err();
    let older = of::<First>();
    assert_eq!(older.up(&target, None).await.unwrap(), [] as [&str; 0]);
    let report = older.status(&target).await.unwrap();
    assert!(report.is_marked && report.to_string().contains("m2  under way"), "{report}");
    // Whoever changes the tables is refused.
    for error in [older.down(&target, 1).await.unwrap_err(), of::<Beside>().up(&target, None).await.unwrap_err()] {
        assert!(matches!(&error, MigrateError::HalfWay(advice) if advice.contains("m2")), "{error}");
    }
}

#[tokio::test]
async fn what_was_undone_by_hand_is_tried_again() {
    let (_directory, path) = place();
    let target = target(&path).await;
    of::<BreaksOpenly>().up(&target, None).await.unwrap_err();
    execute(&target, "DROP TABLE users").await;
    execute(&target, "DELETE FROM gin_migrations_under_way WHERE name = 'm2'").await;
    assert_eq!(of::<Both>().up(&target, None).await.unwrap(), ["m2"]);
}

/// No test: the process that is killed.
#[tokio::test]
#[ignore = "a child of the test below"]
async fn holds_in_the_middle_of_a_migration() {
    let Some(path) = std::env::var_os(HOLD) else { return };
    let target = target(Path::new(&path)).await;
    let _ = of::<Holds>().up(&target, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_half_way_leaves_nothing_and_frees_the_lock() {
    let (_directory, path) = place();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "database::migrate::tests::holds_in_the_middle_of_a_migration"])
        .env(HOLD, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("held")), "the child has ended");
    let file = File::open(path.with_file_name("app.db-migrations")).unwrap();
    assert!(file.try_lock().is_err(), "the child has the lock");
    drop(file);

    let next = tokio::spawn(async move {
        let target = target(&path).await;
        let applied = of::<Both>().up(&target, None).await.unwrap();
        (applied, runs(&target).await)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let (applied, runs) = next.await.unwrap();
    assert_eq!(applied, ["m2"]);
    assert_eq!(runs, ["m1", "m2"], "the first one was whole, and nothing of the second one was left");
}

#[tokio::test]
async fn a_server_that_hangs_is_not_asked_for_ever() {
    let silent = answered(Duration::ZERO, std::future::pending::<Result<(), DbErr>>()).await;
    assert!(silent.unwrap_err().to_string().contains("no answer"));
    assert_eq!(answered(ANSWER, std::future::ready(Ok(1))).await, Ok(1));
}

#[tokio::test]
async fn an_order_is_carried_out_and_told() {
    let target = Target {
        connection: {
            let mut options = ConnectOptions::new("sqlite::memory:");
            options.max_connections(1);
            Database::connect(options).await.unwrap()
        },
        kind: Kind::Sqlite(None),
        uncut: Uncut::default(),
    };
    let mut told = Vec::new();
    for order in ["up 1", "up", "up", "down", "status"] {
        let Told { text, is_marked } = carry_out(order.parse().unwrap(), &*of::<Both>(), &target).await.unwrap();
        assert!(!is_marked);
        told.push(text);
    }
    assert_eq!(
        told[..4],
        ["applied: m1", "applied: m2", "no migration was applied: there was none to be", "taken back: m2"]
    );
    assert!(told[4].starts_with("m1  applied") && told[4].ends_with("m2  pending"), "{told:?}");
}

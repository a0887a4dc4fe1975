//! The recipe `systemd/recipes/compose`, by the commands of its README: the example rest_api on MariaDB and Redis of Debian's packages,
//! under the names of the images that the recipe has.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::{Address, Change, Engine, PASSWORD, Releases, Report, eventually, get};
use serde_json::Value;
use tempfile::TempDir;

use super::users::{Writer, add, load, put_program, total};
use crate::docs::root;

/// Name of the project, with which the names of its containers begin.
const PROJECT: &str = "users";
const WEB: &str = "users_web_1";
/// The user of gin's image.
const USER: u32 = 10_001;
/// Secrets of the recipe.
const SECRETS: [&str; 3] = ["database_root_password", "database_password", "redis_password"];

/// The text of a file of the recipe.
fn recipe(name: &str) -> String {
    let file = root().join("systemd/recipes/compose").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The project, which is up.
struct Project {
    engine: Engine,
    dir: TempDir,
}

impl Project {
    /// Lays out its directory as README says, and starts it.
    fn up() -> Self {
        let engine = Engine::start("engine");
        engine.build_gin("one", Change::None);
        engine.build_stores();
        let dir = tempfile::Builder::new().prefix("users").tempdir_in("/var/tmp").unwrap();
        let project = Self { engine, dir };
        project.lay_out();
        let began = Instant::now();
        project.compose(&["up", "--detach"]);
        project.engine.until_log(WEB, |log| log.contains("\"message\":\"serving\""));
        eprintln!("compose: up after {:?}", began.elapsed());
        project
    }

    fn lay_out(&self) {
        for name in ["etc", "app", "static", "uploads", "secrets"] {
            std::fs::create_dir(self.path(name)).unwrap();
            std::fs::set_permissions(self.path(name), Permissions::from_mode(0o755)).unwrap();
        }
        // Nobody but root gets to them on the machine. In the containers they are read by users of their own.
        std::fs::set_permissions(self.path("secrets"), Permissions::from_mode(0o700)).unwrap();
        chown(self.path("uploads"), Some(USER), Some(USER)).unwrap();
        for name in SECRETS {
            let secret = self.path("secrets").join(name);
            std::fs::write(&secret, format!("{PASSWORD}-{name}\n")).unwrap();
            std::fs::set_permissions(&secret, Permissions::from_mode(0o444)).unwrap();
        }
        std::fs::write(self.path("compose.yaml"), recipe("compose.yaml")).unwrap();
        std::fs::write(self.path("etc/gin.toml"), recipe("gin.toml")).unwrap();
        std::fs::write(self.path("static/hello.txt"), "hello\n").unwrap();
        std::fs::write(self.path(".env"), "GIN_IMAGE=gin:one\n").unwrap();
        self.put("1");
        self.releases().point_to("1");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs docker-compose on it; gives what it said.
    fn compose(&self, args: &[&str]) -> String {
        let (code, said) = self.engine.compose(PROJECT, &self.path("compose.yaml"), args);
        assert_eq!(code, 0, "docker-compose {args:?}: {said}");
        said
    }

    fn releases(&self) -> Releases {
        Releases::new(&self.path("app"))
    }

    /// Puts a release into its directory.
    fn put(&self, name: &str) {
        put_program(&self.releases().path(name), "rest_api");
    }

    fn address(&self) -> Address {
        Address::from(format!("{}:8080", self.engine.address()).as_str())
    }

    /// Equal as long as all containers are the same ones, and their processes, too.
    fn identities(&self) -> String {
        let all = self.engine.ok(&["ps", "--quiet"]);
        let ids: Vec<&str> = all.lines().collect();
        let format = "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}}";
        self.engine.ok(&[&["inspect", "--format", format][..], &ids[..]].concat())
    }

    /// Does something under load; gives how long it took, and how it was for clients.
    fn under_load(&self, act: impl FnOnce()) -> (Duration, Report) {
        let load = load(&[self.address()]);
        load.flows(100);
        let began = Instant::now();
        act();
        let took = began.elapsed();
        load.flows(100);
        (took, load.finish())
    }

    /// Name of the release that serves.
    fn current(&self) -> String {
        let status = self.exec("web", "gin-ctl --json status");
        let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}"));
        let current = status["generations"].as_array().unwrap().iter().find(|one| one["role"] == "current");
        current.and_then(|current| current["release"].as_str()).unwrap_or_else(|| panic!("{status}")).to_owned()
    }

    fn exec(&self, service: &str, command: &str) -> String {
        self.compose(&["exec", "-T", service, "sh", "-c", command])
    }

    /// Whoever looks at the containers, or reads their logs, sees no password.
    fn assert_secret(&self) {
        let all = self.engine.ok(&["ps", "--quiet"]);
        let mut told = self.compose(&["logs", "--no-color"]);
        for id in all.lines() {
            told += &self.engine.ok(&["inspect", id]);
        }
        for service in ["web", "db", "redis"] {
            told += &self.exec(service, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
        }
        // That of Redis cannot be read: it writes its title there. The image of `db` exports its passwords.
        let environment = self.exec("web", "cat /proc/[0-9]*/environ | tr '\\0' ' '");
        assert!(environment.contains("PATH="), "{environment}");
        told += &environment;
        let at = told.find(PASSWORD);
        assert!(
            at.is_none(),
            "a password was told: {:?}",
            at.map(|at| &told[told.floor_char_boundary(at.saturating_sub(300))..at])
        );
    }
}

/// Seconds of a duration that stands in a line of its own, as `key: 20s` or `key = "20s"`: the first one of this key.
fn seconds(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix([':', '=']));
    let digits: String = value
        .into_iter()
        .flat_map(str::chars)
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or_else(|_| panic!("no {key} in seconds: {text}"))
}

/// Holds the times of a configuration, and of the file that says how long a container may take to end, to their order.
pub fn assert_times_fit(config: &str, file: &str) {
    let [lame_duck, shutdown, drain] = ["lame_duck", "shutdown", "drain_timeout"].map(|key| seconds(config, key));
    // A worker adds 5 s to its drain.
    assert!(lame_duck + shutdown + 5 <= drain, "{lame_duck} s, {shutdown} s, {drain} s");
    let grace = seconds(file, "stop_grace_period");
    assert!(drain < grace, "{drain} s, {grace} s");
}

#[test]
fn the_times_fit() {
    assert_times_fit(&recipe("gin.toml"), &recipe("compose.yaml"));
}

#[test]
#[ignore = "needs root, Docker and the example: tests/run --services"]
fn releases_in_place_hurt_nobody_and_close_no_connection() {
    let project = Project::up();
    let (address, before) = (project.address(), project.identities());
    assert_eq!(total(&address), Some(2), "users of the first migrations");
    let writer = Writer::start(&address, "w");
    for name in ["2", "3", "4"] {
        project.put(name);
        let (took, report) = project.under_load(|| {
            project.releases().point_to(name);
            project.compose(&["exec", "-T", "web", "gin-ctl", "restart"]);
        });
        eprintln!(
            "compose: release {name}: {took:?}, hurt {:?} of {}, {} closed",
            report.hurt,
            report.requests,
            report.closed()
        );
        report.assert_kept();
        assert_eq!(project.current(), name);
    }
    let written = writer.finish();
    eprintln!("compose: {} users were added meanwhile", written.added);
    assert!(written.hurt.is_empty() && written.added > 0, "{written:?}");
    // Redis tells other workers of a change, and whom it has told says nothing.
    eventually("each user is there", || total(&address), |total| *total == Some(2 + written.added));
    assert_eq!(project.identities(), before);
    project.engine.until_health(WEB, "healthy");
}

#[test]
#[ignore = "needs root, Docker and the example: tests/run --services"]
fn the_project_keeps_its_users_and_its_secrets_and_gin_its_memory() {
    let project = Project::up();
    let address = project.address();
    add(&address, "kept").unwrap();
    assert_eq!(get(&address, "/static/hello.txt").unwrap().body, b"hello\n");
    project.exec("web", "touch /app/uploads/file && ! touch /app/static/file 2>/dev/null && ! touch /file 2>/dev/null");
    // What is read is kept in Redis.
    assert_eq!(total(&address), Some(3));
    let keys = project.exec("redis", "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli dbsize");
    assert!(keys.trim().parse::<u64>().is_ok_and(|keys| keys > 0), "{keys}");
    project.assert_secret();
    let memory = project.engine.ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"]);
    eprintln!("compose: memory of one worker and the supervisor: {memory}");
    let limit = project.engine.ok(&["inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", WEB]);
    assert_eq!(limit, "536870912 500000000");

    // All containers are new ones; the volume is not.
    project.compose(&["down"]);
    project.compose(&["up", "--detach"]);
    project.engine.until_log(WEB, |log| log.contains("\"message\":\"serving\""));
    assert_eq!(total(&address), Some(3));
    let code = project.engine.ok(&["inspect", "--format", "{{.State.Health.Status}}", "users_db_1"]);
    assert_eq!(code, "healthy");
}

/// The same update without a release in place, by a new container; and of the program alone. So the others can fail.
#[test]
#[ignore = "needs root, Docker and the example: tests/run --services"]
fn a_new_container_in_the_place_of_the_old_one_is_a_gap() {
    let project = Project::up();
    let (took, report) = project.under_load(|| {
        project.compose(&["up", "--detach", "--no-deps", "--force-recreate", "web"]);
    });
    eprintln!("compose: a new container: {took:?}, hurt {:?} of {}", report.hurt, report.requests);
    assert!(!report.hurt.is_empty(), "there is no gap: {report:?}");

    // The program is PID 1, and listens by itself.
    std::fs::write(
        project.path("alone.yaml"),
        "services:\n  web:\n    entrypoint: [/srv/app/current/rest_api]\n    command: []\n    \
         environment: [GIN_CONFIG=/etc/gin/gin.toml]\n    healthcheck: {disable: true}\n",
    )
    .unwrap();
    let file = project.path("alone.yaml").display().to_string();
    let alone = |args: &[&str]| project.compose(&[&["--file", file.as_str()][..], args].concat());
    alone(&["up", "--detach", "--no-deps", "web"]);
    project.engine.until_log(WEB, |log| log.contains("listening on"));
    project.put("2");
    let (took, report) = project.under_load(|| {
        project.releases().point_to("2");
        alone(&["restart", "web"]);
    });
    eprintln!("compose: without gin: {took:?}, hurt {:?} of {}", report.hurt, report.requests);
    let memory = project.engine.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", WEB]);
    eprintln!("compose: without gin: memory {memory}");
}

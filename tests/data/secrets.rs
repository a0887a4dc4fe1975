//! Passwords and secrets stand in no log, answer, `config show`, process title or error, however they are given.

use std::path::Path;
use std::process::Command;

use harness::{PASSWORD, Service, ServiceKind, Supervisor, binary, get};

use crate::data::site::{SOON, private, site, until_ready_is};
use crate::data::store::{Kind, Store};

const SECRET: &str = "signed-by-mackerel-c41d-and-31-more-bytes";

/// Everything that the service tells anybody.
fn told(gin: &Supervisor) -> String {
    let mut all = gin.log();
    for path in ["/health", "/readyz", "/info", "/routes", "/metrics", "/debug/vars"] {
        all.extend(private(gin, path));
        if let Ok(answer) = get(&gin.tcp(), path) {
            all.push_str(&String::from_utf8_lossy(&answer.body));
        }
    }
    for args in [&["status"][..], &["--json", "status"], &["history"], &["migrate", "status"], &["metrics"]] {
        let said = gin.ctl(args);
        all.extend([said.out, said.err]);
    }
    for pid in gin.processes() {
        for file in ["cmdline", "comm"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            all.push_str(&String::from_utf8_lossy(&text));
        }
    }
    all.extend(gin.told().all());
    all
}

fn assert_silent(text: &str) {
    for secret in [PASSWORD, SECRET] {
        let at = text.find(secret);
        assert!(
            at.is_none(),
            "a secret was told: {:?}",
            at.map(|at| &text[text.floor_char_boundary(at.saturating_sub(300))..at])
        );
    }
}

/// Asserts that gin-server shows no secret of this configuration, also if the configuration is made wrong.
fn assert_shows_none(config: &Path, environment: &[(&str, &str)]) {
    let run = |args: &[&str]| {
        let mut command = Command::new(binary("gin-server"));
        command.args(args).arg("--config").arg(config).envs(environment.iter().copied());
        let output = command.output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    };
    for args in [&["config", "show"][..], &["config", "show", "--json"], &["--config-check"]] {
        let said = run(args);
        assert!(!said.is_empty(), "{args:?}");
        assert_silent(&said);
    }
    let text = std::fs::read_to_string(config).unwrap();
    for (from, to) in [("[sessions]", "[sessions]\nsecrt = 1"), ("password = \"", "password = [\"")] {
        std::fs::write(config, text.replace(from, to)).unwrap();
        assert_silent(&run(&["--config-check"]));
    }
    std::fs::write(config, text).unwrap();
}

/// The service with its secrets given in this way: at work, and with both servers away.
fn secrets_are_kept(lines: &str, of_database: impl Fn(&Service) -> String, environment: &[(&str, &str)]) {
    let (mut store, mut redis) = (Store::start(Kind::Postgres), Service::start(ServiceKind::Redis));
    let sections = [
        of_database(store.server()) + "acquire_timeout = \"1s\"\nslow = \"1ms\"\n",
        redis.section_with(lines) + SOON,
        format!("[sessions]\nstore = \"redis\"\nsecret = {SECRET:?}\n[cache]\nlevels = \"both\"\n"),
    ];
    let sections = sections.each_ref().map(String::as_str);
    let builder = site(2, "database cache sessions", &sections).set("ready_timeout = \"3s\"");
    let gin = environment.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
    assert_silent(&told(&gin));
    store.server().kill();
    redis.kill();
    assert_eq!(get(&gin.tcp(), "/items/1").unwrap().status, 503);
    until_ready_is(&gin, 503);
    let said = gin.ctl(&["restart"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_silent(&(said.out + &said.err));
    assert_silent(&told(&gin));
    store.server().start_again();
    redis.start_again();
    until_ready_is(&gin, 200);
    let config = gin.dir().join("own.toml");
    std::fs::write(&config, sections.concat()).unwrap();
    assert_shows_none(&config, environment);
    gin.ends_sound();
}

#[test]
#[ignore = "needs PostgreSQL and Redis: tests/run --services"]
fn secrets_in_the_configuration_are_kept() {
    secrets_are_kept(&format!("password = {PASSWORD:?}\n"), Service::section, &[]);
}

#[test]
#[ignore = "needs PostgreSQL and Redis: tests/run --services"]
fn secrets_in_files_are_kept() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let line = format!("password_file = {file:?}\n");
    secrets_are_kept(&line, |server| server.section_with(&line), &[]);
}

#[test]
#[ignore = "needs PostgreSQL and Redis: tests/run --services"]
fn secrets_in_the_environment_are_kept() {
    let environment = [("GIN_DATABASE_PASSWORD", PASSWORD), ("GIN_REDIS_PASSWORD", PASSWORD)];
    secrets_are_kept("", |server| server.section_with(""), &environment);
}

#[test]
#[ignore = "needs PostgreSQL and Redis: tests/run --services"]
fn a_secret_in_a_url_is_kept() {
    let url = |server: &Service| {
        let url = format!("postgres://shop:{PASSWORD}@127.0.0.1:{}/shop", server.port());
        format!("[database]\nurl = {url:?}\n")
    };
    secrets_are_kept(&format!("password = {PASSWORD:?}\n"), url, &[]);
}

//! The image: its size, its rights, its health, its end; and the Dockerfiles.

use harness::{Change, Engine, eventually, write_program};
use serde_json::{Value, json};

use super::{NAME, Web, path, recipe, service};
use crate::docs::root;

/// Most that the image is larger than its base, in bytes, with release binaries.
pub const ROOM: u64 = 40_000_000;

/// The commands of the last stage of a Dockerfile, but for that which copies the programs.
fn last_stage(name: &str) -> Vec<String> {
    let text = recipe(name).replace("\\\n", "");
    let stage = text.rsplit("\nFROM ").next().unwrap();
    let commands = stage.lines().filter(|line| !line.starts_with('#') && !line.starts_with("COPY "));
    commands.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The image of the first stage of a Dockerfile.
pub fn from(name: &str) -> String {
    let text = recipe(name);
    let image = text.lines().find_map(|line| line.strip_prefix("FROM ")?.strip_suffix(" AS build"));
    image.unwrap_or_else(|| panic!("{name} has no stage that builds")).to_owned()
}

/// Bytes that an image has on top of its base.
pub fn on_top(engine: &Engine, tag: &str) -> u64 {
    let size = |tag: &str| engine.ok(&["image", "inspect", "--format", "{{.Size}}", tag]).parse::<u64>().unwrap();
    size(tag) - size("debian:bookworm-slim")
}

#[test]
fn both_dockerfiles_make_the_same_image() {
    let built = last_stage("Dockerfile");
    assert_eq!(built, last_stage("Dockerfile.prebuilt"));
    assert!(built.len() > 6 && built[0].starts_with("debian:"), "{built:?}");
}

#[test]
fn the_dockerfiles_build_with_the_compiler_of_the_workspace() {
    let manifest = include_str!("../../Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    for name in ["Dockerfile", "Dockerfile.service"] {
        assert_eq!(from(name), format!("rust:{version}-slim-bookworm"), "{name}");
    }
}

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn the_image_is_small_and_tells_how_it_is_run() {
    let engine = Engine::start("engine");
    engine.build_gin("one", Change::None);
    let more = on_top(&engine, "gin:one");
    println!("gin:one has {more} bytes on top of its base");
    // Programs for tests are not optimized, so they are larger.
    let most = if std::env::var_os("GIN_RELEASE_DIR").is_some() { ROOM } else { 2 * ROOM };
    assert!(more <= most, "{more} bytes on top of the base");
    let config = config(&engine, "gin:one");
    assert_eq!(config["User"], "10001:10001");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/gin-supervisor"]));
    assert_eq!(config["Cmd"], json!(["--config", "/etc/gin/gin.toml"]));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/local/bin/gin-ctl", "status", "--alive"]));
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], "one");
    // Its configuration is mounted: without one it says what is missing.
    let (code, said) = engine.docker(&["run", "--rm", "gin:one"]);
    assert!(code != 0 && said.contains("/etc/gin/gin.toml"), "{code}: {said}");
}

/// The configuration of an image, as `docker image inspect` shows it.
fn config(engine: &Engine, tag: &str) -> Value {
    let config = engine.ok(&["image", "inspect", "--format", "{{json .Config}}", tag]);
    serde_json::from_str(&config).unwrap()
}

/// Makes an image in the place of Rust's: its cargo puts programs that are built where a build leaves them, the service's beside them.
fn compiler(engine: &Engine, tag: &str) {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let cargo = "#!/bin/sh\nmkdir -p target/release && cp /usr/local/bin/gin-* target/release && \
                 cp /usr/local/bin/gin-server target/release/shop\n";
    write_program(&dir.path().join("cargo"), cargo);
    write_program(&dir.path().join("strip"), "#!/bin/sh\n[ \"$1\" = -o ] && cp \"$3\" \"$2\"\n");
    let dockerfile = dir.path().join("Dockerfile");
    std::fs::write(&dockerfile, "FROM gin:one\nUSER 0\nCOPY cargo strip /usr/local/bin/\n").unwrap();
    engine.build(&dockerfile, dir.path(), tag);
}

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn both_stages_make_the_image_and_a_service_has_it_as_its_base() {
    let engine = Engine::start("engine");
    engine.build_gin("one", Change::None);
    compiler(&engine, &from("Dockerfile"));
    engine.build(&path("Dockerfile"), &root(), "gin:two");
    let (one, mut two) = (config(&engine, "gin:one"), config(&engine, "gin:two"));
    let version = "org.opencontainers.image.version";
    assert_eq!((&one["Labels"][version], &two["Labels"][version]), (&json!("one"), &json!("two")));
    two["Labels"][version] = json!("one");
    // Other keys tell of the build.
    let keys = ["User", "Entrypoint", "Cmd", "Healthcheck", "StopSignal", "ExposedPorts", "Env", "Labels"];
    keys.iter().for_each(|key| assert_eq!(one[key], two[key], "{key}"));

    let context = tempfile::tempdir_in("/tmp").unwrap();
    let dockerfile = path("Dockerfile.service").display().to_string();
    let place = context.path().display().to_string();
    let names = ["--build-arg", "GIN=gin:two", "--build-arg", "SERVICE=shop", "--build-arg", "VERSION=7"];
    engine.ok(&[&["build", "--tag", "shop:7", "--file", &dockerfile][..], &names, &[place.as_str()]].concat());
    let shop = config(&engine, "shop:7");
    let keys = ["User", "Entrypoint", "Cmd", "Healthcheck", "StopSignal"];
    keys.iter().for_each(|key| assert_eq!(shop[key], one[key], "{key}"));
    assert_eq!(
        (&shop["Labels"][version], &shop["Labels"]["org.opencontainers.image.title"]),
        (&json!("7"), &json!("shop"))
    );
    engine.ok(&["run", "--rm", "--entrypoint", "cmp", "shop:7", "/usr/local/bin/service", "/usr/local/bin/gin-server"]);
}

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn pid_1_serves_without_rights_reaps_orphans_and_ends_at_docker_stop() {
    let web = Web::start(&recipe("gin.toml"), &[]);
    assert_eq!(web.ok(&["id", "-u"]), "10001");
    let (code, said) = web.exec(&["touch", "/usr/local/bin/own"]);
    assert!(code != 0 && said.contains("Read-only file system"), "{code}: {said}");
    let status = web.ok(&["cat", "/proc/1/status"]);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    assert_eq!((field("Name:"), field("NoNewPrivs:")), ("gin-supervisor", "1"), "{status}");
    assert_eq!((field("CapEff:"), field("CapBnd:")), ("0000000000000000", "0000000000000000"), "{status}");
    // A process whose parent has ended: the kernel gives it to PID 1, and reports its end to nobody else.
    web.ok(&["sh", "-c", "sleep 0.3 >/dev/null 2>&1 &"]);
    let processes = || web.exec(&["sh", "-c", "cat /proc/[0-9]*/stat"]).1;
    eventually("no orphan is left, not even as a zombie", processes, |all| !all.contains("(sleep)"));
    let load = web.load();
    load.flows(100);
    let _ = load.finish();
    web.engine.ok(&["stop", NAME]);
    assert_eq!(web.inspect("{{.State.ExitCode}} {{.State.OOMKilled}}"), "0 false");
    let log = web.until_log("generation 1 gone");
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
}

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn an_instance_is_healthy_as_long_as_a_worker_serves() {
    let web = Web::start(&service(2), &["--health-interval", "1s"]);
    web.engine.until_health(NAME, "healthy");
    // From now on no worker of this release starts.
    std::fs::write(web.releases().path("one").join("mode"), "exit").unwrap();
    let workers = web.workers();
    let [first, second] = workers[..] else { panic!("{}", web.status()) };
    let kill = |pid: u64| web.ok(&["sh", "-c", &format!("kill -9 {pid}")]);
    kill(first);
    // The log tells when it has tried in vain.
    web.until_log("exited with status 3");
    assert_eq!(web.status()["degraded"], true, "{}", web.status());
    assert_eq!(web.engine.checks(NAME, 3), ["0", "0", "0"]);
    assert_eq!(web.inspect("{{.State.Health.Status}}"), "healthy");
    kill(second);
    web.engine.until_health(NAME, "unhealthy");
    let (code, said) = web.exec(&["gin-ctl", "status", "--alive"]);
    assert_eq!((code, said.trim()), (1, "not alive: no worker serves"));
}

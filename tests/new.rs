//! `gin-ctl new`: a service to begin with, as its README uses it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use harness::{Address, Ctl, Load, Notifications, binary};
use serde_json::Value;
use tempfile::TempDir;

use crate::docs::root;

/// Runs `gin-ctl new` in a directory; gives its exit code and all that it said.
fn new(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary("gin-ctl"));
    let output = command.arg("new").args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), text(&output))
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// A service called shop, built with these sources, in a directory of its own.
fn shop() -> (TempDir, PathBuf) {
    // sun_path holds 108 bytes: a short name.
    let dir = tempfile::Builder::new().prefix("gin").tempdir_in("/tmp").unwrap();
    let (code, said) = new(dir.path(), &["shop", "--path", &root().display().to_string()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("cd shop && cargo build && gin-supervisor --instance shop -c gin.toml --watch"), "{said}");
    let shop = dir.path().join("shop");
    (dir, shop)
}

fn read(shop: &Path, file: &str) -> String {
    std::fs::read_to_string(shop.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn a_service_has_all_that_it_takes_and_its_configurations_can_be_used() {
    let (_dir, shop) = shop();
    let manifest = read(&shop, "Cargo.toml");
    let sources = root().canonicalize().unwrap().join("worker");
    assert!(manifest.contains(&format!("gin-worker = {{ path = {:?} }}", sources.display().to_string())), "{manifest}");
    for file in ["src/main.rs", "tests/restart.rs", ".gitignore", "README.md", "deploy/shop.socket"] {
        assert!(!read(&shop, file).contains("{{"), "{file}");
    }
    let unit = read(&shop, "deploy/shop.service");
    assert!(unit.contains("--config /etc/gin/shop.toml --instance shop\n"), "{unit}");
    for file in ["gin.toml", "deploy/shop.toml"] {
        // In JSON a program that is not there yet is a warning.
        let mut check = Command::new(binary("gin-supervisor"));
        let check = check.args(["--config-check", "--json", "-c", file]).current_dir(&shop).output().unwrap();
        assert!(check.status.success(), "{file}: {}", text(&check));
        assert!(!text(&check).contains("soak") && !read(&shop, file).contains("channel"), "{file}: {}", text(&check));
    }
}

#[test]
fn names_and_directories_that_cannot_be_used_are_refused() {
    let (dir, shop) = shop();
    let before = read(&shop, "Cargo.toml");
    for (arguments, said) in [
        (&["shop"][..], "shop is there, and is not empty; nothing was written"),
        (&["Shop"], "\"Shop\" cannot name a service"),
        (&["../shop"], "\"../shop\" cannot name a service"),
        (&["match"], "it is a word of Rust"),
        (&["tokio"], "Cargo needs this name for something else"),
        (&["other", "--path", "shop"], "shop/worker has no gin-worker; --path takes the directory of gin's sources"),
        (&["other", "--path", "nowhere"], "--path nowhere: "),
    ] {
        let (code, told) = new(dir.path(), arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {told}");
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    assert_eq!(read(&shop, "Cargo.toml"), before);
    assert!(!dir.path().join("other").exists());
    std::fs::create_dir(dir.path().join("other")).unwrap();
    assert_eq!(new(dir.path(), &["other"]).0, Some(0), "an empty directory is as good as none");
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs cargo in the service, with the crates that this workspace has.
fn cargo(shop: &Path, arguments: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--offline", "--quiet"])
        .current_dir(shop)
        .env_remove("CARGO_TARGET_DIR")
        // As the workspace's own, so that crates which are built alike are not built again.
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
        .env("GIN_SUPERVISOR", binary("gin-supervisor"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", text(&output));
}

#[test]
#[ignore = "builds gin-worker anew: tests/run --services"]
fn a_new_service_is_built_tested_and_restarted_under_load() {
    let (dir, shop) = shop();
    std::fs::copy(root().join("Cargo.lock"), shop.join("Cargo.lock")).unwrap();
    // target/debug/gin-ctl
    symlink(binary("gin-ctl").ancestors().nth(2).unwrap(), shop.join("target")).unwrap();
    cargo(&shop, &["build"]);
    cargo(&shop, &["test"]);
    // "Restart" in its README.
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let told = Notifications::listen(&dir.path().join("notify"));
    let supervisor = Command::new(binary("gin-supervisor"))
        .args(["--instance", "shop", "-c", "gin.toml"])
        .current_dir(&shop)
        // 8080 may be taken.
        .env("GIN_SERVER_PORT", "0")
        .env_remove("PORT")
        .env("RUNTIME_DIRECTORY", &run)
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut supervisor = Killed(supervisor);
    told.ready(0, &supervisor.0).unwrap_or_else(|all| panic!("it does not serve: {all:?}"));
    let control = run.join("control.sock");
    let status: Value = serde_json::from_str(&Ctl::run(&control, &["--json", "status"]).out).unwrap();
    let address = Address::from(status["listeners"][0]["address"].as_str().unwrap());
    let load = Load::new().keep_alive(&address, 4).one_shot(&address, 4);
    load.flows(100);
    cargo(&shop, &["build"]);
    Ctl::run(&control, &["restart"]).assert(0, &["serves"]);
    load.flows(100);
    load.finish().assert_unhurt();
    Ctl::run(&control, &["stop"]).assert(0, &["stopped"]);
    assert!(supervisor.0.wait().unwrap().success());
}

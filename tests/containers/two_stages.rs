//! The Dockerfile with the real compiler, as its users run it: in a soak, for it is a release build.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Change, Engine};

use super::image::{ROOM, from, on_top};
use super::{NAME, Web, path, recipe};
use crate::docs::root;

#[test]
#[ignore = "needs root, Docker and debootstrap, and is a release build: tests/run --soak"]
fn the_dockerfile_makes_a_small_image_that_serves() {
    let engine = Engine::start("engine");
    // Brings the base of all images.
    engine.build_gin("one", Change::None);
    compiler(&engine, &from("Dockerfile"));
    engine.build(&path("Dockerfile"), &root(), "gin:built");
    let more = on_top(&engine, "gin:built");
    println!("gin:built has {more} bytes on top of its base");
    assert!(more <= ROOM, "{more} bytes on top of the base");
    let web = Web::run(engine, "gin:built", &recipe("gin.toml"), &["--health-interval", "1s"]);
    web.engine.until_health(NAME, "healthy");
}

/// Makes Rust's image: a Debian with gcc, the compiler that runs here, and the crates that it has fetched, for the engine has no way out.
fn compiler(engine: &Engine, tag: &str) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = dir.path().join("root");
    let debootstrap = ["--variant=minbase", "--include=gcc,libc6-dev", "bookworm"];
    run(Command::new("debootstrap").args(debootstrap).arg(&place));
    run(Command::new("cargo").args(["fetch", "--quiet", "--locked"]).current_dir(root()));
    let sysroot = PathBuf::from(run(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root())).trim());
    for part in ["bin", "lib"] {
        run(Command::new("cp").arg("-a").arg(sysroot.join(part)).arg(place.join("usr/local")));
    }
    std::fs::create_dir_all(place.join("cargo/registry")).unwrap();
    for part in ["cache", "index"] {
        let fetched = cargo_home().join("registry").join(part);
        run(Command::new("cp").arg("-a").arg(fetched).arg(place.join("cargo/registry")));
    }
    engine.import(&place, "compiler:here");
    let context = tempfile::tempdir_in("/tmp").unwrap();
    let dockerfile = context.path().join("Dockerfile");
    std::fs::write(&dockerfile, "FROM compiler:here\nENV CARGO_HOME=/cargo CARGO_NET_OFFLINE=true\n").unwrap();
    engine.build(&dockerfile, context.path(), tag);
}

/// Runs a program to its end; gives what it said.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The directory of cargo.
fn cargo_home() -> PathBuf {
    let given = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").expect("there is a home")).join(".cargo"))
}

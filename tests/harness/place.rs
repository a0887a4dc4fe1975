//! Where things are, and how much of everything.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// A program of ours: built by `tests/run` before, or here, once.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        if let Some(directory) = std::env::var_os("GIN_BIN_DIR") {
            return directory.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built = Command::new(cargo).args(["build", "--quiet", "--workspace", "--bins"]).current_dir(root).status();
        assert!(built.is_ok_and(|status| status.success()), "the programs do not build");
        // target/debug/deps/gin-1234 -> target/debug
        let own = std::env::current_exe().expect("a test has a path");
        own.ancestors().nth(2).expect("below target").to_owned()
    });
    directory.join(name)
}

/// A file of `tests/fixtures`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Writes a program: a script, or anything else that is to be executed. Whoever reads it meanwhile finds all of it or
/// what was there before.
///
/// # Panics
/// If it cannot be written.
pub fn write_program(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// libfaketime, which shows a program another time.
///
/// # Panics
/// If it is not installed.
#[must_use]
pub fn fake_clock() -> PathBuf {
    let all = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let mut libraries = all.map(|directory| directory.join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists()).expect("libfaketime is installed")
}

/// A free TCP port of 127.0.0.1, for a program that keeps its port over its own death. It lies below the ports that the
/// kernel gives to sockets, so that no other test has it meanwhile.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static ASKED: AtomicU16 = AtomicU16::new(0);
    // Each test is a process, so its PID says where it begins to look.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below the count");
    let mut ports = (0..COUNT).map(|_| FIRST + (start + ASKED.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a port is free")
}

/// Every point in the supervisor's source at which a test can have it fail, or die.
///
/// # Panics
/// If they cannot be read.
#[must_use]
pub fn points() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../supervisor/src");
    let output = Command::new("grep").args(["-rhoE", r#"fault::at\("[a-z_.]+""#]).arg(source).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let points: BTreeSet<String> = text.lines().map(|line| line.split('"').nth(1).unwrap().to_owned()).collect();
    assert!(points.len() > 30, "{points:?}");
    points
}

/// True if this is the long run.
#[must_use]
pub fn soak() -> bool {
    std::env::var_os("GIN_SOAK").is_some()
}

/// How often: in the ordinary run, and in the long one.
#[must_use]
pub fn times(ordinary: usize, long: usize) -> usize {
    if soak() { long } else { ordinary }
}

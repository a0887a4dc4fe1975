//! Root file systems of Debian, which the script `roots` beside this file makes, and `tests/run --services` before the tests.

use std::path::{Path, PathBuf};

/// The root of this name: `slim`, `systemd` or `services`. It lies in the directory `GIN_ROOTS`, or in `target/roots`.
///
/// # Panics
/// If it was not made.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let given = std::env::var_os("GIN_ROOTS").map(PathBuf::from);
    let all = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/roots"));
    let root = all.join(name);
    assert!(
        all.join(format!("{name}.done")).exists(),
        "no {}; tests/harness/roots {name} {0} makes it",
        root.display()
    );
    root
}

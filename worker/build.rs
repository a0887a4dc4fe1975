//! Which compiler it is made with, for `/info`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=RUSTC");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let version = said.split_whitespace().nth(1).unwrap_or(env!("CARGO_PKG_RUST_VERSION"));
    println!("cargo::rustc-env=GIN_RUST_VERSION={version}");
}

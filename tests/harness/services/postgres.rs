//! PostgreSQL of Debian's package postgresql.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{HINT, NAME, PASSWORD, Place};

pub(super) const READY: &str = "database system is ready to accept connections";

/// A program of the newest PostgreSQL: Debian keeps each version in a directory of its own.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin").join(name)).filter(|program| program.exists());
    programs.max().unwrap_or_else(|| panic!("no {name} in /usr/lib/postgresql; {HINT}"))
}

/// Makes its files, and in them the database.
pub(super) fn prepare(place: &Place) {
    let password = place.write("password", PASSWORD);
    let mut init = place.program(&program("initdb"));
    init.args(["--username", NAME, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
    init.arg("--pgdata").arg(place.data()).arg("--pwfile").arg(password);
    place.run(init);
    // The one server process of this mode reads statements from its input, and needs no port.
    let mut single = place.program(&program("postgres"));
    single.args(["--single", "-D"]).arg(place.data()).arg("postgres");
    single.stdin(std::fs::File::open(place.write("first.sql", &format!("CREATE DATABASE {NAME};\n"))).unwrap());
    place.run(single);
}

pub(super) fn server(place: &Place) -> Command {
    let mut server = place.program(&program("postgres"));
    server.arg("-D").arg(place.data()).arg("-k").arg(place.path()).args(["-p", &place.port.to_string()]);
    // What a killed process has written is in the kernel's memory, which no test takes away.
    for setting in ["fsync=off", "max_connections=300", "shared_buffers=16MB"] {
        server.args(["-c", setting]);
    }
    server.args(["-c", &format!("listen_addresses={}", place.addresses.join(","))]);
    server
}

pub(super) fn client(place: &Place, text: &str) -> Command {
    let mut client = place.program(Path::new("/usr/bin/psql"));
    client.args(["--no-psqlrc", "--no-align", "--tuples-only", "--field-separator", "\t", "--quiet"]);
    client.args(["--set", "ON_ERROR_STOP=1", "--host", &place.addresses[0], "--username", NAME, "--dbname", NAME]);
    client.arg(format!("--port={}", place.port)).args(["--command", text]).env("PGPASSWORD", PASSWORD);
    client
}

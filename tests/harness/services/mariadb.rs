//! MariaDB of Debian's package mariadb-server-core.

use std::path::Path;
use std::process::Command;

use super::{NAME, PASSWORD, Place};

pub(super) const READY: &str = "ready for connections.";

/// Makes its files. No command line has the password: the server reads it from a file.
pub(super) fn prepare(place: &Place) {
    let user = format!(
        "CREATE DATABASE IF NOT EXISTS {NAME} CHARACTER SET utf8mb4;\n\
         CREATE USER IF NOT EXISTS '{NAME}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO '{NAME}'@'%';\n"
    );
    let first = place.write("first.sql", &user);
    let (data, path) = (place.data(), place.path());
    let settings = format!(
        "[mariadbd]\ndatadir={}\nsocket={}\npid-file={}\ninit-file={}\nport={}\nbind-address={}\n\
         skip-name-resolve\nmax-connections=500\nperformance-schema=OFF\ninnodb-buffer-pool-size=16M\n\
         innodb-log-file-size=8M\ncharacter-set-server=utf8mb4\n",
        data.display(),
        path.join("sock").display(),
        path.join("pid").display(),
        first.display(),
        place.port,
        place.addresses.join(","),
    );
    place.write("my.cnf", &settings);
    let mut install = place.program(Path::new("/usr/bin/mariadb-install-db"));
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.args(["--skip-name-resolve", "--innodb-log-file-size=8M"]).arg(format!("--datadir={}", data.display()));
    place.run(install);
}

pub(super) fn server(place: &Place) -> Command {
    let mut server = place.program(Path::new("/usr/sbin/mariadbd"));
    server.arg(format!("--defaults-file={}", place.path().join("my.cnf").display()));
    server
}

pub(super) fn client(place: &Place, text: &str) -> Command {
    let mut client = place.program(Path::new("/usr/bin/mariadb"));
    client.args(["--no-defaults", "--batch", "--skip-column-names", "--host", &place.addresses[0], "--user", NAME]);
    client.arg(format!("--port={}", place.port)).args(["--execute", text, NAME]).env("MYSQL_PWD", PASSWORD);
    client
}

//! Redis of Debian's package redis-server.

use std::path::Path;
use std::process::Command;

use super::{PASSWORD, Place};

pub(super) const READY: &str = "Ready to accept connections";

/// Writes its settings. It keeps its data over SIGKILL: each change goes into a file.
pub(super) fn prepare(place: &Place) {
    let data = place.path().display();
    let settings = format!(
        "bind {}\nport {}\ndir {data}\nrequirepass {PASSWORD}\nsave \"\"\nappendonly yes\nappendfsync no\ndaemonize no\n",
        place.addresses.join(" "),
        place.port,
    );
    place.write("redis.conf", &settings);
}

pub(super) fn server(place: &Place) -> Command {
    let mut server = place.program(Path::new("/usr/bin/redis-server"));
    server.arg(place.path().join("redis.conf"));
    server
}

/// The words of `text` are the command.
pub(super) fn client(place: &Place, text: &str) -> Command {
    let mut client = place.program(Path::new("/usr/bin/redis-cli"));
    client.args(["-e", "-h", &place.addresses[0], "-p", &place.port.to_string()]).args(text.split_whitespace());
    client.env("REDISCLI_AUTH", PASSWORD);
    client
}

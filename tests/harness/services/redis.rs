//! Redis of Debian's package redis-server.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PASSWORD, Place};

pub(super) const READY: &str = "Ready to accept connections";

/// Writes its settings. It keeps its data over SIGKILL: each change goes into a file.
pub(super) fn prepare(place: &Place) {
    settings(place, &format!("port {}", place.port));
}

/// The same for TLS alone, with a certificate for the address 127.0.0.1 that it has signed itself.
pub(super) fn prepare_tls(place: &Place) {
    let request = "[req]\ndistinguished_name = name\nx509_extensions = use\nprompt = no\n[name]\nCN = 127.0.0.1\n\
                   [use]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical,CA:FALSE\n";
    let request = place.write("request.conf", request);
    let (certificate, key) = (certificate(place), place.path().join("key.pem"));
    let mut make = place.program(Path::new("/usr/bin/openssl"));
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]);
    make.arg("-config").arg(request).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    place.run(make);
    let (certificate, key) = (certificate.display(), key.display());
    let files = format!("tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}");
    settings(place, &format!("port 0\ntls-port {}\n{files}\ntls-auth-clients no", place.port));
}

fn certificate(place: &Place) -> PathBuf {
    place.path().join("certificate.pem")
}

/// Lines of `[redis]` that ask over TLS.
pub(super) fn tls(place: &Place) -> String {
    format!("tls = \"require\"\nca_file = {:?}\n", certificate(place))
}

fn settings(place: &Place, listen: &str) {
    let data = place.path().display();
    let settings = format!(
        "bind {}\n{listen}\ndir {data}\nrequirepass {PASSWORD}\nsave \"\"\nappendonly yes\nappendfsync no\ndaemonize no\n",
        place.addresses.join(" "),
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

/// The same over TLS.
pub(super) fn client_tls(place: &Place, text: &str) -> Command {
    let mut client = place.program(Path::new("/usr/bin/redis-cli"));
    client.args(["-e", "--tls", "--cacert"]).arg(certificate(place));
    client.args(["-h", &place.addresses[0], "-p", &place.port.to_string()]).args(text.split_whitespace());
    client.env("REDISCLI_AUTH", PASSWORD);
    client
}

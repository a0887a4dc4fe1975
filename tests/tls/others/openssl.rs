//! OpenSSL's client resumes its sessions, whichever worker, generation, master or host answers.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Network, Supervisor, free_port, tls_file};
use tempfile::TempDir;

use crate::tls::with_https;

/// Number of connections that `-reconnect` makes after the first one.
const AGAIN: usize = 5;

/// `openssl s_client` of one version, which keeps its session in a file.
struct OpenSsl {
    dir: TempDir,
    version: &'static str,
}

/// One of each version.
fn clients() -> [OpenSsl; 2] {
    ["-tls1_2", "-tls1_3"].map(|version| OpenSsl { dir: tempfile::tempdir_in("/tmp").unwrap(), version })
}

impl OpenSsl {
    /// True if it connects again and again. With TLS 1.3 it would not wait for the ticket before it does.
    fn reconnects(&self) -> bool {
        self.version == "-tls1_2"
    }

    fn command(&self, address: SocketAddr) -> Command {
        let session = self.dir.path().join("session");
        let mut command = Command::new("/usr/bin/openssl");
        command.args(["s_client", self.version, "-ign_eof", "-verify_return_error", "-servername", "localhost"]);
        command.args(["-connect", &address.to_string(), "-CAfile"]).arg(tls_file("ca.pem"));
        if session.exists() {
            command.arg("-sess_in").arg(&session);
        }
        command.arg("-sess_out").arg(session);
        if self.reconnects() {
            command.arg("-reconnect");
        }
        command
    }

    /// Connects with the session that it has, if there is one, and asks. Gives for each of its connections whether it was resumed.
    fn connect(&self, address: SocketAddr) -> Vec<bool> {
        let mut command = self.command(address);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The answer's end is the client's: until then, tickets come.
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.stdin.take().unwrap().write_all(request).unwrap();
        let output = client.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && said.contains("HTTP/1.1 200 OK"), "{command:?}: {said}");
        let kinds = said.lines().filter_map(|line| line.split_once(", TLSv1.")).map(|(kind, _)| kind);
        kinds.filter(|kind| ["New", "Reused"].contains(kind)).map(|kind| kind == "Reused").collect()
    }

    /// What [`Self::connect`] gives if the first connection is resumed, or is not; and each further one is.
    fn expected(&self, first: bool) -> Vec<bool> {
        let more = if self.reconnects() { AGAIN } else { 0 };
        [vec![first], vec![true; more]].concat()
    }

    fn resumes(&self, address: SocketAddr, what: &str) {
        assert_eq!(self.connect(address), self.expected(true), "{}: {what}", self.version);
    }

    fn begins(&self, address: SocketAddr, what: &str) {
        assert_eq!(self.connect(address), self.expected(false), "{}: {what}", self.version);
    }
}

#[test]
fn openssl_resumes_over_a_restart_and_the_masters_death() {
    let mut gin = with_https().workers(2).start();
    let (both, address) = (clients(), gin.https_socket());
    let all_resume = |what: &str| {
        for client in &both {
            client.resumes(address, what);
        }
    };
    for client in &both {
        client.begins(address, "there was no session");
    }
    gin.restart();
    all_resume("a restart");
    gin.kill();
    all_resume("the master is dead");
    gin.start_again();
    all_resume("an adoption");
    gin.restart();
    all_resume("workers of the master that adopted");
    gin.stop();
}

/// A host whose ticket keys are those of the secret, and the address at which others reach it.
fn host(network: &Network, number: usize, secret: &Path) -> (Supervisor, SocketAddr) {
    let address = format!("{}:{}", network.address(number), free_port());
    let listener = format!("[[supervisor.listen]]\nname = \"outside\"\naddress = {address:?}\ntls = true\n");
    let builder = with_https().without_listener().security(&format!("ticket_secret_file = {secret:?}"));
    let program = network.supervisor(number, builder.dir());
    (builder.section(&listener).program(&program).start(), address.parse().unwrap())
}

#[test]
#[ignore = "needs iproute2 and root: tests/run --services"]
fn openssl_resumes_on_another_host_with_the_same_secret_and_on_no_other() {
    let (network, dir) = (Network::of(3), tempfile::tempdir_in("/tmp").unwrap());
    // Each host has a file of its own, as two machines have.
    let hosts = ["shared", "shared", "own"].into_iter().enumerate().map(|(number, secret)| {
        let file = dir.path().join(number.to_string());
        std::fs::write(&file, secret.repeat(20)).unwrap();
        host(&network, number, &file)
    });
    let hosts: Vec<(Supervisor, SocketAddr)> = hosts.collect();
    let [one, two, stranger] = [0, 1, 2].map(|number| hosts[number].1);
    for client in clients() {
        client.begins(one, "there was no session");
        client.resumes(two, "another host");
        hosts[0].0.restart();
        client.resumes(one, "back, after a restart");
        client.begins(stranger, "a host with another secret");
    }
    for (gin, _) in hosts {
        gin.stop();
    }
}

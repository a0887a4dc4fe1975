//! Hosts of a network: network namespaces, each with a link to the test's own. Needs root, and ip of Debian's package iproute2.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{binary, write_program};

/// A test and its hosts. A client in the test has the same address at each host. When it is dropped, or the test ends in
/// another way, the hosts and their links are gone.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Child>,
    /// The first three numbers of all addresses.
    prefix: String,
}

/// Runs ip with these arguments, by this command.
pub(super) fn ip(program: &mut Command, args: &str) {
    let output = program.args(args.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Network {
    /// Makes so many hosts.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub fn of(hosts: usize) -> Self {
        // Each test is a process, so its PID tells its addresses from those of another test.
        let number = std::process::id() % (50 * 250);
        let mut network = Self { hosts: Vec::new(), prefix: format!("10.{}.{}", 200 + number / 250, number % 250) };
        for _ in 0..hosts {
            network.add();
        }
        network
    }

    fn add(&mut self) {
        // It tells when it is in its namespace, and ends when the test does, by the end of its input.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(holder.stdout.as_mut().expect("it is piped")).read_line(&mut String::new());
        assert!(told.is_ok_and(|length| length > 0), "no namespace: root is needed");
        let pid = holder.id();
        self.hosts.push(holder);
        let (host, own, other) = (self.hosts.len() - 1, self.own(), self.address(self.hosts.len() - 1));
        let link = format!("gin{:x}n{host}", std::process::id());
        ip(&mut Command::new("ip"), &format!("link add {link} type veth peer name eth0 netns {pid}"));
        ip(&mut Command::new("ip"), &format!("addr add {own} peer {other} dev {link}"));
        ip(&mut Command::new("ip"), &format!("link set {link} up"));
        for args in [format!("addr add {other} peer {own} dev eth0").as_str(), "link set lo up", "link set eth0 up"] {
            ip(Command::new("nsenter").arg(self.namespace(host)).args(["--", "ip"]), args);
        }
    }

    fn namespace(&self, host: usize) -> String {
        format!("--net=/proc/{}/ns/net", self.hosts[host].id())
    }

    /// Address of the test, which its hosts reach.
    #[must_use]
    pub fn own(&self) -> String {
        format!("{}.1", self.prefix)
    }

    /// Address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> String {
        format!("{}.{}", self.prefix, host + 2)
    }

    /// Writes a program that runs gin-supervisor on a host.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn supervisor(&self, host: usize, dir: &Path) -> PathBuf {
        let program = dir.join(format!("host-{host}"));
        let supervisor = binary("gin-supervisor");
        let text = format!("#!/bin/sh\nexec nsenter {} -- {supervisor:?} \"$@\"\n", self.namespace(host));
        write_program(&program, &text);
        program
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.kill();
            let _ = host.wait();
        }
    }
}

//! A switch and hosts at it: network namespaces, each with a cable to one bridge. Needs root, ip of Debian's package iproute2, and
//! unshare, nsenter and setpriv of util-linux.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::network::ip;

/// A bridge in a network namespace of its own. The test has a cable to it, as each host has. When it is dropped, or the test ends in
/// another way, its namespace is gone, and all cables with it.
#[derive(Debug)]
pub struct Switch {
    holder: Child,
    /// The first three numbers of all addresses.
    prefix: String,
    next: Cell<usize>,
}

/// A computer at a switch: network, mounts, PIDs and a name of its own. `/run` and `/dev/shm` are empty at its start, and nobody
/// else's; all other directories are the test's. When it is dropped, or the test ends in another way, its processes are killed.
#[derive(Debug)]
pub struct Host {
    holder: Child,
    /// Its first process, as the test numbers it.
    init: u32,
    name: String,
    number: usize,
    address: String,
}

/// Starts a process that keeps namespaces until its input ends, at the test's end at the latest. `inside` runs in a shell there, and
/// says a line when it is done. Gives that line, too.
fn hold(unshare: &[&str], inside: &str) -> (Child, String) {
    let mut holder = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &format!("{inside}; exec cat >/dev/null")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let told = BufReader::new(holder.stdout.as_mut().expect("it is piped")).read_line(&mut line);
    assert!(told.is_ok_and(|length| length > 0), "no namespace: root is needed");
    (holder, line.trim().to_owned())
}

/// The test's end of its cable.
fn link() -> String {
    format!("gin{:x}s", std::process::id())
}

/// Ends the first process of namespaces by the end of its input. Of a PID namespace the kernel kills all others first.
fn release(holder: &mut Child) {
    drop(holder.stdin.take());
    let _ = holder.wait();
}

impl Switch {
    /// A switch with the test at it.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        // Each test is a process, so its PID tells its addresses from those of another test.
        let number = std::process::id() % (50 * 250);
        let (holder, _) = hold(&["--net"], "echo");
        let prefix = format!("10.{}.{}", 200 + number / 250, number % 250);
        let switch = Self { holder, prefix, next: Cell::new(0) };
        let link = link();
        ip(&mut Command::new("ip"), &format!("link add {link} type veth peer name test netns {}", switch.holder.id()));
        ip(&mut Command::new("ip"), &format!("addr add {}/24 dev {link}", switch.own()));
        ip(&mut Command::new("ip"), &format!("link set {link} up"));
        for args in ["link add bridge type bridge", "link set bridge up", "link set test master bridge up"] {
            switch.inside(args);
        }
        switch
    }

    /// Address of the test, which its hosts reach.
    #[must_use]
    pub fn own(&self) -> String {
        format!("{}.1", self.prefix)
    }

    /// Address of the host of this number, which may be none yet.
    #[must_use]
    pub fn address(&self, number: usize) -> String {
        format!("{}.{}", self.prefix, number + 2)
    }

    /// Adds a host of this name. The first one has the number 0, each further one the next.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        // Until it has a /proc of its own, /proc shows it as the test does.
        let inside = format!(
            "read pid rest </proc/self/stat && mount -t proc proc /proc && mount -t tmpfs tmpfs /run && \
             mount -t tmpfs -o mode=1777 tmpfs /dev/shm && hostname {name} && echo $pid || exit 1"
        );
        let own = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"];
        let (holder, init) = hold(&own, &inside);
        let (init, number) = (init.parse().expect("a PID"), self.next.get());
        self.attach(init, number);
        Host { holder, init, name: name.to_owned(), number, address: self.address(number) }
    }

    /// Gives the network namespace of a process a cable, as its host of this number: `eth0`, with [`Switch::address`]. The process must
    /// be one that the test has started, and its PID the one that the test knows.
    ///
    /// # Panics
    /// If there is a host of this number, or the process is gone.
    pub fn attach(&self, pid: u32, number: usize) {
        self.next.set(self.next.get().max(number + 1));
        self.inside(&format!("link add host{number} type veth peer name eth0 netns {pid}"));
        self.inside(&format!("link set host{number} master bridge up"));
        let address = self.address(number);
        let enter = format!("--net=/proc/{pid}/ns/net");
        for args in [format!("addr add {address}/24 dev eth0").as_str(), "link set lo up", "link set eth0 up"] {
            ip(Command::new("nsenter").args([enter.as_str(), "--", "ip"]), args);
        }
    }

    /// Pulls the cable of a host: nothing reaches it, and nobody hears of it, not even that it has died.
    ///
    /// # Panics
    /// If there is no host of this number.
    pub fn cut(&self, number: usize) {
        self.inside(&format!("link set host{number} down"));
    }

    /// Plugs it in again.
    ///
    /// # Panics
    /// If there is no host of this number.
    pub fn mend(&self, number: usize) {
        self.inside(&format!("link set host{number} up"));
    }

    fn inside(&self, args: &str) {
        let enter = format!("--net=/proc/{}/ns/net", self.holder.id());
        ip(Command::new("nsenter").args([enter.as_str(), "--", "ip"]), args);
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // The namespace ends some time after its last process. The name of the cable is free at once for another switch of this test.
        let _ = Command::new("ip").args(["link", "del", &link()]).status();
        release(&mut self.holder);
    }
}

impl Host {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number at the switch.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its first process, as the test numbers it.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.init
    }

    /// A command on it, which begins in `/`. What the test starts of it is nsenter: if that is killed, the program is, too, unless it has
    /// changed its user; then it ends with the host. Other signals do not reach the program.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--net", "--mount", "--uts", "--pid", "--"]);
        command.args(["setpriv", "--pdeathsig", "KILL", program]);
        command
    }

    /// Runs a command on it; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(args[0]).args(&args[1..]).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }

    /// The same for one that succeeds.
    ///
    /// # Panics
    /// If it does not.
    pub fn ok(&self, args: &[&str]) -> String {
        let (code, said) = self.run(args);
        assert_eq!(code, 0, "{args:?} on {}: {said}", self.name);
        said
    }

    /// Starts a command on it: see [`Host::command`] about signals.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args[0]).args(&args[1..]).stdin(Stdio::null()).spawn().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        release(&mut self.holder);
    }
}

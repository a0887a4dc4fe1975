//! HAProxy on a host of a [`crate::Switch`]: the balancer before a service, with a list of servers that a test changes.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Address, Host, PATIENCE, eventually};

/// A balancer that runs, until it is dropped.
#[derive(Debug)]
pub struct Balancer {
    child: Child,
    dir: TempDir,
    address: Address,
    /// Servers that it is about to forget: the end of each wait.
    lags: Mutex<Vec<Sender<()>>>,
}

/// A balancer to be started. Reads as a sentence: `balancer().servers(&all).checked("/readyz").start(&host)`.
#[derive(Debug, Default)]
pub struct Servers {
    lines: String,
    path: Option<String>,
}

/// The port on which a balancer of [`balancer`] listens.
const PORT: u16 = 80;

/// A balancer of connections without a server. It passes bytes on, tries each connection once, and closes those that fail: as a Service of
/// Kubernetes does.
#[must_use]
pub fn balancer() -> Servers {
    Servers::default()
}

impl Servers {
    /// These servers, each a name and an address with its port. New connections go to each in turn.
    #[must_use]
    pub fn servers(self, servers: &[(&str, String)]) -> Self {
        self.add(servers, "")
    }

    /// Servers that get nothing until [`Balancer::admit`].
    #[must_use]
    pub fn spare(self, servers: &[(&str, String)]) -> Self {
        self.add(servers, " disabled")
    }

    fn add(mut self, servers: &[(&str, String)], state: &str) -> Self {
        for (name, address) in servers {
            writeln!(self.lines, "server {name} {address}{state}").unwrap();
        }
        self
    }

    /// Passes requests on instead of connections, and asks each server for this path every 200 ms: one answer other than 200 takes a
    /// server out, one of 200 takes it back.
    #[must_use]
    pub fn checked(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Starts it on a host, port 80.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(self, host: &Host) -> Balancer {
        let mode = match self.path {
            Some(path) => {
                format!("mode http\noption httpchk GET {path}\ndefault-server check inter 200ms fall 1 rise 1\n")
            }
            None => "mode tcp\n".to_owned(),
        };
        let text = format!(
            "defaults\ntimeout connect 2s\ntimeout client 300s\ntimeout server 300s\nretries 0\n\
             listen service\nbind :{PORT}\nbalance roundrobin\n{mode}{}",
            self.lines
        );
        Balancer::configured(host, &text, PORT)
    }
}

impl Balancer {
    /// Starts HAProxy on a host with a configuration that listens at this port. A socket for its state is added. Servers that a test
    /// changes must stand in a section named `service`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn configured(host: &Host, text: &str, port: u16) -> Self {
        let dir = tempfile::Builder::new().prefix("gin").tempdir_in("/tmp").unwrap();
        let (file, socket) = (dir.path().join("haproxy.cfg"), dir.path().join("state"));
        std::fs::write(&file, format!("global\nstats socket {} level admin\n{text}", socket.display())).unwrap();
        let mut command = host.command("/usr/sbin/haproxy");
        let child = command.args(["-db", "-f"]).arg(&file).stdin(Stdio::null()).spawn().unwrap();
        let address = Address::from(format!("{}:{port}", host.address()).as_str());
        let own = Self { child, dir, address, lags: Mutex::default() };
        // HAProxy tells only a service manager when it listens. This socket answers when all others listen.
        eventually("HAProxy answers", || ask(&socket, "show info").is_some(), |answers| *answers);
        own
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends new connections to this server, too, from now on.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn admit(&self, server: &str) {
        set(&self.socket(), server, "ready");
    }

    /// Sends no new connection to this server when `after` has passed, and returns at once. Those that are open stay. The time is the one
    /// that a list of endpoints lags behind.
    ///
    /// # Panics
    /// Never.
    pub fn forget(&self, server: &str, after: Duration) {
        let (socket, server) = (self.socket(), server.to_owned());
        let (lag, ends) = channel::<()>();
        self.lags.lock().unwrap().push(lag);
        std::thread::spawn(move || {
            // The end of the balancer ends the wait.
            if ends.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
                set(&socket, &server, "maint");
            }
        });
    }

    /// State of a server as HAProxy names it: "UP", "DOWN", "MAINT", "no check".
    ///
    /// # Panics
    /// If there is no such server.
    #[must_use]
    pub fn state(&self, server: &str) -> String {
        let table = ask(&self.socket(), "show stat").expect("HAProxy answers");
        let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let names = fields(table.lines().next().expect("names of the fields"));
        let column = names.iter().position(|name| name == "status").expect("a field with the state");
        let of_server = table.lines().map(fields).find(|line| line.get(1).is_some_and(|name| name == server));
        of_server.unwrap_or_else(|| panic!("no server {server}: {table}"))[column].clone()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("state")
    }
}

/// Says a command to HAProxy; gives its answer, if it listens.
fn ask(socket: &Path, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("{command}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn set(socket: &Path, server: &str, state: &str) {
    let answer = ask(socket, &format!("set server service/{server} state {state}"));
    assert_eq!(answer.as_deref().map(str::trim), Some(""), "{server} is not set to {state}");
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

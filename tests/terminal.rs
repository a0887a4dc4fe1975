//! Ctrl-C at a terminal: what is idle holds nobody up, and what is waited for is told.
//!
//! The times of grace are so long that a program which keeps them fails the test.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use harness::{Address, Client, Hold, PATIENCE, binary};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

const PATIENT: &str = "[timeouts]\nidle_grace = \"10m\"\nlame_duck = \"10m\"\nshutdown = \"20m\"\n";

/// A program in the foreground of a terminal of its own. Killed when dropped.
struct Terminal {
    child: Child,
    terminal: File,
    seen: String,
}

impl Terminal {
    /// Starts a program in a directory.
    fn start(dir: &Path, program: &str, arguments: &[&str]) -> Self {
        let pair = nix::pty::openpty(None, None).unwrap();
        let slave = File::from(pair.slave);
        // Its command line ends with the program, which has the child's PID.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(binary(program))
            .args(arguments)
            .current_dir(dir)
            .env("RUNTIME_DIRECTORY", dir.join("run"))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("PORT")
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave))
            .spawn()
            .unwrap();
        Self { child, terminal: File::from(pair.master), seen: String::new() }
    }

    /// Reads more; false once the terminal has hung up, because its last process has gone.
    fn read(&mut self) -> bool {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let ready = poll(&mut [PollFd::new(&self.terminal, PollFlags::IN)], Some(&patience)).unwrap();
        assert!(ready > 0, "nothing more is said: {}", self.seen);
        let mut bytes = [0; 4096];
        let count = self.terminal.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }

    /// Until it has said this.
    fn until(&mut self, part: &str) {
        while !self.seen.contains(part) {
            assert!(self.read(), "it has ended before it said {part:?}: {}", self.seen);
        }
    }

    /// The address that it has said behind this, once a whole line of it is there.
    fn address(&mut self, before: &str) -> Address {
        self.until(before);
        let is_digit = |c: &char| c.is_ascii_digit() || ".:".contains(*c);
        loop {
            let rest = self.seen.split(before).nth(1).unwrap_or_default();
            let address: String = rest.chars().take_while(is_digit).collect();
            if address.len() < rest.len() {
                return Address::from(address.as_str());
            }
            assert!(self.read(), "{}", self.seen);
        }
    }

    fn ctrl_c(&mut self) {
        self.terminal.write_all(b"\x03").unwrap();
    }

    /// Until its last process has gone.
    fn ends(&mut self) -> ExitStatus {
        while self.read() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn directory(config: &str) -> TempDir {
    // sun_path holds 108 bytes: a short name.
    let dir = tempfile::Builder::new().prefix("gin").tempdir_in("/tmp").unwrap();
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("shop.toml"), config).unwrap();
    dir
}

/// A client that was answered, and keeps its connection.
fn idle(address: &Address) -> Client {
    let mut client = Client::asking(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    client
}

/// The worker of the tests on its own, with a client that is idle.
fn lone_service(dir: &TempDir) -> (Terminal, Address, Client) {
    let mut terminal = Terminal::start(dir.path(), "fixture-worker", &["--port", "0", "--config", "shop.toml"]);
    let address = terminal.address("listening on http://");
    let client = idle(&address);
    (terminal, address, client)
}

#[test]
fn gin_server_ends_at_once_while_browsers_keep_connections() {
    let dir = directory(PATIENT);
    let mut terminal = Terminal::start(dir.path(), "gin-server", &["--port", "0", "--config", "shop.toml"]);
    let address = terminal.address("listening on http://");
    // Browsers also connect ahead of their requests.
    let (_idle, _ahead) = (idle(&address), Client::connect(&address).unwrap());
    terminal.ctrl_c();
    assert!(terminal.ends().success(), "{}", terminal.seen);
}

#[test]
fn a_service_tells_what_it_waits_for_and_ends_when_that_is_done() {
    let dir = directory(PATIENT);
    let hold = Hold::new(dir.path());
    let (mut terminal, address, _idle) = lone_service(&dir);
    let mut client = Client::asking(&address, &hold.request()).unwrap();
    let request = hold.arrived();
    terminal.ctrl_c();
    terminal.until("waiting for 1 request; Ctrl-C again ends it");
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    assert!(terminal.ends().success(), "{}", terminal.seen);
}

#[test]
fn ctrl_c_again_ends_what_a_service_waits_for() {
    let dir = directory(PATIENT);
    let hold = Hold::new(dir.path());
    let (mut terminal, address, _idle) = lone_service(&dir);
    let _clients = [1, 2].map(|_| Client::asking(&address, &hold.request()).unwrap());
    let _requests = [hold.arrived(), hold.arrived()];
    terminal.ctrl_c();
    terminal.until("waiting for 2 requests; Ctrl-C again ends them");
    terminal.ctrl_c();
    assert!(terminal.ends().success(), "{}", terminal.seen);
}

#[test]
fn a_supervisor_in_the_foreground_ends_at_once_or_its_workers_tell_what_they_wait_for() {
    for is_held in [false, true] {
        let supervisor = format!(
            "[supervisor]\ncommand = [{:?}]\nchannel = true\ndrain_timeout = \"30m\"\non_master_death = \"exit\"\n[[supervisor.listen]]\nname = \"http\"\n\
             address = \"127.0.0.1:0\"\n{PATIENT}",
            binary("fixture-worker")
        );
        let dir = directory(&supervisor);
        let hold = Hold::new(dir.path());
        let mut terminal = Terminal::start(dir.path(), "gin-supervisor", &["-c", "shop.toml"]);
        let address = terminal.address("http://");
        let _idle = idle(&address);
        let held = is_held.then(|| (Client::asking(&address, &hold.request()).unwrap(), hold.arrived()));
        terminal.ctrl_c();
        if let Some((mut client, request)) = held {
            terminal.until("worker 1.0: waiting for 1 request; Ctrl-C again ends it");
            request.release();
            assert_eq!(client.response().unwrap().body, b"held\n");
        }
        assert!(terminal.ends().success(), "{}", terminal.seen);
    }
}

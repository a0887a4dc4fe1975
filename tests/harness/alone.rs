//! gin-server, or the worker of the tests, by itself.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Address, PATIENCE, Process, binary};

/// One that runs, until it is dropped.
#[derive(Debug)]
pub struct Alone {
    child: Child,
    address: Address,
    log: Receiver<Value>,
    dir: TempDir,
}

/// gin-server without a supervisor, with these sections, on a port of its own.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn alone(sections: &str) -> Alone {
    alone_in(tempfile::tempdir_in("/tmp").unwrap(), sections)
}

/// The same in a directory that has something already.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn alone_in(dir: TempDir, sections: &str) -> Alone {
    start("gin-server", dir, sections)
}

/// The worker of the tests without a supervisor, in this mode.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn ours_alone(mode: &str, sections: &str) -> Alone {
    ours_alone_in(tempfile::tempdir_in("/tmp").unwrap(), mode, sections)
}

/// The same in a directory that has something already.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn ours_alone_in(dir: TempDir, mode: &str, sections: &str) -> Alone {
    std::fs::write(dir.path().join("mode"), mode).unwrap();
    start("fixture-worker", dir, sections)
}

fn start(program: &str, dir: TempDir, sections: &str) -> Alone {
    let config = dir.path().join("server.toml");
    std::fs::write(&config, sections).unwrap();
    let mut child = Command::new(binary(program))
        .current_dir(dir.path())
        .args(["--port", "0", "--config"])
        .arg(&config)
        .env_remove("NOTIFY_SOCKET")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = channel();
    // Read to the end, or it would stand still.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
        }
    });
    let mut own = Alone { child, address: Address::Unix(PathBuf::new()), log: lines, dir };
    let started = own.until("listening on");
    own.address = Address::from(started["address"].as_str().expect("an address"));
    own
}

impl Alone {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The same, over TCP.
    ///
    /// # Panics
    /// If it listens to something else.
    #[must_use]
    pub fn tcp(&self) -> SocketAddr {
        let Address::Tcp(address) = &self.address else { panic!("no TCP: {:?}", self.address) };
        *address
    }

    /// A field of `/proc/PID/status`, in KiB.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn memory(&self, field: &str) -> usize {
        self.process().memory(field)
    }

    /// Number of its open sockets, and of all its descriptors.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn descriptors(&self) -> (usize, usize) {
        self.process().descriptors()
    }

    /// The process, as the kernel shows it.
    #[must_use]
    pub fn process(&self) -> Process {
        Process(self.pid())
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its log whose message contains `part`, or that is no JSON and contains it.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn until(&self, part: &str) -> Value {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let text = line["message"].as_str().or(line.as_str()).unwrap_or_default();
                    if text.contains(part) {
                        return line;
                    }
                    seen.push(line);
                }
                Err(error) => panic!("no line says {part:?}: {error}; seen {seen:#?}"),
            }
        }
    }

    /// Other sections.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn configure(&self, sections: &str) {
        let (new, file) = (self.dir.path().join("new"), self.dir.path().join("server.toml"));
        std::fs::write(&new, sections).unwrap();
        // As editors do it.
        std::fs::rename(new, file).unwrap();
    }

    /// A signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// SIGTERM.
    pub fn stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Its end.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

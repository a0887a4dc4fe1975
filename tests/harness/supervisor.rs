//! A real gin-supervisor in a directory of its own.

use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gin_shared::generation::Generation;
use gin_shared::status::{Role, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::control::{Ctl, Events, status};
use crate::{Address, Notifications, Releases, Response, binary, fixture, get};

/// What is to be started. Reads as a sentence: `supervisor().workers(2).ours().start()`.
#[derive(Debug)]
pub struct Builder {
    dir: TempDir,
    settings: String,
    sections: String,
    unix: bool,
    no_listener: bool,
    environment: Vec<(String, String)>,
    whole: Option<String>,
}

/// A supervisor of one gin-server.
///
/// # Panics
/// If there is no room for it.
#[must_use]
pub fn supervisor() -> Builder {
    // sun_path holds 108 bytes: a short name.
    let dir = tempfile::Builder::new().prefix("gin").tempdir_in("/tmp").unwrap();
    Builder {
        dir,
        settings: String::new(),
        sections: String::new(),
        unix: false,
        no_listener: false,
        environment: Vec::new(),
        whole: None,
    }
}

impl Builder {
    /// A line of `[supervisor]`.
    #[must_use]
    pub fn set(mut self, line: &str) -> Self {
        writeln!(self.settings, "{line}").unwrap();
        self
    }

    /// More sections.
    #[must_use]
    pub fn section(mut self, text: &str) -> Self {
        writeln!(self.sections, "{text}").unwrap();
        self
    }

    /// This file instead of all settings.
    #[must_use]
    pub fn file(mut self, text: &str) -> Self {
        self.whole = Some(text.to_owned());
        self
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// So many workers.
    #[must_use]
    pub fn workers(self, count: usize) -> Self {
        self.set(&format!("workers = {count}"))
    }

    /// Our fixture, which is built on gin-worker, from a release.
    #[must_use]
    pub fn ours(self, release: &str, mode: &str) -> Self {
        let program = binary("fixture-worker");
        self.in_release(release, mode).set(&format!("command = [{program:?}]\nchannel = true"))
    }

    /// The fixture that knows nothing of us, from a release.
    #[must_use]
    pub fn foreign(self, release: &str, mode: &str) -> Self {
        let program = fixture("foreign.py");
        self.in_release(release, mode).set(&format!("command = [\"/usr/bin/python3\", {program:?}]"))
    }

    fn in_release(self, release: &str, mode: &str) -> Self {
        self.releases().release(release, mode);
        let current = self.releases().current();
        self.set(&format!("directory = {current:?}"))
    }

    /// Its releases.
    #[must_use]
    pub fn releases(&self) -> Releases {
        Releases::new(self.dir.path())
    }

    /// A Unix socket beside TCP.
    #[must_use]
    pub fn and_unix(mut self) -> Self {
        self.unix = true;
        self
    }

    /// Lets other users enter its directory.
    ///
    /// # Panics
    /// If its mode cannot be changed.
    #[must_use]
    pub fn open_directory(self) -> Self {
        std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Nothing to listen on.
    #[must_use]
    pub fn without_listener(mut self) -> Self {
        self.no_listener = true;
        self
    }

    /// A variable of the supervisor's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn prepare(self) -> (TempDir, Command) {
        let path = self.dir.path();
        let mut text = format!("[supervisor]\n{}", self.settings);
        if !self.no_listener {
            text.push_str("[[supervisor.listen]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\n");
        }
        if self.unix {
            writeln!(text, "[[supervisor.listen]]\nname = \"unix\"\naddress = \"unix:{}/http.sock\"", path.display())
                .unwrap();
        }
        text.push_str(&self.sections);
        let text = self.whole.unwrap_or(text);
        std::fs::write(path.join("shop.toml"), text).unwrap();
        std::fs::create_dir_all(path.join("run")).unwrap();
        let log = File::options().create(true).append(true).open(path.join("log")).unwrap();
        let mut command = Command::new(binary("gin-supervisor"));
        command
            .arg("-c")
            .arg(path.join("shop.toml"))
            .env("RUNTIME_DIRECTORY", path.join("run"))
            .env("NOTIFY_SOCKET", path.join("notify"))
            .env_remove("PORT")
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        (self.dir, command)
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start(self) -> Supervisor {
        let (dir, mut command) = self.prepare();
        let told = Notifications::listen(&dir.path().join("notify"));
        // A group of its own: a Ctrl-C is the test runner's, and a signal that a test sends to a group is the supervisor's.
        let child = command.process_group(0).spawn().unwrap();
        let mut supervisor = Supervisor { child, dir, told };
        let child = &mut supervisor.child;
        let gone = || child.try_wait().is_ok_and(|status| status.is_some());
        if let Err(all) = supervisor.told.wait(0, |message| message.starts_with("READY=1"), gone) {
            panic!("it does not serve ({all:?}): {}", supervisor.log());
        }
        supervisor
    }

    /// Starts it when it is not to come up; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn fails(self) -> (i32, String) {
        let (dir, mut command) = self.prepare();
        let status = command.status().unwrap();
        let left: Vec<_> =
            std::fs::read_dir(dir.path().join("run")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".lock")), "left behind: {left:?}");
        (status.code().expect("it exits"), std::fs::read_to_string(dir.path().join("log")).unwrap())
    }
}

/// One that runs. Killed, with its workers, when dropped.
#[derive(Debug)]
pub struct Supervisor {
    child: Child,
    dir: TempDir,
    told: Notifications,
}

impl Supervisor {
    /// What it has told its service manager.
    #[must_use]
    pub fn told(&self) -> &Notifications {
        &self.told
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its releases.
    #[must_use]
    pub fn releases(&self) -> Releases {
        Releases::new(self.dir.path())
    }

    /// Changes its configuration.
    ///
    /// # Panics
    /// If the file is not there.
    pub fn configure(&self, change: impl FnOnce(String) -> String) {
        let file = self.dir.path().join("shop.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, change(text)).unwrap();
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/control.sock")
    }

    /// Its PID, from the PID file as operators read it.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn pid(&self) -> Pid {
        let text = std::fs::read_to_string(self.dir.path().join("run/pid")).expect("a PID file");
        Pid::from_raw(text.trim().parse().expect("a PID"))
    }

    /// All it and its workers have written.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        status(&self.socket())
    }

    /// Its TCP listener.
    #[must_use]
    pub fn tcp(&self) -> Address {
        self.listener("http")
    }

    /// Its Unix listener.
    #[must_use]
    pub fn unix(&self) -> Address {
        self.listener("unix")
    }

    /// One of its listeners.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Address {
        let status = self.status();
        let listener = status.listeners.iter().find(|listener| listener.name == name).expect("it listens there");
        Address::from(listener.address.as_str())
    }

    /// A GET at its TCP listener.
    ///
    /// # Panics
    /// If that hurts.
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        get(&self.tcp(), path).unwrap_or_else(|failure| panic!("{failure:?}: {}", self.log()))
    }

    /// Runs gin-ctl on it.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> Ctl {
        Ctl::run(&self.socket(), args)
    }

    /// `gin-ctl restart` that succeeds.
    pub fn restart(&self) {
        self.ctl(&["restart"]).assert(0, &["serves"]);
    }

    /// Its events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::follow(&self.socket())
    }

    /// Sends the master a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).expect("it is there");
    }

    /// `kill -USR2 $(cat pidfile)`, until the new generation serves.
    pub fn usr2(&self) {
        let mut events = self.events();
        kill(self.pid(), Signal::SIGUSR2).expect("it is there");
        events.until("current");
    }

    /// The PIDs of the current generation.
    #[must_use]
    pub fn workers(&self) -> Vec<i32> {
        let status = self.status();
        let current = status.generations.iter().filter(|generation| generation.role == Role::Current);
        current.flat_map(|generation| generation.workers.iter().filter_map(|worker| worker.pid)).collect()
    }

    /// The current generation.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn generation(&self) -> Generation {
        let status = self.status();
        let current = status.generations.iter().find(|generation| generation.role == Role::Current);
        current.expect("something serves").generation
    }

    /// SIGKILL to the master alone.
    ///
    /// # Panics
    /// If it is gone.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// SIGTERM, and everything that must hold then: exit code 0, and nothing left behind.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        self.assert_gone(0);
    }

    /// Waits for its end; gives its exit code.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// It ends with this code, and leaves nothing behind: no process, socket or PID file.
    ///
    /// # Panics
    /// If it does not, or something is there.
    pub fn assert_gone(&mut self, code: i32) {
        assert_eq!(self.wait(), code, "{}", self.log());
        let left: Vec<String> = std::fs::read_dir(self.dir.path().join("run"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        assert!(!self.dir.path().join("http.sock").exists(), "the listener's socket was left behind");
        assert_eq!(self.processes(), Vec::<i32>::new(), "processes were left behind");
    }

    /// Every process whose environment says that it is of this supervisor: its RUNTIME_DIRECTORY, or its workers' NOTIFY_SOCKET.
    fn processes(&self) -> Vec<i32> {
        let mark = self.dir.path().display().to_string();
        let ours = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&mark)
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

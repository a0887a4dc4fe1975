//! A real gin-supervisor in a directory of its own.

mod deaths;
mod processes;

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use gin_shared::generation::Generation;
use gin_shared::status::{Role, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::control::{Ctl, Events, status};
use crate::{Address, Hold, Https, Load, Notifications, Releases, Response, binary, eventually, get, on_change};

/// One that runs. Killed, with its workers, when dropped.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) child: Child,
    pub(super) dir: TempDir,
    pub(super) told: Notifications,
    pub(super) environment: Vec<(String, String)>,
    pub(super) program: PathBuf,
}

/// How much of a log is shown.
const TAIL: usize = 4 * 1024;

/// What each thread of a process is at, and the end of its log: of one that does nothing.
fn predicament(pid: u32, log: &str) -> String {
    let mut text = String::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let of_thread = |file: &str| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let [name, place, stack, call, stat] = ["comm", "wchan", "stack", "syscall", "stat"].map(of_thread);
        let _ = writeln!(text, "{}: {place}\n{stack}{call}{stat}", name.trim());
    }
    text + &log[log.floor_char_boundary(log.len().saturating_sub(TAIL))..]
}

pub(super) fn command(program: &Path, dir: &Path, environment: &[(String, String)]) -> Command {
    let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(dir.join("shop.toml"))
        .env("RUNTIME_DIRECTORY", dir.join("run"))
        .env("NOTIFY_SOCKET", dir.join("notify"))
        .env_remove("PORT")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

impl Supervisor {
    fn command(&self) -> Command {
        command(&self.program, self.dir.path(), &self.environment)
    }

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

    /// A place in its directory at which requests wait until the test lets them go.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold::new(self.dir.path())
    }

    /// Changes its configuration.
    ///
    /// # Panics
    /// If the file is not there.
    pub fn configure(&self, change: impl FnOnce(String) -> String) {
        let (file, new) = (self.dir.path().join("shop.toml"), self.dir.path().join("shop.new"));
        let text = std::fs::read_to_string(&file).unwrap();
        // Nobody reads half of it.
        std::fs::write(&new, change(text)).unwrap();
        std::fs::rename(new, file).unwrap();
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

    /// Until its log says `part`.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_log(&self, part: &str) {
        self.until_log_again(part, 1);
    }

    /// Until it has said that so many times.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_log_again(&self, part: &str, times: usize) {
        let what = format!("the log has {part:?} {times} times");
        on_change(&self.dir.path().join("log"), &what, || self.log(), |log| log.matches(part).count() >= times);
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

    /// Its listener that speaks TLS, for a client of either version.
    #[must_use]
    pub fn https(&self) -> Address {
        Https::at(self.https_socket()).into()
    }

    /// The address of that listener's socket.
    ///
    /// # Panics
    /// If there is no such listener.
    #[must_use]
    pub fn https_socket(&self) -> SocketAddr {
        let Address::Tcp(address) = self.listener("https") else { panic!("it listens on TCP") };
        address
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

    /// The answer of our fixture in the current generation to `GET /`. The generation before accepts until it hears that it
    /// is to drain, and who has accepted a connection shows in the answer alone.
    ///
    /// # Panics
    /// If that hurts, or none of its workers answers.
    #[must_use]
    pub fn who(&self) -> serde_json::Value {
        let look = || (self.get("/").json(), self.workers());
        eventually("the current generation answers", look, |(who, pids)| pids.iter().any(|pid| who["pid"] == *pid)).0
    }

    /// Its TCP listener's address as its log tells it: for when nobody answers.
    ///
    /// # Panics
    /// If it was never told.
    #[must_use]
    pub fn known_tcp(&self) -> String {
        self.until_log("listening on 127.0.0.1");
        let log = self.log();
        let line = log.lines().find(|line| line.contains("listening on 127.0.0.1")).expect("it is there");
        let rest = line.split("listening on ").nth(1).unwrap_or_default();
        rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
    }

    /// Runs gin-ctl on it.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> Ctl {
        Ctl::run(&self.socket(), args)
    }

    /// Starts gin-ctl on it, and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn ctl_in_background(&self, args: &[&str]) -> Child {
        let mut command = Command::new(binary("gin-ctl"));
        command.arg("-s").arg(self.socket()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// `gin-ctl restart` that succeeds.
    pub fn restart(&self) {
        self.ctl(&["restart"]).assert(0, &["serves"]);
    }

    /// A restart under load that fails with these words and changes nothing: not the workers that answer, not the
    /// generation, and no client notices.
    ///
    /// # Panics
    /// If it succeeds, or something changes.
    pub fn refuses_restart(&self, parts: &[&str]) {
        let before = (self.workers(), self.generation());
        // One that drains after the restart before may still have accepted what comes now.
        eventually("nobody drains", || self.status().generations, |all| all.len() == 1);
        let load = Load::new().keep_alive(&self.tcp(), 4).one_shot(&self.tcp(), 4);
        load.flows(50);
        self.ctl(&["restart"]).assert(1, parts);
        load.flows(50);
        let report = load.finish();
        report.assert_unhurt();
        let is_old = |pid: &u64| i32::try_from(*pid).is_ok_and(|pid| before.0.contains(&pid));
        assert!(report.by_pid.keys().all(is_old), "not all of {report:?} are of {before:?}");
        assert_eq!((self.workers(), self.generation()), before, "something changed");
        let history = self.ctl(&["history"]);
        assert!(history.out.lines().next().is_some_and(|line| line.contains("failed")), "{history:?}");
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

    pub(super) fn until_ready(&mut self, after: usize) {
        if let Err(all) = self.told.ready(after, &self.child) {
            panic!("it does not serve ({all:?}): {}", self.predicament());
        }
    }

    /// True if its master has died.
    ///
    /// # Panics
    /// If it cannot be told.
    #[must_use]
    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// One more restart; then nobody is there but who should be, and it stops.
    ///
    /// # Panics
    /// If not.
    pub fn ends_sound(self) {
        self.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        self.assert_sound();
        self.stop();
    }

    /// Clients of each kind, at both of its listeners.
    #[must_use]
    pub fn load(&self) -> Load {
        let (tcp, unix) = (self.tcp(), self.unix());
        Load::new().keep_alive(&tcp, 4).one_shot(&tcp, 4).keep_alive(&unix, 2).one_shot(&unix, 2)
    }

    /// What its master is at, thread by thread, and the end of its log.
    #[must_use]
    pub fn predicament(&self) -> String {
        predicament(self.child.id(), &self.log())
    }

    /// SIGTERM, and everything that must hold then: exit code 0, and nothing left behind.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        self.assert_gone(0);
    }

    fn until_dead(&mut self) -> ExitStatus {
        let log = self.dir.path().join("log");
        deaths::end_of(&mut self.child, || String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned())
    }

    /// Waits for its end; gives its exit code.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn wait(&mut self) -> i32 {
        self.until_dead().code().unwrap_or(-1)
    }

    /// It ends with this code, and leaves nothing behind: no process, socket or PID file.
    ///
    /// # Panics
    /// If it does not, or something is there.
    pub fn assert_gone(&mut self, code: i32) {
        assert_eq!(self.wait(), code, "{}", self.log());
        self.assert_nothing_left();
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

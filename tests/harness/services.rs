//! Real servers of Debian's packages: MariaDB, PostgreSQL and Redis, each on a private port, in a directory of its own, as an
//! ordinary user. Only `tests/run --services` installs them.

mod mariadb;
mod postgres;
mod processes;
mod redis;

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::{free_port, on_change};
use processes::{Processes, State};

/// The user of all servers, and the name of their database.
pub const NAME: &str = "shop";

/// The password of `NAME` at all servers. No other text has this word.
pub const PASSWORD: &str = "swordfish-7f3a91c5";

/// User and group `nobody` of Debian: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// MariaDB, by the protocol of MySQL.
    MariaDb,
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// Redis that takes TLS alone, with a certificate that only its own section knows.
    RedisTls,
}

/// Directory and port of a server. Both stay the same when it is started again.
#[derive(Debug)]
struct Place {
    dir: TempDir,
    port: u16,
    /// Addresses at which it listens.
    addresses: Vec<String>,
}

/// A server that a test starts, kills, pauses and starts again. Dropped, it is killed with all its processes. The kernel kills
/// it as well when the thread ends that started it last, so it does not outlive a test that is killed.
#[derive(Debug)]
pub struct Service {
    kind: ServiceKind,
    place: Place,
    child: Option<Child>,
    /// Number of starts so far: each one writes a line to the log when the server takes connections.
    starts: usize,
}

impl Place {
    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    /// Writes a file that only the server's user can read.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        give_away(&file);
        file
    }

    /// A program that runs as the server's user, with no environment of the test.
    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if geteuid().is_root() {
            command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        }
        command.arg("--").arg(program).current_dir(self.path()).stdin(Stdio::null());
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            // A MariaDB that starts removes temporary tables that it finds there, also those of another one.
            .env("TMPDIR", self.path())
            .env("HOME", self.path());
        command
    }

    /// Runs a program that prepares the server, to its end.
    fn run(&self, mut command: Command) {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {HINT}"));
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert!(output.status.success(), "{command:?}: {said}; {HINT}");
    }
}

/// Advice if a server's program is not there.
const HINT: &str = "tests/run --services installs the servers";

fn give_away(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

impl ServiceKind {
    fn prepare(self, place: &Place) {
        match self {
            Self::MariaDb => mariadb::prepare(place),
            Self::Postgres => postgres::prepare(place),
            Self::Redis => redis::prepare(place),
            Self::RedisTls => redis::prepare_tls(place),
        }
    }

    fn server(self, place: &Place) -> Command {
        match self {
            Self::MariaDb => mariadb::server(place),
            Self::Postgres => postgres::server(place),
            Self::Redis | Self::RedisTls => redis::server(place),
        }
    }

    /// The words by which its log tells that it takes connections.
    fn ready(self) -> &'static str {
        match self {
            Self::MariaDb => mariadb::READY,
            Self::Postgres => postgres::READY,
            Self::Redis | Self::RedisTls => redis::READY,
        }
    }

    /// The signal on which it ends in order without waiting for its clients.
    fn end(self) -> Signal {
        match self {
            Self::MariaDb | Self::Redis | Self::RedisTls => Signal::SIGTERM,
            Self::Postgres => Signal::SIGINT,
        }
    }

    fn client(self, place: &Place, text: &str) -> Command {
        match self {
            Self::MariaDb => mariadb::client(place, text),
            Self::Postgres => postgres::client(place, text),
            Self::Redis => redis::client(place, text),
            Self::RedisTls => redis::client_tls(place, text),
        }
    }
}

impl Service {
    /// Starts one on 127.0.0.1, and waits until it takes connections.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start(kind: ServiceKind) -> Self {
        Self::start_at(kind, &["127.0.0.1"])
    }

    /// The same at these addresses.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_at(kind: ServiceKind, addresses: &[&str]) -> Self {
        // sun_path holds 108 bytes: a short name.
        let dir = tempfile::Builder::new().prefix("srv").tempdir_in("/tmp").unwrap();
        give_away(dir.path());
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        let place = Place { dir, port: free_port(), addresses };
        kind.prepare(&place);
        let mut service = Self { kind, place, child: None, starts: 0 };
        service.start_again();
        service
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.place.port
    }

    /// Its section of a configuration: `[database]` or `[redis]`, with the password.
    #[must_use]
    pub fn section(&self) -> String {
        let tls = match self.kind {
            ServiceKind::RedisTls => redis::tls(&self.place),
            ServiceKind::MariaDb | ServiceKind::Postgres | ServiceKind::Redis => String::new(),
        };
        self.section_with(&format!("password = {PASSWORD:?}\n{tls}"))
    }

    /// The same with these lines instead of the password.
    #[must_use]
    pub fn section_with(&self, lines: &str) -> String {
        let Place { port, addresses, .. } = &self.place;
        let at = format!("host = {:?}\nport = {port}\n", addresses[0]);
        let driver = match self.kind {
            ServiceKind::MariaDb => "mysql",
            ServiceKind::Postgres => "postgres",
            ServiceKind::Redis | ServiceKind::RedisTls => return format!("[redis]\n{at}{lines}"),
        };
        format!("[database]\ndriver = \"{driver}\"\n{at}username = {NAME:?}\ndatabase = {NAME:?}\n{lines}")
    }

    /// Asks it one question with Debian's own client; gives the answer, a line a row, columns with tabs between.
    ///
    /// # Panics
    /// If it refuses the question.
    #[must_use]
    pub fn ask(&self, text: &str) -> String {
        let output = self.kind.client(&self.place, text).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The server's log so far.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.place.log()).unwrap()).into_owned()
    }

    fn processes(&self) -> Processes {
        Processes::of(self.child.as_ref().expect("it runs").id())
    }

    /// SIGKILL to all its processes, until the last one has ended.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        let processes = self.stand_still();
        processes.signal(Signal::SIGKILL);
        self.until_ended(&processes);
    }

    /// Ends it in order, until the last of its processes has ended.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub fn stop(&mut self) {
        let processes = self.processes();
        processes.signal_first(self.kind.end());
        self.until_ended(&processes);
    }

    fn until_ended(&mut self, processes: &Processes) {
        processes.until_ended();
        self.child.take().expect("it ran").wait().unwrap();
    }

    /// SIGSTOP to all its processes, until the last one stands still. The kernel takes connections for it all the same.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pause(&self) {
        let all = self.stand_still();
        all.signal(Signal::SIGSTOP);
        all.until(State::Stopped);
    }

    /// Stops the first process, which makes no further one then; gives all that there are.
    fn stand_still(&self) -> Processes {
        let first = self.processes();
        first.signal_first(Signal::SIGSTOP);
        first.until_first_is(State::Stopped);
        self.processes()
    }

    /// SIGCONT to all its processes.
    ///
    /// # Panics
    /// If it does not run.
    pub fn resume(&self) {
        let all = self.processes();
        all.signal(Signal::SIGCONT);
        all.until(State::Running);
    }

    /// Starts it with the data that it had, and waits until it takes connections.
    ///
    /// # Panics
    /// If it runs, or does not start.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "{:?} runs", self.kind);
        let log = File::options().create(true).append(true).open(self.place.log()).unwrap();
        let mut command = self.kind.server(&self.place);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; {HINT}"));
        self.starts += 1;
        let ready = |log: &String| log.matches(self.kind.ready()).count() >= self.starts;
        let look = || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{:?} has ended ({ended:?}): {}; {HINT}", self.kind, self.log());
            self.log()
        };
        on_change(&self.place.log(), "the server takes connections", look, ready);
        self.child = Some(child);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            Processes::of(child.id()).signal(Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

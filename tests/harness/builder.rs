//! What a supervisor in a test is started with.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::supervisor::{Supervisor, command};
use crate::{Notifications, Releases, binary, fixture, put_pair};

/// What is to be started. Reads as a sentence: `supervisor().workers(2).ours().start()`.
#[derive(Debug)]
pub struct Builder {
    dir: TempDir,
    settings: String,
    sections: String,
    unix: bool,
    no_listener: bool,
    /// Lines of `[security]`, if a listener speaks TLS.
    security: Option<String>,
    environment: Vec<(String, String)>,
    whole: Option<String>,
    program: PathBuf,
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
        security: None,
        environment: Vec::new(),
        whole: None,
        program: binary("gin-supervisor"),
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

    /// This program instead of the gin-supervisor that was built.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// Has faults and deaths ordered in the file `faults` of its directory.
    #[must_use]
    pub fn faulty(self) -> Self {
        let file = self.dir.path().join("faults").display().to_string();
        self.env("GIN_FAULTS", &file)
    }

    /// The same for its workers, in the file `worker-faults`.
    #[must_use]
    pub fn faulty_workers(self) -> Self {
        let file = self.dir.path().join("worker-faults");
        self.set(&format!("env = {{ GIN_WORKER_FAULTS = {file:?} }}"))
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
        self.in_release(release, mode).set(&format!("command = [{program:?}]"))
    }

    /// The fixture with a database, a cache and sessions, from a release. What it keeps lies in `state` of the directory. Only
    /// `tests/run --services` builds it.
    #[must_use]
    pub fn data(self, release: &str, mode: &str) -> Self {
        let (program, state) = (binary("fixture-data"), self.dir.path().join("state"));
        self.in_release(release, mode)
            .set(&format!("command = [{program:?}]"))
            .set(&format!("env = {{ STATE_DIRECTORY = {state:?} }}"))
    }

    /// The fixture with traces and profiles, from a release. Its database lies in `state` of the directory.
    #[must_use]
    pub fn observed(self, release: &str, mode: &str) -> Self {
        let (program, state) = (binary("fixture-observed"), self.dir.path().join("state"));
        self.in_release(release, mode)
            .set(&format!("command = [{program:?}]"))
            .set(&format!("env = {{ STATE_DIRECTORY = {state:?} }}"))
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

    /// A listener beside the others that speaks TLS, with the tests' certificate of this host: see [`crate::put_pair`]. Its `[security]`
    /// stands in the configuration; more lines of that are [`Self::security`]'s.
    #[must_use]
    pub fn https(mut self) -> Self {
        put_pair(self.dir.path(), "server");
        let [cert, key] = ["pem", "key"].map(|kind| self.dir.path().join("tls").join(format!("shop.{kind}")));
        self.security = Some(format!("cert_file = {cert:?}\nkey_file = {key:?}\n"));
        self
    }

    /// A line of its `[security]`.
    ///
    /// # Panics
    /// If no listener speaks TLS.
    #[must_use]
    pub fn security(mut self, line: &str) -> Self {
        writeln!(self.security.as_mut().expect("it is asked for https() before"), "{line}").unwrap();
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

    fn prepare(&self) -> Command {
        let path = self.dir.path();
        let mut text = format!("[supervisor]\n{}", self.settings);
        if !self.no_listener {
            text.push_str("[[supervisor.listen]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\n");
        }
        if self.unix {
            writeln!(text, "[[supervisor.listen]]\nname = \"unix\"\naddress = \"unix:{}/http.sock\"", path.display())
                .unwrap();
        }
        if let Some(security) = &self.security {
            text.push_str("[[supervisor.listen]]\nname = \"https\"\naddress = \"127.0.0.1:0\"\ntls = true\n");
            writeln!(text, "[security]\n{security}").unwrap();
        }
        text.push_str(&self.sections);
        let text = self.whole.clone().unwrap_or(text);
        std::fs::write(path.join("shop.toml"), text).unwrap();
        std::fs::create_dir_all(path.join("run")).unwrap();
        command(&self.program, path, &self.environment)
    }

    /// Another text in its settings.
    #[must_use]
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        self.settings = self.settings.replace(from, to);
        self
    }

    /// Starts it, and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(self) -> Supervisor {
        let mut command = self.prepare();
        let told = Notifications::listen(&self.dir.path().join("notify"));
        // A group of its own: a Ctrl-C is the test runner's, and a signal that a test sends to a group is the supervisor's.
        let child = command.process_group(0).spawn().unwrap();
        Supervisor { child, dir: self.dir, told, environment: self.environment, program: self.program }
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start(self) -> Supervisor {
        let mut supervisor = self.spawn();
        supervisor.until_ready(0);
        supervisor
    }

    /// Starts it when it is not to come up; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn fails(self) -> (i32, String) {
        let (mut command, dir) = (self.prepare(), self.dir);
        let status = command.status().unwrap();
        let left: Vec<_> =
            std::fs::read_dir(dir.path().join("run")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(
            left.iter().all(|name| name == "failed-start" || name.to_string_lossy().ends_with(".lock")),
            "left behind: {left:?}"
        );
        (status.code().expect("it exits"), std::fs::read_to_string(dir.path().join("log")).unwrap())
    }
}

//! A real systemd, as PID 1 of its own namespaces; see the script `lab` beside this file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::{Releases, binary, roots};

/// A lab that runs; ended when dropped.
#[derive(Debug)]
pub struct Lab {
    dir: TempDir,
}

impl Lab {
    /// Boots one.
    ///
    /// # Panics
    /// If it does not come up: root and the packages systemd, dbus and util-linux are needed.
    #[must_use]
    pub fn start() -> Self {
        let own = [binary("."), Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()];
        // The lab has /tmp, /run and /var of its own; what we start from there must be seen in it.
        let hidden = |path: &PathBuf| ["/tmp", "/run", "/var"].iter().any(|top| path.starts_with(top));
        Self::boot(|script| script.args(own.into_iter().filter(hidden)))
    }

    /// Boots one in a root file system of its own, with a network of its own: a Debian as it is after its installation. Of this machine
    /// it sees nothing but [`Lab::dir`]. Changes of the root vanish with the lab.
    ///
    /// # Panics
    /// If it does not come up: root is needed, and the root `systemd` of the script `roots`.
    #[must_use]
    pub fn in_root() -> Self {
        Self::boot(|script| script.env("LAB_ROOT", roots::path("systemd")).env("LAB_NET", "private"))
    }

    fn boot(how: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let dir = tempfile::Builder::new().prefix("lab").tempdir_in("/tmp").unwrap();
        let lab = Self { dir };
        let output = how(&mut lab.script("start")).output().unwrap();
        assert!(output.status.success(), "the lab does not start: {}", text(&output));
        lab
    }

    fn script(&self, command: &str) -> Command {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/lab"));
        script.arg(command).arg(self.dir.path()).stdin(Stdio::null());
        script
    }

    /// Its directory, the same inside and outside.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Releases in it.
    #[must_use]
    pub fn releases(&self) -> Releases {
        Releases::new(self.dir.path())
    }

    /// Runs a command inside; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.script("run").args(args).output().unwrap();
        (output.status.code().unwrap_or(-1), text(&output))
    }

    /// The same for one that succeeds.
    ///
    /// # Panics
    /// If it does not.
    pub fn ok(&self, args: &[&str]) -> String {
        let (code, said) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {said}\n{}", self.run(&["journalctl", "-n", "40", "-o", "short-precise"]).1);
        said
    }

    /// Installs a unit.
    ///
    /// # Panics
    /// If it cannot be written or read.
    pub fn unit(&self, name: &str, content: &str) {
        let file = self.dir.path().join("units").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self.ok(&["systemctl", "daemon-reload"]);
    }

    /// A property of a unit.
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.ok(&["systemctl", "show", "--value", "-p", name, unit]).trim().to_owned()
    }

    /// The journal of a unit, a JSON object a line.
    ///
    /// # Panics
    /// If the journal writes something else.
    #[must_use]
    pub fn journal(&self, unit: &str) -> Vec<serde_json::Value> {
        self.ok(&["journalctl", "--sync"]);
        let lines = self.ok(&["journalctl", "-u", unit, "-o", "json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.script("stop").output();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

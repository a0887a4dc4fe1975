//! A Docker engine of its own for a test; see the script `engine` beside this file. It reaches no registry: its images are made here.

use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use crate::package::programs;
use crate::{Change, Notifications, PATIENCE, Switch, fixture, roots};

/// An engine that runs, at a [`Switch`]. When it is dropped, or the test ends in another way, all of its containers are killed.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    /// The engine itself, to wait for its end. It is never signalled.
    init: OwnedFd,
    group: String,
    dir: TempDir,
    address: String,
    /// Its own one, if it is at no other.
    switch: Option<Switch>,
}

/// Debian's client, and not another one that may be in `PATH`.
const CLIENT: &str = "/usr/bin/docker";
/// The image that those of gin are built on.
const BASE: &str = "debian:bookworm-slim";
/// Advice if a program is not there.
const HINT: &str = "tests/run --services installs what it needs; root is needed, too";

impl Engine {
    /// Starts one at a switch of its own, beside the test.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let switch = Switch::new();
        let engine = Self::boot(name, switch.address(0), Some(switch));
        if let Some(switch) = &engine.switch {
            switch.attach(engine.child.id(), 0);
        }
        engine
    }

    /// Starts one at a switch, as its host of this number.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn at(switch: &Switch, number: usize, name: &str) -> Self {
        let engine = Self::boot(name, switch.address(number), None);
        switch.attach(engine.child.id(), number);
        engine
    }

    fn boot(name: &str, address: String, switch: Option<Switch>) -> Self {
        // Images are overlays, which there are not on a tmpfs, as /tmp may be; and sun_path holds 108 bytes.
        let dir = tempfile::Builder::new().prefix("eng").tempdir_in("/var/tmp").unwrap();
        let group = format!("/gin-{}-{name}", std::process::id());
        let log = File::create(dir.path().join("log")).unwrap();
        let told = Notifications::listen(&dir.path().join("notify"));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--propagation", "private", "--pid", "--uts"])
            .args(["--fork", "--kill-child=KILL", "--mount-proc"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/engine"))
            .arg(dir.path())
            .args([name, &group])
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = told.ready(0, &child);
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(ready.is_ok(), "the engine does not start: {ready:?}: {}; {HINT}", log());
        let init = pidfd_open(only_child(&child), PidfdFlags::empty()).unwrap();
        Self { child, init, group, dir, address, switch }
    }

    /// Its address, where ports of containers are published.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", format!("unix://{}/docker.sock", self.dir.path().display()))
            // Of the engine alone, and not what a user of the machine has set.
            .env("DOCKER_CONFIG", self.dir.path().join("config"))
            .env("DOCKER_BUILDKIT", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs docker; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn docker(&self, args: &[&str]) -> (i32, String) {
        said(self.client(CLIENT).args(args))
    }

    /// The same for a command that succeeds. Gives what it said, without the end of the last line.
    ///
    /// # Panics
    /// If it does not.
    pub fn ok(&self, args: &[&str]) -> String {
        let (code, said) = self.docker(args);
        assert_eq!(code, 0, "docker {args:?}: {said}");
        said.trim_end().to_owned()
    }

    /// Runs docker-compose on a project's file; gives its exit code and what it said.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn compose(&self, project: &str, file: &Path, args: &[&str]) -> (i32, String) {
        let mut command = self.client("/usr/bin/docker-compose");
        said(command.args(["--project-name", project, "--file"]).arg(file).args(args))
    }

    /// Makes an image of a root, a directory, for containers to be built on.
    ///
    /// # Panics
    /// If it cannot.
    pub fn import(&self, root: &Path, tag: &str) {
        let mut tar = Command::new("tar");
        let mut tar = tar.arg("-C").arg(root).args(["-cf", "-", "."]).stdout(Stdio::piped()).spawn().unwrap();
        let archive = tar.stdout.take().expect("it is piped");
        let (code, text) = said(self.client(CLIENT).args(["import", "-", tag]).stdin(archive));
        let packed = tar.wait().unwrap();
        assert!(code == 0 && packed.success(), "{} as {tag}: {packed}: {text}", root.display());
    }

    /// Builds an image by a Dockerfile.
    ///
    /// # Panics
    /// If it cannot.
    pub fn build(&self, dockerfile: &Path, context: &Path, tag: &str) {
        let version = format!("VERSION={}", tag.rsplit(':').next().unwrap_or_default());
        let mut command = self.client(CLIENT);
        command.args(["build", "--progress", "plain", "--build-arg", &version, "--tag", tag, "--file"]);
        let (code, text) = said(command.arg(dockerfile).arg(context));
        assert_eq!(code, 0, "{tag}: {text}");
    }

    /// Builds the image `gin:TAG` by the recipe, of the programs that the tests run, with this change.
    ///
    /// # Panics
    /// If it cannot.
    pub fn build_gin(&self, tag: &str, change: Change) {
        if self.docker(&["image", "inspect", BASE]).0 != 0 {
            self.import(&roots::path("slim"), BASE);
        }
        let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
        let (built, tree) = (self.dir.path().join(format!("{tag}-built")), self.dir.path().join(format!("{tag}-tree")));
        std::fs::create_dir(&built).unwrap();
        programs(&built, tag, change);
        let mut stage = Command::new(systemd.join("package/stage"));
        let (code, text) = said(stage.arg(&tree).arg("--bin").arg(&built));
        assert_eq!(code, 0, "stage of gin:{tag}: {text}");
        self.build(&systemd.join("recipes/docker/Dockerfile.prebuilt"), &tree, &format!("gin:{tag}"));
    }

    /// Builds the images `mysql:8.0` and `redis:7-alpine` of Debian's MariaDB and Redis: see `tests/fixtures/images`.
    ///
    /// # Panics
    /// If it cannot.
    pub fn build_stores(&self) {
        self.import(&roots::path("services"), "gin-roots:services");
        for (name, tag) in [("mysql", "mysql:8.0"), ("redis", "redis:7-alpine")] {
            let context = fixture("images").join(name);
            self.build(&context.join("Dockerfile"), &context, tag);
        }
    }

    /// Waits until the log of a container holds what `is_it` looks for; gives the log.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_log(&self, container: &str, is_it: impl Fn(&str) -> bool) -> String {
        self.follow(&["logs", "--follow", container], is_it)
    }

    /// Waits until the last verdict of a container's health check is this one, `healthy` or `unhealthy`.
    ///
    /// # Panics
    /// If it is not.
    pub fn until_health(&self, container: &str, health: &str) {
        let name = format!("container={container}");
        let last = format!("health_status: {health}");
        // From its beginning on: a verdict may have come before.
        let verdicts =
            ["events", "--since", "1", "--filter", &name, "--filter", "event=health_status", "--format", "{{.Action}}"];
        let _events = self.follow(&verdicts, |said| said.lines().last() == Some(last.as_str()));
    }

    /// Waits for so many health checks of a container from now on; gives the exit code of each. No other command may run in it.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn checks(&self, container: &str, count: usize) -> Vec<String> {
        let name = format!("container={container}");
        let code = "{{.Actor.Attributes.exitCode}}";
        let args = ["events", "--filter", &name, "--filter", "event=exec_die", "--format", code];
        let events = self.follow(&args, |said| said.matches('\n').count() >= count);
        events.lines().take(count).map(str::to_owned).collect()
    }

    /// Waits until the events after `since` that pass these filters, each told in this format, are what `is_it` looks for. The engine keeps
    /// 256 events of all kinds.
    ///
    /// # Panics
    /// If they are not.
    pub fn until_events(&self, since: SystemTime, filters: &[&str], format: &str, is_it: impl Fn(&str) -> bool) {
        let since = since.duration_since(UNIX_EPOCH).unwrap();
        let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
        let mut args = vec!["events", "--since", &since, "--format", format];
        filters.iter().for_each(|filter| args.extend(["--filter", filter]));
        let _events = self.follow(&args, is_it);
    }

    /// Reads what a command of docker says, which has no end, until `is_it` holds for all of it.
    fn follow(&self, args: &[&str], is_it: impl Fn(&str) -> bool) -> String {
        let (mut reader, writer) = pipe().unwrap();
        let mut command = self.client(CLIENT);
        command.args(args).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut client = command.spawn().unwrap();
        // It holds the pipe, whose end would not come.
        drop(command);
        let (mut said, mut bytes, began) = (String::new(), [0; 4096], Instant::now());
        let mut goes_on = true;
        while goes_on && !is_it(&said) {
            let left = Timespec::try_from(PATIENCE.saturating_sub(began.elapsed())).unwrap();
            let more = poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&left)).unwrap();
            let length = if more > 0 { reader.read(&mut bytes).unwrap() } else { 0 };
            goes_on = length > 0;
            said.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        let _ = client.kill();
        let _ = client.wait();
        assert!(goes_on, "docker {args:?} has ended, or nothing came within {PATIENCE:?}: {said}");
        said
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Of a PID namespace the first process ends last. Then its control groups are empty, and nothing is mounted in its directory.
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let _ = poll(&mut [PollFd::new(&self.init, PollFlags::IN)], Some(&patience));
        let groups = Path::new("/sys/fs/cgroup");
        let name = self.group.trim_start_matches('/');
        remove_groups(&groups.join(name));
        for hierarchy in std::fs::read_dir(groups).into_iter().flatten().flatten() {
            remove_groups(&hierarchy.path().join(name));
        }
    }
}

/// Runs a command to its end; gives its exit code and what it said.
fn said(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {HINT}"));
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// The one child of unshare.
fn only_child(unshare: &Child) -> Pid {
    let id = unshare.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.trim().parse().ok().and_then(Pid::from_raw).unwrap_or_else(|| panic!("children of unshare: {children}"))
}

/// Removes a control group and those in it, if they are there. They cannot be removed as directories are: their files stay.
fn remove_groups(group: &Path) {
    for inner in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&inner.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

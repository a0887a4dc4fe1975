//! A pod: gin-supervisor at a [`Switch`] as the kubelet runs a container of the recipe.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use crate::{Address, Host, Switch, binary, eventually, get, on_change};

/// A pod that runs, until it is dropped: an address of its own, a read-only root, user 10001 without capabilities, PID 1. Its
/// configuration is a volume of a ConfigMap: `gin.toml` is a link through `..data`.
#[derive(Debug)]
pub struct Pod {
    child: Child,
    /// PID 1 of it. The end of nsenter would not be its end: what changes its user loses the signal of its parent's death.
    init: OwnedFd,
    grace: Duration,
    host: Host,
    dir: TempDir,
}

/// The end of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Exit code of PID 1; none if it was killed.
    pub code: Option<i32>,
    /// True if the grace period was over, and SIGKILL ended it.
    pub killed: bool,
    /// From SIGTERM on.
    pub took: Duration,
}

/// The user of the recipe.
const USER: &str = "10001";
/// The port of the recipe.
const PORT: u16 = 8080;

impl Pod {
    /// Starts a pod of this name with this configuration, whose port is 8080. It may be terminating for so long.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(switch: &Switch, name: &str, config: &str, grace: Duration) -> Self {
        let (host, dir) = (switch.host(name), tempfile::Builder::new().prefix("pod").tempdir_in("/var/tmp").unwrap());
        let volume = dir.path().join("etc");
        std::fs::create_dir(&volume).unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // The kubelet's mode, which is safe because the mount is read-only.
        std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o777)).unwrap();
        put_config_map(&volume, config);
        let (child, init) = run(&host, dir.path());
        let init = pidfd_open(init, PidfdFlags::empty()).unwrap();
        Self { child, init, grace, host, dir }
    }

    /// Changes the ConfigMap: the files are another directory, to which `..data` leads at once.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn configure(&self, config: &str) {
        put_config_map(&self.dir.path().join("etc"), config);
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from(format!("{}:{PORT}", self.host.address()).as_str())
    }

    /// Its log.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until its log contains `part`.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_log(&self, part: &str) {
        let file = self.dir.path().join("log");
        on_change(
            &file,
            &format!("the log of {} says {part:?}", self.host.name()),
            || self.log(),
            |log| log.contains(part),
        );
    }

    /// Waits until its readiness probe succeeds.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_ready(&self, probe: &str) {
        // The kubelet polls, too: a probe has no other way.
        let look = || (get(&self.address(), probe).map(|response| response.status), self.log());
        let _ready = eventually(&format!("{} is ready", self.host.name()), look, |(status, _)| *status == Ok(200));
    }

    /// Ends it as the kubelet does: SIGTERM to PID 1, and SIGKILL if it has not ended within its grace period.
    ///
    /// # Panics
    /// If it cannot be ended.
    #[must_use]
    pub fn terminate(mut self) -> End {
        let began = Instant::now();
        pidfd_send_signal(&self.init, Signal::TERM).unwrap();
        let grace = Timespec::try_from(self.grace).unwrap();
        let killed = poll(&mut [PollFd::new(&self.init, PollFlags::IN)], Some(&grace)).unwrap() == 0;
        if killed {
            pidfd_send_signal(&self.init, Signal::KILL).unwrap();
        }
        let status = self.child.wait().unwrap();
        End { code: status.code().filter(|_| !killed), killed, took: began.elapsed() }
    }
}

/// Puts a configuration into a volume as the kubelet does: `gin.toml` leads through `..data`, which leads to a new directory then, at once.
///
/// # Panics
/// If it cannot be written.
pub fn put_config_map(volume: &Path, config: &str) {
    let all = std::fs::read_dir(volume).unwrap().flatten();
    let name = format!("..{}", all.count());
    std::fs::create_dir(volume.join(&name)).unwrap();
    std::fs::write(volume.join(&name).join("gin.toml"), config).unwrap();
    symlink(&name, volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if !volume.join("gin.toml").exists() {
        symlink("..data/gin.toml", volume.join("gin.toml")).unwrap();
    }
}

/// Starts the container of a pod; gives its PID 1, too.
fn run(host: &Host, dir: &Path) -> (Child, Pid) {
    let log = File::create(dir.join("log")).unwrap();
    // Only /dev/shm can be written to. It is the pod's own, as in a container. A bind mount makes /tmp read-only where it is a mount.
    let inside = format!(
        "read pid rest </proc/self/stat; echo $pid; exec >&2; mount -t proc proc /proc && \
         mount -t tmpfs -o mode=1777 tmpfs /dev/shm && mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp && \
         mount -o remount,bind,ro / && exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs \
         --bounding-set=-all --inh-caps=-all {} --config {}/etc/gin.toml",
        binary("gin-supervisor").display(),
        dir.display()
    );
    let mut child = Command::new("nsenter")
        .args(["--target", &host.init().to_string(), "--net", "--uts", "--pid", "--"])
        .args(["unshare", "--pid", "--mount", "--fork", "--kill-child=KILL", "--propagation", "private"])
        .args(["sh", "-c", &inside])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let _ = BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line);
    let init = line.trim().parse().ok().and_then(Pid::from_raw);
    (child, init.expect("a namespace, which needs root"))
}

impl Drop for Pod {
    fn drop(&mut self) {
        // With PID 1 all others end. Where the test itself is killed, the end of the host ends them.
        let _ = pidfd_send_signal(&self.init, Signal::KILL);
        let _ = self.child.wait();
    }
}

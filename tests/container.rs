//! As PID 1 of a container: orphans, signals, a root that cannot be written, any user.

use std::process::{Child, Command, Stdio};

use harness::{Address, Notifications, binary, eventually, fixture, get, on_change};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Container {
    child: Child,
    dir: tempfile::TempDir,
}

impl Container {
    /// What a container runtime does, in short: namespaces, a fresh /proc, a read-only root; nothing to write to but
    /// /dev/shm and what is mounted.
    fn start(mode: &str, uid: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("pid1").tempdir_in("/var/tmp").unwrap();
        let at = dir.path().display();
        std::fs::create_dir_all(dir.path().join("run")).unwrap();
        std::fs::write(dir.path().join("mode"), mode).unwrap();
        for path in [dir.path(), &dir.path().join("run")] {
            nix::unistd::chown(path, Some(uid.parse::<u32>().unwrap().into()), None).unwrap();
        }
        let config = format!(
            "[supervisor]\ncommand = [\"/usr/bin/python3\", {:?}]\ndirectory = \"{at}\"\nsoak = \"0s\"\n\
             [[supervisor.listen]]\nname = \"http\"\naddress = \"unix:{at}/run/http.sock\"\n",
            fixture("foreign.py")
        );
        std::fs::write(dir.path().join("shop.toml"), config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let inside = format!(
            "mount -t proc proc /proc && mount -t tmpfs tmpfs /dev/shm -o mode=1777 && mount --bind {at}/run {at}/run && \
             mount -o remount,bind,ro / && exec setpriv --reuid={uid} --regid={uid} --clear-groups {} -c {at}/shop.toml",
            binary("gin-supervisor").display()
        );
        let told = Notifications::listen(&dir.path().join("run/notify"));
        nix::unistd::chown(&dir.path().join("run/notify"), Some(uid.parse::<u32>().unwrap().into()), None).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--mount", "--fork", "--kill-child=KILL", "--propagation", "private", "sh", "-c", &inside])
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("XDG_RUNTIME_DIR")
            .env("NOTIFY_SOCKET", dir.path().join("run/notify"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let container = Self { child, dir };
        let ready = told.ready(0, &container.child);
        assert!(ready.is_ok(), "{ready:?}: {}", container.log());
        container
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// The supervisor, as the host sees it: the only child of unshare.
    fn init(&self) -> Pid {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let by_status = || {
            let all = std::fs::read_dir("/proc").unwrap().flatten();
            let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            let parent = format!("PPid:\t{id}\n");
            pids.find(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default().contains(&parent)
            })
        };
        Pid::from_raw(children.trim().parse().ok().or_else(by_status).expect("it has one child"))
    }

    fn http(&self) -> Address {
        Address::Unix(self.dir.path().join("run/http.sock"))
    }

    /// TERM to PID 1, as `docker stop` sends it.
    fn stop(mut self) {
        kill(self.init(), Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn as_pid_1_it_reaps_orphans_whatever_they_end_with() {
    let container = Container::start("orphans", "0");
    let init = container.init();
    let zombies = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        let ours = |stat: &String| {
            let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            let mut fields = rest.split(' ');
            fields.next() == Some("Z") && fields.next() == Some(init.to_string().as_str())
        };
        stats.filter(ours).count()
    };
    // Seven grandchildren end after a moment, each in its own way, and nobody awaits them but PID 1.
    let sleeping = || {
        let marks = std::fs::read_dir("/proc").unwrap().flatten();
        let dir = container.dir.path().display().to_string();
        let mut environments = marks.filter_map(|entry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            Some((name, String::from_utf8_lossy(&environment).contains(&dir)))
        });
        environments.any(|(name, ours)| ours && (name.trim() == "sh" || name.trim() == "sleep"))
    };
    // They are no children of this test, so the kernel reports their ends to PID 1 alone.
    let look = || (sleeping(), zombies());
    eventually("no grandchild is left, not even as a zombie", look, |left| *left == (false, 0));
    assert_eq!(get(&container.http(), "/").unwrap().json()["generation"], "1");
    assert!(!container.log().contains("failed"), "{}", container.log());
    container.stop();
}

#[test]
fn as_any_user_with_a_root_that_cannot_be_written_it_restarts_on_usr2() {
    let container = Container::start("ok", "12345");
    assert_eq!(get(&container.http(), "/").unwrap().json()["generation"], "1");
    kill(container.init(), Signal::SIGUSR2).unwrap();
    let log = container.dir.path().join("log");
    on_change(&log, "the first generation has gone", || container.log(), |log| log.contains("generation 1 gone"));
    assert_eq!(get(&container.http(), "/").unwrap().json()["generation"], "2");
    // Nothing else could be written.
    assert!(container.log().contains("/dev/shm/gin-12345/shop/"), "{}", container.log());
    container.stop();
}

#[test]
fn who_writes_from_outside_is_no_worker_and_keeps_none_from_being_looked_after() {
    let container = Container::start("ok", "0");
    let init = container.init();
    // More than a socket's queue takes: they are read.
    let flood = "import glob, socket, struct, sys\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', 30, 0))\n\
        s.connect(next(glob.iglob(sys.argv[1] + '/dev/shm/**/1.0.0.notify', recursive=True)))\n\
        for n in range(100): s.send(b'WATCHDOG=trigger')\n";
    let python = ["/usr/bin/python3", "-c", flood];
    // From a session whose leader is outside, as `docker exec` may make it; and from a process outside.
    let mut of_session = Command::new("nsenter");
    of_session.args(["--target", &init.to_string(), "--pid", "--mount"]).args(python).arg("");
    let mut of_process = Command::new(python[0]);
    of_process.args(&python[1..]).arg(format!("/proc/{init}/root"));
    for mut from_outside in [of_session, of_process] {
        assert!(from_outside.status().unwrap().success(), "{}", container.log());
    }
    let log = container.log();
    assert!(log.contains("none of the worker's") && !log.contains("panicked"), "{log}");
    assert_eq!(get(&container.http(), "/").unwrap().json()["generation"], "1");
    // A worker that nobody looks after would not be seen to end.
    container.stop();
}

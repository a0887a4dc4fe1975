//! Nobody else's directory, socket, state or text is believed by gin-ctl, nor by a supervisor that starts.

mod answers;
mod left;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gin_shared::process::ProcessId;
use gin_shared::state::{Slot, write};
use harness::{Ctl, binary};
use serde_json::json;

/// Anybody else.
const NOBODY: u32 = 65534;

fn directory(path: &Path, mode: u32, owner: u32) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    chown(path, Some(owner), None).unwrap();
}

fn temporary() -> tempfile::TempDir {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can give files to another user");
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    directory(dir.path(), 0o755, 0);
    dir
}

fn as_user(uid: u32, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned(), "--".to_owned()]);
    command.arg(binary(program)).args(args).stdin(Stdio::null());
    for name in ["XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET"] {
        command.env_remove(name);
    }
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A directory at a fixed place, removed at the end.
struct Planted(PathBuf);

impl Planted {
    fn at(path: String, owner: u32) -> Self {
        let planted = Self(PathBuf::from(path));
        let _ = std::fs::remove_dir_all(&planted.0);
        directory(&planted.0, 0o755, owner);
        planted
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn heard_nothing(listener: &UnixListener) {
    listener.set_nonblocking(true).unwrap();
    let heard = listener.accept();
    assert!(heard.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{heard:?}");
}

/// A state of an instance in `run` that names this process as a worker.
fn leave_of(instance: &str, run: &Path, process: ProcessId, owner: u32) {
    let state = json!({ "version": 1, "boot_id": gin_shared::state::boot_id(), "state": {
        "instance": instance, "master": { "pid": 1, "started": 1 }, "paths": {},
        "workers": [{ "id": { "generation": 1, "slot": 0, "attempt": 0 }, "process": process, "stop_signal": 15 }],
    } });
    let file = std::fs::File::create(run.join("state")).unwrap();
    write(&file, &Slot { sequence: 1, bytes: serde_json::to_vec(&state).unwrap() }).unwrap();
    std::fs::set_permissions(run.join("state"), std::fs::Permissions::from_mode(0o600)).unwrap();
    chown(run.join("state"), Some(owner), None).unwrap();
    std::fs::write(run.join("instance.lock"), "").unwrap();
}

#[test]
fn a_directory_that_somebody_made_first_is_passed_over_and_its_socket_is_not_asked() {
    const USER: u32 = 54_321;
    let _dir = temporary();
    let planted = Planted::at(format!("/tmp/gin-{USER}"), NOBODY);
    directory(&planted.0.join("planted"), 0o755, NOBODY);
    let listener = UnixListener::bind(planted.0.join("planted/control.sock")).unwrap();
    std::fs::set_permissions(planted.0.join("planted/control.sock"), std::fs::Permissions::from_mode(0o666)).unwrap();
    for args in [&["restart", "planted"][..], &["status"], &["stop", "planted"]] {
        let output = as_user(USER, "gin-ctl", args).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains(&format!("/tmp/gin-{USER} is not safe: it belongs to uid {NOBODY}")), "{said}");
    }
    let list = as_user(USER, "gin-ctl", &["list"]).output().unwrap();
    let said = text(&list);
    assert!(list.status.success() && said.contains("passed over: /tmp/gin-54321 is not safe"), "{said}");
    assert!(!said.contains("planted"), "{said}");
    heard_nothing(&listener);
}

#[test]
fn a_supervisor_takes_another_place_than_one_that_somebody_made_first() {
    const USER: u32 = 54_322;
    let dir = temporary();
    let planted = Planted::at(format!("/tmp/gin-{USER}"), NOBODY);
    let _other = Planted::at(format!("/dev/shm/gin-{USER}"), USER);
    let notify = dir.path().join("notify");
    let told = harness::Notifications::listen(&notify);
    chown(&notify, Some(USER), None).unwrap();
    let server = binary("gin-server");
    let args = ["--instance", "shop", "--listen", "127.0.0.1:0", "--", server.to_str().unwrap()];
    let mut child = as_user(USER, "gin-supervisor", &args).env("NOTIFY_SOCKET", &notify).spawn().unwrap();
    let ready = told.ready(0, &child);
    assert!(ready.is_ok(), "{ready:?}");
    assert_eq!(std::fs::read_dir(&planted.0).unwrap().count(), 0, "nothing was put there");
    let made = std::fs::metadata(format!("/dev/shm/gin-{USER}/shop")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
    let stop = as_user(USER, "gin-ctl", &["stop", "shop"]).output().unwrap();
    assert!(stop.status.success(), "{}", text(&stop));
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_runtime_directory_has_its_mode_whatever_the_umask_is() {
    let dir = temporary();
    let (run, precious) = (dir.path().join("run"), dir.path().join("precious"));
    std::fs::write(&precious, "x").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(binary("gin-supervisor"));
    // The start goes no further than to its listener.
    command.arg("--listen").arg(format!("unix:{}", precious.display()));
    let output = command.env("RUNTIME_DIRECTORY", &run).env_remove("NOTIFY_SOCKET").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(std::fs::metadata(&run).unwrap().permissions().mode() & 0o777, 0o755);
}

/// A program in a user namespace in which this user is root, and root is nobody.
fn in_namespace(uid: u32, program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned(), "--".to_owned()]);
    command.args(["unshare", "--map-root-user", "--"]).arg(program).args(args).stdin(Stdio::null());
    for name in ["XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn in_a_user_namespace_without_root_its_directories_are_a_way_and_nothing_more() {
    const USER: u32 = 54_324;
    let dir = temporary();
    if !in_namespace(USER, Path::new("true"), &[]).status().is_ok_and(|status| status.success()) {
        eprintln!("passed over: no user namespaces for other users than root");
        return;
    }
    // Not in /tmp, which the overflow user owns there, and others can write to.
    let place = Planted::at(format!("/run/gin-test-{USER}"), 0);
    let (run, notify) = (place.0.join("run"), dir.path().join("notify"));
    directory(&run, 0o755, USER);
    let told = harness::Notifications::listen(&notify);
    chown(&notify, Some(USER), None).unwrap();
    let (supervisor, server) = (binary("gin-supervisor"), binary("gin-server"));
    let args = ["--listen", "127.0.0.1:0", "--", server.to_str().unwrap()];
    let mut command = in_namespace(USER, &supervisor, &args);
    let mut child = command.env("RUNTIME_DIRECTORY", &run).env("NOTIFY_SOCKET", &notify).spawn().unwrap();
    let ready = told.ready(0, &child);
    assert!(ready.is_ok(), "{ready:?}");
    let socket = run.join("control.sock");
    let stop = in_namespace(USER, &binary("gin-ctl"), &["-s", socket.to_str().unwrap(), "stop"]).output().unwrap();
    assert!(stop.status.success(), "{}", text(&stop));
    assert!(child.wait().unwrap().success());
    // What belongs to that user, or lies where others can write, is not believed.
    let open = place.0.join("open");
    directory(&open, 0o1777, 0);
    directory(&open.join("run"), 0o755, USER);
    for (given, why) in [(&place.0, "it belongs to uid "), (&open.join("run"), "open is not safe: it belongs to uid ")]
    {
        let refused = in_namespace(USER, &supervisor, &args).env("RUNTIME_DIRECTORY", given).output().unwrap();
        let said = text(&refused);
        assert!(refused.status.code() == Some(2) && said.contains(why), "{said}");
    }
}

#[test]
fn root_looks_for_no_instance_in_tmp() {
    let output = Command::new(binary("gin-ctl")).args(["status", "no-such-instance"]).output().unwrap();
    let said = text(&output);
    assert!(output.status.code() == Some(3) && said.contains("/run/gin/no-such-instance"), "{said}");
    assert!(!said.contains("/tmp/"), "{said}");
}

/// Plants a directory with an instance's sockets at a place, a link to one, or a socket, and listens. Says in the end how many
/// have connected.
const PLANT: &str = r#"
import os, socket, sys

kind, place = sys.argv[1:]
listeners = []


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen()
    listener.setblocking(False)
    listeners.append(listener)


if kind == "socket":
    listen(place)
else:
    real = place + ".real" if kind == "link" else place
    os.makedirs(real + "/planted", 0o755)
    listen(real + "/planted/control.sock")
    listen(real + "/planted/status.sock")
    if kind == "link":
        os.symlink(real, place)
print("planted", flush=True)
sys.stdin.read()
asked = 0
for listener in listeners:
    try:
        listener.accept()
        asked += 1
    except BlockingIOError:
        pass
print(asked, flush=True)
"#;

/// Removes what is planted in `/tmp`, also when it is dropped.
struct Weeded;

impl Weeded {
    fn weed(&self) {
        for path in ["/tmp/gin-0", "/tmp/gin-0.real"] {
            let _ = std::fs::remove_file(path);
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

impl Drop for Weeded {
    fn drop(&mut self) {
        self.weed();
    }
}

/// Plants as another user, where root's gin-ctl might look for its instances, and has that gin-ctl do something.
fn planted_for_root(kind: &str, place: &str) {
    // A /dev/shm of its own: root's last place there may be in use.
    let script = format!(
        "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups -- \
         /usr/bin/python3 -c \"$0\" \"$1\" \"$2\""
    );
    let mut plant = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, PLANT, kind, place])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(plant.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "planted");
    let pid = i32::try_from(plant.id()).unwrap();
    if kind != "socket" {
        let real = if kind == "link" { format!("{place}.real") } else { place.to_owned() };
        let seen_from_here = PathBuf::from(format!("/proc/{pid}/root{real}/planted"));
        leave_of("planted", &seen_from_here, ProcessId::of(pid).unwrap(), NOBODY);
    }
    let passed_over = format!("passed over: {place} is not safe: it belongs to uid {NOBODY}");
    for args in [&["status", "planted"][..], &["restart", "planted"], &["stop", "--fast", "planted"], &["list"]] {
        let mut ctl = Command::new("nsenter");
        ctl.args(["--target", &pid.to_string(), "--mount", "--"]).arg(binary("gin-ctl")).args(args);
        let output = ctl.env_remove("RUNTIME_DIRECTORY").stdin(Stdio::null()).output().unwrap();
        let said = text(&output);
        assert!(args == ["list"] || output.status.code() == Some(3), "{kind} {args:?}: {said}");
        if place.starts_with("/tmp/") {
            assert!(!said.contains("/tmp/"), "{kind} {args:?}: {said}");
        } else {
            assert!(said.contains(&passed_over), "{kind} {args:?}: {said}");
        }
    }
    drop(plant.stdin.take());
    assert_eq!(said.next().map(Result::unwrap).as_deref(), Some("0"), "{kind} at {place}: it was asked, or has ended");
    assert!(plant.wait().unwrap().success());
}

#[test]
fn what_another_user_has_planted_for_root_is_neither_asked_nor_followed() {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can run programs as another user");
    for kind in ["directory", "socket", "link"] {
        let weeded = Weeded;
        weeded.weed();
        planted_for_root(kind, "/tmp/gin-0");
        planted_for_root(kind, "/dev/shm/gin-0");
    }
}

#[test]
fn a_socket_below_a_directory_that_others_can_change_is_not_asked() {
    let dir = temporary();
    let (theirs, open) = (dir.path().join("theirs"), dir.path().join("open"));
    directory(&theirs.join("shop"), 0o755, NOBODY);
    directory(&theirs, 0o755, NOBODY);
    directory(&open, 0o777, 0);
    for place in [theirs.join("shop"), open] {
        let socket = place.join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        Ctl::run(&socket, &["restart"]).assert(5, &["is not safe", "so it is not asked"]);
        heard_nothing(&listener);
    }
    // A link to a socket that would be believed is not that socket.
    let real = dir.path().join("real.sock");
    let listener = UnixListener::bind(&real).unwrap();
    let link = dir.path().join("link.sock");
    symlink(&real, &link).unwrap();
    Ctl::run(&link, &["restart"]).assert(3, &[]);
    heard_nothing(&listener);
}

#[test]
fn a_process_of_another_user_that_listens_is_told_nothing() {
    let dir = temporary();
    let (run, socket) = (dir.path().join("run"), dir.path().join("run/control.sock"));
    directory(&run, 0o755, NOBODY);
    let program = format!(
        "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind({:?})\ns.listen()\nprint('listens', flush=True)\n\
         print(len(s.accept()[0].recv(99)))",
        socket.display().to_string()
    );
    let mut stranger = Command::new("setpriv")
        .args([format!("--reuid={NOBODY}").as_str(), "--clear-groups", "--", "/usr/bin/python3", "-c", &program])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = stranger.stdout.take().unwrap();
    let mut line = [0; 8];
    said.read_exact(&mut line).unwrap();
    // The directory is root's again, as if they had been let in for a moment.
    chown(&run, Some(0), None).unwrap();
    Ctl::run(&socket, &["restart"]).assert(5, &[&format!("a process of uid {NOBODY} listens there")]);
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\n", "it was told something");
    assert!(stranger.wait().unwrap().success());
}

#[test]
fn a_socket_of_the_user_whom_root_has_given_the_directory_to_is_asked() {
    const USER: u32 = 54_323;
    let dir = temporary();
    // As RuntimeDirectory= with User= makes it.
    let run = dir.path().join("run");
    directory(&run, 0o755, USER);
    let notify = dir.path().join("notify");
    let told = harness::Notifications::listen(&notify);
    chown(&notify, Some(USER), None).unwrap();
    let server = binary("gin-server");
    let args = ["--listen", "127.0.0.1:0", "--", server.to_str().unwrap()];
    let mut command = as_user(USER, "gin-supervisor", &args);
    let mut child = command.env("RUNTIME_DIRECTORY", &run).env("NOTIFY_SOCKET", &notify).spawn().unwrap();
    let ready = told.ready(0, &child);
    assert!(ready.is_ok(), "{ready:?}");
    let socket = run.join("control.sock");
    Ctl::run(&socket, &["status"]).assert(0, &["serving"]);
    Ctl::run(&socket, &["stop"]).assert(0, &["stopped"]);
    assert!(child.wait().unwrap().success());
}

//! Files that somebody else has left: states, locks, links, and places for files.

use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use gin_shared::process::ProcessId;
use harness::{Ctl, binary};

use super::{NOBODY, directory, leave_of, temporary, text};

/// A state of the instance "shop" in `run` that names this process as a worker.
fn leave(run: &Path, process: ProcessId, owner: u32) {
    leave_of("shop", run, process, owner);
}

#[test]
fn a_state_of_somebody_else_has_not_even_their_own_process_ended_by_root() {
    let dir = temporary();
    let run = dir.path().join("run");
    directory(&run, 0o755, 0);
    let mut sleep = Command::new("setpriv");
    sleep.args([format!("--reuid={NOBODY}").as_str(), "--clear-groups", "--", "sleep", "600"]).stdin(Stdio::null());
    let mut theirs = sleep.spawn().unwrap();
    let pid = i32::try_from(theirs.id()).unwrap();
    let user = || gin_shared::process::user(pid);
    harness::eventually("setpriv has changed its user", user, |uid| *uid == Some(NOBODY));
    leave(&run, ProcessId::of(pid).unwrap(), NOBODY);
    let stop = || Ctl::run(&run.join("control.sock"), &["stop"]);
    stop().assert(3, &["no supervisor there"]);
    assert!(theirs.try_wait().unwrap().is_none());
    // Nor is one that they have put into a directory of theirs inside of one that they can write.
    let inner = dir.path().join("theirs/run");
    directory(&inner, 0o755, 0);
    directory(&dir.path().join("theirs"), 0o755, NOBODY);
    leave(&inner, ProcessId::of(pid).unwrap(), 0);
    assert_ne!(Ctl::run(&inner.join("control.sock"), &["stop"]).code, 0);
    assert!(theirs.try_wait().unwrap().is_none());
    theirs.kill().unwrap();
    let _ = theirs.wait();
}

#[test]
fn a_link_in_the_place_of_a_lock_is_not_followed_and_what_is_removed_is_the_link() {
    let dir = temporary();
    let (run, precious) = (dir.path().join("run"), dir.path().join("precious"));
    directory(&run, 0o755, 0);
    std::fs::write(&precious, "x").unwrap();
    let mut worker = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    leave(&run, ProcessId::of(i32::try_from(worker.id()).unwrap()).unwrap(), 0);
    std::fs::remove_file(run.join("instance.lock")).unwrap();
    symlink(&precious, run.join("instance.lock")).unwrap();
    let stop = || Ctl::run(&run.join("control.sock"), &["stop", "--fast"]);
    stop().assert(5, &["instance.lock"]);
    assert!(worker.try_wait().unwrap().is_none());
    std::fs::remove_file(run.join("instance.lock")).unwrap();
    std::fs::write(run.join("instance.lock"), "").unwrap();
    symlink(&precious, run.join("generation-1.toml")).unwrap();
    // A child of ours is a zombie until it is waited for, and has ended all the same.
    stop().assert(0, &["stopped"]);
    let _ = worker.wait();
    let left: Vec<_> = std::fs::read_dir(&run).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["instance.lock"]);
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "x");
}

#[test]
fn a_link_of_somebody_else_does_not_choose_the_socket_that_root_removes() {
    let dir = temporary();
    let (theirs, victim) = (dir.path().join("theirs"), dir.path().join("victim"));
    directory(&theirs, 0o755, NOBODY);
    directory(&victim, 0o755, 0);
    symlink(&victim, theirs.join("run")).unwrap();
    // Nobody listens there.
    drop(UnixListener::bind(victim.join("http.sock")).unwrap());
    let listen_at = |place: &Path| {
        let address = format!("unix:{}/http.sock", place.display());
        harness::supervisor()
            .without_listener()
            .section(&format!("[[supervisor.listen]]\nname = \"http\"\naddress = {address:?}"))
    };
    let (code, log) = listen_at(&theirs.join("run")).fails();
    assert!(code == 2 && log.contains("theirs/run is not safe: it is a link"), "{log}");
    assert!(victim.join("http.sock").symlink_metadata().is_ok());
    // Without a link, their directory is as good as another for a socket.
    drop(UnixListener::bind(theirs.join("http.sock")).unwrap());
    let gin = listen_at(&theirs).start();
    assert!(UnixStream::connect(theirs.join("http.sock")).is_ok());
    gin.stop();
    assert!(theirs.join("http.sock").symlink_metadata().is_err());
}

#[test]
fn a_pid_file_or_a_control_socket_where_others_could_put_one_is_an_error_at_a_check_and_at_a_start() {
    let dir = temporary();
    let (run, file) = (dir.path().join("run"), dir.path().join("shop.toml"));
    directory(&run, 0o755, 0);
    let (open, theirs, ours) = (dir.path().join("open"), dir.path().join("theirs"), dir.path().join("ours"));
    directory(&open, 0o1777, 0);
    directory(&theirs, 0o755, NOBODY);
    directory(&ours, 0o755, 0);
    let supervisor = |args: &[&str], key: &str, path: &Path| {
        std::fs::write(&file, format!("[supervisor]\n{key} = {path:?}\n")).unwrap();
        let mut command = Command::new(binary("gin-supervisor"));
        command.args(args).arg("-c").arg(&file).env("RUNTIME_DIRECTORY", &run).env_remove("NOTIFY_SOCKET");
        command.output().unwrap()
    };
    // A lock that somebody holds there is not the reason.
    let planted = std::fs::File::create(open.join("pid.lock")).unwrap();
    let _held = nix::fcntl::Flock::lock(planted, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let keys = [("pid_file", "a PID file"), ("control", "a control socket"), ("status", "a control socket")];
    for (key, what) in keys {
        let why_open = format!("open is not safe for {what}: its mode is 1777");
        let why_theirs = format!("theirs is not safe for {what}: it belongs to uid {NOBODY}");
        for (place, why) in [(&open, &why_open), (&theirs, &why_theirs)] {
            for args in [&["-t"][..], &[]] {
                let output = supervisor(args, key, &place.join("pid"));
                let said = text(&output);
                assert_eq!(output.status.code(), Some(2), "{said}");
                assert!(said.contains(&format!("shop.toml:2: supervisor.{key}: ")) && said.contains(why), "{said}");
            }
        }
        // What is made before the start, as RuntimeDirectory= is, need not be there at a check.
        for place in [ours.join("pid"), ours.join("later/pid")] {
            let output = supervisor(&["-t"], key, &place);
            assert!(output.status.success(), "{}", text(&output));
        }
    }
    let mut by_flag = Command::new(binary("gin-supervisor"));
    by_flag.args(["-t", "--control"]).arg(open.join("control.sock")).env_remove("NOTIFY_SOCKET");
    let output = by_flag.output().unwrap();
    let said = text(&output);
    assert!(output.status.code() == Some(2) && said.contains("--control: "), "{said}");
}

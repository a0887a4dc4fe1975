//! Each call of the layer that talks to the kernel is made to fail, in each way that it may: the fleet serves on, the error is
//! told, and when it is over everything works again.

use std::path::Path;
use std::process::Command;

use harness::{Load, points, soak, supervisor};

/// What is told, by error.
const ERRORS: [(&str, &str); 6] = [
    ("EMFILE", "Too many open files"),
    ("ENOMEM", "Cannot allocate memory"),
    ("ENOSPC", "no space left on device"),
    ("EACCES", "Permission denied"),
    ("EINTR", "Interrupted system call"),
    ("EAGAIN", "Resource temporarily unavailable"),
];

/// Reached at a start alone.
const AT_START: [&str; 6] = ["lock.open", "pid.open", "pid.write", "runtime.mkdir", "signal.signalfd", "state.open"];
/// No calls: moments at which the master can be made to die.
const MOMENTS: [&str; 9] = [
    "loop.handled",
    "loop.performed",
    "keep.before",
    "keep.after",
    "spawn.unrecorded",
    "spawn.recorded",
    "spawn.sent",
    "spawn.forked",
    "watch.heard",
];

/// All errors in the long run, one a point in the short one.
fn errors(index: usize) -> Vec<(&'static str, &'static str)> {
    if soak() { ERRORS.to_vec() } else { vec![ERRORS[index % ERRORS.len()]] }
}

/// The C library's words, or nix's, which has others for EAGAIN and gives the name.
fn tells(text: &str, error: &str, words: &str) -> bool {
    let text = text.to_lowercase();
    text.contains(&words.to_lowercase())
        || text.contains(&error.to_lowercase())
        || (error == "EAGAIN" && text.contains("try again"))
}

#[test]
fn whatever_call_fails_the_fleet_serves_and_the_error_is_told() {
    let settings = "soak = \"0s\"\nready_timeout = \"5s\"\ndrain_timeout = \"5s\"\nuser = \"root\"";
    let gin = supervisor().faulty().ours("one", "ok").set(settings).and_unix().start();
    let load = Load::new().one_shot(&gin.tcp(), 2);
    let running = points().into_iter().filter(|point| {
        !AT_START.contains(&point.as_str()) && !MOMENTS.contains(&point.as_str()) && !point.starts_with("adopt.")
    });
    for (index, point) in running.enumerate() {
        for (error, words) in errors(index) {
            let from = gin.log().len();
            load.flows(5);
            let order = format!("{point} {error}");
            gin.order(&order);
            // A new listener, a new worker, another one, and another master.
            gin.configure(|text| {
                format!("{text}\n[[supervisor.listen]]\nname = \"more\"\naddress = \"127.0.0.1:0\"\n")
            });
            let outcomes = [gin.ctl(&["restart"]), gin.ctl(&["scale", "2"]), gin.ctl(&["upgrade-supervisor"])];
            load.flows(5);
            let said: String = outcomes.iter().map(|ctl| format!("{}{}", ctl.out, ctl.err)).collect();
            let done = std::fs::read_to_string(gin.dir().join("faults.done")).unwrap_or_default();
            assert!(done.lines().any(|line| line == order), "{point} was never reached: {said}");
            let told = tells(&format!("{said}{}", &gin.log()[from..]), error, words);
            // It makes no difference as long as the disk is not full: left to the debug log.
            assert!(told || point == "state.fallocate", "{point} {error} is not told: {said}");

            gin.order("");
            gin.configure(|text| text.split("\n[[supervisor.listen]]\nname = \"more\"").next().unwrap().to_owned());
            gin.ctl(&["scale", "1"]).assert(0, &[]);
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
            assert!(!gin.status().degraded, "{point} {error}");
        }
    }
    load.finish().assert_unhurt();
    gin.assert_sound();
    gin.stop();
}

#[test]
fn a_call_that_fails_at_the_start_ends_it_with_the_reason() {
    for (index, point) in AT_START.iter().enumerate() {
        for (error, words) in errors(index) {
            let gin = supervisor().faulty().ours("one", "ok");
            std::fs::write(gin.dir().join("faults"), format!("{point} {error}")).unwrap();
            let (code, said) = gin.fails();
            assert!([1, 2].contains(&code), "{point} {error}: {code}");
            assert!(tells(&said, error, words), "{point} {error}: {said}");
        }
    }
}

#[test]
fn an_adoption_that_fails_for_now_leaves_the_workers_to_the_next_try() {
    let mut gin = supervisor().faulty().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let (workers, load) = (gin.workers(), Load::new().one_shot(&gin.tcp(), 2).one_shot(&gin.unix(), 2));
    gin.kill();
    for (point, error) in [
        ("adopt.pidfd_open", "EMFILE"),
        ("adopt.pidfd_getfd", "EMFILE"),
        ("adopt.pidfd_getfd", "ENOMEM"),
        ("watch.epoll", "ENOMEM"),
        ("lock.open", "EMFILE"),
    ] {
        gin.order(&format!("{point} {error}"));
        assert!([1, 2].contains(&gin.fails_again()));
        load.flows(20);
    }
    // Descriptors for hardly more than to look around.
    gin.order("");
    for limit in [12, 16, 18, 20, 24] {
        assert_ne!(gin.fails_again_with_descriptors(limit), 0);
        load.flows(20);
    }
    gin.start_again();
    assert_eq!(gin.workers(), workers);
    gin.restart();
    load.finish().assert_unhurt();
    gin.stop();
}

#[test]
fn where_a_listener_cannot_be_taken_the_condition_is_told_and_the_start_is_sound() {
    let mut gin = supervisor().faulty().ours("one", "ok").set("soak = \"0s\"").start();
    gin.kill();
    gin.order("adopt.pidfd_getfd EACCES");
    gin.start_again();
    gin.order("");
    gin.until_log("nothing is adopted");
    gin.until_log("CAP_SYS_PTRACE");
    gin.assert_sound();
    gin.stop();
}

/// The inode of the socket that listens at a TCP port.
fn inode_at(port: u16) -> String {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let at = format!("0100007F:{port:04X}");
    let mut listening = rows.filter(|row| row[1] == at && row[3] == "0A");
    listening.next().expect("it listens")[9].to_owned()
}

#[test]
fn what_a_service_manager_has_kept_in_part_it_keeps_no_more_when_nothing_is_adopted() {
    let builder = supervisor().faulty().ours("one", "ok").and_unix().set("soak = \"0s\"");
    // Passes a socket under the name in the file `kept`, as a service manager does that has lost all others.
    let script = format!(
        "#!/usr/bin/python3\n\
         import os, socket, sys\n\
         kept = os.path.join(os.environ['RUNTIME_DIRECTORY'], '../kept')\n\
         if os.path.exists(kept):\n    \
             s = socket.create_server(('127.0.0.1', 0))\n    \
             s.set_inheritable(True)\n    \
             os.dup2(s.fileno(), 3)\n    \
             os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES=open(kept).read())\n\
         os.execv({0:?}, [{0:?}] + sys.argv[1:])\n",
        harness::binary("gin-supervisor").display().to_string()
    );
    let program = builder.dir().join("start");
    harness::write_program(&program, &script);
    let mut gin = builder.program(&program).start();
    let harness::Address::Tcp(address) = gin.tcp() else { panic!("TCP") };
    let name = format!("gin/listener/{}", inode_at(address.port()));
    let names = |name: &str, message: &String| message.lines().any(|line| line.strip_prefix("FDNAME=") == Some(name));
    assert!(gin.told().store().iter().any(|message| names(&name, message)), "{name}: {:#?}", gin.told().store());
    std::fs::write(gin.dir().join("kept"), &name).unwrap();
    gin.kill();
    gin.order("adopt.pidfd_getfd EACCES");
    let before = gin.told().store().len();
    gin.start_again();
    gin.order("");
    gin.until_log("nothing is adopted");
    let told = gin.told().store().split_off(before);
    let removes = |message: &String| message.starts_with("FDSTOREREMOVE=1") && names(&name, message);
    assert!(told.iter().any(removes), "{name} is kept on: {told:#?}");
    gin.assert_sound();
    gin.stop();
}

/// A file system of its own for the runtime directory, which fills up.
struct Full(std::path::PathBuf);

impl Full {
    fn mount(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=768k,mode=0755", "none"]).arg(path).status();
        assert!(mounted.is_ok_and(|status| status.success()), "needs root");
        Self(path.to_owned())
    }

    fn fill(&self) {
        let _ = std::fs::write(self.0.join("filler"), vec![1; 1 << 20]);
        let more = std::fs::write(self.0.join("filler.more"), vec![1; 1 << 20]);
        assert!(more.is_err(), "it is not full");
    }

    fn empty(&self) {
        for name in ["filler", "filler.more"] {
            std::fs::remove_file(self.0.join(name)).unwrap();
        }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_under_state_pid_file_and_snapshots_changes_nothing() {
    let builder = supervisor().ours("one", "ok").set("soak = \"0s\"");
    let disk = Full::mount(&builder.dir().join("run"));
    // The log is there, too.
    let log = builder.dir().join("run/log");
    std::fs::write(&log, "").unwrap();
    std::os::unix::fs::symlink(&log, builder.dir().join("log")).unwrap();
    let mut gin = builder.start();
    let load = Load::new().keep_alive(&gin.tcp(), 2).one_shot(&gin.tcp(), 2);
    load.flows(20);
    disk.fill();
    gin.ctl(&["restart"]).assert(1, &["no space left on device", "nothing changed", "generation 1 serves"]);
    // A worker that dies is replaced: what the state takes was set aside.
    let worker = gin.workers()[0];
    gin.ctl(&["scale", "2"]).assert(0, &["2 workers serve"]);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert!(gin.workers().contains(&worker));
    gin.kill();
    // There is no room for a PID file, and the workers serve on.
    assert_eq!(gin.fails_again(), 1, "{}", gin.log());
    load.flows(20);
    disk.empty();
    gin.start_again();
    assert_eq!(gin.workers().len(), 2);
    gin.restart();
    load.finish().assert_unhurt();
    gin.ctl(&["stop"]).assert(0, &[]);
    drop(disk);
}

#[test]
fn a_full_disk_leaves_no_half_of_a_configuration() {
    let gin = supervisor().faulty().ours("one", "ok").set("soak = \"0s\"").start();
    gin.order("snapshot.fill ENOSPC");
    gin.ctl(&["restart"]).assert(1, &["no space left on device"]);
    assert!(!gin.dir().join("run/generation-2.toml").exists());
    gin.order("");
    gin.restart();
    gin.stop();
}

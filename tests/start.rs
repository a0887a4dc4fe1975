//! Starting, and not starting.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

use harness::{Ctl, Supervisor, binary, get, supervisor, write_program};
use nix::sys::signal::Signal;

fn supervise(args: &[&str], runtime: &std::path::Path) -> Output {
    std::fs::create_dir_all(runtime).unwrap();
    Command::new(binary("gin-supervisor")).args(args).env("RUNTIME_DIRECTORY", runtime).output().unwrap()
}

fn assert_says(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// The files of an instance in its runtime directory.
const FILES: [&str; 6] = ["control.sock", "status.sock", "pid", "pid.lock", "instance.lock", "state"];

#[test]
fn files_that_somebody_has_removed_come_back_and_no_second_master_starts_meanwhile() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let (pid, workers, run) = (gin.pid(), gin.workers(), gin.dir().join("run"));
    for name in FILES {
        std::fs::remove_file(run.join(name)).unwrap();
    }
    let config = gin.dir().join("shop.toml");
    let said = format!("already running as pid {pid}");
    assert_says(&supervise(&["-c", config.to_str().unwrap()], &run), 1, &[&said]);
    assert!(
        workers.iter().all(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap()),
        "the second one ended a worker"
    );
    gin.signal(Signal::SIGHUP);
    gin.until_log("status.sock: somebody has removed the socket");
    assert_eq!(gin.pid(), pid);
    assert_says(&supervise(&["-c", config.to_str().unwrap()], &run), 1, &[&said]);
    gin.restart();
    gin.die_and_adopt();
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    gin.ends_sound();
}

#[test]
fn files_that_somebody_has_removed_come_back_with_usr2_and_with_gin_ctl_restart() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let (pid, run) = (gin.pid(), gin.dir().join("run"));
    let remove = |names: &[&str]| names.iter().for_each(|name| std::fs::remove_file(run.join(name)).unwrap());
    let are_back = |gin: &Supervisor| {
        let missing: Vec<&str> = FILES.into_iter().filter(|name| !run.join(name).exists()).collect();
        assert!(missing.is_empty(), "{missing:?} are gone: {}", gin.log());
        assert_eq!(gin.pid(), pid);
        for socket in ["control.sock", "status.sock"] {
            Ctl::run(&run.join(socket), &["status"]).assert(0, &["serving"]);
        }
    };
    remove(&FILES);
    gin.signal(Signal::SIGUSR2);
    gin.until_log("generation 2 current");
    are_back(&gin);
    // gin-ctl finds the supervisor by its control socket.
    remove(&FILES[1..]);
    gin.restart();
    are_back(&gin);
    gin.die_and_adopt();
    gin.ends_sound();
}

/// As some service managers and job runners start programs: with signals ignored and blocked.
#[test]
fn what_whoever_starts_it_does_with_signals_does_not_count() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"\nhooks = { before_restart = [\"/bin/true\"] }");
    let program = gin.dir().join("start");
    let script = format!(
        "#!/usr/bin/python3\n\
         import os, signal, sys\n\
         signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGRTMAX])\n\
         os.execv({0:?}, [{0:?}] + sys.argv[1:])\n",
        binary("gin-supervisor").display().to_string()
    );
    write_program(&program, &script);
    let gin = gin.program(&program).start();
    // The hook's exit status is heard.
    gin.restart();
    for pid in [gin.pid().as_raw(), gin.workers()[0]] {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let has = |set: u64, signal: i32| set >> (signal - 1) & 1 == 1;
        assert!(!has(set("SigIgn:"), Signal::SIGCHLD as i32), "{status}");
        assert!(!has(set("SigBlk:"), Signal::SIGALRM as i32) && !has(set("SigBlk:"), 64), "{status}");
    }
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    gin.stop();
}

#[test]
fn a_second_master_is_refused_and_disturbs_nothing() {
    let gin = supervisor().ours("one", "ok").start();
    let pid = format!("already running as pid {}", gin.pid());
    let config = gin.dir().join("shop.toml");
    let config = config.to_str().unwrap();
    // The same instance.
    assert_says(&supervise(&["-c", config], &gin.dir().join("run")), 1, &[&pid]);
    // Another one, with the same PID file.
    let pid_file = gin.dir().join("run/pid");
    let other = gin.dir().join("other");
    let args = ["--listen", "127.0.0.1:0", "--pid-file", pid_file.to_str().unwrap()];
    assert_says(&supervise(&args, &other), 1, &[&pid]);
    // Another one, at the same address.
    let harness::Address::Tcp(address) = gin.tcp() else { panic!("TCP") };
    let holder = format!("address in use by pid {} (gin-supervisor)", gin.pid());
    assert_says(&supervise(&["--listen", &address.to_string()], &other), 1, &[&holder]);
    assert!(!other.join("pid").exists() && !other.join("control.sock").exists());
    assert_eq!(gin.get("/").status, 200);
    gin.restart();
    gin.stop();
}

#[test]
fn a_stale_unix_socket_and_pid_file_are_taken_over() {
    let builder = supervisor().ours("one", "ok").and_unix();
    let dir = builder.releases().current().parent().unwrap().to_owned();
    drop(UnixListener::bind(dir.join("http.sock")).unwrap());
    std::fs::create_dir_all(dir.join("run")).unwrap();
    std::fs::write(dir.join("run/pid"), "1\n").unwrap();
    let gin = builder.start();
    assert_eq!(get(&gin.unix(), "/").unwrap().status, 200);
    gin.stop();
}

#[test]
fn a_unix_socket_that_is_in_use_or_no_socket_is_left_alone() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (socket, file) = (dir.path().join("s"), dir.path().join("f"));
    let _held = UnixListener::bind(&socket).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let listen = |path: &std::path::Path| format!("unix:{}", path.display());
    let run = dir.path().join("run");
    let me = format!("address in use by pid {}", std::process::id());
    assert_says(&supervise(&["--listen", &listen(&socket)], &run), 1, &[&me]);
    assert_says(&supervise(&["--listen", &listen(&file)], &run), 2, &["not a socket"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_unix_sockets_mode_and_group_are_set() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let path = dir.path().join("s");
    let listen = format!(
        "[[supervisor.listen]]\nname = \"unix\"\naddress = \"unix:{}\"\nmode = \"0620\"\ngroup = \"daemon\"",
        path.display()
    );
    let gin = supervisor().ours("one", "ok").without_listener().section(&listen).start();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o620);
    assert_eq!(std::os::unix::fs::MetadataExt::gid(&metadata), 1, "group daemon");
    gin.stop();
}

#[test]
fn workers_that_listen_to_nothing_are_kept_too() {
    let gin = supervisor().without_listener().foreign("one", "ok").set("soak = \"0s\"\nlisten = []").start();
    gin.restart();
    assert_eq!(gin.workers().len(), 1);
    gin.stop();
}

#[test]
fn bad_input_is_told_with_its_place() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let run = dir.path().join("run");
    let path = dir.path().join("shop.toml");
    let check = |text: &str, parts: &[&str]| {
        std::fs::write(&path, text).unwrap();
        assert_says(&supervise(&["-t", "-c", path.to_str().unwrap()], &run), 2, parts);
        assert_says(&supervise(&["-c", path.to_str().unwrap()], &run), 2, parts);
    };
    check("[supervisor]\nworkerz = 2\n", &["shop.toml:2: supervisor.workerz: unknown key; did you mean \"workers\"?"]);
    check(
        "[supervisor]\nworkers = \"two\"\n",
        &["shop.toml:2: supervisor.workers: expected a whole number or \"auto\""],
    );
    check("[server]\nport = 70000\n", &["shop.toml:2: server.port: 70000 is out of range"]);
    check("[supervisor]\nsoak = \"soon\"\n", &["shop.toml:2: supervisor.soak: \"soon\" is not a duration"]);
    check("[supervisor]\ncommand = \"app -x\"\n", &["command = [\"app\", \"-x\"]"]);
    check("[supervisor\n", &["shop.toml:1: "]);
    let listen = "[[supervisor.listen]]\nname = \"a\"\naddress = \":8081\"\n";
    check(&format!("{listen}{}", listen.replace("8081", "8082")), &["two listeners are named \"a\""]);
    std::fs::remove_file(&path).unwrap();
    assert_says(&supervise(&["-c", path.to_str().unwrap()], &run), 2, &["shop.toml: cannot read it: no such file"]);
    assert_says(&supervise(&["--listen", "127.0.0.1:70000"], &run), 2, &["port 70000 is out of range"]);
    assert_says(&supervise(&["--workers", "0"], &run), 2, &["0 is not in"]);
    assert_says(&supervise(&["--instance", "../x"], &run), 2, &["cannot name an instance"]);
    assert_says(&supervise(&["--pid-file", "/tmp/no-such-directory/pid"], &run), 2, &["/tmp/no-such-directory"]);
}

#[test]
fn a_check_finds_what_is_not_there_to_be_run() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (run, path) = (dir.path().join("run"), dir.path().join("shop.toml"));
    let check = |text: &str| {
        std::fs::write(&path, format!("[supervisor]\n{text}\n")).unwrap();
        supervise(&["-t", "-c", path.to_str().unwrap()], &run)
    };
    assert_says(
        &check("command = [\"/srv/none/app\"]"),
        2,
        &["shop.toml:2: supervisor.command: command /srv/none/app: no such file or directory"],
    );
    assert_says(
        &check("command = [\"no-such-program\"]"),
        2,
        &["shop.toml:2: supervisor.command: command no-such-program: not found in PATH"],
    );
    assert_says(
        &check("directory = \"/srv/none\""),
        2,
        &["shop.toml:2: supervisor.directory: directory /srv/none: no such file or directory"],
    );
    assert_says(
        &check("user = \"nobody-of-this-name\""),
        2,
        &["shop.toml:2: supervisor.user: user nobody-of-this-name: unknown"],
    );
    assert_says(&check("warm_up = [\"/srv/none/warm\"]"), 2, &["command /srv/none/warm: "]);
    std::fs::write(dir.path().join("app"), "#!/bin/sh\n").unwrap();
    let inside = format!("command = [\"./app\"]\ndirectory = {:?}", dir.path());
    assert_says(&check(&inside), 2, &["not executable"]);
    std::fs::set_permissions(dir.path().join("app"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // As the worker would find it: from its directory.
    assert_says(&check(&inside), 0, &[]);
}

#[test]
fn a_variable_that_goes_before_the_file_is_told() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let path = dir.path().join("shop.toml");
    std::fs::write(&path, "[server]\nport = 8080\n").unwrap();
    let check = |port: &str| {
        let mut command = Command::new(binary("gin-supervisor"));
        command.arg("-t").arg("-c").arg(&path).env("PORT", port).output().unwrap()
    };
    let said = format!("note: PORT=21999 of the environment goes before server.port ({}:2)", path.display());
    assert_says(&check("21999"), 0, &[&said]);
    assert!(check("8080").stderr.is_empty(), "it says the same");
    let gin = supervisor().ours("one", "ok").section("[features]\nhot_restart = true");
    let gin = gin.env("FEATURES_HOT_RESTART", "false").start();
    gin.until_log("FEATURES_HOT_RESTART of the environment goes before features.hot_restart");
    gin.stop();
}

#[test]
fn under_a_service_manager_a_demo_is_refused() {
    let output = Command::new(binary("gin-supervisor")).env("NOTIFY_SOCKET", "/dev/null").output().unwrap();
    assert_says(&output, 2, &["give a configuration (-c FILE) or a command"]);
}

#[test]
fn without_a_supervisor_gin_ctl_says_so() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let socket = dir.path().join("s");
    Ctl::run(&socket, &["status"]).assert(3, &["no supervisor there", "does not exist"]);
    drop(UnixListener::bind(&socket).unwrap());
    Ctl::run(&socket, &["restart"]).assert(3, &["nobody listens"]);
    Ctl::run(&socket, &["restrat"]).assert(2, &["restart"]);
    Ctl::run(&socket, &["scale", "0"]).assert(2, &["it must be 1 to 1024"]);
}

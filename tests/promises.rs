//! SECURITY.md's promises that no other file of tests is about: owners and modes, commands, secrets, lines of the log.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use harness::{Supervisor, binary, supervisor, write_program};

/// A user that every system has.
const DAEMON: u32 = 1;

/// A directory below `/tmp` that the workers' user can enter, with a program that it can execute.
fn workshop() -> (tempfile::TempDir, String) {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can start workers as another user");
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Built below a home directory that others cannot enter.
    let program = dir.path().join("app");
    std::fs::copy(binary("fixture-worker"), &program).unwrap();
    std::fs::write(dir.path().join("mode"), "ok").unwrap();
    let settings = format!("command = [{program:?}]\ndirectory = {:?}\nsoak = \"0s\"\nuser = \"daemon\"", dir.path());
    (dir, settings)
}

/// Owner, group and mode of a file.
fn access(path: &Path) -> (u32, u32, u32) {
    let file = std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    (file.uid(), file.gid(), file.mode() & 0o7777)
}

fn in_run(gin: &Supervisor, name: &str) -> (u32, u32, u32) {
    access(&gin.dir().join("run").join(name))
}

#[test]
fn each_file_of_an_instance_is_for_those_whom_it_is_promised_to() {
    let (_dir, settings) = workshop();
    let gin = supervisor().open_directory().set(&settings).set("status_group = \"daemon\"").start();
    assert_eq!(in_run(&gin, "control.sock"), (0, 0, 0o600));
    assert_eq!(in_run(&gin, "status.sock"), (0, DAEMON, 0o660));
    for name in ["state", "instance.lock", "pid.lock"] {
        assert_eq!(in_run(&gin, name), (0, 0, 0o600), "{name}");
    }
    assert_eq!(in_run(&gin, "pid"), (0, 0, 0o644));
    for end in ["notify", "channel", "private"] {
        assert_eq!(in_run(&gin, &format!("1.0.0.{end}")), (DAEMON, DAEMON, 0o600), "{end}");
    }
    assert_eq!(in_run(&gin, "generation-1.toml"), (DAEMON, DAEMON, 0o400));
    gin.stop();
}

#[test]
fn a_runtime_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (run, above) = (dir.path().join("run"), dir.path().join("above/run"));
    std::fs::create_dir_all(&run).unwrap();
    std::fs::create_dir_all(&above).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(above.parent().unwrap(), std::fs::Permissions::from_mode(0o777)).unwrap();
    for place in [run, above] {
        let output = Command::new(binary("gin-supervisor"))
            .args(["--listen", "127.0.0.1:0"])
            .env("RUNTIME_DIRECTORY", &place)
            .env_remove("NOTIFY_SOCKET")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("is not safe: its mode is 0777"), "{said}");
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "nothing was put there");
    }
}

#[test]
fn commands_of_the_operator_run_as_the_workers_user_in_a_session_of_their_own() {
    let (dir, settings) = workshop();
    let (work, say) = (dir.path().join("work"), dir.path().join("say"));
    std::fs::create_dir(&work).unwrap();
    chown(&work, Some(DAEMON), Some(DAEMON)).unwrap();
    // proc_pid_stat(5): the first field is the PID, the sixth the session.
    let text = format!(
        "#!/bin/sh\ncd {} && echo $(id -u) $(id -g) $(cut -d' ' -f1,6 /proc/$$/stat) > $1.new && mv $1.new $1\n",
        work.display()
    );
    write_program(&say, &text);
    let gin = supervisor()
        .open_directory()
        .set(&settings)
        .set(&format!("ready = {{ exec = [{say:?}, \"ready\"] }}\nwarm_up = [{say:?}, \"warm-up\"]"))
        .set(&format!("hooks = {{ before_restart = [{say:?}, \"hook\"] }}"))
        .start();
    gin.restart();
    for name in ["ready", "warm-up", "hook"] {
        let said = std::fs::read_to_string(work.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let words: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(words[..2], ["1", "1"], "{name}: {said}");
        assert_eq!(words[2], words[3], "{name} leads no session: {said}");
    }
    gin.stop();
}

#[test]
fn what_stands_in_env_file_is_shown_to_nobody() {
    let (dir, settings) = workshop();
    let env = dir.path().join("env");
    std::fs::write(&env, "SECRET=hunter2\n").unwrap();
    std::fs::set_permissions(&env, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gin = supervisor().open_directory().set(&settings).set(&format!("env_file = {env:?}")).start();
    // The worker has it, though its user cannot read the file.
    assert_eq!(gin.get("/").json()["secret"], "hunter2");
    gin.restart();
    let check = Command::new(binary("gin-ctl")).arg("check").arg(gin.dir().join("shop.toml")).output().unwrap();
    let mut shown = vec![String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned(), gin.log()];
    for args in [&["status"][..], &["--json", "status"], &["history"], &["--json", "history"], &["metrics"], &["list"]]
    {
        let said = gin.ctl(args);
        shown.extend([said.out, said.err]);
    }
    shown.push(std::fs::read_to_string(gin.dir().join("run/generation-2.toml")).unwrap());
    for text in shown {
        assert!(!text.contains("hunter2"), "{text}");
    }
    gin.stop();
}

#[test]
fn a_command_that_the_status_socket_refuses_leaves_a_line_with_who_asked() {
    let gin = supervisor().ours("one", "ok").start();
    let status = gin.dir().join("run/status.sock");
    harness::Ctl::run(&status, &["stop"]).assert(5, &["may only look"]);
    gin.until_log("command stop from root refused: it came over the status socket");
    let log = gin.log();
    let line = log.lines().find(|line| line.contains("refused: it came over the status socket")).unwrap();
    for part in ["\"command\":\"stop\"", "\"user\":\"root\"", "\"uid\":0", "\"pid\":"] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    gin.stop();
}

#[test]
fn in_the_units_the_main_process_alone_may_add_to_the_store() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let shipped = ["gin-server.service", "gin@.service"].map(|name| std::fs::read_to_string(root.join(name)).unwrap());
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let file = dir.path().join("shop.toml");
    std::fs::write(&file, "[supervisor]\n").unwrap();
    let unit = Command::new(binary("gin-ctl")).args(["unit", "shop", "--config"]).arg(&file).output().unwrap();
    let made = String::from_utf8(unit.stdout).unwrap();
    for unit in shipped.iter().chain([&made]) {
        assert!(unit.lines().any(|line| line == "NotifyAccess=main"), "{unit}");
    }
}

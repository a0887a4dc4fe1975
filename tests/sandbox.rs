//! Workers that are contained: what they cannot do, and that nothing is lost by it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use harness::{Builder, Client, Supervisor, binary, fixture, supervisor, times, write_program};
use serde_json::Value;

/// A worker that writes down how its attempts ended, and settings for it.
fn contained(settings: &str) -> Builder {
    let builder = supervisor().without_listener();
    builder.releases().release("one", "ok");
    let (program, current) = (fixture("contained.py"), builder.releases().current());
    builder
        .set(&format!(
            "command = [\"/usr/bin/python3\", {program:?}]\ndirectory = {current:?}\nsoak = \"0s\"\nlisten = []"
        ))
        .set(settings)
}

/// The report of the worker that was started last: it is there before the worker is ready.
fn report(gin: &Supervisor) -> Value {
    let report = gin.releases().path("one").join("report");
    serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap()
}

/// A program that becomes gin-supervisor by way of `by`, a command that takes it as its last arguments.
fn by_way_of(dir: &Path, by: &str) -> PathBuf {
    let (program, real) = (dir.join("gin-supervisor"), binary("gin-supervisor"));
    write_program(&program, &format!("#!/bin/sh\nexec {by} {} \"$@\"\n", real.display()));
    program
}

/// The same without these system calls.
fn without(dir: &Path, calls: &str) -> PathBuf {
    by_way_of(dir, &format!("/usr/bin/python3 {} {calls} --", fixture("without.py").display()))
}

const NONE: &str = "0000000000000000";

#[test]
fn a_contained_worker_has_no_rights_to_gain_and_no_calls_to_make() {
    let gin = contained("sandbox = { enable = true }").start();
    let report = report(&gin);
    for call in ["unshare", "clone", "ptrace", "pidfd_getfd", "mount"] {
        assert_eq!(report["outcomes"][call], "EPERM", "{call}: {report:#}");
    }
    assert_eq!(report["outcomes"]["chown"], "EPERM", "{report:#}");
    assert_eq!(report["outcomes"]["connect"], "ok", "{report:#}");
    let status = &report["status"];
    assert_eq!((&status["NoNewPrivs"], &status["Seccomp"]), (&"1".into(), &"2".into()));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], NONE, "{set}: {report:#}");
    }
    let told = gin.status().sandbox;
    assert_eq!(told.as_deref(), Some("no_new_privs, no capabilities, seccomp"));
    gin.ctl(&["status"]).assert(0, &["  sandbox        no_new_privs, no capabilities, seccomp\n"]);
    gin.restart();
    gin.stop();
}

#[test]
fn a_foreign_program_is_left_alone() {
    let gin = contained("").env("MINE", "1").start();
    let report = report(&gin);
    let master = std::fs::read_to_string(format!("/proc/{}/status", gin.pid())).unwrap();
    let bounding = master.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    assert_eq!(report["status"]["CapBnd"], bounding);
    assert_eq!((&report["status"]["NoNewPrivs"], &report["outcomes"]["ptrace"]), (&"0".into(), &"ok".into()));
    assert_eq!(report["outcomes"]["pidfd_getfd"], "ok");
    assert!(report["environment"].as_array().unwrap().contains(&"MINE".into()), "{report:#}");
    assert_eq!(gin.status().sandbox, None);
    gin.stop();
}

#[test]
fn a_worker_of_another_user_keeps_what_it_is_given_and_can_never_have_more() {
    let settings = "user = \"daemon\"\ncapabilities = [\"CAP_NET_BIND_SERVICE\"]\nsandbox = { enable = true }";
    let builder = contained(settings).open_directory();
    chown(builder.releases().path("one"), Some(1), Some(1)).unwrap();
    let gin = builder.start();
    let status = report(&gin)["status"].clone();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000400", "{set}");
    }
    assert_eq!(status["Uid"], "1\t1\t1\t1");
    gin.stop();
}

#[test]
fn the_environment_is_an_allow_list() {
    let settings = "env_pass = [\"LANG\", \"TRY_*\"]\nenv = { ADDED = \"1\" }";
    let gin = contained(settings).env("LANG", "C.UTF-8").env("TRY_THIS", "1").env("SECRET", "1").start();
    let report = report(&gin);
    let has = |name: &str| report["environment"].as_array().unwrap().contains(&name.into());
    for name in ["LANG", "TRY_THIS", "ADDED", "NOTIFY_SOCKET", "GIN_SLOT", "GIN_CONFIG"] {
        assert!(has(name), "no {name}: {report:#}");
    }
    for name in ["SECRET", "PATH", "HOME"] {
        assert!(!has(name), "{name}: {report:#}");
    }
    gin.stop();
    // gin-server gets what names a key of its configuration, and no other's secrets.
    let gin = supervisor().env("AWS_SECRET", "1").env("GIN_APP_COLOR", "red").env("REDIS_PORT", "7").start();
    let environment = std::fs::read(format!("/proc/{}/environ", gin.workers()[0])).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    for part in ["GIN_APP_COLOR=red", "REDIS_PORT=7", "PATH="] {
        assert!(environment.split('\0').any(|entry| entry.starts_with(part)), "no {part}: {environment}");
    }
    assert!(!environment.contains("AWS_SECRET"), "{environment}");
    gin.stop();
}

#[test]
fn files_that_are_not_named_are_closed() {
    let builder = supervisor();
    let at = |name: &str| builder.dir().join(name);
    for name in ["secret", "open", "log"] {
        std::fs::write(at(name), "x").unwrap();
    }
    let (dir, fixtures) = (builder.dir().display().to_string(), fixture(""));
    let sandbox =
        format!("{{ enable = true, read = [\"{dir}/open\", {fixtures:?}], write = [\"{dir}/log\", \"RELEASES\"] }}");
    let gin = contained(&format!("sandbox = {sandbox}"));
    let releases = gin.releases().path("").display().to_string();
    let mut gin = gin.replace("RELEASES", &releases);
    for name in ["secret", "open", "log"] {
        gin = gin.env(&format!("TRY_{}", name.to_uppercase()), &at(name).display().to_string());
    }
    let gin = gin.start();
    let outcomes = report(&gin)["outcomes"].clone();
    for (attempt, outcome) in [
        ("read secret", "EACCES"),
        ("write secret", "EACCES"),
        ("read open", "ok"),
        ("write open", "EACCES"),
        ("read log", "ok"),
        ("write log", "ok"),
        ("connect", "ok"),
    ] {
        assert_eq!(outcomes[attempt], outcome, "{attempt}: {outcomes:#}");
    }
    let told = gin.status().sandbox.unwrap();
    assert!(told.contains("files (Landlock "), "{told}");
    gin.restart();
    gin.stop();
}

#[test]
fn each_step_that_fails_says_so_itself() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let fails = |program: Option<&Path>, sandbox: &str, why: &str| {
        let builder = contained(&format!("sandbox = {sandbox}"));
        let builder = if let Some(program) = program { builder.program(program) } else { builder };
        let (code, log) = builder.fails();
        assert_eq!(code, 1, "{log}");
        assert!(log.contains(why), "no {why:?}: {log}");
    };
    let refused = "operation not permitted";
    fails(None, "{ enable = true, read = [\"/nowhere\"] }", "sandbox.read /nowhere: no such file or directory");
    fails(None, "{ enable = true, write = [\"/nowhere\"] }", "sandbox.write /nowhere: no such file or directory");
    let program = without(dir.path(), "prctl:38=EPERM");
    fails(Some(&program), "{ no_new_privs = true }", &format!("sandbox.no_new_privs: {refused}"));
    let program = without(dir.path(), "seccomp=EPERM");
    fails(Some(&program), "{ enable = true }", &format!("sandbox.seccomp: {refused}"));
    // PR_CAPBSET_DROP
    let program = without(dir.path(), "prctl:24=EPERM");
    fails(Some(&program), "{ capabilities = [] }", &format!("sandbox.capabilities: {refused}"));
}

#[test]
fn a_bounding_set_that_cannot_be_reduced_is_an_error_of_the_configuration() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let program = by_way_of(dir.path(), "setpriv --bounding-set=-setpcap");
    for sandbox in ["{ capabilities = [] }", "{ enable = true, no_new_privs = false }"] {
        let (code, log) = contained(&format!("sandbox = {sandbox}")).program(&program).fails();
        assert!(code == 2 && log.contains("supervisor.sandbox: without no_new_privs"), "{code}: {log}");
        let file = dir.path().join("shop.toml");
        std::fs::write(&file, format!("[supervisor]\ncommand = [\"/bin/true\"]\nsandbox = {sandbox}\n")).unwrap();
        let mut check = std::process::Command::new(&program);
        let output = check.args(["-t", "-c"]).arg(&file).env_remove("NOTIFY_SOCKET").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("shop.toml:3: supervisor.sandbox: "), "{said}");
    }
}

#[test]
fn what_cannot_be_had_is_told_in_the_status_and_stops_nothing() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let told = |program: &Path, sandbox: &str| {
        let gin = contained(&format!("sandbox = {sandbox}")).program(program).start();
        let (told, status) = (gin.status().sandbox.unwrap(), report(&gin)["status"].clone());
        gin.stop();
        (told, status)
    };
    let program = without(dir.path(), "landlock_create_ruleset=ENOSYS");
    let (line, _) = told(&program, "{ enable = true, read = [\"/usr\"] }");
    assert!(line.ends_with("this kernel has no Landlock: files are open as their modes say"), "{line}");
    let program = by_way_of(dir.path(), "setpriv --bounding-set=-setpcap");
    let (line, status) = told(&program, "{ enable = true }");
    assert!(line.contains("the bounding set stays, as the supervisor has no CAP_SETPCAP"), "{line}");
    assert_eq!((&status["CapPrm"], &status["NoNewPrivs"]), (&NONE.into(), &"1".into()));
    assert_ne!(status["CapBnd"], NONE);
}

#[test]
fn a_rollback_brings_the_old_generations_sandbox_back() {
    let gin = contained("sandbox = { enable = true }").start();
    let mode = |gin: &Supervisor| report(gin)["status"]["Seccomp"].clone();
    assert_eq!(mode(&gin), "2");
    gin.configure(|text| text.replace("enable = true", "enable = false"));
    gin.restart();
    assert_eq!((mode(&gin), gin.status().sandbox), ("0".into(), None));
    gin.ctl(&["rollback"]).assert(0, &[]);
    assert_eq!(mode(&gin), "2");
    assert!(gin.status().sandbox.is_some());
    gin.stop();
}

/// Restarts, deaths and upgrades in place under load, with a rollback: nobody is hurt.
fn goes_through_all(mut gin: Supervisor) {
    let load = gin.load();
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    let mut ask = || clients.iter_mut().for_each(|client| assert!(!client.get("/").unwrap().closes()));
    for _ in 0..times(3, 30) {
        ask();
        load.flows(20);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        ask();
        gin.die_and_adopt();
        load.flows(20);
        gin.restart();
        ask();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
        gin.ctl(&["rollback"]).assert(0, &[]);
        load.flows(20);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", gin.workers()[0])).unwrap();
    for line in ["NoNewPrivs:\t1\n", "Seccomp:\t2\n", &format!("CapBnd:\t{NONE}\n"), &format!("CapEff:\t{NONE}\n")] {
        assert!(status.contains(line), "no {line:?}: {status}");
    }
    load.finish().assert_unhurt();
    gin.ends_sound();
}

#[test]
fn gin_server_is_contained_and_nothing_is_lost() {
    goes_through_all(supervisor().workers(2).and_unix().set("soak = \"0s\"").start());
}

#[test]
fn contained_workers_of_ours_hand_over_and_are_adopted_and_nothing_is_lost() {
    let builder = supervisor().workers(2).ours("one", "ok").and_unix();
    let (dir, program) = (builder.dir().to_owned(), binary("."));
    let files = format!("read = [{program:?}], write = [{dir:?}]");
    goes_through_all(builder.set(&format!("soak = \"0s\"\nsandbox = {{ enable = true, {files} }}")).start());
}

/// The capabilities of the table in SECURITY.md, as setpriv(1) names them.
fn needed() -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../SECURITY.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `CAP_")?.split('`').next());
    rows.map(str::to_lowercase).collect()
}

#[test]
fn the_supervisor_does_all_with_the_capabilities_that_security_md_lists() {
    let capabilities = needed();
    assert!(capabilities.len() > 5, "{capabilities:?}");
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let program = by_way_of(dir.path(), &format!("setpriv --bounding-set=-all{set}"));
    let builder = supervisor().program(&program).ours("one", "ok").and_unix().open_directory();
    // Built below a home directory that others cannot enter.
    let worker = builder.dir().join("app");
    std::fs::copy(binary("fixture-worker"), &worker).unwrap();
    std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let own = format!("{:?}", binary("fixture-worker"));
    let builder = builder.replace(&own, &format!("{worker:?}"));
    let settings = "workers = 2\nuser = \"daemon\"\nsoak = \"0s\"\nsandbox = { enable = true }";
    let mut gin = builder.set(settings).start();
    let load = gin.load();
    for _ in 0..times(2, 20) {
        load.flows(20);
        gin.restart();
        gin.die_and_adopt();
        load.flows(20);
        gin.restart();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    }
    load.finish().assert_unhurt();
    gin.kill_worker(gin.workers()[0]);
    gin.ends_sound();
}

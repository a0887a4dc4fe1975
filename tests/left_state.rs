//! What a dead master has left is not believed beyond what can be checked.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use gin_shared::process::ProcessId;
use gin_shared::state::{Slot, read, write};
use harness::{Supervisor, supervisor};
use serde_json::{Value, json};

fn state_file(gin: &Supervisor) -> std::path::PathBuf {
    gin.dir().join("run/state")
}

/// Changes what the dead master has left.
pub fn edit(gin: &Supervisor, change: impl FnOnce(&mut Value)) {
    let file = std::fs::File::options().read(true).write(true).open(state_file(gin)).unwrap();
    let slot = read(&file).unwrap().unwrap();
    let mut state: Value = serde_json::from_slice(&slot.bytes).unwrap();
    change(&mut state);
    write(&file, &Slot { sequence: slot.sequence + 1, bytes: serde_json::to_vec(&state).unwrap() }).unwrap();
}

#[test]
fn a_state_that_cannot_be_believed_is_told_of_and_the_start_is_sound() {
    type Spoil = fn(&Supervisor);
    let spoils: [(&str, Spoil); 8] = [
        ("truncated", |gin| std::fs::write(state_file(gin), "gin-state 1").unwrap()),
        ("corrupt", |gin| {
            let file = std::fs::File::options().write(true).open(state_file(gin)).unwrap();
            for offset in [200, gin_shared::state::SLOT + 200] {
                std::os::unix::fs::FileExt::write_all_at(&file, b"XXXX", offset).unwrap();
            }
        }),
        ("truncated", |gin| std::fs::write(state_file(gin), vec![0xff; 1 << 20]).unwrap()),
        ("reads up to 1", |gin| edit(gin, |state| state["version"] = json!(2))),
        ("of another boot", |gin| edit(gin, |state| state["boot_id"] = json!("0"))),
        ("it is of the instance", |gin| edit(gin, |state| state["state"]["instance"] = json!("other"))),
        ("cannot be read: missing field", |gin| edit(gin, |state| state["state"] = json!({}))),
        ("belongs to uid 65534", |gin| {
            std::os::unix::fs::chown(state_file(gin), Some(65534), None).unwrap();
        }),
    ];
    for (why, spoil) in spoils {
        let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
        let workers = gin.workers();
        gin.kill();
        gin.wait_dead();
        spoil(&gin);
        gin.start_again();
        gin.until_log("nothing is adopted");
        gin.until_log(why);
        assert!(gin.workers().iter().all(|pid| !workers.contains(pid)));
        gin.assert_sound();
        gin.restart();
        gin.stop();
    }
}

#[test]
fn a_recycled_pid_is_nobody_of_ours() {
    let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let workers = gin.workers();
    gin.kill();
    gin.wait_dead();
    let mut foreign = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(foreign.id()).unwrap();
    // Slot 0's PID is another's by now, who was started later; and a command's, too.
    let started = ProcessId::of(workers[0]).unwrap().started;
    gin.kill_worker(workers[0]);
    edit(&gin, |state| {
        state["state"]["workers"][0]["process"] = json!({ "pid": pid, "started": started });
        state["state"]["commands"] = json!([{ "pid": pid, "started": started }]);
    });
    let said = gin.ctl(&["status"]);
    assert!(!said.out.contains(&pid.to_string()), "{said:?}");
    gin.start_again();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert_eq!(gin.workers().len(), 2);
    assert!(foreign.try_wait().unwrap().is_none(), "a foreign process was ended");
    gin.assert_sound();
    gin.stop();
    assert!(foreign.try_wait().unwrap().is_none(), "a foreign process was ended");
    foreign.kill().unwrap();
    let _ = foreign.wait();
}

#[test]
fn an_older_state_is_read_and_what_a_later_one_says_more_is_passed_over() {
    for back in [false, true] {
        let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
        let workers = gin.workers();
        gin.kill();
        gin.wait_dead();
        let fixture: Value = serde_json::from_str(include_str!("fixtures/state-1.json")).unwrap();
        edit(&gin, |state| if back { enrich(state) } else { reduce(state, &fixture) });
        gin.start_again();
        assert_eq!(gin.workers(), workers, "{}", gin.log());
        gin.restart();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
        gin.stop();
    }
}

/// Leaves of `state` just what the oldest format has, which `fixture` shows.
pub fn reduce(state: &mut Value, fixture: &Value) {
    match (state, fixture) {
        (Value::Object(state), Value::Object(fixture)) => {
            state.retain(|key, _| fixture.contains_key(key));
            for (key, value) in state {
                reduce(value, &fixture[key]);
            }
        }
        (Value::Array(state), Value::Array(fixture)) => {
            if let Some(first) = fixture.first() {
                state.iter_mut().for_each(|value| reduce(value, first));
            }
        }
        _ => {}
    }
}

/// What a later version might add, everywhere that is a structure of fields.
fn enrich(state: &mut Value) {
    let more = |value: &mut Value| value["a_later_field"] = json!({ "of": ["a later", "version"] });
    more(state);
    for path in
        ["/state", "/state/machine", "/state/paths", "/state/workers/0", "/state/generations/0", "/state/sockets/0"]
    {
        more(state.pointer_mut(path).unwrap_or_else(|| panic!("{path}")));
    }
}

/// Root looks for instances where anybody can make a directory: what it finds there is not believed beyond its owner.
#[test]
fn a_state_that_somebody_forged_has_nobody_of_ours_ended() {
    let dir = tempfile::Builder::new().prefix("gin").tempdir_in("/tmp").unwrap();
    let mut victim = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let file = dir.path().join("precious");
    std::fs::write(&file, "x").unwrap();
    let meta = std::fs::metadata(&file).unwrap();
    let (device, inode) = (std::os::unix::fs::MetadataExt::dev(&meta), std::os::unix::fs::MetadataExt::ino(&meta));
    let process = ProcessId::of(i32::try_from(victim.id()).unwrap()).unwrap();
    let state = json!({ "version": 1, "boot_id": gin_shared::state::boot_id(), "state": {
        "instance": "shop", "master": { "pid": 1, "started": 1 }, "paths": {},
        "workers": [{ "id": { "generation": 1, "slot": 0, "attempt": 0 }, "process": process, "stop_signal": 15 }],
        "sockets": [{ "address": format!("unix:{}", file.display()), "file": [device, inode] }],
    } });
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("instance.lock"), "").unwrap();
    let written = std::fs::File::create(run.join("state")).unwrap();
    write(&written, &Slot { sequence: 1, bytes: serde_json::to_vec(&state).unwrap() }).unwrap();
    std::fs::set_permissions(run.join("state"), std::fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["run", "run/state", "run/instance.lock"] {
        std::os::unix::fs::chown(dir.path().join(name), Some(65534), None).unwrap();
    }
    let stop = || harness::Ctl::run(&run.join("control.sock"), &["stop"]);
    stop().assert(3, &["no supervisor there"]);
    assert!(victim.try_wait().unwrap().is_none() && file.exists());
    // A pipe in its place makes nobody wait.
    std::fs::remove_file(run.join("state")).unwrap();
    nix::unistd::mkfifo(&run.join("state"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    stop().assert(3, &["no supervisor there"]);
    victim.kill().unwrap();
    let _ = victim.wait();
}

#[test]
fn a_unix_socket_whose_file_is_gone_is_told_of_and_made_anew() {
    let mut gin = supervisor().ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let (unix, file) = (gin.unix(), gin.dir().join("http.sock"));
    gin.kill();
    gin.wait_dead();
    std::fs::remove_file(&file).unwrap();
    gin.start_again();
    gin.until_log("the socket's file is gone");
    gin.restart();
    assert_eq!(harness::get(&unix, "/").unwrap().status, 200);
    gin.stop();
}

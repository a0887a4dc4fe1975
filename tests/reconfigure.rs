//! A configuration that changes: listeners that come and go, what counts in place, and where settings come from.

use std::net::{TcpListener, UdpSocket};

use harness::{Address, Client, Failure, Load, PATIENCE, supervisor};
use nix::sys::signal::Signal;

fn listen(name: &str, address: &str) -> String {
    format!("[[supervisor.listen]]\nname = \"{name}\"\naddress = \"{address}\"\n")
}

#[test]
fn listeners_come_and_go_with_a_restart_and_nobody_on_the_others_notices() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let (first, dir) = (gin.tcp(), gin.dir().to_owned());
    let load = Load::new().keep_alive(&first, 4).one_shot(&first, 4);
    load.flows(50);
    let extra = format!("unix:{}/extra.sock", dir.display());
    gin.configure(|text| text + &listen("extra", &extra));
    gin.restart();
    let unix = gin.listener("extra");
    assert_eq!(harness::get(&unix, "/").unwrap().json()["listen_fdnames"], "http:extra");
    // Renamed: the same socket under another name.
    let inode =
        std::fs::metadata(dir.join("extra.sock")).map(|file| std::os::unix::fs::MetadataExt::ino(&file)).unwrap();
    gin.configure(|text| text.replace("\"extra\"", "\"admin\"") + "mode = \"0640\"\n");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert_eq!(harness::get(&unix, "/").unwrap().json()["listen_fdnames"], "http:admin");
    let file = std::fs::metadata(dir.join("extra.sock")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&file), inode);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777, 0o640);
    // Removed: it closes when the last worker that has it has drained, and not before.
    let hold = gin.hold();
    let mut client = Client::asking(&unix, &hold.request()).unwrap();
    let request = hold.arrived();
    gin.configure(|text| text.split("[[supervisor.listen]]\nname = \"admin\"").next().unwrap().to_owned());
    gin.restart();
    assert!(dir.join("extra.sock").exists(), "closed under a request");
    let mut events = gin.events();
    request.release();
    assert_eq!(client.response().unwrap().status, 200);
    drop(client);
    if gin.status().generations.len() > 1 {
        events.until("gone");
    }
    assert!(!dir.join("extra.sock").exists());
    assert!(matches!(Client::connect(&unix), Err(Failure::Refused | Failure::Other(_))));
    load.flows(50);
    load.finish().assert_unhurt();
    gin.stop();
}

#[test]
fn a_listener_that_cannot_be_bound_changes_none_of_three() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = gin.dir().display().to_string();
    let sockets = [format!("unix:{dir}/a.sock"), address.clone(), format!("unix:{dir}/b.sock")];
    gin.configure(|text| text + &listen("a", &sockets[0]) + &listen("taken", &sockets[1]) + &listen("b", &sockets[2]));
    let me = format!("address in use by pid {}", std::process::id());
    gin.ctl(&["restart"]).assert(1, &[&format!("cannot listen on {address}"), &me, "nothing changed"]);
    assert!(!gin.dir().join("a.sock").exists() && !gin.dir().join("b.sock").exists());
    assert_eq!((gin.status().listeners.len(), gin.get("/").status), (1, 200));
    drop(taken);
    gin.restart();
    assert_eq!(gin.status().listeners.len(), 4);
    // One that was bound for a candidate which then fails goes with it.
    gin.configure(|text| text + &listen("c", &format!("unix:{dir}/c.sock")));
    gin.releases().release("bad", "exit");
    let mut events = gin.events();
    gin.ctl(&["restart"]).assert(1, &[]);
    events.until_of(4, "gone");
    assert!(!gin.dir().join("c.sock").exists() && gin.dir().join("a.sock").exists());
    gin.stop();
}

#[test]
fn an_address_that_overlaps_our_own_is_told_as_that() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let Address::Tcp(held) = gin.tcp() else { panic!("TCP") };
    gin.configure(|text| text.replace("127.0.0.1:0", &format!("0.0.0.0:{}", held.port())));
    let own =
        format!("address in use by this supervisor's own listener on {held}, which it overlaps; take another port");
    gin.ctl(&["restart"]).assert(1, &[&own]);
    gin.stop();
}

#[test]
fn udp_sockets_are_inherited_like_the_others() {
    let gin = supervisor().foreign("one", "ok").section(&listen("udp", "udp:127.0.0.1:0")).set("soak = \"0s\"").start();
    let address = gin.status().listeners.iter().find(|l| l.name == "udp").unwrap().address.clone();
    let address = address.strip_prefix("udp:").unwrap().to_owned();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = || {
        client.send_to(b"hello", &address).unwrap();
        let mut bytes = [0; 64];
        let length = client.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!(ask(), "hello 1");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert_eq!(ask(), "hello 2");
    gin.stop();
}

#[test]
fn a_reload_changes_in_place_what_it_can_and_restarts_for_the_rest() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let workers = gin.workers();
    gin.configure(|text| {
        text.replace("[supervisor]\n", "[supervisor]\nmax_draining = 7\nrestart_signal = \"SIGWINCH\"\n")
    });
    gin.ctl(&["reload"]).assert(0, &["changed in place; no worker was restarted"]);
    assert_eq!(gin.workers(), workers);
    let mut events = gin.events();
    gin.signal(Signal::SIGWINCH);
    events.until_of(2, "current");
    let elsewhere = format!("max_draining = 8\npid_file = {:?}", gin.dir().join("elsewhere"));
    gin.configure(|text| text.replace("max_draining = 7", &elsewhere));
    gin.ctl(&["reload"]).assert(0, &["changed in place", "only from a new start of the supervisor on: pid_file"]);
    // Anything of the workers' is a restart, and so is no change at all.
    gin.configure(|text| text + "\n[app]\ncolour = \"red\"\n");
    gin.ctl(&["reload"]).assert(0, &["generation 3 serves"]);
    gin.ctl(&["reload"]).assert(0, &["generation 4 serves"]);
    gin.releases().release("two", "ok");
    gin.configure(|text| text.replace("max_draining = 8", "max_draining = 9"));
    gin.ctl(&["reload"]).assert(0, &["generation 5 serves"]);
    // HUP is the same.
    gin.configure(|text| text.replace("max_draining = 9", "max_draining = 3"));
    let workers = gin.workers();
    gin.signal(Signal::SIGHUP);
    gin.until_log_again("reload: changed in place", 3);
    assert_eq!(gin.workers(), workers);
    gin.configure(|text| text.replace("max_draining", "max_drainin"));
    gin.ctl(&["reload"]).assert(2, &["supervisor.max_drainin: unknown key; did you mean", "nothing changed"]);
    assert_eq!(gin.generation().0, 5);
    gin.stop();
}

#[test]
fn settings_come_from_the_environment_and_variables_from_a_file() {
    let builder = supervisor().ours("one", "ok");
    let dir = builder.releases().current().parent().unwrap().to_owned();
    std::fs::write(dir.join("env"), "# of the shop\nSECRET=one\n").unwrap();
    let gin = builder
        .set(&format!("workers = 1\nsoak = \"0s\"\nenv_file = \"{}/env\"", dir.display()))
        .env("GIN_SUPERVISOR_WORKERS", "3")
        .start();
    assert_eq!(gin.workers().len(), 3);
    assert_eq!(gin.get("/").json()["secret"], "one");
    std::fs::write(dir.join("env"), "SECRET=two\n").unwrap();
    gin.ctl(&["reload"]).assert(0, &["generation 2 serves"]);
    assert_eq!(gin.who()["secret"], "two");
    std::fs::write(dir.join("env"), "SECRET\n").unwrap();
    gin.ctl(&["restart"]).assert(2, &["env:1: expected NAME=value"]);
    std::fs::remove_file(dir.join("env")).unwrap();
    gin.ctl(&["restart"]).assert(2, &["env_file: no such file or directory"]);
    assert_eq!(gin.generation().0, 2);
    gin.stop();
}

#[test]
fn a_check_asks_the_worker_for_its_part_too() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let check = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let command = std::process::Command::new(harness::binary("gin-ctl")).arg("check").arg(&file).output().unwrap();
        let said = [command.stdout, command.stderr].concat();
        (command.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    assert_eq!(check("a.toml", "[server]\nport = 1\n").0, Some(0));
    assert_eq!(
        check("a.yaml", "server:\n  port: 1\ntimeouts: {idle: 3s}\n"),
        (Some(0), "the configuration is fine\n".into())
    );
    let (code, said) = check("b.yaml", "server:\n  port: 1\ntimeouts: {idel: 3s}\n");
    assert!(code == Some(2) && said.contains("idel"), "{code:?} {said}");
    let (code, said) = check("c.json", "{\"supervisor\":\n{\"workers\": 0}}");
    assert!(code == Some(2) && said.contains("c.json:2: supervisor.workers: 0 is out of range"), "{code:?} {said}");
}

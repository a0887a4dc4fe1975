//! By the playbook.

use std::process::Command;

use harness::Load;

use super::{BAD, Farm, GOOD, good_bad_and_good, kept, until_each_was_out};

/// Of a playbook that has failed on a host.
const FAILED: i32 = 2;

/// The same hosts are behind nginx, too.
#[test]
#[ignore = "needs root, ssh, Ansible, HAProxy and nginx: tests/run --services"]
fn good_bad_and_good_hurt_nobody() {
    let farm = Farm::start();
    let nginx = farm.nginx();
    let beside = Load::new().keep_alive(&nginx.address, 2).one_shot(&nginx.address, 2);
    good_bad_and_good(&farm, FAILED, |release| farm.play(false, release));
    let report = beside.finish();
    eprintln!("behind nginx: {} requests, hurt: {:?}", report.requests, report.hurt);
    report.assert_unhurt();
    // nginx itself closes a connection after 1000 requests, and says so.
    assert_eq!(report.closed_idle, 0, "{report:?}");
}

#[test]
#[ignore = "needs root, ssh, Ansible, HAProxy and nginx: tests/run --services"]
fn drained_hosts_are_taken_out_in_turn_and_a_bad_release_ends_at_the_first() {
    let farm = Farm::start();
    let (load, two, bad) = (farm.load(), farm.archive("two", GOOD), farm.archive("bad", BAD));
    load.flows(100);
    let outcome = std::thread::scope(|scope| {
        let outcome = scope.spawn(|| farm.play(true, &two));
        until_each_was_out(&farm);
        outcome.join().unwrap()
    });
    outcome.assert(0, &[]);
    farm.assert_serves("two");
    load.flows(100);

    farm.play(true, &bad).assert(FAILED, &["bad failed (Start the service)", "it serves releases/two as before"]);
    farm.assert_serves("two");
    farm.assert_untouched(&farm.hosts[1..], "bad");
    load.flows(100);
    kept(load);
}

/// No host is stopped for a release that is not there.
#[test]
#[ignore = "needs root, ssh, Ansible and HAProxy: tests/run --services"]
fn what_cannot_be_unpacked_touches_no_service() {
    let farm = Farm::start();
    let pids = || farm.hosts.iter().map(|host| host.ok(&["cat", "/run/gin/shop/pid"])).collect::<Vec<_>>();
    let before = pids();
    let broken = farm.dir.path().join("broken.tar.gz");
    std::fs::write(&broken, "no archive").unwrap();
    farm.play(true, &broken).assert(FAILED, &["not in gzip format"]);
    farm.assert_untouched(&farm.hosts, "broken");

    // It can be read. But `a` is a file in it, and then a directory.
    let torn = farm.dir.path().join("torn.tar.gz");
    for name in ["a", "b"] {
        std::fs::write(farm.dir.path().join(name), "").unwrap();
    }
    let mut command = Command::new("tar");
    command.arg("-czf").arg(&torn).args(["--transform", "s,^b$,a/b,", "-C"]).arg(farm.dir.path()).args(["a", "b"]);
    assert!(command.status().unwrap().success());
    farm.play(true, &torn).assert(FAILED, &["Unpack it beside the others", "a/b"]);
    farm.assert_untouched(&farm.hosts[1..], "torn");
    farm.assert_serves("one");
    assert_eq!(pids(), before);
}

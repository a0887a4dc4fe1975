//! By the playbook.

use harness::Load;

use super::{Farm, GOOD, good_bad_and_good, kept, until_each_was_out};

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
fn drained_hosts_are_taken_out_in_turn() {
    let farm = Farm::start();
    let (load, release) = (farm.load(), farm.archive("two", GOOD));
    load.flows(100);
    let outcome = std::thread::scope(|scope| {
        let outcome = scope.spawn(|| farm.play(true, &release));
        until_each_was_out(&farm);
        outcome.join().unwrap()
    });
    outcome.assert(0, &[]);
    farm.assert_serves("two");
    load.flows(100);
    kept(load);
}

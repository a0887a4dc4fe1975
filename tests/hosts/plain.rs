//! The same program on the same hosts without gin, restarted host by host: so the other tests can fail.

use harness::{Host, Report, eventually, get};

use super::{Farm, GOOD, at, no_retries, write_program_of};

/// Ends the program by SIGTERM, on which it answers what is under way, and starts it again, each time somebody writes to `/run/again`.
const PLAIN: &str = "#!/bin/sh\ncd /srv/shop/current\nmkfifo /run/again\nwhile :; do\n\
                     ./bin/shop --config /etc/gin/shop.toml </dev/null >>/run/log 2>&1 &\n\
                     read -r _ </run/again\nkill $!\nwait $!\ndone\n";

fn pid(host: &Host) -> Option<u64> {
    get(&at(host), "/").ok().filter(|answer| answer.status == 200)?.json()["pid"].as_u64()
}

/// Until another process answers than this one.
fn until_other(host: &Host, before: Option<u64>) {
    // Nobody tells when a program without a supervisor listens.
    let _ = eventually("it answers", || pid(host), |pid| pid.is_some() && *pid != before);
}

/// A restart of each host under load; how it was for clients.
fn restarts(haproxy: impl FnOnce(&str) -> String) -> Report {
    let farm = Farm::without_service(haproxy);
    let release = farm.archive("one", GOOD);
    let mut services = Vec::new();
    for host in &farm.hosts {
        farm.install(host, &release, &[]);
        let quick = "sed -i 's/^lame_duck = .*/lame_duck = \"0s\"/' /etc/gin/shop.toml";
        host.ok(&["sh", "-c", quick]);
        write_program_of(host, "/run/plain", PLAIN);
        services.push(host.spawn(&["/run/plain"]));
        until_other(host, None);
    }
    farm.until_balanced();
    let load = farm.load();
    for host in &farm.hosts {
        load.flows(100);
        let before = pid(host);
        host.ok(&["sh", "-c", "echo >/run/again"]);
        until_other(host, before);
        farm.until_balanced();
    }
    load.flows(100);
    let report = load.finish();
    eprintln!("without gin: {} requests, {} connects, hurt: {:?}", report.requests, report.connects, report.hurt);
    for mut service in services {
        let _ = service.kill();
        let _ = service.wait();
    }
    report
}

#[test]
#[ignore = "needs root, ssh and HAProxy: tests/run --services"]
fn plain_restarts_hurt_clients() {
    let report = restarts(no_retries);
    assert!(!report.hurt.is_empty(), "the others could not fail: {report:?}");
    // A balancer that tries again hides most of it: the figure is for the recipe's README.
    let report = restarts(str::to_owned);
    eprintln!("with the recipe's balancer, which tries again: hurt {:?} of {}", report.hurt, report.requests);
}

//! Hosts that cannot be reached, before a release and in the middle of it, and a Redis that is away.

use std::path::Path;

use harness::{PASSWORD, Service, ServiceKind, eventually};

use super::{Farm, GOOD, Outcome, WORKER, kept, no_retries, swapped};

#[test]
#[ignore = "needs root, ssh, Ansible and HAProxy: tests/run --services"]
fn a_host_that_cannot_be_reached_is_named_and_nothing_is_changed() {
    let farm = Farm::start();
    let (lost, release) = (&farm.hosts[1], farm.archive("two", GOOD));
    farm.switch().cut(lost.number());
    farm.until_state(lost, "DOWN");
    let load = farm.load();
    load.flows(100);
    let named = format!("{} cannot be reached", lost.address());
    farm.script(&[], &release).assert(3, &[&named, "nothing was changed"]);
    farm.script(&["--drain"], &release).assert(3, &[&named, "nothing was changed"]);
    let outcome = farm.play(false, &release);
    assert_ne!(outcome.code, 0, "{}", outcome.said);
    outcome.assert(outcome.code, &["fatal: [web2]: UNREACHABLE!", "NO MORE HOSTS LEFT"]);
    assert!(!outcome.said.contains("Copy the release"), "{}", outcome.said);
    load.flows(100);
    kept(load);
    farm.switch().mend(lost.number());
    farm.until_balanced();
    farm.assert_serves("one");
    farm.assert_untouched(&farm.hosts, "two");
    farm.script(&[], &release).assert(0, &["3 hosts serve two"]);
    farm.assert_serves("two");
}

/// The cable of the second host is pulled as soon as its link is moved. Gives the outcome.
fn lost_in_the_middle(release: impl Fn(&Farm, &Path) -> Outcome + Sync) -> Outcome {
    // Whoever waits for an answer of that host waits no longer than this.
    let soon = |text: &str| swapped(&no_retries(text), "timeout server 60s", "timeout server 3s");
    let farm = Farm::with(WORKER, GOOD, &[], soon);
    let (lost, two, three) = (&farm.hosts[1], farm.archive("two", GOOD), farm.archive("three", GOOD));
    let load = farm.load();
    load.flows(100);
    let outcome = std::thread::scope(|scope| {
        let outcome = scope.spawn(|| release(&farm, &two));
        Farm::until_link(&farm.hosts[0], "two");
        Farm::until_link(lost, "two");
        farm.switch().cut(lost.number());
        farm.until_state(lost, "DOWN");
        // From here on nobody notices.
        let others = farm.load();
        others.flows(300);
        let outcome = outcome.join().unwrap();
        kept(others);
        outcome
    });
    farm.assert_untouched(&farm.hosts[2..], "two");
    let clients = load.clients();
    let report = load.finish();
    eprintln!("lost with the host: {:?} of {} requests by {clients} clients", report.hurt, report.requests);
    // What each client had under way there, and what it sent until the balancer noticed.
    assert!(report.hurt.values().sum::<u64>() <= 2 * clients, "{report:?}");

    // It is back, and needs nothing by hand.
    farm.switch().mend(lost.number());
    farm.until_balanced();
    let load = farm.load();
    load.flows(100);
    release(&farm, &three).assert(0, &[]);
    farm.assert_serves("three");
    load.flows(100);
    kept(load);
    outcome
}

#[test]
#[ignore = "needs root, ssh and HAProxy: tests/run --services"]
fn a_host_that_is_lost_in_the_middle_ends_the_script() {
    let outcome = lost_in_the_middle(|farm, release| farm.script(&[], release));
    outcome.assert(4, &["two failed", "is not known to be as it was", "later hosts were not touched"]);
}

#[test]
#[ignore = "needs root, ssh, Ansible and HAProxy: tests/run --services"]
fn a_host_that_is_lost_in_the_middle_ends_the_playbook() {
    let outcome = lost_in_the_middle(|farm, release| farm.play(false, release));
    outcome.assert(2, &["fatal: [web2]: UNREACHABLE!", "web2: lost, look at it; later hosts were not touched"]);
}

/// The rate limit of all hosts together is in Redis. Without it each host counts for itself, a new worker begins, and `/readyz` of the
/// recipe does not take out all hosts.
#[test]
#[ignore = "needs root, ssh, HAProxy and Redis: tests/run --services"]
fn redis_may_be_away_during_a_release() {
    const PROGRAM: &str = "fixture-data";
    const MODE: &str = "plain";
    let mut redis = Service::start_at(ServiceKind::Redis, &["0.0.0.0"]);
    let limit = "[rate_limit]\nenable = true\nrate = 1000000\nwindow = \"1h\"\nstore = \"redis\"\n";
    let place = format!(
        "[redis]\nhost = \"10.0.0.9\"\nport = {}\npassword = {PASSWORD:?}\ndial_timeout = \"500ms\"\n\
         read_timeout = \"500ms\"\nwrite_timeout = \"500ms\"\n",
        redis.port()
    );
    let farm = Farm::with(PROGRAM, MODE, &[limit, &place], no_retries);
    let load = farm.load();
    load.flows(100);
    // Redis tells nobody of a new key, unless it is told to.
    eventually("the hosts count in Redis", || redis.ask("KEYS *"), |keys| !keys.is_empty());

    redis.kill();
    load.flows(100);
    farm.script(&[], &farm.archive_of("two", PROGRAM, MODE, &[])).assert(0, &["3 hosts serve two"]);
    farm.assert_serves("two");
    load.flows(100);
    redis.start_again();
    farm.script(&[], &farm.archive_of("three", PROGRAM, MODE, &[])).assert(0, &["3 hosts serve three"]);
    farm.assert_serves("three");
    load.flows(100);
    kept(load);
}

//! By the script, for those who have no Ansible.

use std::process::Command;

use super::{
    BAD, Farm, GOOD, Outcome, WORKER, good_bad_and_good, kept, no_retries, recipe, swapped, until_each_was_out,
};

#[test]
#[ignore = "needs root, ssh and HAProxy: tests/run --services"]
fn good_bad_and_good_hurt_nobody() {
    let farm = Farm::start();
    good_bad_and_good(&farm, 1, |release| farm.script(&[], release));
}

#[test]
#[ignore = "needs root, ssh and HAProxy: tests/run --services"]
fn drained_hosts_are_taken_out_in_turn_and_a_bad_release_ends_at_the_first() {
    let farm = Farm::start();
    let (load, two, bad) = (farm.load(), farm.archive("two", GOOD), farm.archive("bad", BAD));
    load.flows(100);
    let outcome = std::thread::scope(|scope| {
        let outcome = scope.spawn(|| farm.script(&["--drain"], &two));
        until_each_was_out(&farm);
        outcome.join().unwrap()
    });
    outcome.assert(0, &["3 hosts serve two"]);
    farm.assert_serves("two");
    load.flows(100);

    farm.script(&["--drain"], &bad).assert(1, &["bad failed (start)", "serves releases/two as before"]);
    farm.assert_serves("two");
    farm.assert_untouched(&farm.hosts[1..], "bad");
    load.flows(100);
    kept(load);
}

/// Its restart succeeds: only from outside it can be seen that the host is of no use.
#[test]
#[ignore = "needs root, ssh and HAProxy: tests/run --services"]
fn a_release_that_is_not_ready_from_outside_goes_back() {
    let ready = "/readyz?exclude=parts";
    let farm = Farm::with(WORKER, "ok", &[], |text| swapped(&no_retries(text), ready, "/fit"));
    let load = farm.load();
    load.flows(100);
    let unfit = farm.archive_of("unfit", WORKER, "ok", &[("fit", "no catalogue")]);
    let mut command = farm.script_command(&["--stay"], &unfit);
    command.env("READY", "/fit").env("TIMEOUT", "5");
    Outcome::of(command).assert(1, &["unfit failed (ready)", "serves releases/one as before"]);
    farm.assert_serves("one");
    farm.assert_untouched(&farm.hosts[1..], "unfit");
    farm.until_balanced();
    load.flows(100);
    kept(load);
}

#[test]
fn wrong_usage_is_told_before_a_host_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        std::fs::write(dir.path().join(name), "no archive").unwrap();
        dir.path().join(name).display().to_string()
    };
    let (text, blank) = (file("one.tar.gz"), file("a b.tar.gz"));
    let wrong: [(&[&str], &str); 6] = [
        (&[], "a release and at least one host are needed"),
        (&["one.tar.gz"], "a release and at least one host are needed"),
        (&["--quickly", "one.tar.gz", "web1"], "unknown option --quickly"),
        (&["none.tar.gz", "web1"], "none.tar.gz: cannot be read as .tar.gz"),
        (&[text.as_str(), "web1"], "cannot be read as .tar.gz"),
        (&[blank.as_str(), "web1"], "a release has letters"),
    ];
    for (args, why) in wrong {
        let mut command = Command::new(recipe("release.sh"));
        command.args(args).env("SSH", "false").current_dir(dir.path());
        Outcome::of(command).assert(2, &[why, "release.sh [--stay | --drain] RELEASE.tar.gz HOST..."]);
    }
}

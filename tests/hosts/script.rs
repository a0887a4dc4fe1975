//! By the script, for those who have no Ansible.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use harness::write_program;
use tempfile::TempDir;

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
    let outcome = thread::scope(|scope| {
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

/// A host that is a directory of this machine, by an `ssh` that runs its commands here. What is stopped and started is written down.
struct Pretended {
    dir: TempDir,
    /// The service, which is ready whatever becomes of it.
    port: u16,
}

const SSH: &str = "#!/bin/sh\n[ \"$1\" != -G ] || { echo hostname 127.0.0.1; exit; }\n\
                   while [ \"$1\" = -o ]; do shift 2; done\nshift\n\
                   [ -z \"$LOST\" ] || case $* in *\"$LOST\"*) exit 255 ;; esac\nexec sh -c \"$*\"\n";

impl Pretended {
    /// A host with release `one`, and these programs before the machine's own.
    fn with(programs: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::create_dir_all(dir.path().join("host/releases/one")).unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("releases/one", dir.path().join("host/current")).unwrap();
        for (name, text) in [("ssh", SSH)].iter().chain(programs) {
            write_program(&dir.path().join("bin").join(name), text);
        }
        let made = Command::new("tar").args(["-czf", "two.tar.gz", "bin"]).current_dir(dir.path()).status();
        assert!(made.unwrap().success());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { dir, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Releases `two`. These variables count, too.
    fn release(&self, option: &str, variables: &[(&str, &str)]) -> Outcome {
        Outcome::of(self.command(option, variables))
    }

    fn command(&self, option: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(recipe("release.sh"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.args([option, "two.tar.gz", "web1"]).current_dir(self.dir.path()).env("PATH", path);
        command.env("DIRECTORY", self.path("host")).env("PORT", self.port.to_string());
        // Commands of a host begin in its directory.
        command.env("STOP", "echo stop >>events").env("START", "echo start >>events").env("TAKEN_BACK", "0");
        command.envs(variables.iter().copied());
        command
    }

    fn events(&self) -> String {
        std::fs::read_to_string(self.path("events")).unwrap_or_default()
    }

    fn current(&self) -> PathBuf {
        std::fs::read_link(self.path("host/current")).unwrap()
    }
}

#[test]
fn a_host_on_which_nothing_can_be_linked_is_started_again() {
    let host = Pretended::with(&[("ln", "#!/bin/sh\nexit 1\n")]);
    host.release("--drain", &[]).assert(1, &["two failed (link)", "web1 serves releases/one as before"]);
    assert_eq!(host.events(), "stop\nstop\nstart\n");
    assert_eq!(host.current(), Path::new("releases/one"));
}

#[test]
fn a_host_whose_link_cannot_go_back_is_started_all_the_same_and_is_to_be_looked_at() {
    let once = "#!/bin/sh\n[ -e linked ] && exit 1\n: >linked\nexec /bin/ln \"$@\"\n";
    let host = Pretended::with(&[("ln", once)]);
    let start = "echo start >>events; [ -e tried ] || { : >tried; exit 1; }";
    host.release("--drain", &[("START", start)]).assert(4, &["two failed (start)", "is not known to be as it was"]);
    assert_eq!(host.events(), "stop\nstart\nstop\nstart\n");
}

const STOP: &str = "echo stop >>events";
const START: &str = "echo \"start $(readlink \"$DIRECTORY/current\")\" >>events";
/// Lines of a script that has gone back after a signal.
const WENT_BACK: [&str; 2] = ["ended: web1 goes back to releases/one", "web1 serves releases/one as before"];
/// Of a host that was stopped and started with the release, and then with the one before.
const BACK_AND_FORTH: &str = "stop\nstart releases/two\nstop\nstart releases/one\n";

/// A command of a host, and a signal for the script, which has run it, the first time.
fn signalled(command: &str, signal: &str) -> String {
    format!("{command}; [ -e told ] || {{ : >told; kill -{signal} $PPID; }}")
}

#[test]
fn a_signal_leaves_no_host_stopped_and_none_with_a_release_that_is_not_known_to_serve() {
    let (stopping, starting) = (signalled(STOP, "TERM"), signalled(START, "TERM"));
    let cases =
        [(stopping.as_str(), START, "stop\nstop\nstart releases/one\n"), (STOP, starting.as_str(), BACK_AND_FORTH)];
    for (stop, start, events) in cases {
        let host = Pretended::with(&[]);
        host.release("--drain", &[("STOP", stop), ("START", start)]).assert(4, &WENT_BACK);
        assert_eq!(host.events(), events);
        assert_eq!(host.current(), Path::new("releases/one"));
    }
}

#[test]
fn a_signal_in_a_restart_takes_the_host_back_by_another_one() {
    let gin_ctl = signalled("readlink \"$DIRECTORY/current\" >>events", "TERM").replace("$PPID", "$SCRIPT");
    // The parent of ssh is the script, and that of gin-ctl is ssh, which is a shell here.
    let ssh = SSH.replace("exec sh", "export SCRIPT=$PPID\nexec sh");
    let host = Pretended::with(&[("gin-ctl", &format!("#!/bin/sh\n{gin_ctl}\n")), ("ssh", &ssh)]);
    host.release("--stay", &[]).assert(4, &WENT_BACK);
    assert_eq!(host.events(), "releases/two\nreleases/one\n");
    assert_eq!(host.current(), Path::new("releases/one"));
}

#[test]
fn a_terminal_that_closes_sends_its_signal_twice() {
    let host = Pretended::with(&[]);
    let stop = format!("{STOP}; [ ! -e told ] || kill -HUP $PPID");
    host.release("--drain", &[("STOP", &stop), ("START", &signalled(START, "HUP"))]).assert(4, &WENT_BACK);
    assert_eq!(host.events(), BACK_AND_FORTH);
}

#[test]
fn a_signal_that_ends_the_reader_of_the_output_too_takes_the_host_back_all_the_same() {
    let host = Pretended::with(&[]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = host.command("--drain", &[("STOP", STOP), ("START", &signalled(START, "INT"))]);
    command.stderr(writer);
    Outcome::of(command).assert(4, &[]);
    assert_eq!(host.events(), BACK_AND_FORTH);
}

#[test]
fn a_host_that_is_lost_while_a_release_is_copied_is_to_be_looked_at() {
    let host = Pretended::with(&[]);
    host.release("--stay", &[("LOST", "tar -xzf")]).assert(4, &["two cannot be copied", "web1 is lost"]);
    assert_eq!(host.current(), Path::new("releases/one"));
}

#[test]
fn a_restart_without_an_answer_is_done_again_with_the_release_before() {
    let slow_once = "#!/bin/sh\necho \"$(readlink \"$DIRECTORY/current\")\" >>events\n\
                     [ -e asked ] || { : >asked; exit 6; }\n";
    let host = Pretended::with(&[("gin-ctl", slow_once)]);
    host.release("--stay", &[]).assert(1, &["two failed (unknown)", "web1 serves releases/one as before"]);
    assert_eq!(host.events(), "releases/two\nreleases/one\n");
}

#[test]
fn a_host_without_a_place_for_releases_is_told_before_anything_is_changed() {
    let host = Pretended::with(&[]);
    std::fs::remove_dir_all(host.path("host/releases")).unwrap();
    host.release("--drain", &[]).assert(3, &["may not write there", "nothing was changed"]);
    assert_eq!(host.events(), "");
}

//! A master that stood still reads what came meanwhile before it judges any deadline: nobody is punished for its pause.

use harness::{on_change, supervisor};
use nix::sys::signal::Signal;

#[test]
fn a_worker_that_pinged_while_the_master_was_stopped_is_not_killed() {
    let gin = supervisor().foreign("one", "pings 0.4").set("watchdog = \"2s\"\nsoak = \"0s\"").start();
    let workers = gin.workers();
    let pings = gin.releases().path("one").join("pings");
    let count = || std::fs::read(&pings).map(|pings| pings.len()).unwrap_or_default();
    on_change(&gin.releases().path("one"), "it pings", count, |pings| *pings > 0);
    for _ in 0..3 {
        gin.signal(Signal::SIGSTOP);
        // The last of seven more comes later than `watchdog` allows a worker to be silent.
        let enough = count() + 7;
        on_change(&pings, "seven more pings", count, |pings| *pings >= enough);
        gin.signal(Signal::SIGCONT);
        // Answered: the master has been around its loop.
        assert_eq!(gin.workers(), workers, "{}", gin.log());
    }
    // So it has once more, with everything judged that was due.
    let enough = count() + 2;
    on_change(&pings, "two more pings", count, |pings| *pings >= enough);
    assert_eq!(gin.workers(), workers, "{}", gin.log());
    assert!(!gin.log().contains("it hangs"), "{}", gin.log());
    gin.stop();
}

#[test]
fn ready_that_was_said_while_the_master_was_stopped_counts() {
    let gin = supervisor().foreign("one", "ok").set("ready_timeout = \"2s\"\nsoak = \"0s\"").start();
    gin.releases().release("two", "late-ready 2.5");
    let two = gin.releases().path("two");
    let is_there = |name: &str| {
        on_change(&two, name, || two.join(name).exists(), |there| *there);
    };
    let mut events = gin.events();
    gin.ctl(&["restart", "--no-wait"]).assert(0, &[]);
    is_there("started");
    gin.signal(Signal::SIGSTOP);
    std::fs::write(two.join("word"), "").unwrap();
    // It writes this when `ready_timeout` is over.
    is_there("said");
    gin.signal(Signal::SIGCONT);
    events.until("generation 2 current");
    assert_eq!(gin.generation().0, 2);
    gin.stop();
}

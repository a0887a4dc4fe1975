//! What a service manager is told, on every path.

use harness::{Notifications, Supervisor, supervisor};

/// The message after the first `after` that has this line; its other lines.
fn next(told: &Notifications, after: &mut usize, line: &str) -> Vec<String> {
    *after = told.until(*after, line);
    told.all()[*after - 1].lines().map(str::to_owned).collect()
}

/// One restart, as it is told: RELOADING with the time, then READY again with this status.
fn cycle(gin: &Supervisor, after: &mut usize, status: &str) {
    let began = next(gin.told(), after, "RELOADING=1");
    let at = began.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("in the same message");
    let now = std::fs::read_to_string("/proc/uptime").unwrap();
    let now: f64 = now.split(' ').next().unwrap().parse().unwrap();
    // Uptime counts time asleep, too, so it is never less.
    assert!(at.parse::<f64>().unwrap() / 1e6 <= now + 1.0, "{at}");
    let ended = next(gin.told(), after, "READY=1");
    let said = ended.iter().find_map(|line| line.strip_prefix("STATUS=")).expect("with a status");
    assert!(said.contains(status), "{said:?} has no {status:?}");
}

#[test]
fn every_restart_ends_with_ready_whatever_came_of_it() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let mut after = gin.told().until(0, "READY=1");
    let first = gin.told().all()[after - 1].clone();
    assert!(first.contains("STATUS=generation 1 (one) serves, 1/1"), "{first}");

    gin.restart();
    cycle(&gin, &mut after, "generation 2 (one) serves, 1/1");
    gin.releases().release("bad", "exit");
    gin.ctl(&["restart"]).assert(1, &[]);
    cycle(&gin, &mut after, "generation 3 failed: slot 0");
    gin.releases().release("mute", "never-ready");
    let mut events = gin.events();
    gin.ctl(&["restart", "--no-wait"]).assert(0, &[]);
    events.until_of(4, "started");
    gin.ctl(&["cancel"]).assert(0, &[]);
    cycle(&gin, &mut after, "generation 4 was cancelled: by ");
    gin.configure(|text| text + "\nwrong = 1\n");
    gin.ctl(&["restart"]).assert(2, &[]);
    cycle(&gin, &mut after, "generation 5 failed: ");
    gin.releases().point_to("one");
    gin.configure(|text| text.replace("\nwrong = 1\n", ""));
    gin.usr2();
    cycle(&gin, &mut after, "generation 6 (one) serves, 1/1");
    let told = gin.told().clone();
    gin.stop();
    let last = next(&told, &mut after, "STOPPING=1");
    assert!(last.iter().any(|line| line.starts_with("STATUS=stopping")), "{last:?}");
}

/// Everything that was told behind the first `after` messages, line by line.
fn lines(told: &Notifications, after: usize) -> Vec<String> {
    let _ = told.settle();
    told.all().iter().skip(after).flat_map(|message| message.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Makes the row of starts that failed so long that the next one waits for seconds.
fn lengthen_row(gin: &Supervisor) {
    let file = gin.dir().join("run/failed-start");
    let mut row: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    row["failures"] = 40.into();
    std::fs::write(&file, row.to_string()).unwrap();
}

#[test]
fn a_start_that_fails_again_and_again_tells_its_reason_and_waits_for_a_person_or_its_time() {
    let mut gin = supervisor().ours("broken", "exit").set("soak = \"0s\"").spawn();
    let told = gin.told().clone();
    gin.assert_gone(1);
    let is_reason = |line: &String, start: &str| line.starts_with(start) && line.contains("exited with status 3");
    let first = lines(&told, 0);
    assert!(first.iter().any(|line| is_reason(line, "STATUS=generation 1 failed: slot 0")), "{first:#?}");
    // The second one comes at once, and says what was.
    assert_eq!(gin.fails_again(), 1);
    let start = "STATUS=preparing the first generation; the last start failed: slot 0";
    let second = lines(&told, 0);
    assert!(second.iter().any(|line| is_reason(line, start)), "{second:#?}");
    assert!(!gin.log().contains("the next try is in"), "{}", gin.log());

    // A stop ends the wait, and the row.
    lengthen_row(&gin);
    gin.spawn_again();
    gin.until_log("the last 40 starts failed: slot 0");
    for command in [&["scale", "2"][..], &["rollback"]] {
        gin.ctl(command).assert(5, &["the first generation waits", "gin-ctl restart tries at once"]);
    }
    let waits = lines(&told, 0);
    assert!(waits.iter().any(|line| is_reason(line, "STATUS=tries again at 2")), "{waits:#?}");
    assert!(!gin.log().rsplit("the last 40").next().unwrap_or_default().contains("listening on"), "{}", gin.log());
    gin.signal(nix::sys::signal::Signal::SIGTERM);
    gin.assert_gone(0);
    assert!(!gin.dir().join("run/failed-start").exists());

    // So does a restart; what serves ends the row, too.
    assert_eq!(gin.fails_again(), 1);
    lengthen_row(&gin);
    gin.spawn_again();
    gin.until_log_again("the last 40 starts failed: slot 0", 2);
    gin.releases().release("good", "ok");
    gin.ctl(&["restart"]).assert(0, &["serves"]);
    assert!(!gin.dir().join("run/failed-start").exists());
    gin.stop();
}

#[test]
fn the_status_follows_each_step_and_time_is_asked_for() {
    let gin = supervisor().ours("one", "ok").workers(2).set("soak = \"200ms\"").start();
    gin.restart();
    let statuses: Vec<String> =
        gin.told().all().iter().flat_map(|m| m.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    for part in [
        "STATUS=preparing the first generation",
        "STATUS=generation 1 (one) on its way: not ready yet",
        "STATUS=generation 2 (one) on its way: not soaked yet; generation 1 (one) serves, 2/2",
        "STATUS=generation 2 (one) serves, 2/2",
    ] {
        assert!(statuses.iter().any(|line| line == part), "no {part}: {statuses:#?}");
    }
    let asked = |line: &String| line.strip_prefix("EXTEND_TIMEOUT_USEC=").and_then(|us| us.parse::<u64>().ok());
    let most = statuses.iter().filter_map(asked).max().expect("time was asked for");
    // ready_timeout is 30 s, and a margin lies between our deadlines and the service manager's.
    assert!((30_000_000..=45_000_000).contains(&most), "{most}");
    gin.stop();
}

#[test]
fn a_stop_in_the_middle_of_a_restart_closes_it_first_and_asks_for_its_own_time() {
    let gin =
        supervisor().ours("one", "ok").set("soak = \"0s\"\nready_timeout = \"10m\"\ndrain_timeout = \"5m\"").start();
    gin.releases().release("mute", "never-ready");
    let mut events = gin.events();
    gin.ctl(&["restart", "--no-wait"]).assert(0, &[]);
    events.until_of(2, "started");
    let told = gin.told().clone();
    let mut after = told.until(0, "RELOADING=1");
    gin.stop();
    let ready = told.until(after, "READY=1");
    next(&told, &mut after, "STOPPING=1");
    assert!(ready < after, "{:#?}", told.all());
    let asked =
        told.all()[after..].iter().find_map(|m| m.trim().strip_prefix("EXTEND_TIMEOUT_USEC=")?.parse::<u64>().ok());
    assert!(asked.is_some_and(|us| us >= 300_000_000), "{asked:?}");
}

#[test]
fn it_pings_its_watchdog_at_half_the_interval() {
    let gin = supervisor().ours("one", "ok").env("WATCHDOG_USEC", "200000").start();
    let (mut after, began) = (gin.told().all().len(), std::time::Instant::now());
    for _ in 0..10 {
        after = gin.told().until(after, "WATCHDOG=1");
    }
    // Ten intervals of 100 ms: not much faster than that.
    assert!(began.elapsed().as_millis() >= 850, "{:?}", began.elapsed());
    gin.stop();
}

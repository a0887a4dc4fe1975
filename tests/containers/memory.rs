//! The memory limit of a container holds two generations, which a reload has for a moment.

use harness::{Client, Failure, get};

use super::{Web, kept, recipe, service};

/// A limit of memory without swap.
fn limit(size: &str) -> [&str; 4] {
    ["--memory", size, "--memory-swap", size]
}

/// Number of processes that the kernel has killed for want of memory in the container. (Docker's `OOMKilled` tells of PID 1 alone.)
fn killed(web: &Web) -> usize {
    let files = "cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events 2>/dev/null";
    let (_, counts) = web.exec(&["sh", "-c", files]);
    let count = counts.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or_else(|| panic!("no count: {counts}"))
}

/// Nobody was killed for want of memory. Tells the most that the container has had, with what the kernel caches of files for it.
fn all_fits(web: &Web) {
    let peak = "cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.peak";
    let (_, peak) = web.exec(&["sh", "-c", peak]);
    println!("at most {} bytes", peak.trim());
    assert_eq!(killed(web), 0);
    let status = web.status();
    let mut workers =
        status["generations"].as_array().unwrap().iter().flat_map(|one| one["workers"].as_array().unwrap());
    assert!(workers.all(|worker| worker["restarts"] == 0), "{status}");
}

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn two_generations_of_gin_server_fit_into_128_mib() {
    // Both serve while the new one is watched.
    let config = recipe("gin.toml").replace("workers = \"auto\"", "workers = 1\nsoak = \"1s\"");
    assert!(config.contains("soak"), "{config}");
    let web = Web::start(&config, &limit("128m"));
    let load = web.load();
    for _ in 0..3 {
        load.flows(100);
        web.ok(&["gin-ctl", "restart"]);
    }
    kept(load);
    all_fits(&web);
}

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn two_workers_of_150_mib_fit_into_512_mib() {
    let web = Web::start(&service(1), &limit("512m"));
    let grow = || assert_eq!(get(&web.address(), "/grow?mb=150").unwrap().status, 200);
    grow();
    // The old worker has something to do for a while, so that both are there.
    let mut busy = Client::connect(&web.address()).unwrap();
    busy.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(busy.response().unwrap().status, 200);
    busy.send(b"GET /slow?ms=5000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    web.ok(&["gin-ctl", "restart"]);
    grow();
    let status = web.status();
    assert_eq!(status["generations"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(busy.response().unwrap().status, 200);
    web.until_log("generation 1 gone");
    all_fits(&web);
}

/// The limit is there, and what it costs.
#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn a_worker_that_is_killed_for_its_memory_is_replaced_in_the_same_container() {
    let web = Web::start(&service(1), &limit("128m"));
    let before = web.identity();
    let grown = get(&web.address(), "/grow?mb=300").map(|response| response.status);
    assert!(matches!(grown, Err(Failure::ClosedEarly | Failure::Reset)), "{grown:?}");
    web.until_log("was killed by SIGKILL");
    // The supervisor keeps the listener: a connection waits until the next worker takes it.
    assert_eq!(get(&web.address(), "/").unwrap().status, 200);
    assert_eq!(killed(&web), 1);
    assert_eq!(web.identity(), before);
}

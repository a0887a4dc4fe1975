//! Figures of all parts: in the metrics of all workers together, on the private listener, and in the log. Their hooks at the end.

use harness::{Scrape, Service, ServiceKind};

use crate::data::site::{SOON, of_each_worker, private, site};
use crate::data::store::{Kind, Store};
use crate::data::traffic::{item, send};
use crate::data::visitors::Visitor;

const ITEMS: i64 = 10;
const VISITORS: usize = 5;

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn all_parts_are_counted_over_all_workers() {
    let (store, redis) = (Store::start(Kind::Sqlite), Service::start(ServiceKind::Redis));
    let sections =
        [store.section() + "slow = \"1ns\"\n", redis.section() + SOON, "[cache]\nlevels = \"both\"\n".to_owned()];
    let sections = sections.each_ref().map(String::as_str);
    let gin = site(2, "database cache sessions", &sections).start();
    let address = gin.tcp();
    for id in 1..=ITEMS {
        assert_eq!(send(&address, "POST", "/items", &item(id)).unwrap().status, 201);
    }
    // The database is asked by the first worker, Redis by the second one, and each has it then.
    for _ in 0..2 {
        of_each_worker(&gin, "/cached/1");
    }
    for _ in 0..VISITORS {
        assert!(Visitor::login(&address, "hal").is_in(&address));
    }

    let said = gin.ctl(&["metrics"]);
    said.assert(0, &[]);
    let metrics = Scrape::parse(&said.out);
    let at_least = |name: &str, labels: &[(&str, &str)], least: f64| {
        let value = metrics.value(&format!("gin_server_{name}"), labels);
        assert!(value >= least, "{name} with {labels:?} is {value}, and not {least} or more");
    };
    for name in ["database_query_duration_seconds_count", "database_slow_queries_total"] {
        at_least(name, &[], 10.0);
    }
    for state in ["idle", "used"] {
        at_least("database_connections", &[("state", state)], 0.0);
    }
    at_least("database_connections_max", &[], 2.0);
    at_least("database_connections_waiting", &[], 0.0);
    for (level, result) in [("memory", "miss"), ("memory", "hit"), ("redis", "miss"), ("redis", "hit")] {
        at_least("cache_requests_total", &[("cache", "items"), ("level", level), ("result", result)], 1.0);
    }
    at_least("cache_request_duration_seconds_count", &[("cache", "items"), ("level", "redis")], 2.0);
    at_least("sessions_events_total", &[("event", "created")], 5.0);

    let told = private(&gin, "/readyz");
    assert_eq!(told.len(), 2);
    for answer in told {
        for part in ["\"database\":{", "\"cache\":{", "\"sessions\":{", "\"waiting\":0"] {
            assert!(answer.contains(part), "no {part} in {answer}");
        }
    }
    let log = gin.log();
    let slow: Vec<&str> = log.lines().filter(|line| line.contains("slow query: ")).collect();
    assert!(slow.iter().any(|line| line.contains("INSERT INTO")), "{log}");
    assert!(!slow.iter().any(|line| line.contains("note 7")), "{slow:#?}");
    gin.ends_sound();
}

#[test]
#[ignore = "needs the fixture with all parts: tests/run --services"]
fn parts_are_closed_by_hooks_that_are_logged() {
    let gin = site(1, "database cache sessions", &[]).start();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    gin.until_log("\"hook\":\"cache\"");
    let log = gin.log();
    let done = log.lines().filter(|line| line.contains("shutdown hook done"));
    let hook = |line: &str| {
        let named = |name: &&str| line.contains(&format!("\"hook\":\"{name}\""));
        ["sessions", "database", "cache"].into_iter().find(named)
    };
    assert_eq!(done.filter_map(hook).collect::<Vec<_>>(), ["sessions", "database", "cache"], "{log}");
    gin.ends_sound();
}

//! The master's own listener for scrapers: one page, whatever callers do, over upgrades in place and deaths.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{Address, Client, Failure, free_port, times};

use super::service::{Place, ask, counting, without_listener};
use super::watch::Watch;

/// Time after which Prometheus gives a scrape up, by default.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn an_address_that_is_in_use_or_none_ends_the_start_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, said) = counting(address.port()).fails();
    assert_eq!(code, 1, "{said}");
    for part in ["supervisor.metrics", &address.to_string(), "address in use"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    for (wrong, why) in [("nowhere", "metrics"), ("unix:/tmp/metrics.sock", "metrics"), ("127.0.0.1", "metrics")] {
        let (code, said) = without_listener(&format!("metrics = {wrong:?}")).fails();
        assert!(code == 2 && said.contains(why), "{wrong}: {code}: {said}");
    }
}

#[test]
fn its_address_counts_from_an_upgrade_in_place_on_and_a_restart_says_so() {
    let port = free_port();
    let gin = without_listener("").workers(2).start();
    ask(&gin, "/order?kind=tea", 10);
    let own = Place::own(port);
    let line = format!("soak = \"0s\"\nmetrics = \"127.0.0.1:{port}\"");
    gin.configure(|text| text.replace("soak = \"0s\"", &line));
    gin.restart();
    gin.until_log("counts only from a new start of the supervisor: metrics");
    assert_eq!(own.try_scrape(), Err(Failure::Refused));
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now", "2 workers went on"]);
    assert_eq!(own.scrape().value("shop_orders_total", &[]), 10.0);
    gin.configure(|text| text.replace(&line, "soak = \"0s\""));
    gin.ctl(&["reload"]).assert(0, &["only from a new start of the supervisor on: metrics"]);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert_eq!(own.try_scrape(), Err(Failure::Refused));
    gin.stop();
}

/// The status of the answer to a request; none if the connection is closed without one.
fn status_of(address: &Address, method: &str, target: &str) -> Result<u16, Failure> {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    Ok(Client::asking(address, &head)?.response()?.status)
}

#[test]
fn it_answers_get_metrics_and_nothing_else() {
    let port = free_port();
    let gin = counting(port).start();
    let Place { address, .. } = Place::own(port);
    for target in ["/", "/v1/metrics", "/v1/status", "/metrics/", "/metrics/x", "/order?kind=tea", "*"] {
        let status = status_of(&address, "GET", target).unwrap();
        assert!([400, 404].contains(&status), "{target}: {status}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "BREW"] {
        assert_eq!(status_of(&address, method, "/metrics"), Ok(405), "{method}");
        assert_eq!(status_of(&address, method, "/v1/restart"), Ok(404), "{method}");
    }
    for garbage in ["\0\u{1}\u{2}\r\n\r\n", "HELO\r\n\r\n", "GET /metrics HTTP/9.9\r\n\r\n"] {
        let answer = Client::asking(&address, garbage).unwrap().response();
        assert!(answer.as_ref().map_or(true, |answer| answer.status == 400), "{garbage:?}: {answer:?}");
    }
    let memory = gin.memory();
    let mut large = Client::connect(&address).unwrap();
    // It may be closed before all is written.
    let _ =
        large.send(format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(10 << 20)).as_bytes());
    assert!(large.response().map_or(true, |answer| (400..500).contains(&answer.status)));
    assert!(gin.memory() < memory + 4096, "{memory} KiB, then {} KiB", gin.memory());
    assert_eq!(gin.generation().0, 1);
    // No worker has it.
    assert_eq!(gin.get("/").json()["listen_fdnames"], "http");
    gin.stop();
    assert_eq!(status_of(&address, "GET", "/metrics"), Err(Failure::Refused));
}

#[test]
fn silent_and_slow_callers_do_not_keep_a_scrape_out() {
    let port = free_port();
    let gin = counting(port).start();
    ask(&gin, "/order?kind=tea", 1);
    let own = Place::own(port);
    let silent: Vec<Client> = (0..30).map(|_| Client::connect(&own.address).unwrap()).collect();
    let half = "GET /metrics HTTP/1.1\r\nHost";
    let slow: Vec<Client> = (0..30).map(|_| Client::asking(&own.address, half).unwrap()).collect();
    let began = Instant::now();
    assert_eq!(own.scrape().value("shop_orders_total", &[]), 1.0);
    assert!(began.elapsed() < SCRAPE_TIMEOUT, "{:?}", began.elapsed());
    // The operator and the clients notice nothing of it.
    gin.ctl(&["status"]).assert(0, &["serving"]);
    gin.restart();
    for mut caller in silent.into_iter().chain(slow) {
        // Each is let go in the end.
        let _ = caller.until_closed();
    }
    gin.stop();
}

#[test]
fn callers_that_do_not_read_their_answer_are_let_go() {
    let port = free_port();
    let gin = counting(port).start();
    let own = Place::own(port);
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let unread: Vec<Client> = (0..40).map(|_| Client::asking(&own.address, &request).unwrap()).collect();
    assert_eq!(own.scrape().value("gin_down", &[]), 0.0);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    drop(unread);
    gin.stop();
}

#[test]
fn a_scrape_during_upgrades_in_place_is_never_refused_and_no_counter_is_set_back() {
    let port = free_port();
    let gin = counting(port).workers(2).start();
    let watch = Watch::start(vec![Place::own(port)]);
    for round in 0..times(5, 50) {
        ask(&gin, "/order?kind=tea", 3);
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
        if round % 3 == 0 {
            gin.restart();
        }
    }
    let seen = watch.finish();
    seen.assert_steady(1);
    assert!(seen.missed.is_empty(), "{:?}", seen.missed);
    gin.stop();
}

#[test]
fn it_is_there_again_when_another_master_has_adopted() {
    let port = free_port();
    let mut gin = counting(port).workers(2).start();
    for round in 1..=times(3, 20) {
        ask(&gin, "/order?kind=tea", 2);
        gin.die_and_adopt();
        assert_eq!(Place::own(port).scrape().value("shop_orders_total", &[]), 2.0 * round as f64);
    }
    // Its successor serves though somebody else has the port by now, and says so.
    gin.kill();
    gin.wait_dead();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    gin.start_again();
    gin.until_log("supervisor.metrics: cannot listen on");
    drop(taken);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert_eq!(Place::own(port).scrape().value("gin_down", &[]), 0.0);
    gin.stop();
}

//! The sum over all workers that there have been is the number that the clients have counted.

use harness::{Client, Scrape, free_port, times};

use super::service::{DURATIONS, IN_FLIGHT, Place, REQUESTS, WORKERS, agreed, ask, counting, told};
use super::traffic::Traffic;
use super::watch::Watch;

/// Number of clients. So many requests at most are under way when a worker is killed.
const CLIENTS: usize = 8;

/// Buckets of the first generations, and of a later one. Two bounds are in both.
const FINE: &str = "buckets = [0.0005, 0.001, 0.01, 0.1, 1.0]";
const COARSE: &str = "buckets = [0.002, 0.01, 1.0, 30.0]";
/// The bounds of both, as they are told.
const BOUNDS: [&str; 8] = ["+Inf", "0.0005", "0.001", "0.002", "0.01", "0.1", "1.0", "30.0"];

/// Numbers of a histogram are in order: each bucket holds the ones below it, and the last one all.
fn assert_histograms_are_whole(scrape: &Scrape) {
    for (series, count) in scrape.series(DURATIONS) {
        let labels: Vec<(&str, &str)> =
            series.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        let buckets = scrape.only(|series| labels.iter().all(|(label, value)| series.has(label, value)));
        let mut by_bound: Vec<(f64, f64)> = buckets
            .by("shop_http_request_duration_seconds_bucket", "le")
            .into_iter()
            .map(|(bound, count)| (bound.parse().unwrap(), count))
            .collect();
        by_bound.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(by_bound.is_sorted_by_key(|(_, count)| *count), "{labels:?}: {by_bound:?}");
        assert_eq!(by_bound.last(), Some(&(f64::INFINITY, count)), "{labels:?}");
    }
}

#[test]
fn the_sum_is_what_the_clients_have_counted_over_restarts_deaths_upgrades_and_a_rollback() {
    let port = free_port();
    let mut gin = counting(port).workers(4).section(&format!("[monitoring]\n{FINE}")).start();
    let places = Place::all(&gin, port);
    let (watch, traffic) = (Watch::start(places.to_vec()), Traffic::start(&gin.tcp(), CLIENTS));
    // Seven steps, each with its part of the requests before it and the last part behind them.
    let flows = || traffic.flows(times(5_000, 100_000) as u64 / 8);
    flows();
    gin.restart();
    flows();
    gin.configure(|text| text.replace(FINE, COARSE));
    gin.restart();
    flows();
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("worker serving");
    flows();
    gin.die_and_adopt();
    flows();
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now", "4 workers went on"]);
    flows();
    gin.ctl(&["rollback"]).assert(0, &["serves"]);
    flows();
    gin.restart();
    flows();
    let (account, seen) = (traffic.finish(), watch.finish());
    println!("{} requests, hurt: {:?}", account.requests(), account.hurt);
    assert!(account.hurt.len() <= CLIENTS, "{:?}", account.hurt);
    seen.assert_steady(3);
    // One scrape may have been in the hands of the worker that was killed.
    assert!(seen.missed_at("public listener") <= 1, "{seen:?}");
    let scrape = agreed(&places);
    account.assert_told_by(&scrape);
    assert_histograms_are_whole(&scrape);
    let bounds = scrape.by("shop_http_request_duration_seconds_bucket", "le");
    let known: Vec<f64> = BOUNDS.iter().map(|bound| bound.parse().unwrap()).collect();
    let unknown = bounds.keys().filter(|bound| !known.contains(&bound.parse().unwrap()));
    assert_eq!((bounds.len(), unknown.count()), (known.len(), 0), "{bounds:?}");
    gin.stop();
}

#[test]
fn nothing_that_a_killed_worker_has_answered_is_lost_and_nothing_is_counted_twice() {
    let gin = counting(free_port()).workers(1).start();
    let mut answered = 0;
    // Each death within 10 s of the one before makes the next worker wait for longer.
    for _ in 0..times(4, 8) {
        ask(&gin, "/", 10);
        answered += 10;
        let mut events = gin.events();
        gin.kill_worker(gin.workers()[0]);
        events.until("worker serving");
        assert_eq!(told(&gin).value(REQUESTS, &[("route", "/")]), f64::from(answered));
    }
    gin.stop();
}

#[test]
fn gauges_of_a_worker_die_with_it_and_its_counters_stay() {
    let gin = counting(free_port()).workers(1).start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let _held = hold.arrived();
    ask(&gin, "/stock?number=7", 1);
    let held = [("route", "/held")];
    let before = told(&gin);
    assert_eq!((before.get(IN_FLIGHT, &held), before.get("shop_stock", &[])), (Some(1.0), Some(7.0)));
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    // The memory of a dead worker is not counted though nobody has taken it yet.
    let between = told(&gin);
    assert_eq!(between.get(IN_FLIGHT, &held).unwrap_or(0.0), 0.0);
    events.until("worker serving");
    let after = told(&gin);
    assert_eq!(after.get(IN_FLIGHT, &held).unwrap_or(0.0), 0.0);
    assert_eq!(after.get("shop_stock", &[]).unwrap_or(0.0), 0.0);
    assert_eq!(after.value(REQUESTS, &[("route", "/stock")]), 1.0);
    assert!(client.response().is_err(), "its worker is dead");
    drop(client);
    gin.stop();
}

#[test]
fn a_request_whose_worker_drains_is_counted_when_it_is_answered() {
    let gin = counting(free_port()).workers(1).section("[timeouts]\nshutdown = \"40s\"").start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let held = hold.arrived();
    gin.restart();
    let labels = [("route", "/held")];
    assert_eq!(told(&gin).value(IN_FLIGHT, &labels), 1.0);
    assert_eq!(told(&gin).get(REQUESTS, &labels).unwrap_or(0.0), 0.0);
    held.release();
    assert_eq!(client.response().unwrap().status, 200);
    let after = told(&gin);
    // The series of the gauge may have gone with its worker.
    assert_eq!((after.get(IN_FLIGHT, &labels).unwrap_or(0.0), after.value(REQUESTS, &labels)), (0.0, 1.0));
    drop(client);
    gin.stop();
}

#[test]
fn counters_go_on_when_the_whole_fleet_is_replaced_many_times() {
    let port = free_port();
    let gin = counting(port).workers(2).start();
    let rounds = times(6, 100);
    for round in 1..=rounds {
        ask(&gin, "/order?kind=tea", 3);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
        let scrape = told(&gin);
        assert_eq!(scrape.value("shop_orders_total", &[("kind", "tea")]), 3.0 * round as f64);
        // Before they serve, and for each worker that there has been.
        assert_eq!(scrape.value("shop_starts_total", &[]), 2.0 * (round + 1) as f64);
    }
    let regions = agreed(&Place::all(&gin, port));
    assert!(!regions.families(WORKERS).is_empty());
    gin.stop();
}

#[test]
fn fates_of_connections_are_counted_by_protocol_and_agree_with_the_supervisors() {
    let port = free_port();
    let gin = counting(port).workers(2).start();
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").unwrap().status, 200));
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=4"]);
    // Each is with another worker now, and goes on.
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").unwrap().status, 200));
    let scrape = told(&gin);
    let fates = scrape.series("shop_connections_drained_total").filter(|(_, count)| *count > 0.0);
    let fates: Vec<_> =
        fates.map(|(series, count)| (&series.labels["fate"], &series.labels["protocol"], count)).collect();
    assert_eq!(fates, [(&"handed_over".to_owned(), &"http1".to_owned(), 4.0)]);
    assert_eq!(scrape.value("gin_connections_drained_total", &[("fate", "handed_over")]), 4.0);
    assert_eq!(scrape.value("shop_connections_taken_over_total", &[]), 4.0);
    assert!(scrape.value("shop_connections_accepted_total", &[]) >= 4.0);
    drop(clients);
    gin.stop();
}

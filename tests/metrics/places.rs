//! The three places that tell the metrics, and the two formats.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Address, Client, Scrape, Supervisor, free_port, supervisor};

use super::service::{Place, REQUESTS, WORKERS, agreed, ask, counting, told};

/// A header of the Accept that Prometheus 2.42 sends.
const OF_PROMETHEUS: &str = "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                             q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";

/// The labels of living workers' requests for `/order`, and the sum of them.
fn orders_by_worker(scrape: &Scrape) -> (BTreeSet<(&str, &str)>, f64) {
    let series = scrape.series(REQUESTS).filter(|(series, _)| series.has("route", "/order"));
    let (mut workers, mut sum) = (BTreeSet::new(), 0.0);
    for (series, count) in series {
        workers.insert((series.labels["generation"].as_str(), series.labels["slot"].as_str()));
        sum += count;
    }
    (workers, sum)
}

#[test]
fn each_place_tells_the_same_and_workers_apart_only_where_that_is_asked_for() {
    let port = free_port();
    let gin = counting(port).workers(2).start();
    let places = Place::all(&gin, port);
    ask(&gin, "/order?kind=tea", 40);
    let scrape = agreed(&places);
    assert_eq!(scrape.value(REQUESTS, &[("route", "/order")]), 40.0);
    let all = places.each_ref().map(Place::scrape);
    for (place, scrape) in places.iter().zip(&all) {
        assert_eq!(scrape.families(WORKERS), all[0].families(WORKERS), "{}", place.name);
        let labels = scrape.labels(WORKERS);
        assert!(!labels.contains("slot") && !labels.contains("generation"), "{}: {labels:?}", place.name);
        let apart = place.scrape_with("?by=worker");
        let (workers, sum) = orders_by_worker(&apart);
        assert!(workers.is_subset(&BTreeSet::from([("1", "0"), ("1", "1")])), "{}: {workers:?}", place.name);
        assert_eq!(sum, 40.0, "{}", place.name);
    }
    // Workers that are gone are not told apart any more, and their counts are not lost.
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    ask(&gin, "/order?kind=tea", 10);
    for place in &places[1..] {
        let status = Scrape::ask(&place.address, &format!("{}?by=nothing", place.path), "").unwrap().status;
        assert_eq!(status, 400, "{}", place.name);
    }
    for place in &places {
        let apart = place.scrape_with("?by=worker");
        let (workers, sum) = orders_by_worker(&apart);
        assert!(workers.iter().all(|(generation, _)| *generation == "2"), "{}: {workers:?}", place.name);
        assert_eq!(sum, 10.0, "{}", place.name);
    }
    assert_eq!(agreed(&places).value(REQUESTS, &[("route", "/order")]), 50.0);
    gin.stop();
}

#[test]
fn gin_ctl_tells_what_the_control_socket_tells() {
    let gin = counting(free_port()).workers(2).start();
    ask(&gin, "/order?kind=tea", 5);
    let said = gin.ctl(&["metrics"]);
    said.assert(0, &[]);
    let (own, asked) = (Scrape::parse(&said.out), told(&gin));
    assert_eq!(own.families(""), asked.families(""));
    assert_eq!(own.value(REQUESTS, &[("route", "/order")]), 5.0);
    let apart = gin.ctl(&["metrics", "--by", "worker"]);
    apart.assert(0, &[]);
    assert_eq!(orders_by_worker(&Scrape::parse(&apart.out)).1, 5.0);
    gin.stop();
}

/// The answer at a place to a request with these lines, read, and its media type.
fn in_format(place: &Place, fields: &str) -> (Scrape, String, String) {
    let answer = Scrape::ask(&place.address, place.path, fields).unwrap();
    assert_eq!(answer.status, 200, "{}: {fields}", place.name);
    let text = String::from_utf8(answer.body.clone()).unwrap();
    (Scrape::from(&answer), answer.headers["content-type"].clone(), text)
}

#[test]
fn openmetrics_is_for_those_who_ask_for_it() {
    let port = free_port();
    let gin = counting(port).workers(2).start();
    ask(&gin, "/order?kind=tea", 5);
    for place in Place::all(&gin, port) {
        let (open, kind, text) = in_format(&place, OF_PROMETHEUS);
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{}: {kind}", place.name);
        assert!(text.ends_with("# EOF\n") && text.contains("# TYPE shop_orders counter\n"), "{text}");
        let plain = [
            "",
            "Accept: */*\r\n",
            "Accept: text/plain\r\n",
            "Accept: text/plain;version=0.0.4, application/openmetrics-text;q=0.5\r\n",
            "Accept: application/openmetrics-text;q=0\r\n",
            "Accept: image/png\r\n",
        ];
        for fields in plain {
            let (scrape, kind, text) = in_format(&place, fields);
            assert!(kind.starts_with("text/plain; version=0.0.4"), "{}: {fields}: {kind}", place.name);
            assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
            assert!(text.contains("# TYPE shop_orders_total counter\n"), "{text}");
            assert_eq!(scrape.families(""), open.families(""), "{}: {fields}", place.name);
            assert_eq!(scrape.get("shop_orders_total", &[]), open.get("shop_orders_total", &[]));
        }
    }
    gin.stop();
}

/// Sends so many requests of a client who tries things, on one connection each.
fn tries(gin: &Supervisor, request: impl Fn(usize) -> String) {
    for number in 0..60 {
        let mut client = Client::asking(&gin.tcp(), &request(number)).unwrap();
        let status = client.response().unwrap().status;
        assert!((400..500).contains(&status), "{status}");
    }
}

#[test]
fn unknown_methods_and_paths_are_one_label_each() {
    let gin = counting(free_port()).start();
    tries(&gin, |number| format!("GET /nothing/{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    tries(&gin, |number| format!("BREW{number} /order HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    tries(&gin, |number| format!("BREW{number} /no/{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    let scrape = told(&gin);
    let methods: BTreeMap<String, f64> = scrape.by(REQUESTS, "method");
    assert_eq!(methods.keys().map(String::as_str).collect::<Vec<_>>(), ["GET", "OTHER"], "{methods:?}");
    assert_eq!(methods["OTHER"], 120.0);
    let routes = scrape.by(REQUESTS, "route");
    assert!(routes["unmatched"] >= 120.0, "{routes:?}");
    assert!(routes.keys().all(|route| ["unmatched", "/order"].contains(&route.as_str())), "{routes:?}");
    gin.stop();
}

#[test]
fn workers_take_no_name_of_the_supervisors() {
    let port = free_port();
    let named = supervisor().ours("one", "counted").section("[monitoring.prometheus]\nnamespace = \"gin\"");
    let gin = named.set("soak = \"0s\"").set(&format!("metrics = \"127.0.0.1:{port}\"")).start();
    ask(&gin, "/order?kind=tea", 5);
    for place in [Place::control(&gin), Place::own(port)] {
        // A family that stood there twice would be a panic.
        let scrape = place.scrape();
        for name in ["gin_build_info", "gin_connections_drained_total"] {
            assert!(scrape.series(name).all(|(series, _)| series.has("instance", "shop")), "{name} at {}", place.name);
        }
        assert!(scrape.value("gin_metrics_dropped_series", &[]) >= 2.0, "{}", place.name);
        assert_eq!(scrape.value("gin_http_requests_total", &[("route", "/order")]), 5.0, "{}", place.name);
    }
    gin.stop();
    let gin = counting(port).start();
    assert_eq!(told(&gin).value("gin_metrics_dropped_series", &[]), 0.0);
    gin.stop();
}

#[test]
fn workers_that_are_not_to_tell_it_tell_their_master() {
    let gin = counting(free_port()).start();
    gin.configure(|text| text.replace("public = [\"/metrics\"]", "public = []"));
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    assert_eq!(gin.get("/metrics").status, 404);
    ask(&gin, "/order?kind=tea", 3);
    assert_eq!(told(&gin).value("shop_orders_total", &[]), 3.0);
    // The private listener shows it, as ever.
    let mut files = std::fs::read_dir(gin.dir().join("run")).unwrap().flatten().map(|entry| entry.path());
    let socket = files.find(|path| path.extension().is_some_and(|end| end == "private")).unwrap();
    let place = Place { name: "private listener", address: Address::Unix(socket), path: "/metrics" };
    assert_eq!(place.scrape().value("shop_orders_total", &[]), 3.0);
    gin.stop();
}

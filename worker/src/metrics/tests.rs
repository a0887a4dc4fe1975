//! An application's own metrics: from their first count to the memory.

use std::panic::Location;
use std::time::Duration;

use gin_shared::metrics::{Format, Shape, encode};

use super::application::{Application, Instrument};
use super::{ConnectionCounts, ConnectionLabels, Counter, Expected, Gauge, Histogram, Registry, definition, scale};

/// An application of its own, which no other test knows.
fn application() -> &'static Application {
    Box::leak(Box::<Application>::default())
}

#[track_caller]
fn registered(application: &'static Application, name: &str, shape: Shape) -> Instrument {
    application.register(definition(name, "As told", shape), Location::caller())
}

fn times() -> Shape {
    Shape::Histogram { bounds: vec![1.0, 5.0], scale: scale(&[1.0, 5.0]), count_as: None }
}

/// Asserts that all these lines are told.
#[track_caller]
fn assert_told(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|told| told == *line), "{line} is not in:\n{text}");
    }
}

#[test]
fn what_was_counted_before_there_is_a_memory_is_told_and_goes_there() {
    let own = application();
    let orders = Counter(registered(own, "shop_orders", Shape::Counter));
    let cups = Gauge(registered(own, "shop_cups", Shape::Gauge));
    let brewing = Histogram(registered(own, "shop_brewing_seconds", times()));
    let tea = orders.with(&[("kind", "tea")]);
    tea.add(2);
    cups.set(5.0);
    cups.add(-1.5);
    [0.5, 1.0, 2.0, 9.0, -3.0, f64::NAN, f64::INFINITY].iter().for_each(|value| brewing.observe(*value));
    let lines = [
        "shop_orders_total{kind=\"tea\"} 2",
        "shop_cups 3.5",
        "shop_brewing_seconds_sum 12.5",
        "shop_brewing_seconds_count 5",
        "shop_brewing_seconds_bucket{le=\"1.0\"} 3",
        "shop_brewing_seconds_bucket{le=\"5.0\"} 4",
        "shop_brewing_seconds_bucket{le=\"+Inf\"} 5",
    ];
    let mut families = own.without_memory();
    families.sort_by(|one, other| one.name.cmp(&other.name));
    assert_told(&encode(families, Format::Prometheus), &lines);

    let registry = Registry::new("shop", 64, None);
    own.attach(registry);
    assert!(own.without_memory().is_empty());
    assert_told(&registry.text(false, Format::Prometheus), &lines);
    tea.add(1);
    orders.with(&[("kind", "cocoa")]).add(7);
    cups.set(1.0);
    let told = registry.text(false, Format::Prometheus);
    assert_told(&told, &["shop_orders_total{kind=\"tea\"} 3", "shop_orders_total{kind=\"cocoa\"} 7", "shop_cups 1"]);
    // The first memory has them for good.
    let other = Registry::new("shop", 64, None);
    own.attach(other);
    tea.add(1);
    assert_told(&registry.text(false, Format::Prometheus), &["shop_orders_total{kind=\"tea\"} 4"]);
    assert!(!other.text(false, Format::Prometheus).contains("shop_orders"));
}

#[test]
fn threads_lose_nothing_while_the_memory_comes() {
    let (own, registry) = (application(), Registry::new("shop", 64, None));
    let orders = Counter(registered(own, "shop_orders", Shape::Counter));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| orders.add(1)));
        }
        own.attach(registry);
    });
    assert_told(&registry.text(false, Format::Prometheus), &["shop_orders_total 4000"]);
}

#[test]
fn the_same_call_gives_the_same_metric() {
    let own = application();
    for labels in [[("kind", "tea"), ("size", "large")], [("size", "large"), ("kind", "tea")]] {
        Counter(registered(own, "shop_orders", Shape::Counter)).with(&labels).add(1);
    }
    let told = encode(own.without_memory(), Format::Prometheus);
    assert_told(&told, &["shop_orders_total{kind=\"tea\",size=\"large\"} 2"]);
    assert_eq!(own.check("shop"), Ok(()));
}

#[test]
fn what_prometheus_could_not_take_is_an_error_of_the_start_with_its_place() {
    let own = application();
    Gauge(registered(own, "9 lives", Shape::Gauge)).set(9.0);
    let orders = Counter(registered(own, "shop_orders", Shape::Counter));
    Gauge(registered(own, "shop_orders", Shape::Gauge)).set(1.0);
    let _ = registered(own, "shop_total", Shape::Gauge);
    let _ = registered(own, "shop_seconds", times());
    let _ = registered(own, "shop_seconds", Shape::Histogram { bounds: vec![2.0], scale: 1, count_as: None });
    let _ = registered(own, "shop_bytes", Shape::Histogram { bounds: vec![2.0, 1.0], scale: 1, count_as: None });
    let _ = registered(own, "shop_seconds_count", Shape::Gauge);
    orders.with(&[("kind", "tea")]).add(1);
    orders.with(&[("sort", "tea")]).add(1);
    orders.add(1);
    orders.with(&[("kind", "tea"), ("kind", "cocoa")]).add(1);
    orders.with(&[("__name__", "x")]).add(1);
    orders.with(&[("le", "x")]).add(1);
    let wrong = own.check("gin_server").unwrap_err();
    let lines: Vec<&str> = wrong.lines().collect();
    let told = [
        "\"9 lives\" cannot name a metric",
        "shop_orders is a gauge here, and a counter at ",
        "shop_total ends as a counter's name, and is a gauge",
        "shop_seconds has other bounds here than at ",
        "the bounds of shop_bytes must be 1 to 40 numbers",
        "the gauge shop_seconds_count would be told as shop_seconds_count, as the histogram shop_seconds at ",
        "shop_orders has the labels [\"sort\"] here, and had [\"kind\"] at its first use",
        "shop_orders has the labels [] here",
        "shop_orders has the label kind twice",
        "\"__name__\" cannot name a label of shop_orders",
        "\"le\" cannot name a label of shop_orders",
    ];
    assert_eq!(lines.len(), told.len(), "{wrong}");
    for (line, told) in lines.iter().zip(told) {
        assert!(line.contains(told) && line.starts_with(file!()), "{line}");
    }
    // Nothing of it is counted.
    let families = encode(own.without_memory(), Format::Prometheus);
    let values = families.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(values.collect::<Vec<_>>(), ["shop_orders_total{kind=\"tea\"} 1"]);
}

#[test]
fn a_mistake_that_comes_up_later_ends_no_server() {
    let own = application();
    assert_eq!(own.check("gin_server"), Ok(()));
    Gauge(registered(own, "9 lives", Shape::Gauge)).set(9.0);
    assert_eq!(own.check("gin_server"), Ok(()));
}

#[test]
fn a_name_of_the_library_is_refused() {
    let own = application();
    let _ = registered(own, "shop_connections", Shape::Gauge);
    assert_eq!(own.check("gin_server"), Ok(()));
    let wrong = own.check("shop").unwrap_err();
    assert!(wrong.contains("shop_connections is a metric of this library; choose another name"), "{wrong}");
}

#[test]
fn labels_without_number_are_counted_in_one_series() {
    let (own, registry) = (application(), Registry::new("shop", 16, None));
    own.attach(registry);
    let seen = Counter(registered(own, "shop_seen", Shape::Counter));
    for number in 0..200 {
        seen.with(&[("who", number.to_string().as_str())]).add(1);
    }
    let told = registry.text(false, Format::Prometheus);
    let counts = |label: &str| {
        let lines = told.lines().filter(|line| line.starts_with("shop_seen_total{") && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let (all, rest) = (counts(""), counts("who=\"overflow\""));
    assert!(all.len() <= 17 && all.iter().sum::<f64>() == 200.0, "{told}");
    assert!(rest.len() == 1 && rest[0] >= 184.0, "{told}");
    assert_told(&told, &[&format!("shop_metrics_overflow_total {}", rest[0])]);
}

#[test]
fn a_sum_is_as_fine_as_64_bits_allow() {
    let last = [0.5, 10.0, 60.0, 1e6, 1e12];
    assert_eq!(last.map(|last| scale(&[last])), [1_000_000_000, 1_000_000_000, 100_000_000, 10_000, 1]);
    assert_eq!(scale(&[]), 1_000_000_000);
}

/// Labels with two values each.
fn connection_labels() -> ConnectionLabels {
    let by = |label: &'static str, values: [&'static str; 2]| values.map(|value| vec![(label, value)]).to_vec();
    ConnectionLabels {
        drained: by("fate", ["handed_over", "cut"]),
        handed_over: by("why", ["drain", "room"]),
        parked: by("tls", ["false", "true"]),
        handshakes: by("result", ["full", "failed"]),
        proxy_refused: by("reason", ["late", "invalid"]),
    }
}

#[test]
fn series_that_no_listener_needs_come_with_their_first_connection() {
    let registry = Registry::new("shop", 64, None);
    let counts = ConnectionCounts::new(registry, "shop", &connection_labels(), Expected::default());
    let told = registry.text(false, Format::Prometheus);
    assert_told(&told, &["shop_connections_drained_total{fate=\"cut\"} 0"]);
    for absent in ["shop_tls_", "shop_proxy_", "tls=\"true\""] {
        assert!(!told.contains(absent), "{told}");
    }
    counts.handshake(1, None);
    counts.parked(1, true);
    let told = registry.text(false, Format::Prometheus);
    assert_told(&told, &["shop_tls_handshakes_total{result=\"failed\"} 1", "shop_connections_parked{tls=\"true\"} 1"]);
    // The same series, of those that expect it.
    let registry = Registry::new("shop", 64, None);
    let _counts = ConnectionCounts::new(registry, "shop", &connection_labels(), Expected { tls: true, proxy: true });
    let lines = [
        "shop_tls_handshakes_total{result=\"failed\"} 0",
        "shop_tls_handshake_seconds_count 0",
        "shop_proxy_refused_total{reason=\"late\"} 0",
    ];
    assert_told(&registry.text(false, Format::Prometheus), &lines);
}

#[test]
fn connections_are_counted_by_the_place_of_their_labels() {
    let registry = Registry::new("shop", 64, None);
    let counts = ConnectionCounts::new(registry, "shop", &connection_labels(), Expected::default());
    counts.drained(1, 3);
    counts.handed_over(0);
    [true, true, false].iter().for_each(|is_parked| counts.parked(1, *is_parked));
    counts.handshake(0, Some(Duration::from_millis(2)));
    counts.handshake(1, None);
    counts.proxy_refused(1);
    // A place that no label has.
    counts.drained(2, 1);
    counts.parked(2, true);
    let lines = [
        "shop_connections_drained_total{fate=\"cut\"} 3",
        "shop_connections_drained_total{fate=\"handed_over\"} 0",
        "shop_connections_handed_over_total{why=\"drain\"} 1",
        "shop_connections_parked{tls=\"true\"} 1",
        "shop_tls_handshakes_total{result=\"full\"} 1",
        "shop_tls_handshakes_total{result=\"failed\"} 1",
        "shop_tls_handshake_seconds_bucket{le=\"0.001\"} 0",
        "shop_tls_handshake_seconds_bucket{le=\"0.0025\"} 1",
        "shop_tls_handshake_seconds_sum 0.002",
        "shop_tls_handshake_seconds_count 1",
        "shop_proxy_refused_total{reason=\"invalid\"} 1",
    ];
    assert_told(&registry.text(false, Format::Prometheus), &lines);
}

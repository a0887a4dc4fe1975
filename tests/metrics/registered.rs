//! Numbers that an application registers: they are the service's, too, and bounded.

use harness::{free_port, times};

use super::service::{Place, WORKERS, ask, counting, series, told};

/// The metric of an application with a label that has very many values.
const LABELLED: &str = "shop_labelled_total";
/// The value of each label of the series that counts for all that found no room.
const OVERFLOW: &str = "overflow";
/// Number of different labels.
const MANY: usize = 10_000;
/// Series that a process has room for, in these tests.
const ROOM: usize = 256;
/// Words of the warning that there is no room.
const WARNING: &str = "raise metrics.series";

#[test]
fn counters_gauges_and_histograms_of_an_application_are_told_by_everybody() {
    let port = free_port();
    let gin = counting(port).workers(2).start();
    ask(&gin, "/order?kind=tea", 4);
    ask(&gin, "/order?kind=coffee", 2);
    ask(&gin, "/weigh?grams=50", 3);
    ask(&gin, "/weigh?grams=5000", 1);
    for place in Place::all(&gin, port) {
        let scrape = place.scrape();
        assert_eq!(
            scrape.by("shop_orders_total", "kind").into_iter().collect::<Vec<_>>(),
            [("coffee".to_owned(), 2.0), ("tea".to_owned(), 4.0)]
        );
        let families = scrape.families(WORKERS);
        let kinds = ["shop_orders", "shop_stock", "shop_weight_grams"].map(|name| families.get(name).copied());
        assert_eq!(kinds, [Some("counter"), Some("gauge"), Some("histogram")], "{}", place.name);
        assert_eq!(scrape.value("shop_weight_grams_count", &[]), 4.0);
        assert_eq!(scrape.value("shop_weight_grams_sum", &[]), 5150.0);
        let light = scrape
            .series("shop_weight_grams_bucket")
            .filter(|(series, _)| series.labels["le"].parse() == Ok(100.0_f64));
        assert_eq!(light.map(|(_, count)| count).sum::<f64>(), 3.0, "{}", place.name);
    }
    gin.stop();
}

#[test]
fn ten_thousand_labels_are_bounded_counted_as_one_and_told_once() {
    let port = free_port();
    let gin = counting(port).section(&series(ROOM)).start();
    let before = gin.memory();
    ask(&gin, "/order?kind=tea", 1);
    for round in 1..=times(2, 10) {
        ask(&gin, &format!("/labelled?count={MANY}"), 1);
        for place in Place::all(&gin, port) {
            let scrape = place.scrape();
            let counts = scrape.by(LABELLED, "label");
            assert!(counts.len() <= ROOM, "{}: {} series", place.name, counts.len());
            // Each is counted somewhere.
            assert_eq!(counts.values().sum::<f64>(), (round * MANY) as f64, "{}", place.name);
            let rest = counts[OVERFLOW];
            assert!(rest > (round * (MANY - ROOM)) as f64 - 1.0, "{}: {rest}", place.name);
            assert!(scrape.value("shop_metrics_overflow_total", &[]) >= (MANY - ROOM) as f64, "{}", place.name);
            assert!(scrape.samples().len() < 20 * ROOM, "{}: {} samples", place.name, scrape.samples().len());
        }
    }
    // What was there before counts on.
    ask(&gin, "/order?kind=tea", 3);
    assert_eq!(told(&gin).value("shop_orders_total", &[("kind", "tea")]), 4.0);
    gin.until_log(WARNING);
    assert_eq!(gin.log().matches(WARNING).count(), 1, "{}", gin.log());
    let after = gin.memory();
    assert!(after < before + 16 * 1024, "the master had {before} KiB, and has {after} KiB");
    gin.stop();
}

#[test]
fn series_without_room_survive_the_death_of_their_worker_as_all_others() {
    let gin = counting(free_port()).section(&series(ROOM)).start();
    ask(&gin, &format!("/labelled?count={MANY}"), 1);
    let before = told(&gin).by(LABELLED, "label");
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("worker serving");
    assert_eq!(told(&gin).by(LABELLED, "label"), before);
    // The next worker goes on in the same series, and has no room for others either.
    ask(&gin, &format!("/labelled?count={MANY}"), 1);
    let after = told(&gin).by(LABELLED, "label");
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(before.iter().all(|(label, count)| after[label] == 2.0 * count), "{after:?}");
    gin.stop();
}

#[test]
fn the_room_for_series_is_what_the_file_said_at_the_start() {
    let port = free_port();
    let gin = counting(port).section(&series(ROOM)).start();
    gin.configure(|text| text.replace(&series(ROOM), &series(2 * ROOM)));
    // Said, and not done: the memory is made once.
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    ask(&gin, "/order?kind=tea", 2);
    assert_eq!(told(&gin).value("shop_orders_total", &[]), 2.0);
    ask(&gin, &format!("/labelled?count={}", 2 * ROOM), 1);
    let counts = told(&gin).by(LABELLED, "label");
    assert!(counts.contains_key(OVERFLOW) && counts.len() <= ROOM, "{} series", counts.len());
    gin.stop();
}

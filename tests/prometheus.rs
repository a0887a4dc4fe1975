//! Debian's Prometheus reads our numbers. Only `tests/run --services` runs this: it installs the server.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::{Address, Client, Failure, Latencies, Response, alone, eventually, get, supervisor};
use serde_json::Value;
use tempfile::TempDir;

use crate::monitoring::{asked, file, promtool, told};

/// Debian's Prometheus, which asks one target each second, and has our rules.
struct Prometheus {
    child: Child,
    address: Address,
    _dir: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: Prometheus does not tell which one it has chosen.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A query as a part of a path.
fn encoded(query: &str) -> String {
    let one =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    query.bytes().map(one).collect()
}

impl Prometheus {
    fn asking(target: &str) -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{:?}]\nscrape_configs:\n  \
             - job_name: gin\n    static_configs:\n      - targets: ['{target}']\n        labels: {{ service: shop }}\n",
            file("gin.rules.yml")
        );
        std::fs::write(&config, text).unwrap();
        let port = free_port();
        let child = Command::new("/usr/bin/prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is not installed: tests/run --services does that");
        Self { child, address: Address::from(format!("127.0.0.1:{port}").as_str()), _dir: dir }
    }

    /// The data of an answer; none if Prometheus cannot answer, or not yet.
    fn data(&self, path: &str) -> Option<Value> {
        let answer = get(&self.address, path).ok().filter(|answer| answer.status == 200)?;
        Some(answer.json()["data"].take())
    }

    /// The series that a query gives.
    fn series(&self, query: &str) -> Vec<Value> {
        let data = self.data(&format!("/api/v1/query?query={}", encoded(query)));
        data.and_then(|data| data["result"].as_array().cloned()).unwrap_or_default()
    }

    /// The number that a query gives, if it gives one.
    fn number(&self, query: &str) -> Option<f64> {
        self.series(query).first()?["value"][1].as_str()?.parse().ok()
    }

    /// Until a query gives a number that is large enough.
    fn until(&self, query: &str, least: f64) -> f64 {
        // Prometheus tells nobody when it has asked.
        let seen = eventually(query, || self.number(query), |seen| seen.is_some_and(|seen| seen >= least));
        seen.expect("it is large enough")
    }
}

#[test]
#[ignore = "needs /usr/bin/prometheus: tests/run --services"]
fn quantiles_of_durations_are_numbers() {
    let server = alone("[monitoring.prometheus]\nenable = true\n");
    for _ in 0..100 {
        assert_eq!(get(server.address(), "/").unwrap().status, 200);
    }
    let prometheus = Prometheus::asking(&server.tcp().to_string());
    let query = "histogram_quantile(0.99, sum by (le) (gin_server_http_request_duration_seconds_bucket))";
    let seconds = prometheus.until(query, 0.0);
    assert!(seconds > 0.0 && seconds < 10.0, "{seconds}");
}

const CLIENTS: u8 = 8;
/// Of so many requests the last one is slow: P99 is far above what the machine's own pauses make of the others.
const ROUND: u64 = 20;
const QUICK: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(300);

/// Clients that ask `/slow`, each on a connection that it keeps.
struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Latencies>>,
}

impl Crowd {
    fn at(address: &Address) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |_| {
            let (stop, answered, address) = (Arc::clone(&stop), Arc::clone(&answered), address.clone());
            std::thread::spawn(move || ask(&address, &stop, &answered))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, answered, clients }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it; gives the number of requests that were answered, and how long they took.
    fn finish(self) -> (u64, Latencies) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Latencies::default();
        self.clients.into_iter().for_each(|client| all.join(client.join().unwrap()));
        (self.answered.load(Ordering::Relaxed), all)
    }
}

fn ask(address: &Address, stop: &AtomicBool, answered: &AtomicU64) -> Latencies {
    let (mut all, mut kept, mut number) = (Latencies::default(), None, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let pause = if number.is_multiple_of(ROUND) { SLOW } else { QUICK };
        let began = Instant::now();
        match exchange(&mut kept, address, &format!("/slow?ms={}", pause.as_millis())) {
            Ok(response) => {
                all.add(began.elapsed());
                answered.fetch_add(1, Ordering::Relaxed);
                if response.closes() {
                    kept = None;
                }
            }
            // A worker that is killed does not answer what it has under way.
            Err(_) => kept = None,
        }
    }
    all
}

fn exchange(kept: &mut Option<Client>, address: &Address, path: &str) -> Result<Response, Failure> {
    let client = match kept {
        Some(client) => client,
        None => kept.insert(Client::connect(address)?),
    };
    client.get(path)
}

/// The sum of a counter's series with this label, in a text.
fn sum(text: &str, name: &str, label: &str) -> f64 {
    let begin = format!("{name}{{");
    let lines = text.lines().filter(|line| line.starts_with(&begin) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The upper bounds of the histogram of requests, in seconds.
fn bounds(text: &str) -> Vec<f64> {
    let buckets = text.lines().filter(|line| line.starts_with("gin_server_http_request_duration_seconds_bucket{"));
    let bound = |line: &str| line.split("le=\"").nth(1)?.split('"').next()?.parse().ok();
    let mut bounds: Vec<f64> = buckets.filter_map(bound).filter(|bound: &f64| bound.is_finite()).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

const COUNT: &str = "sum(gin_server_http_requests_total{route=\"/slow\"})";

#[test]
#[ignore = "needs /usr/bin/prometheus: tests/run --services"]
fn a_service_counts_on_through_restarts_deaths_an_upgrade_and_a_rollback() {
    let target = format!("127.0.0.1:{}", free_port());
    let settings = format!("metrics = {target:?}\nsoak = \"0s\"");
    let mut gin = supervisor().workers(2).set(&settings).ours("one", "service").start();
    let prometheus = Prometheus::asking(&target);
    for (path, status) in [("/fails", 502), ("/none", 404)] {
        assert_eq!(gin.get(path).status, status, "{path}");
    }
    let crowd = Crowd::at(&gin.tcp());
    // So that Prometheus asks in between, and sees the counts grow.
    let flows = || prometheus.until(COUNT, (crowd.answered() + 500) as f64);
    flows();
    gin.restart();
    flows();
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("serving");
    flows();
    gin.restart();
    flows();
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    flows();
    gin.die_and_adopt();
    flows();
    gin.ctl(&["rollback"]).assert(0, &["serves"]);
    flows();
    let (answered, latencies) = crowd.finish();

    let scraped = get(&Address::from(target.as_str()), "/metrics").unwrap();
    let scraped = String::from_utf8(scraped.body).unwrap();
    let counted = sum(&scraped, "gin_server_http_requests_total", "route=\"/slow\"");
    // The worker that was killed may have counted what its clients were never told.
    let most = (answered + u64::from(CLIENTS)) as f64;
    assert!(answered as f64 <= counted && counted <= most, "{counted} for {answered}");
    assert!((prometheus.until(COUNT, counted) - counted).abs() < 0.5);

    // No counter was ever set back.
    let grows = |name: &&String| ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    let told = told(&scraped);
    let counters: Vec<&String> = told.iter().filter(grows).collect();
    assert!(counters.len() > 8, "{counters:?}");
    for name in counters {
        let resets = prometheus.number(&format!("max(resets({name}[10m]))"));
        assert!(resets.is_none_or(|resets| resets == 0.0), "{name} was set back {resets:?} times");
    }
    // Nor does the rate show a step twice as high as the clients can be.
    let rate = "(sum(rate(gin_server_http_requests_total{route=\"/slow\"}[5s])))[10m:1s]";
    let round = QUICK * u32::try_from(ROUND - 1).unwrap() + SLOW;
    let fastest = f64::from(CLIENTS) * ROUND as f64 / round.as_secs_f64();
    let [least, peak] =
        ["min", "max"].map(|which| prometheus.number(&format!("{which}_over_time({rate})")).expect("a rate"));
    assert!(least >= 0.0 && peak > 0.0 && peak < 2.0 * fastest, "{least} to {peak}, the clients can do {fastest}");

    let query = "histogram_quantile(0.99, sum by (le) \
                 (rate(gin_server_http_request_duration_seconds_bucket{route=\"/slow\"}[10m])))";
    let (theirs, ours) = (latencies.percentile(99).as_secs_f64(), prometheus.number(query).expect("a quantile"));
    let bounds = bounds(&scraped);
    let bucket = |seconds: f64| bounds.partition_point(|bound| *bound < seconds);
    assert!(bucket(theirs).abs_diff(bucket(ours)) <= 1, "P99 is {ours}, the clients say {theirs}: {bounds:?}");

    for text in [&scraped, &gin.ctl(&["metrics"]).out, &gin.ctl(&["metrics", "--by", "worker"]).out] {
        assert_eq!(promtool(&["check", "metrics"], text), (0, String::new()), "{text}");
    }
    rules_are_evaluated(&prometheus);
    panels_show_something(&prometheus);
    gin.stop();
}

fn rules_are_evaluated(prometheus: &Prometheus) {
    let look = || {
        let data = prometheus.data("/api/v1/rules").unwrap_or_default();
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        rules.map(|rule| (rule["name"].clone(), rule["health"].clone(), rule["lastError"].clone())).collect::<Vec<_>>()
    };
    // Prometheus tells nobody when it has evaluated a rule.
    let is_fine = |all: &Vec<(Value, Value, Value)>| all.len() > 20 && all.iter().all(|(_, health, _)| health == "ok");
    eventually("all rules are evaluated", look, is_fine);
    let p99 = prometheus.until("instance:gin_http_request_duration_seconds:p99_5m{service=\"shop\"}", 0.0);
    assert!(p99 > 0.0, "{p99}");
    let failed = prometheus.number("instance:gin_http_requests_5xx:ratio_rate5m{service=\"shop\"}");
    assert!(failed.is_some_and(|failed| (0.0..0.1).contains(&failed)), "{failed:?}");
    let fires =
        prometheus.series("ALERTS{alertstate=\"firing\",alertname=~\"GinDown|GinUpgradeFailed|GinMetricsOverflow\"}");
    assert!(fires.is_empty(), "{fires:?}");
}

/// Each panel has series, and these have the labels that its legend shows.
fn panels_show_something(prometheus: &Prometheus) {
    for asked in asked().iter().filter(|asked| !asked.is_of_data() && asked.title != "Restart failed") {
        let series = prometheus.series(&asked.expr);
        assert!(!series.is_empty(), "{asked:?} has nothing");
        for label in &asked.labels {
            assert!(
                series.iter().any(|series| series["metric"][label].is_string()),
                "{asked:?}: no {label}: {series:?}"
            );
        }
    }
}

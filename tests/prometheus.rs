//! Debian's Prometheus reads our numbers. Only `tests/run --services` runs this: it installs the server.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use harness::{Address, alone, eventually, get};
use serde_json::Value;

struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago: Prometheus does not tell which one it has chosen.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The number that a query gives, if it gives one.
fn quantile(answer: &Value) -> Option<f64> {
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

#[test]
#[ignore = "needs /usr/bin/prometheus: tests/run --services"]
fn quantiles_of_durations_are_numbers() {
    let server = alone("[monitoring.prometheus]\nenable = true\n");
    for _ in 0..100 {
        assert_eq!(get(server.address(), "/").unwrap().status, 200);
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let config = dir.path().join("prometheus.yml");
    let text = format!(
        "scrape_configs:\n  - job_name: gin\n    scrape_interval: 1s\n    static_configs:\n      - targets: ['{}']\n",
        server.tcp()
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
    let _prometheus = Prometheus(child);
    let address = Address::from(format!("127.0.0.1:{port}").as_str());
    let path =
        "/api/v1/query?query=histogram_quantile(0.99,sum(gin_server_http_request_duration_seconds_bucket)by(le))";
    // Prometheus tells nobody when it has asked.
    let look = || get(&address, path).ok().filter(|answer| answer.status == 200).map(|answer| answer.json());
    let answer = eventually("Prometheus knows the durations", look, |answer| {
        answer.as_ref().is_some_and(|answer| quantile(answer).is_some())
    });
    let seconds = answer.as_ref().and_then(quantile).unwrap();
    assert!(seconds > 0.0 && seconds < 10.0, "{seconds}: {answer:?}");
}

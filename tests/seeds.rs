//! The documents that this product follows, as printed: their configuration (3.1.1), their environment (3.2), their commands (8.1) and
//! their endpoints (chapter 5). The fixtures in `seeds` are their text.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use harness::{Address, Client, Response, Scrape, binary, fixture, get, supervisor};
use serde_json::Value;
use tempfile::TempDir;

/// A directory with the documents' `config.yaml`, and a static file.
fn place() -> TempDir {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::copy(fixture("seeds/config.yaml"), dir.path().join("config.yaml")).unwrap();
    std::fs::create_dir_all(dir.path().join("static/css")).unwrap();
    std::fs::write(dir.path().join("static/css/style.css"), "body {}\n").unwrap();
    dir
}

/// The documents' `./server`, from where its `config.yaml` lies. On this machine others may have the port.
fn server(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary("gin-server"));
    command.args(args).current_dir(dir).env("NO_COLOR", "1").env_remove("NOTIFY_SOCKET");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// A server that runs, with a log of JSON lines on stdout as its configuration says.
struct Running {
    child: Child,
    address: Address,
}

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = server(dir, args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut json = lines.by_ref().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let started = json.find(|line| line["message"].as_str().is_some_and(|text| text.starts_with("listening on")));
        let port = started.expect("it starts")["address"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        // Read to the end, or it would stand still.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: Address::from(format!("127.0.0.1:{port}").as_str()) }
    }

    fn get(&self, path: &str) -> Response {
        get(&self.address, path).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True for the documents' form of a time: "2024-01-01T12:00:00Z".
fn is_time(value: &Value) -> bool {
    let form = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    value.as_str().is_some_and(|text| form(text) == form("2024-01-01T12:00:00Z"))
}

/// True for the documents' form of a length of time: "2h30m15s", without the parts that are zero before the first that is not.
fn is_uptime(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.ends_with('s') && text.chars().all(|c| c.is_ascii_digit() || ['h', 'm', 's'].contains(&c))
    })
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn their_configuration_is_checked_by_their_command() {
    let dir = place();
    let checked = server(dir.path(), &["--config-check"]).output().unwrap();
    let told = said(&checked);
    assert!(checked.status.success() && told.ends_with("config.yaml: the configuration is fine\n"), "{told}");
    // Their own default fails their own validation where there is no such directory.
    std::fs::remove_dir_all(dir.path().join("static")).unwrap();
    let checked = server(dir.path(), &["--config-check"]).output().unwrap();
    let text = std::fs::read_to_string(dir.path().join("config.yaml")).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("dir: \"./static\"")).unwrap();
    let told = said(&checked);
    assert!(checked.status.code() == Some(2) && told.contains(&format!("config.yaml:{line}: static.dir")), "{told}");
}

#[test]
fn their_environment_counts_over_their_file() {
    let dir = place();
    let text = std::fs::read_to_string(fixture("seeds/environment.sh")).unwrap();
    let variables: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('=')).collect();
    assert_eq!(variables.len(), 14);
    let shown = server(dir.path(), &["config", "show", "--json"]).envs(variables.iter().copied()).output().unwrap();
    assert!(shown.status.success(), "{}", said(&shown));
    let all: Value = serde_json::from_slice(&shown.stdout).unwrap();
    for (name, value) in variables {
        let key = name.to_lowercase().replacen('_', ".", 1);
        let one = all.as_array().unwrap().iter().find(|one| one["key"] == key.as_str()).unwrap();
        assert_eq!(one["source"], format!("environment variable {name}"));
        let is_secret = key.ends_with("password");
        assert!(is_secret || one["value"].as_str().unwrap().trim_matches('"') == value, "{one}");
    }
    // What is said by nobody else stays as the file has it.
    let window = all.as_array().unwrap().iter().find(|one| one["key"] == "rate_limit.window").unwrap();
    assert!(window["source"].as_str().unwrap().starts_with("config.yaml:"), "{window}");
}

#[test]
fn their_endpoints_answer_as_printed() {
    let dir = place();
    // 8.1: the log says more.
    let server = Running::start(dir.path(), &["--log-level", "debug", "--port", "0"]);
    let health = server.get("/health").json();
    assert_eq!(keys(&health), ["status", "timestamp", "uptime", "version"]);
    assert!(health["status"] == "ok" && is_time(&health["timestamp"]) && is_uptime(&health["uptime"]), "{health}");
    let info = server.get("/info").json();
    assert!(info["name"] == "Gin Web Server" && info["version"].is_string(), "{info}");
    assert!(is_time(&info["start_time"]) && is_uptime(&info["uptime"]), "{info}");
    let metrics = server.get("/metrics");
    let text = String::from_utf8(metrics.body).unwrap();
    let bucket = "gin_server_http_request_duration_seconds_bucket{le=\"+Inf\",method=\"GET\",route=\"/health\"";
    assert!(metrics.status == 200 && text.contains(bucket), "{text}");
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for path in ["/routes", "/api/v1/routes"] {
        let routes = server.get(path).json();
        assert_eq!(routes["total"], routes["routes"].as_object().unwrap().len());
        let route = &routes["routes"]["GET:/static/*filepath"];
        assert_eq!((&route["method"], &route["path"]), (&"GET".into(), &"/static/*filepath".into()));
        assert!(route["handler"].is_string() && route["description"].is_string() && is_time(&route["created_at"]));
        assert!(route["middleware"].is_array() && route["tags"].is_array(), "{route}");
        assert_eq!(route["params"], serde_json::json!({ "filepath": "*filepath" }));
        assert!(routes["groups"].is_object());
    }
    // Chapter 8 has these for everybody; nothing of that kind is in public here.
    for path in ["/debug/vars", "/debug/pprof/heap", "/debug/pprof/profile?seconds=30"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.json()["error"].is_string()), (404, true), "{path}");
    }
}

#[test]
fn what_their_configuration_switches_on_is_on() {
    let dir = place();
    let server = Running::start(dir.path(), &["--port", "0"]);
    let file = server.get("/static/css/style.css");
    assert_eq!((file.status, file.headers["content-type"].as_str()), (200, "text/css; charset=utf-8"));
    assert!(file.headers["cache-control"].contains("max-age=86400"), "{:?}", file.headers);
    let asking = "GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://example.org\r\nConnection: close\r\n\r\n";
    let answer = Client::asking(&server.address, asking).unwrap().response().unwrap();
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.headers["ratelimit-limit"], "100");
    // A hundred at once; more than those that a slow machine's time brings back.
    let refused = (0..500).map(|_| server.get("/")).find(|answer| answer.status != 200).expect("a limit");
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"RATE_LIMIT_EXCEEDED".into()));
    assert!(refused.json()["error"].is_string() && refused.headers.contains_key("retry-after"));
}

#[test]
fn under_a_supervisor_they_answer_the_same() {
    let gin = supervisor().workers(2).section("[monitoring.prometheus]\nenable = true").start();
    for path in ["/info", "/routes", "/api/v1/routes", "/metrics"] {
        assert_eq!(gin.get(path).status, 200, "{path}");
    }
    // Whichever of the workers answers, it tells of all of them.
    for count in 1..=10 {
        assert_eq!(gin.get("/health").json()["status"], "ok");
        let scrape = Scrape::of(&gin.tcp(), "/metrics").unwrap();
        assert_eq!(scrape.value("gin_server_http_requests_total", &[("route", "/health")]), f64::from(count));
    }
    gin.stop();
}

#[test]
fn their_databases_are_noted_and_not_opened() {
    let sections = "[database]\ndriver = \"mysql\"\nhost = \"localhost\"\nport = 3306\n[redis]\nhost = \"localhost\"\n";
    // What Kubernetes sets for a service of this name is no port.
    let gin = supervisor().section(sections).env("REDIS_PORT", "tcp://10.0.0.1:6379").start();
    gin.until_log("[database], [redis]: checked and not used");
    assert_eq!(gin.get("/readyz").status, 200);
    gin.stop();
}

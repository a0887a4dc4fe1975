//! The documents that this product follows, as printed: their configuration (3.1.1), their environment (3.2), their commands (8.1) and
//! their endpoints (chapter 5). The fixtures in `seeds` are their text. Their programs (chapter 4) are in `programs` and beside each of them;
//! [`MISTAKES`] says which tests show that a mistake of theirs is none of ours.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use harness::{Address, Client, Response, Scrape, binary, fixture, get, supervisor};
use serde_json::Value;
use tempfile::TempDir;

use crate::docs::root;

/// Mistakes of the documents' programs, by their numbers in SEEDS ("What the documents get wrong"), and tests which show that ours do not
/// make them.
const MISTAKES: &[(u32, &str, &[&str])] = &[
    // Download quotes no file name; upload names collide within a second, trust the extension, leave partial files.
    (
        8,
        "worker/src/uploads/tests.rs",
        &[
            "a_file_is_stored_listed_downloaded_and_removed",
            "a_name_that_is_taken_is_given_to_the_same_file_alone",
            "nothing_is_listed_or_left_of_a_client_that_goes",
        ],
    ),
    (8, "worker/src/uploads/names.rs", &["a_name_keeps_what_is_harmless_of_the_clients"]),
    (8, "worker/src/uploads/types.rs", &["other_contents_are_refused"]),
    (8, "worker/examples/upload/src/tests.rs", &["a_file_that_is_not_taken_is_refused_in_both_languages"]),
    (
        8,
        "tests/programs/kills.rs",
        &[
            "a_death_at_any_step_of_an_upload_leaves_nothing_or_the_whole_file",
            "a_disk_that_is_full_is_told_and_its_space_comes_back",
        ],
    ),
    // A login with a bad body answers 500.
    (11, "worker/examples/auth/src/tests.rs", &["a_login_that_is_wrong_is_refused"]),
    // The token is a constant, everyone is an admin, logout does nothing.
    (
        12,
        "worker/examples/auth/src/tests.rs",
        &[
            "a_login_gives_a_token_that_is_good_for_the_profile",
            "only_an_admin_sees_and_deletes_users",
            "after_a_logout_the_token_is_worth_nothing",
        ],
    ),
    (12, "worker/src/auth/attacks.rs", &["a_token_whose_letter_was_changed_is_refused"]),
    (12, "worker/src/auth/passwords.rs", &["a_password_is_known_by_its_hash"]),
    (12, "worker/src/auth/tests.rs", &["a_restart_logs_nobody_out_and_a_logout_counts_in_all_workers"]),
    // The hub has a race, no ping, no read limit, no Origin check, no close frame, and lets anyone broadcast.
    (
        13,
        "worker/examples/chat/tests.rs",
        &[
            "a_message_has_bounds",
            "a_page_of_another_origin_opens_no_websocket",
            "no_page_and_nobody_behind_a_proxy_tells_everybody",
        ],
    ),
    (
        13,
        "tests/programs/chat.rs",
        &[
            "a_broadcast_is_heard_at_each_worker_of_both_generations",
            "a_reader_that_is_too_slow_is_told_so",
            "what_is_too_long_and_what_is_foreign_is_refused",
        ],
    ),
    (13, "tests/attacks/websocket.rs", &["silent"]),
];

/// What chapter 8 asks for.
const PROFILES: [&str; 3] = ["/debug/vars", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"];

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
    // Jaeger takes nothing at their endpoint any more.
    assert!(told.contains("http://localhost:14268/api/traces is Jaeger's old Thrift endpoint"), "{told}");
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
    // Chapter 8 has these for everybody; here they are for who has the token, and their file sets none: see below.
    for path in PROFILES {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.json()["error"].is_string()), (404, true), "{path}");
    }
}

#[test]
fn their_profiles_are_for_who_has_the_token() {
    let dir = place();
    let file = dir.path().join("config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let token = "a-token-of-the-tests";
    let own = format!("monitoring:\n  pprof:\n    token: {token:?}\n");
    std::fs::write(&file, text.replace("pprof: false", "pprof: true").replace("monitoring:\n", &own)).unwrap();
    let server = Running::start(dir.path(), &["--port", "0"]);
    // Without jemalloc there are no profiles of the heap, and the answer says what to do.
    for (path, status) in PROFILES.into_iter().zip([200, 501, 200]) {
        assert_eq!(server.get(path).status, 404, "{path}");
        let head = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(Scrape::ask(&server.address, path, &head).unwrap().status, status, "{path}");
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

#[test]
fn the_tests_that_show_the_documents_mistakes_are_there() {
    for (mistake, file, tests) in MISTAKES {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        for test in *tests {
            assert!(text.contains(&format!("fn {test}(")), "mistake {mistake}: {file} has no {test}");
        }
    }
}

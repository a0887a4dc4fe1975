//! The service around handlers, over real sockets: endpoints, routes, numbers, files, hooks, and the library's own harness.

use std::process::Command;

use gin_worker::testing::UnderLoad;
use harness::{Client, alone, alone_in, binary, get, ours_alone, supervisor, times};
use nix::sys::signal::Signal;

#[test]
fn what_is_not_for_everybody_is_on_the_private_listener() {
    let gin = supervisor().workers(2).start();
    for path in ["/metrics", "/debug/vars", "/debug/pprof/heap"] {
        assert_eq!(gin.get(path).status, 404, "{path}");
    }
    for path in ["/health", "/livez", "/readyz", "/info", "/routes", "/api/v1/routes"] {
        assert_eq!(gin.get(path).status, 200, "{path}");
    }
    gin.ctl(&["routes"]).assert(0, &["GET", "/readyz", "Whether to send requests"]);
    let routes: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "routes"]).out).unwrap();
    assert_eq!(routes["routes"]["GET:/health"]["path"], "/health");
    assert_eq!(routes["total"], routes["routes"].as_object().unwrap().len());
    gin.ctl(&["routes", "--tree"]).assert(0, &["PRIORITY", "├"]);
    let curl = |socket: &std::path::Path, args: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args(["-s", "--unix-socket"]).arg(socket).args(args).arg(format!("http://gin/v1/{path}"));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let status = gin.dir().join("run/status.sock");
    for socket in [gin.socket(), status.clone()] {
        for (path, part) in [("info", "\"slot\":1"), ("metrics", "gin_server_connections "), ("routes", "GET:/readyz")]
        {
            let text = curl(&socket, &[], &format!("workers/1/1/{path}"));
            assert!(text.contains(part), "{path}: {text}");
        }
    }
    assert!(curl(&status, &["-X", "POST"], "log-level").contains("may only look"));
    assert!(curl(&gin.socket(), &[], "workers/1/7/info").contains("no worker in slot 7"));
    // Whatever the application has is not the operator's to ask there.
    assert!(curl(&gin.socket(), &[], "workers/1/0/secrets").contains("none but health, livez"));
    gin.stop();
    let foreign = supervisor().foreign("one", "ok").set("soak = \"0s\"").start();
    foreign.ctl(&["routes"]).assert(1, &["private_listener"]);
    foreign.stop();
}

#[test]
fn a_path_is_one_however_it_is_encoded_and_logged_as_it_was_sent() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir(dir.path().join("files")).unwrap();
    std::fs::write(dir.path().join("files/a b.txt"), "a").unwrap();
    let sections = format!("[static]\ndir = {:?}\n", dir.path().join("files"));
    let server = alone_in(dir, &sections);
    // The route is found, too.
    for path in ["/static/a%20b.txt", "/%73tatic/%61%20%62.txt", "/%68ealth"] {
        assert_eq!(get(server.address(), path).unwrap().status, 200, "{path}");
        assert_eq!(server.until(&format!("GET {path} 200"))["path"], path);
    }
}

#[test]
fn only_a_trusted_proxy_brings_strict_transport_security() {
    for (sections, has_hsts) in [
        ("", false),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n", false),
        ("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n", true),
    ] {
        let server = alone(sections);
        let mut client = Client::connect(server.address()).unwrap();
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n").unwrap();
        let headers = client.response().unwrap().headers;
        assert_eq!(headers.contains_key("strict-transport-security"), has_hsts, "{sections}");
    }
}

#[test]
fn the_mode_decides_what_everybody_sees() {
    let debug = alone("[server]\nmode = \"debug\"\n");
    for path in ["/info", "/routes", "/api/v1/routes", "/metrics"] {
        assert_eq!(get(debug.address(), path).unwrap().status, 200, "{path}");
    }
    // Profiles are for who has the token, whatever the mode.
    let profiled = alone("[server]\nmode = \"debug\"\n[features]\npprof = true\n");
    for path in ["/debug/pprof/", "/debug/vars"] {
        assert_eq!(get(profiled.address(), path).unwrap().status, 404, "{path}");
    }
    let hidden = alone("[server]\npublic = []\n[monitoring.prometheus]\nenable = true\n");
    for path in ["/info", "/routes", "/api/v1/routes", "/metrics"] {
        assert_eq!(get(hidden.address(), path).unwrap().status, 404, "{path}");
    }
    let one = alone(
        "[server]\npublic = [\"/metrics\"]\n[monitoring.prometheus]\npath = \"/numbers\"\nnamespace = \"shop\"\n",
    );
    for (path, status) in [("/info", 404), ("/routes", 404), ("/metrics", 404), ("/numbers", 200)] {
        assert_eq!(get(one.address(), path).unwrap().status, status, "{path}");
    }
    for path in ["/", "/", "/x1", "/x2"] {
        get(one.address(), path).unwrap();
    }
    let text = String::from_utf8(get(one.address(), "/numbers").unwrap().body).unwrap();
    for line in [
        "shop_http_requests_total{method=\"GET\",route=\"/\",status=\"200\"} 2",
        "shop_http_request_duration_seconds_count{method=\"GET\",route=\"/\",status=\"200\"} 2",
        "shop_http_request_duration_seconds_bucket{le=\"+Inf\",method=\"GET\",route=\"/\",status=\"200\"} 2",
        "shop_http_requests_in_flight{method=\"GET\",route=\"/\"} 0",
        "shop_http_requests_in_flight{method=\"GET\",route=\"/numbers\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("route=\"unmatched\",status=\"404\"}") && !text.contains("x1"), "{text}");
    let off = alone("[server]\nmode = \"debug\"\n[features]\nmetrics = false\n");
    assert_eq!(get(off.address(), "/metrics").unwrap().status, 404);
}

#[test]
fn debug_prints_the_routes_at_start() {
    let mut child = Command::new(binary("gin-server"))
        .args(["--port", "0", "--mode", "debug"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut seen = Vec::new();
    for line in std::io::BufRead::lines(log).map_while(Result::ok) {
        let is_last = line.contains("listening on");
        seen.push(line);
        if is_last {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.iter().any(|line| line.contains("GET     /health") && line.contains("handlers)")), "{seen:#?}");
}

#[test]
fn a_directory_is_served_by_configuration_alone_and_may_change() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    for (site, text) in [("one", "first"), ("two", "second")] {
        std::fs::create_dir(dir.path().join(site)).unwrap();
        std::fs::write(dir.path().join(site).join("index.html"), text).unwrap();
    }
    let site = |name: &str| format!("[static]\ndir = {:?}\nurl_prefix = \"/\"\n", dir.path().join(name));
    let (first, second, none) = (site("one"), site("two"), site("three"));
    let server = alone_in(dir, &first);
    let body = || String::from_utf8(get(server.address(), "/").unwrap().body).unwrap();
    assert_eq!(body(), "first");
    server.configure(&second);
    assert_eq!(server.until("the configuration has changed")["changed"], "static.dir");
    assert_eq!(body(), "second");
    server.configure(&none);
    let told = server.until("the configuration stays as it was");
    assert!(told["message"].as_str().unwrap().contains("three"), "{told}");
    assert_eq!(body(), "second");
    assert_eq!(get(server.address(), "/health").unwrap().status, 200, "routes go before files");
}

#[test]
fn without_graceful_shutdown_a_stop_waits_for_nobody() {
    let gin =
        supervisor().ours("one", "ok").set("soak = \"0s\"").section("[features]\ngraceful_shutdown = false").start();
    let mut slow = Client::asking(&gin.tcp(), "GET /slow?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(gin.get("/").status, 200);
    let began = std::time::Instant::now();
    gin.stop();
    assert!(slow.response().is_err());
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn signals_that_are_not_meant_for_it_do_not_end_a_worker() {
    // gin-server, and a service on the library.
    for server in [alone(""), ours_alone("ok", "")] {
        for signal in [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGUSR2] {
            server.signal(signal);
        }
        let _ = server.until("SIGUSR2 restarts nothing: no supervisor has started this process");
        assert_eq!(get(server.address(), "/").unwrap().status, 200);
    }
    // Nor one that a supervisor has started, as with `systemctl kill`, which means all processes of a service.
    let gin = supervisor().start();
    let worker = gin.workers()[0];
    for signal in [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGUSR2] {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), signal).unwrap();
    }
    gin.until_log("SIGUSR2 restarts nothing here: this is a worker");
    let mut kept = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(kept.get("/").unwrap().status, 200);
    assert_eq!(gin.workers(), [worker]);
    gin.stop();
}

#[test]
fn a_panic_is_an_answer_and_a_line_and_the_connection_goes_on() {
    let gin = supervisor().ours("one", "service").set("soak = \"0s\"").start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    for _ in 0..3 {
        let answer = client.get("/panic").unwrap();
        assert_eq!((answer.status, answer.json()["error"].as_str()), (500, Some("internal server error")));
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    gin.until_log("panic: as told");
    let line = gin.log().lines().find(|line| line.contains("panic: as told")).unwrap().to_owned();
    assert!(line.contains("fixtures/worker.rs") && line.contains("backtrace"), "{line}");
    gin.stop();
}

#[test]
fn each_failed_request_is_one_line_at_error_with_its_causes_and_its_id() {
    // With everything around its handlers; bare, with a subscriber of its own; bare, with the log of the library.
    for mode in ["service", "ok", "logs"] {
        let server = ours_alone(mode, "");
        let ask = |path: &str, id: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n");
            Client::asking(server.address(), &request).unwrap().response()
        };
        let causes = "cannot load order: No such file or directory (os error 2)";
        // The second request's line is the next one: the first has one line.
        for id in ["mine-1", "mine-2"] {
            let answer = ask("/fails", id).unwrap();
            assert_eq!((answer.status, answer.json()["error"].as_str()), (502, Some("cannot load order")), "{mode}");
            let line = server.until(causes);
            assert_eq!(
                (line["request_id"].as_str(), line["path"].as_str()),
                (Some(id), Some("/fails")),
                "{mode}: {line}"
            );
            assert!(line["level"].as_str().unwrap().eq_ignore_ascii_case("error"), "{mode}: {line}");
        }
        // A bare server's connection ends with a panic.
        assert_eq!(ask("/panic", "mine-3").is_ok(), mode == "service");
        assert_eq!(server.until("panic: as told")["request_id"], "mine-3", "{mode}");
    }
}

#[test]
fn background_tasks_end_with_the_drain_and_before_the_hooks() {
    let gin = supervisor().ours("one", "service").set("soak = \"0s\"").start();
    gin.restart();
    gin.until_log("the hook has run");
    let log = gin.log();
    let at = |part: &str| log.find(part).unwrap_or_else(|| panic!("{part:?}: {log}"));
    assert!(at("the task has heard of the drain") < at("background task done"));
    assert!(at("background task did not end within 100ms") < at("the hook has run"), "{log}");
    assert!(at("background task done") < at("the hook has run"), "{log}");
    gin.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_service_survives_restarts_under_load() {
    let outcome = UnderLoad::new(binary("examples/basic_server"))
        .path("/api/v1/hello/gopher")
        .restarts(u32::try_from(times(3, 20)).unwrap())
        .run()
        .await;
    println!("{} answers, {} connections, {:?}", outcome.answered, outcome.connected, outcome.restarts);
    outcome.assert_nobody_noticed();
    assert_eq!(outcome.connected, 16, "one for each client");
}

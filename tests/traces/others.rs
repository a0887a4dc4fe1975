//! Receivers that are not ours: OpenTelemetry's schema, gRPC's own server, Python's HTTP, in cleartext and over TLS.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use harness::{PATIENCE, Supervisor, fixture, supervisor, tls_file};
use serde_json::Value;

use super::site::{Parent, ask};

/// `tests/fixtures/collector.py`, until it is dropped.
struct Others {
    child: Child,
    /// Its lines, until its end.
    lines: Receiver<String>,
    port: u16,
}

impl Others {
    /// Starts one for `grpc` or `http`; with a certificate of the tests of this name, over TLS.
    fn start(protocol: &str, pair: Option<&str>) -> Self {
        let place = std::env::var("GIN_COLLECTOR_VENV").expect("tests/run --services makes it, and sets this");
        let mut command = Command::new(Path::new(&place).join("bin/python"));
        command.arg(fixture("collector.py")).arg(protocol);
        if let Some(name) = pair {
            command.args(["pem", "key"].map(|kind| tls_file(&format!("{name}.{kind}"))));
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let port = lines.recv_timeout(PATIENCE).expect("it says its port").parse().unwrap();
        Self { child, lines, port }
    }

    /// Ends it; gives the number of exports that nobody has waited for.
    fn finish(mut self) -> usize {
        self.child.kill().unwrap();
        self.lines.iter().count()
    }

    /// Waits for a span of this name, whose export is given, too.
    fn until(&self, name: &str) -> (Value, Value) {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no export of {name:?}: {error}"));
            let export: Value = serde_json::from_str(&line).unwrap();
            let spans = export["spans"].as_array().unwrap();
            if let Some(span) = spans.iter().find(|span| span["name"] == name) {
                return (export.clone(), span.clone());
            }
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A fleet of the fixture that sends its traces to this URL.
fn site(endpoint: &str, more: &str) -> Supervisor {
    let headers = "headers = { authorization = \"Bearer of-the-test\" }\nattributes = { \"key\" = \"größe\" }";
    let jaeger = format!("[monitoring.jaeger]\nendpoint = {endpoint:?}\nsample_rate = 1.0\ninterval = \"50ms\"\n");
    let sections = format!("[features]\ntracing = true\n{jaeger}{headers}\n{more}\n");
    supervisor().set("soak = \"0s\"").observed("one", "ok").section(&sections).start()
}

/// Base64 of these hexadecimal digits, as protobuf's JSON has bytes.
fn base64(hex: &str) -> String {
    let bits: String = hex.chars().map(|digit| format!("{:04b}", digit.to_digit(16).unwrap())).collect();
    let digits: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let mut text: String = bits
        .as_bytes()
        .chunks(6)
        .map(|six| {
            let six = format!("{:0<6}", String::from_utf8_lossy(six));
            digits[usize::from_str_radix(&six, 2).unwrap()]
        })
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// A request's spans arrive, with all that they have.
fn arrive(others: &Others, gin: &Supervisor) {
    let parent = Parent::sampled(1);
    let fields = parent.field() + "tracestate: vendor=1\r\n";
    assert_eq!(ask(&gin.tcp(), "/users", &fields).status, 200);
    let (export, request) = others.until("GET /users");
    assert_eq!(export["headers"]["authorization"], "Bearer of-the-test", "{export:#}");
    assert_eq!(request["traceId"], base64(&parent.trace).as_str(), "{request:#}");
    assert_eq!(request["parentSpanId"], base64(&parent.span).as_str(), "{request:#}");
    assert_eq!((&request["kind"], &request["traceState"]), (&"SPAN_KIND_SERVER".into(), &"vendor=1".into()));
    for (name, value) in
        [("http.request.method", "GET"), ("http.route", "/users"), ("http.response.status_code", "200")]
    {
        assert_eq!(request["attributes"][name], value, "{name}: {request:#}");
    }
    for (name, value) in [("service.name", "shop"), ("telemetry.sdk.language", "rust"), ("key", "größe")] {
        assert_eq!(request["resource"][name], value, "{name}: {request:#}");
    }
    assert!(request["scope"]["name"].is_string(), "{request:#}");
    let nanos = |name: &str| request[name].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    assert!(nanos("startTimeUnixNano") < nanos("endTimeUnixNano"), "{request:#}");

    assert_eq!(ask(&gin.tcp(), "/fails", "").status, 500);
    let (_, failed) = others.until("GET /fails");
    assert_eq!(failed["status"]["code"], "STATUS_CODE_ERROR", "{failed:#}");
    // A function with `#[tracing::instrument]`, in which a line is logged.
    assert_eq!(ask(&gin.tcp(), "/traced", "").status, 200);
    let (_, priced) = others.until("priced");
    assert!(priced["events"][0]["timeUnixNano"].is_string(), "{priced:#}");
}

#[test]
#[ignore = "needs OpenTelemetry's schema in a venv: tests/run --services"]
fn another_receiver_reads_each_field_over_grpc_and_http() {
    for (protocol, path) in [("grpc", ""), ("http", "/v1/traces")] {
        let others = Others::start(protocol, None);
        let gin = site(&format!("http://127.0.0.1:{}{path}", others.port), "");
        arrive(&others, &gin);
        gin.stop();
    }
}

#[test]
#[ignore = "needs OpenTelemetry's schema in a venv: tests/run --services"]
fn another_receiver_is_spoken_to_over_tls() {
    let authority = format!("ca_file = {:?}", tls_file("ca.pem"));
    for (protocol, path) in [("grpc", ""), ("http", "/v1/traces")] {
        let others = Others::start(protocol, Some("server"));
        let gin = site(&format!("https://localhost:{}{path}", others.port), &authority);
        arrive(&others, &gin);
        gin.stop();
    }
}

#[test]
#[ignore = "needs OpenTelemetry's schema in a venv: tests/run --services"]
fn a_receiver_that_is_another_one_over_tls_gets_nothing() {
    let authority = format!("ca_file = {:?}", tls_file("ca.pem"));
    // A certificate for other names, one that has ended, and one of an authority that the system does not know.
    for (pair, more) in [("other", authority.as_str()), ("expired", authority.as_str()), ("server", "")] {
        let others = Others::start("grpc", Some(pair));
        let gin = site(&format!("https://localhost:{}", others.port), more);
        assert_eq!(ask(&gin.tcp(), "/", "").status, 200);
        gin.until_log("traces cannot be sent to https://localhost");
        gin.stop();
        assert_eq!(others.finish(), 0, "{pair}");
    }
}

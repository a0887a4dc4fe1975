//! The configuration of traces: the documents' words, OpenTelemetry's variables, and a change while clients are served.

use std::process::Command;

use harness::{Collector, alone, binary};
use serde_json::Value;

use super::site::{Parent, ask, traced};

/// Runs gin-server on this file, with these variables; gives its code and all that it said.
fn run(args: &[&str], text: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let config = dir.path().join("server.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(binary("gin-server"));
    command.arg("--config").arg(&config).args(args).envs(environment.iter().copied());
    let output = command.env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

/// The value of a setting in force.
fn shown(key: &str, text: &str, environment: &[(&str, &str)]) -> String {
    let (code, said) = run(&["config", "show", "--json"], text, environment);
    assert_eq!(code, 0, "{said}");
    let all: Vec<Value> = serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
    let setting = all.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("no {key} in {said}"));
    // As TOML has it: texts are quoted.
    setting["value"].as_str().map_or_else(|| setting["value"].to_string(), |value| value.trim_matches('"').to_owned())
}

/// As the documents have it.
const OF_THE_DOCUMENTS: &str = "[features]\ntracing = true\npprof = true\n[monitoring.jaeger]\nenable = true\n\
     endpoint = \"http://localhost:14268/api/traces\"\nservice_name = \"gin-app\"\nsample_rate = 0.1\n";

#[test]
fn the_documents_file_starts_with_a_warning_that_names_the_endpoint() {
    let server = alone(OF_THE_DOCUMENTS);
    // The warning comes before the line that says where it listens: that one was read already.
    assert_eq!(ask(server.address(), "/", "").status, 200);
    let (code, said) = run(&["--config-check"], OF_THE_DOCUMENTS, &[]);
    assert_eq!(code, 0, "{said}");
    for part in ["monitoring.jaeger.endpoint", "http://localhost:14268/api/traces", "http://localhost:4317"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(shown("monitoring.jaeger.endpoint", OF_THE_DOCUMENTS, &[]).starts_with("http://localhost:4317"));
}

#[test]
fn the_switch_in_two_places_must_agree() {
    let text = "[features]\ntracing = false\n[monitoring.jaeger]\nenable = true\n";
    let (code, said) = run(&["--config-check"], text, &[]);
    assert_eq!(code, 2, "{said}");
    for part in ["features.tracing", "monitoring.jaeger.enable"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    // One of them is enough.
    let collector = Collector::grpc();
    let sections = traced(&collector, "enable = true").replace("[features]\ntracing = true\n", "");
    let server = alone(&sections);
    ask(server.address(), "/", "");
    assert!(!collector.until(1).is_empty());
}

#[test]
fn what_cannot_be_an_endpoint_is_an_error() {
    for (line, part) in [
        ("endpoint = \"localhost:4317\"", "http://"),
        ("endpoint = \"http://user:secret@localhost:4317\"", "monitoring.jaeger.endpoint"),
        ("endpoint = \"http://localhost:4318/v1/traces?key=1\"", "monitoring.jaeger.endpoint"),
        ("endpoint = \"http://localhost:4317\"\nca_file = \"/etc/ca.pem\"", "https"),
        ("sample_rate = 1.5", "monitoring.jaeger.sample_rate"),
        ("parents = \"some\"", "monitoring.jaeger.parents"),
    ] {
        let (code, said) =
            run(&["--config-check"], &format!("[features]\ntracing = true\n[monitoring.jaeger]\n{line}\n"), &[]);
        assert!(code == 2 && said.contains(part), "{line}: {code}, {said}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = "[features]\ntracing = true\n[monitoring.jaeger]\nheaders = { authorization = \"Bearer swordfish\" }\n\
         [monitoring.pprof]\ntoken = \"swordfish-swordfish\"\n";
    let (code, said) = run(&["config", "show"], text, &[]);
    assert!(code == 0 && said.contains("monitoring.pprof.token") && !said.contains("swordfish"), "{said}");
}

#[test]
fn variables_of_opentelemetry_count_over_the_file_and_below_our_own() {
    let (endpoint, own) = ("monitoring.jaeger.endpoint", "GIN_MONITORING_JAEGER_ENDPOINT");
    let text = "[features]\ntracing = true\n[monitoring.jaeger]\nendpoint = \"http://file:4317\"\n";
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4317");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317");
    for (environment, host) in [
        (vec![], "file"),
        (vec![general], "general"),
        (vec![general, traces], "traces"),
        (vec![general, traces, (own, "http://own:4317")], "own"),
    ] {
        let said = shown(endpoint, text, &environment);
        assert!(said.starts_with(&format!("http://{host}:4317")), "{environment:?}: {said}");
    }
    let name = [("OTEL_SERVICE_NAME", "of-otel"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
    assert_eq!(shown("monitoring.jaeger.service_name", text, &name), "of-otel");
    assert_eq!(shown("monitoring.jaeger.sample_rate", text, &name), "0.25");
    assert_eq!(shown("features.tracing", text, &[("OTEL_SDK_DISABLED", "true")]), "false");
    // Where nothing is traced, they say nothing.
    assert!(!shown(endpoint, "", &[general]).contains("general"));
}

#[test]
fn the_rate_changes_while_clients_are_served() {
    let collector = Collector::grpc();
    let sections = traced(&collector, "sample_rate = 0.0");
    let server = alone(&sections);
    // Of these nothing is sent, be it at the new rate.
    (0..20).for_each(|_| assert_eq!(ask(server.address(), "/before", "").status, 404));
    server.configure(&sections.replace("sample_rate = 0.0", "sample_rate = 1.0"));
    let changed = server.until("the configuration has changed");
    assert!(changed["changed"].as_str().unwrap_or_default().contains("monitoring.jaeger.sample_rate"), "{changed}");
    ask(server.address(), "/after", "");
    let spans = collector.until(1);
    assert!(spans.iter().all(|span| span.text("url.path") != "/before"), "{spans:#?}");
    assert!(spans.iter().any(|span| span.text("url.path") == "/after"), "{spans:#?}");
}

#[test]
fn nothing_is_sent_where_traces_are_off() {
    let collector = Collector::grpc();
    let sections = traced(&collector, "");
    let mut off = alone(&sections.replace("tracing = true", "tracing = false"));
    ask(off.address(), "/", &Parent::sampled(1).field());
    off.stop();
    assert!(off.wait().success());
    // The same with traces: a drain sends what waits.
    let mut on = alone(&sections);
    ask(on.address(), "/", &Parent::sampled(2).field());
    on.stop();
    assert!(on.wait().success());
    let spans = collector.until(2);
    assert!(spans.iter().all(|span| span.trace == Parent::sampled(2).trace), "{spans:#?}");
}

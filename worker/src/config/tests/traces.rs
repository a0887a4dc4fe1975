//! Switches, receivers and variables of traces, and the keys of profiles.

use std::path::PathBuf;

use gin_shared::reference::Applies;
use gin_shared::trace_context::Ratio;
use gin_shared::trace_endpoint::{Endpoint, Protocol};

use super::super::show::difference;
use super::*;

const ON: &str = "[features]\ntracing = true\n";

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text, None).unwrap().endpoint
}

fn shown(config: &Config, key: &str) -> (String, String) {
    let all = show(config).into_iter().find(|shown| shown.key == key);
    all.map(|shown| (shown.value, shown.source)).expect(key)
}

#[test]
fn the_switch_of_traces_stands_in_two_places_which_must_agree() {
    let is_on = |text: &str| read(text).unwrap().tracing.is_on;
    let jaeger = |enable: bool| format!("[monitoring.jaeger]\nenable = {enable}\n");
    assert!(!is_on("") && is_on(ON) && is_on(&jaeger(true)) && is_on(&format!("{ON}{}", jaeger(true))));
    assert!(!is_on(&jaeger(false)));
    assert!(is_on(&format!("{ON}[monitoring.jaeger]\nsample_rate = 1\n")));
    let told = wrong(&format!("{ON}{}", jaeger(false)));
    assert!(
        told.starts_with(
            "shop.toml:4: monitoring.jaeger.enable: it is false, and features.tracing is true (line 2); they are one switch"
        ),
        "{told}"
    );
    let variables = [("GIN_FEATURES_TRACING", "false")];
    let told = with(&variables, &jaeger(true), Overrides::default()).unwrap_err().to_string();
    assert!(told.contains("features.tracing is false (environment variable GIN_FEATURES_TRACING)"), "{told}");
}

#[test]
fn a_receiver_and_what_is_sent_to_it() {
    let text = "[monitoring.jaeger]\nenable = true\nendpoint = \"http://collector:4318\"\nservice_name = \"shop\"\nsample_rate = 0.5\n\
                parents = \"trusted\"\nheaders = { X-Tenant = \"a\" }\nattributes = { \"deployment.environment.name\" = \"test\" }\n\
                timeout = \"5s\"\ninterval = \"100ms\"\nmemory = \"1MiB\"\n";
    let tracing = read(text).unwrap().tracing;
    let own = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let expected = Tracing {
        is_on: true,
        endpoint: endpoint("http://collector:4318"),
        service_name: Some("shop".to_owned()),
        sample_rate: Ratio::new(0.5),
        parents: TraceParents::Trusted,
        headers: own("X-Tenant", "a"),
        attributes: own("deployment.environment.name", "test"),
        ca_file: None,
        timeout: Duration::from_secs(5),
        interval: Duration::from_millis(100),
        memory: 1 << 20,
    };
    assert_eq!(tracing, expected);
    assert_eq!(tracing.endpoint.protocol, Protocol::Http);
    let over_tls = "[monitoring.jaeger]\nendpoint = \"https://collector:4317\"\nca_file = \"/etc/ca.pem\"\n";
    let tracing = read(over_tls).unwrap().tracing;
    assert_eq!((tracing.endpoint.is_tls, tracing.ca_file), (true, Some(PathBuf::from("/etc/ca.pem"))));
}

#[test]
fn settings_of_traces_and_profiles_that_cannot_be_are_told() {
    let jaeger = "[monitoring.jaeger]\n";
    for (text, fault) in [
        ("ca_file = \"/etc/ca.pem\"", "monitoring.jaeger.ca_file: the endpoint speaks no TLS"),
        ("endpoint = \"collector\"", "monitoring.jaeger.endpoint: "),
        ("headers = { \"a b\" = \"c\" }", "monitoring.jaeger.headers: \"a b\" cannot name a header"),
        ("headers = { a = \"hunter2\\n\" }", "monitoring.jaeger.headers: the value of \"a\" cannot stand in a header"),
        ("protocol = \"http\"", "monitoring.jaeger.protocol: \"http\" needs an endpoint"),
        ("timeout = \"99ms\"", "monitoring.jaeger.timeout: it must be 100ms to 1m"),
        ("interval = \"61s\"", "monitoring.jaeger.interval: it must be 10ms to 1m"),
        ("memory = \"1KiB\"", "monitoring.jaeger.memory: it must be 64KiB to 256MiB"),
        ("sample_rate = 2", "monitoring.jaeger.sample_rate: "),
        ("parents = \"some\"", "monitoring.jaeger.parents: \"some\" is not"),
        ("endpiont = \"\"", "monitoring.jaeger.endpiont: unknown key; did you mean \"endpoint\"?"),
    ] {
        let told = wrong(&format!("{jaeger}{text}\n"));
        assert!(told.contains(&format!("shop.toml:2: {fault}")) && !told.contains("hunter2"), "{text}: {told}");
    }
    for (text, fault) in [
        ("token = \"hunter2\"", "monitoring.pprof.token: a token has at least 16 characters"),
        ("block = \"0s\"", "monitoring.pprof.block: it must be 1ms to 1m"),
        ("tokne = \"\"", "monitoring.pprof.tokne: unknown key"),
    ] {
        let told = wrong(&format!("[monitoring.pprof]\n{text}\n"));
        assert!(told.contains(&format!("shop.toml:2: {fault}")) && !told.contains("hunter2"), "{text}: {told}");
    }
}

#[test]
fn https_needs_the_feature_where_spans_are_sent() {
    let https = "[monitoring.jaeger]\nendpoint = \"https://collector:4317\"\n";
    assert!(read(https).is_ok());
    let told = read(&format!("{https}enable = true\n")).map_err(|wrong| wrong.to_string());
    let fault = "shop.toml:2: monitoring.jaeger.endpoint: this program was built without the feature \"tls\"";
    if cfg!(all(feature = "otel", not(feature = "tls"))) {
        assert!(told.unwrap_err().starts_with(fault));
    } else {
        assert!(told.is_ok());
    }
}

#[test]
fn jaegers_old_endpoint_is_replaced_and_told() {
    let text = "[monitoring.jaeger]\nendpoint = \"http://localhost:14268/api/traces\"\nenable = ";
    let config = read(&format!("{text}true\n")).unwrap();
    assert_eq!(config.tracing.endpoint, endpoint("http://localhost:4317"));
    let expected = ("\"http://localhost:4317\"".to_owned(), "shop.toml:2".to_owned());
    assert_eq!(shown(&config, "monitoring.jaeger.endpoint"), expected);
    assert!(config.warnings[0].contains("http://localhost:14268/api/traces is Jaeger's old"), "{:?}", config.warnings);
    // Nobody is warned of what is off.
    assert!(read(&format!("{text}false\n")).unwrap().warnings.is_empty());
}

#[test]
fn variables_of_opentelemetry_count_over_the_file_and_below_our_own() {
    let file = format!(
        "{ON}[monitoring.jaeger]\nservice_name = \"file\"\nsample_rate = 0.2\nheaders = {{ a = \"1\", b = \"2\" }}\n"
    );
    let otel = [
        ("OTEL_SERVICE_NAME", "variable"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/otlp/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "b=3,authorization=Bearer%20hunter2"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ("GIN_MONITORING_JAEGER_SAMPLE_RATE", "0.7"),
    ];
    let config = with(&otel, &file, Overrides::default()).unwrap();
    let tracing = &config.tracing;
    assert_eq!(tracing.service_name.as_deref(), Some("variable"));
    assert_eq!(tracing.endpoint, endpoint("http://collector:4318/otlp/v1/traces"));
    assert_eq!(tracing.sample_rate, Ratio::new(0.7));
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(tracing.headers, [own("a", "1"), own("b", "3"), own("authorization", "Bearer hunter2")]);
    assert_eq!(tracing.attributes, [own("deployment.environment.name", "test")]);
    assert_eq!(shown(&config, "monitoring.jaeger.service_name").1, "environment variable OTEL_SERVICE_NAME");
    assert!(!format!("{:?} {config:?}", show(&config)).contains("hunter2"));
    // Where nothing is traced they mean nothing.
    let off = with(&otel, "", Overrides::default()).unwrap();
    assert_eq!(off.tracing.service_name, None);
    let of_environment = [("GIN_FEATURES_TRACING", "true"), otel[0]];
    let config = with(&of_environment, "", Overrides::default()).unwrap();
    assert_eq!(config.tracing.service_name.as_deref(), Some("variable"));
}

#[test]
fn a_variable_of_opentelemetry_decides_alone_or_is_passed_over() {
    let traced = |variables: &[(&str, &str)]| with(variables, ON, Overrides::default()).unwrap();
    let of_traces = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/own"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
    ];
    assert_eq!(traced(&of_traces).tracing.endpoint, endpoint("http://traces:4318/own"));
    let http = traced(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).tracing.endpoint;
    assert_eq!((http.protocol, http.port), (Protocol::Http, 4318));
    let rate = |variables: &[(&str, &str)]| traced(variables).tracing.sample_rate;
    let all = [("OTEL_TRACES_SAMPLER", "parentbased_always_on"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    assert_eq!((rate(&all), rate(&all[1..])), (Ratio::new(1.0), Ratio::new(0.5)));
    assert!(!traced(&[("OTEL_SDK_DISABLED", "true")]).tracing.is_on);
    let both = format!("{ON}[monitoring.jaeger]\nenable = true\n");
    assert!(!with(&[("OTEL_SDK_DISABLED", "TRUE")], &both, Overrides::default()).unwrap().tracing.is_on);
    for (variable, text) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://shop:hunter2@collector:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_RESOURCE_ATTRIBUTES", "test"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ] {
        let config = traced(&[(variable, text)]);
        let warning = config.warnings.iter().find(|warning| warning.contains(variable)).expect(variable);
        assert!(warning.contains("is passed over: ") && !warning.contains("hunter2"), "{warning}");
        assert_eq!(config.tracing, traced(&[]).tracing, "{variable}");
    }
}

#[test]
fn the_rate_alone_changes_while_it_runs() {
    let with_rate = |rate: &str, name: &str| {
        read(&format!("{ON}[monitoring.jaeger]\nsample_rate = {rate}\nservice_name = \"{name}\"\n")).unwrap()
    };
    let (before, after) = (with_rate("0.1", "a"), with_rate("0.9", "b"));
    let own = |key: &str, applies| (format!("monitoring.jaeger.{key}"), applies);
    let expected = [own("service_name", Applies::Restart), own("sample_rate", Applies::Live)];
    assert_eq!(difference(&before, &after), expected);
    let live = before.with_live(&after).tracing;
    assert_eq!((live.sample_rate, live.service_name.as_deref()), (Ratio::new(0.9), Some("a")));
}

#[test]
fn a_build_without_the_features_warns() {
    let config = read(&format!("{ON}pprof = true\n")).unwrap();
    assert_eq!((config.tracing.is_on, config.traces_handlers()), (true, cfg!(feature = "otel")));
    assert!(config.profiling.is_on);
    for (feature, is_there) in [("otel", cfg!(feature = "otel")), ("profile", cfg!(feature = "profile"))] {
        let is_told = config.warnings.iter().any(|warning| warning.contains(&format!("the feature \"{feature}\"")));
        assert_ne!(is_told, is_there, "{feature}: {:?}", config.warnings);
    }
}

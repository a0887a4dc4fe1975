//! Variables that OpenTelemetry has named, for keys of `[monitoring.jaeger]`. Where traces are on, they count over the file, and this
//! library's own variables count over them.
//!
//! | variable | key |
//! |---|---|
//! | `OTEL_SDK_DISABLED=true` | both switches are off |
//! | `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL` | `protocol` |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT` | `endpoint` |
//! | `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, else `OTEL_EXPORTER_OTLP_HEADERS` | `headers` |
//! | `OTEL_RESOURCE_ATTRIBUTES` | `attributes` |
//! | `OTEL_SERVICE_NAME` | `service_name` |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | `sample_rate` |
//!
//! A variable that cannot be read is a warning: other programs may understand more of it. An empty one is none.

use gin_shared::config::environment::{self, Lookup};
use gin_shared::config::{Entry, Node, Place, Value, tree};
use gin_shared::reference::Key;
use gin_shared::trace_endpoint::{Endpoint, Protocol};

use super::source::set;
use super::tracing::{header_fault, is_switched_on, protocol_of, text_of};

const DISABLED: &str = "OTEL_SDK_DISABLED";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// To the path of this one `/v1/traces` is added, where the protocol is HTTP.
const BASE_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The receiver of a protocol that has no endpoint: OpenTelemetry's default.
const HTTP_ENDPOINT: &str = "http://127.0.0.1:4318";
/// Path of an export by HTTP.
const HTTP_PATH: &str = "/v1/traces";

/// Lays these variables over the file's settings, if traces are on. Returns warnings.
pub(super) fn lay(entries: &mut Vec<Entry>, keys: &[(&str, &'static [Key])], lookup: Lookup<'_>) -> Vec<String> {
    // This library's own variables may switch traces on, and may say more of them.
    let mut whole = entries.clone();
    let _ = environment::overlay(&mut whole, keys, lookup);
    if !is_switched_on(&whole) {
        return Vec::new();
    }
    let mut variables = Variables { entries, lookup, warnings: Vec::new() };
    if !variables.switch_off() {
        variables.protocol();
        variables.endpoint(text_of(&whole, "endpoint").is_some());
        variables.headers();
        variables.attributes();
        variables.service_name();
        variables.sampler();
    }
    variables.warnings
}

struct Variables<'a> {
    entries: &'a mut Vec<Entry>,
    lookup: Lookup<'a>,
    warnings: Vec<String>,
}

impl Variables<'_> {
    fn text(&self, variable: &'static str) -> Option<String> {
        let text = (self.lookup)(variable)?.trim().to_owned();
        Some(text).filter(|text| !text.is_empty())
    }

    /// The first of these variables that is set.
    fn first(&self, variables: [&'static str; 2]) -> Option<(&'static str, String)> {
        variables.into_iter().find_map(|variable| Some((variable, self.text(variable)?)))
    }

    fn table(&mut self) -> &mut Vec<Entry> {
        tree::section(tree::section(self.entries, "monitoring"), "jaeger")
    }

    fn set(&mut self, key: &str, variable: &str, value: Value) {
        set(self.table(), key, node(variable, value));
    }

    fn set_text(&mut self, key: &str, variable: &str, text: &str) {
        self.set(key, variable, Value::String(text.to_owned()));
    }

    fn pass_over(&mut self, variable: &str, text: &str, why: &str) {
        self.warnings.push(format!("environment variable {variable}={text} is passed over: {why}"));
    }

    /// The same for a text that may be a secret.
    fn pass_over_secret(&mut self, variable: &str, why: &str) {
        self.warnings.push(format!("environment variable {variable} is passed over: {why}"));
    }

    /// Returns true if nothing shall be traced. A switch that is written in the file is off then, and the other one, too.
    fn switch_off(&mut self) -> bool {
        if !self.text(DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return false;
        }
        let off = || node(DISABLED, Value::Boolean(false));
        set(tree::section(self.entries, "features"), "tracing", off());
        if self.table().iter().any(|entry| entry.key == "enable") {
            set(self.table(), "enable", off());
        }
        true
    }

    fn protocol(&mut self) {
        let Some((variable, text)) = self.first(PROTOCOLS) else { return };
        match text.as_str() {
            "grpc" => self.set_text("protocol", variable, "grpc"),
            "http/protobuf" => self.set_text("protocol", variable, "http"),
            _ => self.pass_over(variable, &text, "it is neither \"grpc\" nor \"http/protobuf\""),
        }
    }

    /// `is_written`: the file, or a variable of this library's own, has an endpoint.
    fn endpoint(&mut self, is_written: bool) {
        let protocol = protocol_of(self.entries);
        let Some((variable, text)) = self.first([TRACES_ENDPOINT, BASE_ENDPOINT]) else {
            if let (false, Some(Protocol::Http), Some((variable, _))) = (is_written, protocol, self.first(PROTOCOLS)) {
                self.set_text("endpoint", variable, HTTP_ENDPOINT);
            }
            return;
        };
        match Endpoint::parse(&text, protocol) {
            // It is replaced, and warned of, as one of the file is.
            Ok(parsed) if parsed.is_old_jaeger => self.set_text("endpoint", variable, &text),
            Ok(parsed) => {
                let mut endpoint = parsed.endpoint;
                let is_base = variable == BASE_ENDPOINT && endpoint.protocol == Protocol::Http;
                if is_base && !endpoint.path.ends_with(HTTP_PATH) {
                    endpoint.path = format!("{}{HTTP_PATH}", endpoint.path.trim_end_matches('/'));
                }
                self.set_text("endpoint", variable, &endpoint.to_string());
            }
            // It may have a password.
            Err(error) => self.pass_over_secret(variable, &error.to_string()),
        }
    }

    fn headers(&mut self) {
        let Some((variable, text)) = self.first(HEADERS) else { return };
        let checked = pairs(&text).and_then(|all| {
            let fault = all.iter().find_map(|(name, value)| header_fault(name, value));
            fault.map_or(Ok(all), Err)
        });
        match checked {
            Ok(all) => self.merge("headers", variable, all),
            Err(why) => self.pass_over_secret(variable, &why),
        }
    }

    fn attributes(&mut self) {
        let Some(text) = self.text(ATTRIBUTES) else { return };
        match pairs(&text) {
            Ok(all) => self.merge("attributes", ATTRIBUTES, all),
            Err(why) => self.pass_over(ATTRIBUTES, &text, &why),
        }
    }

    fn service_name(&mut self) {
        if let Some(text) = self.text(SERVICE_NAME) {
            self.set_text("service_name", SERVICE_NAME, &text);
        }
    }

    fn sampler(&mut self) {
        let sampler = self.text(SAMPLER);
        match sampler.as_deref() {
            Some("always_on" | "parentbased_always_on") => self.set("sample_rate", SAMPLER, Value::Float(1.0)),
            Some("always_off" | "parentbased_always_off") => self.set("sample_rate", SAMPLER, Value::Float(0.0)),
            None | Some("traceidratio" | "parentbased_traceidratio") => self.rate(),
            Some(other) => self.pass_over(SAMPLER, other, "it is no sampler that is known here"),
        }
    }

    fn rate(&mut self) {
        let Some(text) = self.text(SAMPLER_ARGUMENT) else { return };
        match text.parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate)) {
            Some(rate) => self.set("sample_rate", SAMPLER_ARGUMENT, Value::Float(rate)),
            None => self.pass_over(SAMPLER_ARGUMENT, &text, "it is no number from 0 to 1"),
        }
    }

    /// Adds pairs to a table of the file's, each in place of one of the same name.
    fn merge(&mut self, key: &str, variable: &str, pairs: Vec<(String, String)>) {
        let table = tree::section(self.table(), key);
        for (name, value) in pairs {
            set(table, &name, node(variable, Value::String(value)));
        }
        // `config show` tells from where the table is, as far as one place can.
        let place = Place::Variable(variable.to_owned());
        if let Some(entry) = self.table().iter_mut().find(|entry| entry.key == key) {
            (entry.place, entry.node.place) = (place.clone(), place);
        }
    }
}

fn node(variable: &str, value: Value) -> Node {
    Node { value, place: Place::Variable(variable.to_owned()) }
}

/// Reads `a=b,c=d`, whose bytes may be written as `%20`.
///
/// # Errors
/// A sentence without the text.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (decoded(name.trim())?, decoded(value.trim())?);
        let is_fit = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        is_fit.then_some((name, value))
    };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty()).enumerate();
    parts
        .map(|(at, part)| pair(part).ok_or_else(|| format!("part {} is not as in name=value,name=value", at + 1)))
        .collect()
}

/// The text without percent signs.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { (hex(rest.next()?)? << 4) | hex(rest.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_percent_decoded() {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let all = pairs("authorization=Bearer%20a%3Db, deployment.environment.name = production,,empty=").unwrap();
        let expected =
            [own("authorization", "Bearer a=b"), own("deployment.environment.name", "production"), own("empty", "")];
        assert_eq!(all, expected);
        for (text, part) in [("a", 1), ("a=b,=c", 2), ("a=%2", 1), ("a=%zz", 1), ("a=%ff", 1), ("a=%00", 1)] {
            assert_eq!(pairs(text), Err(format!("part {part} is not as in name=value,name=value")), "{text}");
        }
    }
}

//! A line of JSON: `{"level": "info", "timestamp": ..., "message": ..., ...}`, then the event's fields, the name of the request that
//! it belongs to, and its spans.

use std::fmt::{self, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::clock;
use crate::current_request;
use crate::traces;

/// How spans' fields are kept.
pub(super) fn fields() -> JsonFields {
    JsonFields::new()
}

/// See the module.
#[derive(Debug)]
pub(super) struct JsonLine;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for JsonLine {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::TRACE => "trace",
            Level::DEBUG => "debug",
            Level::INFO => "info",
            Level::WARN => "warn",
            Level::ERROR => "error",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        if !fields.names_request {
            let _ = current_request::named(|id| quote(fields.named(REQUEST_ID), id));
        }
        if traces::is_on()
            && let Some(ids) = traces::ids()
            && !fields.others.contains("\"trace_id\":")
        {
            // Writing to a text cannot fail.
            let _ = write!(fields.named(TRACE_ID), "\"{}\"", ids.trace);
            let _ = write!(fields.named(SPAN_ID), "\"{}\"", ids.span);
        }
        let Fields { message, others, .. } = fields;
        out.write_str("{\"level\":\"")?;
        out.write_str(level)?;
        out.write_str("\",\"timestamp\":\"")?;
        clock::now(|text| out.write_str(text))?;
        out.write_str("\",\"message\":\"")?;
        out.write_str(&message)?;
        out.write_str("\"")?;
        out.write_str(&others)?;
        let mut spans = String::new();
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let comma = if spans.is_empty() { "" } else { "," };
            spans.push_str(comma);
            spans.push_str("{\"name\":");
            quote(&mut spans, span.name());
            let extensions = span.extensions();
            let own = extensions.get::<FormattedFields<JsonFields>>().map_or("", |fields| fields.fields.as_str());
            match own.trim().strip_prefix('{').and_then(|own| own.strip_suffix('}')) {
                Some(own) if !own.is_empty() => write!(spans, ",{own}}}")?,
                _ => spans.push('}'),
            }
        }
        if !spans.is_empty() {
            write!(out, ",\"spans\":[{spans}]")?;
        }
        out.write_str("}\n")
    }
}

/// The field that names the request.
pub(super) const REQUEST_ID: &str = "request_id";
/// The field that names the trace.
pub(super) const TRACE_ID: &str = "trace_id";
/// The field that names the span in it.
pub(super) const SPAN_ID: &str = "span_id";

#[derive(Default)]
struct Fields {
    message: String,
    /// Each with a comma before it.
    others: String,
    /// True if the event names its request itself.
    names_request: bool,
}

impl Fields {
    fn name(&mut self, field: &Field) -> &mut String {
        self.names_request |= field.name() == REQUEST_ID;
        self.named(field.name())
    }

    fn named(&mut self, name: &str) -> &mut String {
        if self.others.is_empty() {
            self.others.reserve(384);
        }
        self.others.push_str(",\"");
        // An identifier, or what the application's author has written.
        self.others.push_str(name);
        self.others.push_str("\":");
        &mut self.others
    }

    fn number(&mut self, field: &Field, number: impl fmt::Display) {
        // Writing to a text cannot fail.
        let _ = write!(self.name(field), "{number}");
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // Infinity and NaN have no place in JSON.
        self.number(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        quote(self.name(field), &value.to_string());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        quote(self.name(field), &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            escape(&mut self.message, value);
        } else {
            quote(self.name(field), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text cannot fail.
        if field.name() == "message" {
            let _ = write!(Escaped(&mut self.message), "{value:?}");
        } else {
            let text = self.name(field);
            text.push('"');
            let _ = write!(Escaped(text), "{value:?}");
            text.push('"');
        }
    }
}

/// In quotes: whatever a client sends stays one line, and one value (RFC 8259, section 7).
fn quote(line: &mut String, value: &str) {
    line.push('"');
    escape(line, value);
    line.push('"');
}

/// What is written to it can stand in quotes.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

fn escape(line: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        line.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\t' => line.push_str("\\t"),
            other => drop(write!(line, "\\u{other:04x}")),
        }
        rest = &rest[at + 1..];
    }
    line.push_str(rest);
}

/// A line that is made without an event: for the access log, which there is one of for each request.
#[derive(Debug)]
pub(crate) struct Direct(String);

impl Direct {
    /// `info`, now.
    pub(crate) fn info(message: fmt::Arguments<'_>) -> Self {
        let mut line = String::with_capacity(512);
        line.push_str("{\"level\":\"info\",\"timestamp\":\"");
        clock::now(|text| line.push_str(text));
        line.push_str("\",\"message\":\"");
        // Writing to a text cannot fail.
        let _ = Escaped(&mut line).write_fmt(message);
        line.push('"');
        Self(line)
    }

    /// One more field, whose name needs no quoting.
    pub(crate) fn field(mut self, name: &'static str, value: &str) -> Self {
        self.name(name);
        quote(&mut self.0, value);
        self
    }

    /// The same for what is no text.
    pub(crate) fn bare(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.name(name);
        let _ = write!(self.0, "{value}");
        self
    }

    /// The same in quotes, for what has nothing in it that would need more.
    pub(crate) fn plain(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.name(name);
        let _ = write!(self.0, "\"{value}\"");
        self
    }

    /// The same for what may not be there.
    pub(crate) fn some(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    fn name(&mut self, name: &'static str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    /// The whole line.
    pub(super) fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::body::Body;
    use axum::extract::Request;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::logging::captured::Lines;
    use crate::observed::Unobserved;
    use crate::request_id::Name;
    use crate::request_scope::Scope;

    /// Lines that `f` logs, where nobody else logs.
    fn logged(f: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let own = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || own.clone());
        let subscriber = tracing_subscriber::registry().with(layer.fmt_fields(fields()).event_format(JsonLine));
        tracing::subscriber::with_default(subscriber, f);
        let text = lines.text();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_of_a_handler_names_its_request_once() {
        let request = Request::get("/").header("x-request-id", "mine-1").body(Body::empty()).unwrap();
        let mut scope = Scope::of::<Unobserved>(&request, Name::of(&request), ()).without_span();
        let all = logged(|| {
            tracing::info!("before");
            scope.run(|| {
                tracing::info!(user = 7, "made");
                tracing::info!(request_id = "its own", "named");
            });
            tracing::info!("after");
        });
        let names: Vec<&Value> = all.iter().map(|line| &line["request_id"]).collect();
        assert_eq!(names, [&Value::Null, &Value::from("mine-1"), &Value::from("its own"), &Value::Null]);
        // Whoever writes lines in another way gets a span.
        let all = logged(|| {
            Scope::of::<Unobserved>(&request, Name::of(&request), ()).run(|| tracing::info!("made"));
        });
        let span = &all[0]["spans"][0];
        let fields = ["name", "id", "method"].map(|field| span[field].as_str());
        assert_eq!(fields, [Some("request"), Some("mine-1"), Some("GET")]);
    }

    #[cfg(feature = "otel")]
    #[test]
    fn a_line_of_a_traced_request_has_its_ids_once() {
        let mut ids = None;
        let all = logged(|| {
            tracing::info!("before");
            ids = Some(traces::tests::within_a_request(|| {
                tracing::info!("made");
                current_request::failed(axum::http::StatusCode::BAD_GATEWAY, "refused");
                tracing::info!(trace_id = "its own", "named");
            }));
        });
        let ids = ids.unwrap();
        let (trace, span) = (Value::from(ids.trace.to_string()), Value::from(ids.span.to_string()));
        assert_eq!(all[0].get("trace_id"), None);
        for line in &all[1..3] {
            assert_eq!((&line["trace_id"], &line["span_id"]), (&trace, &span), "{line}");
        }
        assert_eq!((&all[3]["trace_id"], all[3].get("span_id")), (&Value::from("its own"), None));
    }

    #[test]
    fn a_line_is_json_and_nothing_breaks_it() {
        let lines = Lines::default();
        let own = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || own.clone());
        let subscriber = tracing_subscriber::registry().with(layer.fmt_fields(fields()).event_format(JsonLine));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(
                method = "GET",
                path = "/a\"b\nc\u{1}\\",
                status = 200_u16,
                latency = "15ms",
                ok = true,
                "done \"it\""
            );
            let span = tracing::info_span!("order", id = 7);
            span.in_scope(|| tracing::warn!(ratio = f64::NAN, error = ?io::Error::other("x\ny"), "odd"));
        });
        let text = lines.text();
        let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len(), 2, "{text}");
        assert!(text.starts_with("{\"level\":\"info\",\"timestamp\":\"2"), "{text}");
        assert_eq!((&all[0]["message"], &all[0]["status"]), (&Value::from("done \"it\""), &Value::from(200)));
        assert_eq!((&all[0]["path"], &all[0]["latency"]), (&Value::from("/a\"b\nc\u{1}\\"), &Value::from("15ms")));
        assert_eq!((&all[1]["ratio"], &all[1]["spans"][0]["id"]), (&Value::Null, &Value::from(7)));
    }
}

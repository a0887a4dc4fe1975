//! A line of text, for people.
//!
//! In a terminal it is short: the time of day, the level, what happened, each fact once. The line of a request has its columns:
//!
//! ```text
//! 09:30:12.345Z INFO  listening on http://127.0.0.1:8080
//! 09:30:14.012Z INFO  made user=7 #0000002a
//! 09:30:14.013Z INFO  201    1.2ms POST    /users #0000002a
//! ```
//!
//! Elsewhere, in a file say, it has everything that a line of JSON has: the ids of its trace, too.

use std::fmt::{self, Display, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope as Spans};

use super::clock;
use super::line::{REQUEST_ID, SPAN_ID, TRACE_ID};
use crate::current_request;
use crate::request_id::ACCESS;
use crate::traces;

/// So much of a request's name is shown in a terminal: its number, of those that this library makes.
const SHORT: usize = 8;

/// Part of the clock's text that is the time of day, to the millisecond.
const TIME_OF_DAY: std::ops::Range<usize> = 11..23;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextLine {
    pub(super) is_terminal: bool,
    pub(super) has_colours: bool,
}

/// Sequence that begins a colour (ECMA-48, SGR). `log_line` lets these through.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Colour(&'static str);

const DIM: Colour = Colour("\u{1b}[2m");
const RED: Colour = Colour("\u{1b}[31m");
const GREEN: Colour = Colour("\u{1b}[32m");
const YELLOW: Colour = Colour("\u{1b}[33m");
const BLUE: Colour = Colour("\u{1b}[34m");
const MAGENTA: Colour = Colour("\u{1b}[35m");
const CYAN: Colour = Colour("\u{1b}[36m");

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut facts = Facts::default();
        event.record(&mut facts);
        if facts.value(REQUEST_ID).is_none() {
            let _ = current_request::named(|id| facts.all.push((REQUEST_ID, id.to_owned())));
        }
        if !self.is_terminal
            && traces::is_on()
            && let Some(ids) = traces::ids()
            && facts.value(TRACE_ID).is_none()
        {
            facts.all.push((TRACE_ID, ids.trace.to_string()));
            facts.all.push((SPAN_ID, ids.span.to_string()));
        }
        let mut line = String::with_capacity(256);
        clock::now(|text| self.time(&mut line, text));
        let (word, colour) = level(*event.metadata().level());
        self.colour(&mut line, colour, format_args!("{word:<5}"));
        line.push(' ');
        for span in context.event_scope().into_iter().flat_map(Spans::from_root) {
            line.push_str(span.name());
            let extensions = span.extensions();
            match extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.fields.as_str()) {
                "" => line.push_str(": "),
                own => put(&mut line, format_args!("{{{}}}: ", Plain(own))),
            }
        }
        match Access::of(event.metadata().target(), &facts) {
            Some(access) if self.is_terminal => self.request_in_columns(&mut line, &access, &facts),
            Some(access) => self.request(&mut line, &access, &facts),
            None => self.other(&mut line, &facts),
        }
        line.push('\n');
        out.write_str(&line)
    }
}

impl TextLine {
    fn time(self, line: &mut String, text: &str) {
        match text.get(TIME_OF_DAY).filter(|_| self.is_terminal) {
            Some(short) => self.colour(line, DIM, format_args!("{short}Z")),
            None => line.push_str(text),
        }
        line.push(' ');
    }

    /// The line of a request, with what varies in length at its end.
    fn request_in_columns(self, line: &mut String, access: &Access<'_>, facts: &Facts) {
        self.colour(line, status_colour(access.status), format_args!("{}", Plain(access.status)));
        put(line, format_args!(" {:>8} {:<7} {}", in_short(access.latency), Plain(access.method), Plain(access.path)));
        for name in ["error", "taken_over"] {
            if let Some(value) = facts.value(name) {
                self.fact(line, name, value);
            }
        }
        self.name(line, facts);
    }

    /// The line of a request, with everything that is known.
    fn request(self, line: &mut String, access: &Access<'_>, facts: &Facts) {
        let Access { method, path, status, latency } = *access;
        put(line, format_args!("{} {} {} {latency}", Plain(method), Plain(path), Plain(status)));
        for (name, value) in facts.all.iter().filter(|(name, _)| !Access::FIELDS.contains(name)) {
            self.fact(line, name, value);
        }
    }

    /// Any other line.
    fn other(self, line: &mut String, facts: &Facts) {
        put(line, format_args!("{}", Plain(&facts.message)));
        let is_new =
            |name: &str, value: &str| !self.is_terminal || (name != REQUEST_ID && !says(&facts.message, value));
        for (name, value) in facts.all.iter().filter(|(name, value)| is_new(name, value)) {
            self.fact(line, name, value);
        }
        if self.is_terminal {
            self.name(line, facts);
        }
    }

    /// The name of the request, shortened.
    fn name(self, line: &mut String, facts: &Facts) {
        if let Some(id) = facts.value(REQUEST_ID) {
            let from = id.char_indices().rev().nth(SHORT - 1).map_or(0, |(at, _)| at);
            line.push(' ');
            self.colour(line, DIM, format_args!("#{}", Plain(&id[from..])));
        }
    }

    fn fact(self, line: &mut String, name: &str, value: &str) {
        line.push(' ');
        self.colour(line, DIM, format_args!("{name}="));
        let is_word = !value.is_empty() && !value.contains([' ', '"', '=']);
        if is_word { put(line, format_args!("{}", Plain(value))) } else { put(line, format_args!("{value:?}")) }
    }

    fn colour(self, line: &mut String, colour: Colour, text: fmt::Arguments<'_>) {
        if self.has_colours { put(line, format_args!("{}{text}\u{1b}[0m", colour.0)) } else { put(line, text) }
    }
}

/// What the line of a request says in columns.
struct Access<'a> {
    method: &'a str,
    path: &'a str,
    status: &'a str,
    latency: &'a str,
}

impl<'a> Access<'a> {
    const FIELDS: [&'static str; 4] = ["method", "path", "status", "latency"];

    /// `None` for a line that is about no request.
    fn of(target: &str, facts: &'a Facts) -> Option<Self> {
        if target != ACCESS {
            return None;
        }
        let [method, path, status, latency] = Self::FIELDS.map(|name| facts.value(name));
        Some(Self { method: method?, path: path?, status: status?, latency: latency? })
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Facts {
    message: String,
    all: Vec<(&'static str, String)>,
}

impl Facts {
    fn value(&self, name: &str) -> Option<&str> {
        self.all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.all.push((field.name(), value));
        }
    }
}

impl Visit for Facts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// Text of an event without a terminal's escape character: `log_line` takes colours for ours.
struct Plain<'a>(&'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains('\u{1b}') {
            return f.pad(self.0);
        }
        f.pad(&self.0.replace('\u{1b}', "\\u{1b}"))
    }
}

/// Writing to a text cannot fail; an application's own `Display` may say that it has.
fn put(line: &mut String, text: fmt::Arguments<'_>) {
    let _ = line.write_fmt(text);
}

fn level(level: Level) -> (&'static str, Colour) {
    match level {
        Level::ERROR => ("ERROR", RED),
        Level::WARN => ("WARN", YELLOW),
        Level::INFO => ("INFO", GREEN),
        Level::DEBUG => ("DEBUG", BLUE),
        Level::TRACE => ("TRACE", MAGENTA),
    }
}

fn status_colour(status: &str) -> Colour {
    match status.as_bytes().first() {
        Some(b'5') => RED,
        Some(b'4') => YELLOW,
        Some(b'3') => CYAN,
        _ => GREEN,
    }
}

/// `0.384ms` as `384µs`, `12.345ms` as `12.3ms`, `1234.500ms` as `1.23s`. What is no such time stays.
fn in_short(latency: &str) -> String {
    let Some(millis) = latency.strip_suffix("ms").and_then(|number| number.parse::<f64>().ok()) else {
        return Plain(latency).to_string();
    };
    if millis < 1.0 {
        format!("{:.0}µs", millis * 1e3)
    } else if millis < 1e3 {
        format!("{millis:.1}ms")
    } else {
        format!("{:.2}s", millis / 1e3)
    }
}

/// True if a message says this value already, as a word of its own.
fn says(message: &str, value: &str) -> bool {
    let is_apart = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    let is_word = |(at, _): (usize, &str)| {
        is_apart(message[..at].chars().next_back()) && is_apart(message[at + value.len()..].chars().next())
    };
    !value.is_empty() && message.match_indices(value).any(is_word)
}

#[cfg(test)]
mod tests {

    use axum::body::Body;
    use axum::extract::Request;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::logging::captured::Lines;
    use crate::observed::Unobserved;
    use crate::request_id::Name;
    use crate::request_scope::Scope;

    const FILE: TextLine = TextLine { is_terminal: false, has_colours: false };
    const PLAIN: TextLine = TextLine { is_terminal: true, has_colours: false };
    const COLOURED: TextLine = TextLine { is_terminal: true, has_colours: true };

    /// What `f` logs, without the time of each line.
    fn logged(form: TextLine, f: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let own = lines.clone();
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || own.clone()).event_format(form);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
        let text = lines.text();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    fn a_request(error: Option<&str>) {
        tracing::info!(
            target: ACCESS,
            client_ip = "127.0.0.1",
            method = "GET",
            path = "/users/\u{1b}[31m7",
            protocol = "HTTP/1.1",
            status = 404_u16,
            latency = "0.384ms",
            user_agent = "curl 8",
            error,
            request_id = "4f1e6a0000000000-0000002a",
            "GET /users/7 404"
        );
    }

    #[test]
    fn a_request_in_a_terminal_is_a_short_line_with_columns_and_says_each_fact_once() {
        let request = "INFO  404    384µs GET     /users/\\u{1b}[31m7 #0000002a";
        assert_eq!(logged(PLAIN, || a_request(None)), [request]);
        let wrong = "INFO  404    384µs GET     /users/\\u{1b}[31m7 error=\"no such user\" #0000002a";
        assert_eq!(logged(PLAIN, || a_request(Some("no such user"))), [wrong]);
        let coloured = "\u{1b}[32mINFO \u{1b}[0m \u{1b}[33m404\u{1b}[0m    384µs GET     /users/\\u{1b}[31m7 \u{1b}[2m#0000002a\u{1b}[0m";
        assert_eq!(logged(COLOURED, || a_request(None)), [coloured]);
    }

    #[test]
    fn a_request_in_a_file_has_everything_once() {
        let request = "INFO  GET /users/\\u{1b}[31m7 404 0.384ms client_ip=127.0.0.1 protocol=HTTP/1.1 user_agent=\"curl 8\" \
                       request_id=4f1e6a0000000000-0000002a";
        assert_eq!(logged(FILE, || a_request(None)), [request]);
    }

    #[test]
    fn any_other_line_is_its_message_with_what_that_does_not_say() {
        let all = || {
            tracing::info!(name = "web", address = "127.0.0.1:80", "listening on http://127.0.0.1:80");
            tracing::warn!(lost = 5, kept = 50, note = "a \"b\"", "500 lines, of which 5 were lost");
            let request = Request::get("/").header("x-request-id", "mine-1").body(Body::empty()).unwrap();
            Scope::of::<Unobserved>(&request, Name::of(&request), ())
                .without_span()
                .run(|| tracing::info_span!("order", id = 7).in_scope(|| tracing::debug!(user = 8, "made")));
        };
        let short = [
            "INFO  listening on http://127.0.0.1:80 name=web",
            "WARN  500 lines, of which 5 were lost kept=50 note=\"a \\\"b\\\"\"",
            "DEBUG order{id=7}: made user=8 #mine-1",
        ];
        assert_eq!(logged(PLAIN, all), short);
        let long = logged(FILE, all);
        assert_eq!(long[0], "INFO  listening on http://127.0.0.1:80 name=web address=127.0.0.1:80");
        assert_eq!(long[2], "DEBUG order{id=7}: made user=8 request_id=mine-1");
    }

    #[cfg(feature = "otel")]
    #[test]
    fn a_line_has_the_ids_of_its_trace_in_a_file_and_not_in_a_terminal() {
        let log = || {
            let _ = traces::tests::within_a_request(|| tracing::info!("made"));
        };
        assert_eq!(logged(PLAIN, log), ["INFO  made"]);
        let line = logged(FILE, log).remove(0);
        let (trace, span) = line.strip_prefix("INFO  made trace_id=").unwrap().split_once(" span_id=").unwrap();
        assert_eq!((trace.len(), span.len()), (32, 16));
    }

    #[test]
    fn times_are_short() {
        for (latency, short) in [
            ("0.000ms", "0µs"),
            ("0.384ms", "384µs"),
            ("1.000ms", "1.0ms"),
            ("12.345ms", "12.3ms"),
            ("1234.500ms", "1.23s"),
            ("soon", "soon"),
        ] {
            assert_eq!(in_short(latency), short);
        }
    }
}

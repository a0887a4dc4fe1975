//! Ids of the trace and of the span in the lines of a request.

use harness::{Address, Alone, Collector, alone, on_change};
use serde_json::Value;

use super::site::{Parent, ask, site, traced};

fn ids(line: &Value) -> (Option<&str>, Option<&str>) {
    (line["trace_id"].as_str(), line["span_id"].as_str())
}

fn asked(server: &Alone, path: &str, parent: &Parent) -> Value {
    ask(server.address(), path, &parent.field());
    server.until(&format!("GET {path}"))
}

#[test]
fn the_line_of_a_request_has_the_ids_sampled_or_not() {
    let collector = Collector::grpc();
    let server = alone(&traced(&collector, ""));
    let (sampled, unsampled) = (Parent::sampled(1), Parent::unsampled(2));
    let line = asked(&server, "/", &sampled);
    let trace = collector.until_trace(|trace| trace.find("GET /").is_some());
    let span = trace.span("GET /");
    assert_eq!(ids(&line), (Some(sampled.trace.as_str()), Some(span.id.as_str())), "{line}");
    let line = asked(&server, "/unknown", &unsampled);
    let (of_trace, of_span) = ids(&line);
    assert_eq!(of_trace, Some(unsampled.trace.as_str()), "{line}");
    assert!(of_span.is_some_and(|span| span.len() == 16 && span != unsampled.span), "{line}");
    // In the order of the fields, they stand behind the name of the request.
    let text = line.to_string();
    assert!(text.contains("\"request_id\""), "{text}");
}

#[test]
fn without_traces_no_line_has_them() {
    let server = alone("");
    let line = asked(&server, "/", &Parent::sampled(1));
    assert_eq!(ids(&line), (None, None), "{line}");
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn lines_of_a_handler_and_of_its_failure_have_them_in_both_forms() {
    let collector = Collector::grpc();
    // Parents that no other answer has: the collector keeps all.
    for (format, parents) in [("json", [1, 2]), ("text", [3, 4])] {
        let builder = site(&collector, "");
        let file = builder.dir().join("shop.log");
        let logging = format!("[logging]\noutput = \"file\"\nfile_path = {file:?}\nformat = {format:?}\n");
        let gin = builder.section(&logging).start();
        let address: Address = gin.tcp();
        let told = [("/log", "the handler has a line"), ("/fails", "it fails as told")];
        for (number, (path, part)) in parents.into_iter().zip(told) {
            let parent = Parent::sampled(number);
            ask(&address, path, &parent.field());
            let line = || {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                text.lines().find(|line| line.contains(part)).map(str::to_owned)
            };
            let line = on_change(&file, part, line, Option::is_some).unwrap_or_default();
            assert!(line.contains(&parent.trace), "{format}: {line}");
            let trace = collector.until_trace(|trace| trace.id == parent.trace && trace.roots().len() == 1);
            assert!(trace.spans.iter().any(|span| line.contains(&span.id)), "{format}: {line}\n{trace}");
        }
        gin.stop();
    }
}

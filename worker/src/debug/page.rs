//! The page that lists the endpoints, without a script.

use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};

use super::{Asked, Door};

/// Path, query and meaning of each.
const ROWS: [(&str, &str, &str); 6] = [
    ("/debug/pprof/profile", "?seconds=30", "time on the CPU: the answer comes at the end"),
    ("/debug/pprof/profile", "?seconds=10&flame", "the same as a picture"),
    ("/debug/pprof/heap", "", "memory, if the program was built with the feature profile-heap"),
    ("/debug/pprof/goroutine", "?debug=1", "requests and tasks that are alive, and where they wait"),
    ("/debug/pprof/block", "?debug=1", "polls that have blocked their thread"),
    ("/debug/vars", "", "figures of this worker, as JSON"),
];

pub(super) fn answer(asked: &Asked<'_>) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page(&asked.about.name, asked.door, host(&asked.head.headers)))).into_response()
}

/// The host as the client has it, if it is one: it goes into the page.
fn host(headers: &HeaderMap) -> &str {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
    host.filter(|host| !host.is_empty() && host.bytes().all(is_plain)).unwrap_or("localhost:8080")
}

fn page(name: &str, door: Door, host: &str) -> String {
    let name = name.replace('&', "&amp;").replace('<', "&lt;");
    let row = |(path, query, meaning): &(&str, &str, &str)| {
        let query = query.replace('&', "&amp;");
        format!("<tr><td><a href=\"{path}{query}\">{path}{query}</a></td><td>{meaning}</td></tr>\n")
    };
    let rows: String = ROWS.iter().map(row).collect();
    let commands = match door {
        Door::Public => format!(
            "go tool pprof 'http://:TOKEN@{host}/debug/pprof/profile?seconds=30'\n\
             curl -H 'Authorization: Bearer TOKEN' 'http://{host}/debug/vars'\n"
        ),
        Door::Private => "gin-ctl profile --flame profile.svg\n\
             curl --unix-socket SOCKET -o cpu.pprof 'http://worker/debug/pprof/profile?seconds=30'\n\
             go tool pprof -top cpu.pprof\n"
            .to_owned(),
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}: profiles</title>\n\
         <style>body {{ font-family: sans-serif; margin: 2em }} td {{ padding: 0.2em 1em 0.2em 0 }}</style></head><body>\n\
         <h1>{name}: profiles</h1>\n<table>\n{rows}</table>\n<pre>{commands}</pre>\n\
         <p>Each is a profile of this worker alone, for <code>go tool pprof</code>; <code>?flame</code> asks for a picture, \
         <code>?debug=1</code> for a text.</p>\n</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_host_that_is_none_does_not_come_into_the_page() {
        let with = |value: &'static str| HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(value))]);
        assert_eq!(host(&with("shop.example:8443")), "shop.example:8443");
        assert_eq!(host(&with("[::1]:80")), "[::1]:80");
        for value in ["\"><script>", "a b", "", "x'y"] {
            assert_eq!(host(&with(value)), "localhost:8080");
        }
        let page = page("a<b", Door::Public, "shop:80");
        assert!(page.contains("<title>a&lt;b: profiles") && page.contains("http://:TOKEN@shop:80/debug/pprof/profile"));
    }
}

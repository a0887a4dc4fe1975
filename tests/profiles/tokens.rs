//! Whom a public listener answers under `/debug/`: somebody with the token, and nobody else. To everybody else there is no such path.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use harness::{Address, Client, Response, alone, alone_in, binary, supervisor};

use super::site::{ON, TOKEN, ask, private, with_token};

const PATHS: [&str; 7] = [
    "/debug/pprof/",
    "/debug/pprof/profile?seconds=1",
    "/debug/pprof/profile?seconds=1&flame",
    "/debug/pprof/heap",
    "/debug/pprof/goroutine?debug=1",
    "/debug/pprof/block",
    "/debug/vars",
];

fn asked(address: &Address, method: &str, path: &str, fields: &str) -> Response {
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nConnection: close\r\n{fields}\r\n");
    Client::asking(address, &head).unwrap().response().unwrap()
}

/// All that a client sees of an answer, but for the time of day.
fn seen(answer: Response) -> (u16, BTreeMap<String, String>, String) {
    let mut headers: BTreeMap<String, String> = answer.headers.into_iter().collect();
    headers.remove("date");
    (answer.status, headers, String::from_utf8(answer.body).unwrap())
}

fn assert_unknown(address: &Address, path: &str, fields: &str) {
    let unknown = seen(asked(address, "GET", "/there/is/nothing", fields));
    assert_eq!(unknown.0, 404);
    assert_eq!(seen(asked(address, "GET", path, fields)), unknown, "{path} with {fields:?}");
}

/// User and password as Basic has them.
fn basic(user: &str, password: &str) -> String {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "printf %s \"$0\" | base64 -w 0"]).arg(format!("{user}:{password}"));
    let output = command.output().unwrap();
    format!("Authorization: Basic {}\r\n", String::from_utf8(output.stdout).unwrap())
}

#[test]
fn nobody_without_the_token_learns_that_there_is_anything() {
    let server = alone(&(with_token() + "[monitoring.prometheus]\nenable = true\n"));
    let (shorter, upper) = (&TOKEN[1..], TOKEN.to_uppercase());
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let refused = [
        String::new(),
        bearer(""),
        bearer("another-token-of-nobody"),
        bearer(shorter),
        bearer(&format!("{TOKEN}x")),
        bearer(&upper),
        bearer(&format!("{TOKEN} {TOKEN}")),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Digest {TOKEN}\r\n"),
        format!("X-Token: {TOKEN}\r\n"),
        "Authorization: Basic !!!\r\n".to_owned(),
        basic("anybody", ""),
        basic("anybody", shorter),
        // The user is no password.
        basic(TOKEN, "anything"),
    ];
    for fields in &refused {
        for path in PATHS {
            assert_unknown(server.address(), path, fields);
        }
    }
    for path in [format!("/debug/vars?token={TOKEN}"), format!("/debug/pprof/heap?access_token={TOKEN}")] {
        assert_unknown(server.address(), &path, "");
    }
    for fields in [bearer(TOKEN), basic("", TOKEN), basic("anybody", TOKEN)] {
        assert_eq!(asked(server.address(), "GET", "/debug/vars", &fields).status, 200, "{fields}");
    }
    // Nor do public metrics name a path, whoever has asked.
    let metrics = seen(asked(server.address(), "GET", "/metrics", ""));
    assert_eq!(metrics.0, 200);
    assert!(metrics.2.contains("_http_requests_total") && !metrics.2.contains("/debug"), "{}", metrics.2);
}

#[test]
fn without_the_switch_a_token_opens_nothing() {
    let gin = supervisor().section(&with_token().replace("pprof = true", "pprof = false")).start();
    for address in [gin.tcp(), private(&gin)] {
        for path in PATHS {
            assert_eq!(ask(&address, path).status, 404, "{path}");
        }
    }
    gin.stop();
}

#[test]
fn without_a_token_the_private_listener_alone_answers() {
    let gin = supervisor().section(ON).start();
    for path in PATHS {
        assert_unknown(&gin.tcp(), path, "");
        assert_eq!(ask(&gin.tcp(), path).status, 404, "{path}");
    }
    let private = private(&gin);
    assert_eq!(asked(&private, "GET", "/debug/vars", "").status, 200, "it needs no token");
    assert_eq!(asked(&private, "GET", "/debug/pprof/profile?seconds=1", "").status, 200);
    gin.stop();
}

#[test]
fn an_empty_token_opens_nothing() {
    let server = alone(&format!("{ON}[monitoring.pprof]\ntoken = \"\"\n"));
    for fields in
        [String::new(), "Authorization: Bearer \r\n".to_owned(), "Authorization: Bearer\r\n".to_owned(), basic("", "")]
    {
        assert_unknown(server.address(), "/debug/vars", &fields);
    }
}

#[test]
fn a_token_may_stand_in_a_file() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let file = dir.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let server = alone_in(dir, &format!("{ON}[monitoring.pprof]\ntoken_file = {file:?}\n"));
    assert_eq!(ask(server.address(), "/debug/vars").status, 200);
}

#[test]
fn a_token_that_can_be_guessed_or_is_not_there_is_an_error_of_the_start() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (file, empty) = (dir.path().join("server.toml"), dir.path().join("empty"));
    fs::write(&empty, "\n").unwrap();
    for (lines, key) in [
        ("token = \"short\"".to_owned(), "monitoring.pprof.token"),
        (format!("token_file = {empty:?}"), "monitoring.pprof"),
        ("token_file = \"/nowhere/token\"".to_owned(), "/nowhere/token"),
    ] {
        fs::write(&file, format!("{ON}[monitoring.pprof]\n{lines}\n")).unwrap();
        let mut command = Command::new(binary("gin-server"));
        command.args(["--port", "0", "-c"]).arg(&file).env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(key) && !said.contains(TOKEN), "{lines}: {said}");
    }
}

#[test]
fn no_log_and_no_page_has_the_token() {
    let gin = supervisor().section(&with_token()).start();
    assert_eq!(ask(&gin.tcp(), "/debug/vars").status, 200);
    for path in ["/debug/pprof/", "/debug/vars", "/debug/pprof/goroutine?debug=1"] {
        let text = String::from_utf8(ask(&gin.tcp(), path).body).unwrap();
        assert!(!text.contains(TOKEN), "{path}: {text}");
    }
    gin.until_log("GET /debug/vars 200");
    assert!(!gin.log().contains(TOKEN), "{}", gin.log());
    gin.stop();
}

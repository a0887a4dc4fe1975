//! The endpoints under `/debug/`: who asks them as the documents do, and what they promise.

use std::thread;

use gin_shared::pprof::Profile;
use harness::{Address, Client, Http2, alone, eventually, get, soak, supervisor};

use super::site::{ON, TOKEN, ask, ask_text, begun, fleet, go_pprof, private_sockets, shell, top, with_token};

/// Every time limit of a connection and of a request that there is.
const SHORT: &str = "[timeouts]\nread = \"1s\"\nwrite = \"1s\"\nidle = \"1s\"\nrequest = \"1s\"\n";

#[test]
fn the_documents_commands_work_over_the_private_listener() {
    let gin = supervisor().section(ON).start();
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let socket = private_sockets(&gin).remove(0).display().to_string();
    let run = |line: &str| {
        let line = line.replace("curl http", &format!("curl -fsS --unix-socket {socket} http"));
        shell(&line, dir.path())
    };
    // 8.1: requests that are under way, and the state of pools.
    run("curl http://localhost:8080/debug/pprof/goroutine?debug=1");
    let vars = run("curl http://localhost:8080/debug/vars");
    let vars: serde_json::Value = serde_json::from_str(&vars).unwrap();
    assert!(vars["cmdline"].is_array() && vars["uptime_seconds"].is_number() && vars["memory"].is_object(), "{vars}");
    // 8.3, by way of a file: Go's client knows no Unix sockets.
    for path in ["profile?seconds=1", "block", "goroutine"] {
        let printed =
            run(&format!("curl http://localhost:8080/debug/pprof/{path} > a.prof && go tool pprof -top a.prof"));
        assert!(printed.contains("flat%"), "{path}: {printed}");
    }
    gin.stop();
}

#[test]
fn the_documents_commands_work_over_http_with_the_token_as_password() {
    let server = alone(&with_token());
    // Each handler of the server is asked once, so that there is something to tell.
    assert_eq!(get(server.address(), "/").unwrap().status, 200);
    for path in ["profile?seconds=1", "block", "goroutine"] {
        let url = format!("http://:{TOKEN}@{}/debug/pprof/{path}", server.tcp());
        let printed = go_pprof(&["-top", &url]);
        assert!(printed.contains("flat%"), "{path}: {printed}");
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    for with in [format!("-H 'Authorization: Bearer {TOKEN}'"), format!("-u anybody:{TOKEN}")] {
        let vars = shell(&format!("curl -fsS {with} http://{}/debug/vars", server.tcp()), dir.path());
        assert!(vars.contains("\"uptime_seconds\""), "{with}: {vars}");
    }
}

#[test]
fn a_profile_outlasts_every_time_limit() {
    let server = alone(&(SHORT.to_owned() + &with_token()));
    let seconds = if soak() { 30 } else { 4 };
    let answer = ask(server.address(), &format!("/debug/pprof/profile?seconds={seconds}"));
    assert_eq!(answer.status, 200);
    let profile = Profile::decode(&answer.body).unwrap();
    let taken = profile.took_ns / 1_000_000_000;
    assert!((seconds..seconds + 10).contains(&taken), "{taken} s");
}

#[test]
fn the_head_comes_at_once_and_a_second_profile_is_refused_meanwhile() {
    let server = alone(&with_token());
    let (first, head) = begun(server.address(), "/debug/pprof/profile?seconds=300");
    assert_eq!(head.headers["content-type"], "application/octet-stream");
    assert!(!first.has_news(), "the body comes at the end");
    let second = ask(server.address(), "/debug/pprof/profile?seconds=1");
    assert_eq!((second.status, second.headers["retry-after"].as_str()), (409, "1"));
    assert!(second.json()["error"].is_string());
    // The others do not wait for it.
    ask_text(server.address(), "/debug/pprof/goroutine?debug=1");
    drop(first);
    // The server hears of a client that has gone by the kernel alone.
    let look = || ask(server.address(), "/debug/pprof/profile?seconds=1").status;
    eventually("a client that has gone ends its profile", look, |status| *status == 200);
}

#[test]
fn a_client_that_reads_nothing_keeps_nobody_from_a_profile() {
    // Only the end of the first profile can make room for the next one.
    let server = alone(&("[timeouts]\nwrite = \"1h\"\n".to_owned() + &with_token()));
    let mut client = Http2::connect(server.tcp(), 0);
    let request = http::Request::get("http://x/debug/pprof/profile?seconds=1");
    let request = request.header("authorization", format!("Bearer {TOKEN}")).body(()).unwrap();
    let (asked, _) = client.ask(request, true);
    let head = client.head(asked).unwrap();
    assert_eq!(head.status(), 200);
    let look = || ask(server.address(), "/debug/pprof/profile?seconds=1").status;
    eventually("a profile that nobody reads has ended", look, |status| *status == 200);
    assert!(!client.is_told());
    drop(head);
}

#[test]
fn a_drain_ends_a_profile_with_the_samples_that_it_has() {
    let mut server = alone(&with_token());
    let (mut client, head) = begun(server.address(), "/debug/pprof/profile?seconds=300");
    server.stop();
    let profile = Profile::decode(&client.rest_of(head).unwrap().body).unwrap();
    assert!(profile.comments.iter().any(|comment| comment.contains("ended early")), "{:?}", profile.comments);
    assert!(server.wait().success());
}

#[test]
fn a_restart_waits_for_no_profile_and_cuts_none() {
    let gin = supervisor().section(&with_token()).start();
    let (mut client, head) = begun(&gin.tcp(), "/debug/pprof/profile?seconds=300");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["drained"]);
    Profile::decode(&client.rest_of(head).unwrap().body).unwrap();
    gin.stop();
}

#[test]
fn what_makes_no_sense_is_refused_and_begins_nothing() {
    let server = alone(&with_token());
    for query in ["seconds=0", "seconds=301", "seconds=x", "seconds=-1", "hz=0", "hz=1000", "seconds=1&hz=x"] {
        let answer = ask(server.address(), &format!("/debug/pprof/profile?{query}"));
        assert_eq!((answer.status, answer.json()["error"].is_string()), (400, true), "{query}");
    }
    let mut posted = Client::asking(
        server.address(),
        &format!("POST /debug/vars HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"),
    )
    .unwrap();
    let status = posted.response().unwrap().status;
    assert!([404, 405].contains(&status), "{status}");
    begun(server.address(), "/debug/pprof/profile?seconds=1");
}

#[test]
fn the_index_names_each_profile_and_the_command_that_opens_it() {
    let server = alone(&with_token());
    let page = ask(server.address(), "/debug/pprof/");
    let text = String::from_utf8(page.body).unwrap();
    assert!(page.headers["content-type"].starts_with("text/html"), "{:?}", page.headers);
    for part in ["profile", "heap", "goroutine", "block", "go tool pprof"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains(TOKEN) && !text.contains("<script"), "{text}");
}

#[test]
fn a_profile_is_shown_as_text_and_as_a_picture_that_runs_nothing_of_others() {
    let server = alone(&with_token());
    ask_text(server.address(), "/debug/pprof/profile?seconds=1&debug=1");
    let picture = ask(server.address(), "/debug/pprof/profile?seconds=1&flame");
    assert!(picture.headers["content-type"].starts_with("image/svg+xml"), "{:?}", picture.headers);
    assert!(picture.headers["content-security-policy"].contains("default-src 'none'"), "{:?}", picture.headers);
    let text = String::from_utf8(picture.body).unwrap();
    assert!(text.contains("<svg") && !text.contains("http://localhost"), "{text}");
}

#[test]
fn nothing_under_debug_is_kept_by_anybody_on_the_way() {
    let server = alone(&with_token());
    for path in ["/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/vars"] {
        let answer = ask(server.address(), path);
        assert_eq!(answer.headers.get("cache-control").map(String::as_str), Some("no-store"), "{path}");
    }
}

#[test]
fn profiles_are_counted_and_stand_in_no_list_of_routes() {
    let gin = supervisor().section(&(with_token() + "[monitoring.prometheus]\nenable = true\n")).start();
    ask(&gin.tcp(), "/debug/pprof/profile?seconds=1");
    let metrics = String::from_utf8(gin.get("/metrics").body).unwrap();
    assert!(metrics.contains("gin_server_profiles_total{kind=\"cpu\"} 1"), "{metrics}");
    let routes = gin.get("/routes").json();
    let listed = routes["routes"].as_object().unwrap().keys().any(|key| key.contains("/debug/"));
    assert!(!listed, "{routes}");
    gin.stop();
}

#[test]
#[ignore = "needs the fixture: tests/run --services"]
fn the_hot_function_is_named_by_the_documents_command() {
    let gin = fleet(1).start();
    let Address::Tcp(address) = gin.tcp() else { panic!("TCP") };
    let url = format!("http://:{TOKEN}@{address}/debug/pprof/profile?seconds=2");
    let burning = thread::scope(|scope| {
        let asked = scope.spawn(|| go_pprof(&["-top", &url]));
        while !asked.is_finished() {
            assert_eq!(gin.get("/burn?ms=50").status, 200);
        }
        asked.join().unwrap()
    });
    assert!(top(&burning)[0].contains("hot_function"), "{burning}");
    gin.stop();
}

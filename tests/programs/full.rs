//! All programs as one: a page's session, a program's token, uploads and a chat, through restarts and a death.

use std::path::Path;

use gin_worker::testing::{MultipartForm, Request, Talk, UnderLoad};
use harness::{Address, Client, Response, binary, eventually, supervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::programs::site::site;

/// First accounts with a known password, and pages of other origins refused.
pub const SECTIONS: &str = "[server]\nmode = \"debug\"\n[security]\nenable_csrf = true\n[uploads]\nresumable = true\n";

/// Proofs of a login: the session's cookie, and the token.
#[derive(Debug)]
struct Known {
    cookie: String,
    token: String,
}

fn post(address: &Address, path: &str, fields: &str, body: &Value) -> Response {
    let body = body.to_string();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{fields}");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    Client::asking(address, &request).unwrap().response().unwrap()
}

fn log_in(address: &Address, username: &str) -> Known {
    let answer = post(address, "/login", "", &json!({ "username": username, "password": "password" }));
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let cookie = answer.headers["set-cookie"].split(';').next().unwrap().to_owned();
    Known { cookie, token: answer.json()["token"].as_str().unwrap().to_owned() }
}

/// Status of the profile's answer with these fields of the head.
fn profile(address: &Address, fields: &str) -> Option<u16> {
    let request = format!("GET /api/profile HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n\r\n");
    Client::asking(address, &request).and_then(|mut client| client.response()).ok().map(|answer| answer.status)
}

/// Makes the first accounts in this state directory, and logs somebody in.
fn logged_in(state: &Path) -> Known {
    let gin = supervisor()
        .workers(1)
        .set("soak = \"0s\"")
        .set(&format!("command = [{:?}]\nenv = {{ STATE_DIRECTORY = {state:?} }}", binary("full")))
        .section(SECTIONS)
        .start();
    let known = log_in(&gin.tcp(), "admin");
    gin.stop();
    known
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the program: tests/run --services"]
async fn nobody_notices_a_restart_of_all_programs_as_one() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let state = directory.path().join("state");
    let Known { cookie, token } = logged_in(&state);
    let talk = Talk::new("/ws?format=json")
        .header("cookie", &cookie)
        .sockets(4)
        .says(|socket, number| format!("{socket}-{number}"))
        .answered_by(|socket, number, heard| heard.contains(&format!("\"message\":\"{socket}-{number}\"")));
    let (of_upload, of_broadcast) = (token.clone(), token.clone());
    let upload = move |number: u64| {
        let form = MultipartForm::new().file("file", "a.txt", "text/plain", format!("contents {number}"));
        Request::post("/upload").bearer(&of_upload).multipart(&form)
    };
    let broadcast = move |number: u64| {
        let message = json!({ "message": format!("news {number}") });
        Request::post("/broadcast").bearer(&of_broadcast).json(message)
    };
    let outcome = UnderLoad::new(binary("full"))
        .env("STATE_DIRECTORY", state.display().to_string())
        .config(SECTIONS)
        .path("/")
        .request(Request::get("/api/profile").header("cookie", &cookie))
        .request(Request::get("/api/profile").bearer(&token))
        .request(Request::get("/api/profile").expects(401))
        .request(Request::get("/api/admin/users").header("cookie", &cookie))
        .request(Request::get("/files").header("cookie", &cookie))
        .request(
            Request::post("/api/logout").header("cookie", &cookie).header("sec-fetch-site", "cross-site").expects(403),
        )
        .request_with(upload)
        .request_with(broadcast)
        .websocket(talk)
        .clients(4)
        .restarts(5)
        .run()
        .await;
    println!("{} answers, {} messages, {:?}", outcome.answered, outcome.messages, outcome.restarts);
    outcome.assert_nobody_noticed();
    assert!(outcome.messages >= 4 * 6, "each WebSocket before, between and after the restarts: {outcome:?}");
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn a_killed_worker_and_a_rollback_log_nobody_out() {
    let gin = site("full", 2, &[SECTIONS]).start();
    let address = gin.tcp();
    let Known { cookie, token } = log_in(&address, "user2");
    let all = [format!("Cookie: {cookie}"), format!("Authorization: Bearer {token}")];
    let are_in = |after: &str| {
        for fields in &all {
            // A connection to a worker that dies has no answer.
            eventually(
                &format!("an answer after {after}"),
                || profile(&address, fields),
                |status| *status == Some(200),
            );
        }
    };
    are_in("the login");
    for pid in gin.workers() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    are_in("the death of all workers");
    gin.restart();
    are_in("a restart");
    gin.ctl(&["rollback"]).assert(0, &[]);
    are_in("a rollback");
    for fields in &all {
        // A browser says so of a page's own requests.
        let fields = format!("{fields}\r\nSec-Fetch-Site: same-origin\r\n");
        assert_eq!(post(&address, "/api/logout", &fields, &json!({})).status, 200);
    }
    for _ in 0..20 {
        assert_eq!(all.each_ref().map(|fields| profile(&address, fields)), [Some(401); 2], "in no worker");
    }
    gin.ends_sound();
}

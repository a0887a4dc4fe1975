//! The tools of this module, tried on servers of a few lines.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::Config;

const SOON: Duration = Duration::from_secs(10);

fn server() -> Server {
    Server::new(&Config::<()>::default())
}

#[tokio::test]
async fn what_is_asked_is_answered() {
    let echo = async |body: Json<Value>| body;
    let app = TestServer::start(server().post("/echo", echo)).await;
    let answer = app.post("/echo").json(json!({ "a": 1 })).send().await;
    answer.assert_status(200).assert_json(json!({ "a": 1 })).assert_header("content-type", "application/json");
    app.post("/echo").body("{").header("content-type", "application/json").send().await.assert_status(400);
    app.put("/echo").send().await.assert_status(405).assert_header("allow", "POST");
}

#[tokio::test]
#[should_panic(expected = "GET /: 404 Not Found and not 200")]
async fn what_is_wrong_is_told() {
    let app = TestServer::start(server()).await;
    app.get("/").send().await.assert_status(200);
}

/// A server whose background task and hook tell what they do.
fn telling() -> (Server, mpsc::UnboundedReceiver<&'static str>) {
    let (task, heard) = mpsc::unbounded_channel();
    let hook = task.clone();
    let tells = |to: &mpsc::UnboundedSender<&'static str>, text| to.send(text).expect("the test listens");
    let server = server()
        .background("task", SOON, move |life| async move {
            tells(&task, "the task begins");
            life.draining().await;
            tells(&task, "the task ends");
        })
        .on_shutdown("hook", SOON, move || async move {
            tells(&hook, "the hook runs");
            Ok(())
        });
    (server, heard)
}

#[tokio::test]
async fn a_stop_ends_the_background_tasks_and_then_runs_the_hooks() {
    let (server, mut heard) = telling();
    let app = TestServer::start(server).await;
    assert_eq!(heard.recv().await, Some("the task begins"));
    app.get("/readyz").send().await.assert_status(200);
    app.stop().await;
    // They are there already, and nothing comes after them.
    assert_eq!(heard.try_recv(), Ok("the task ends"));
    assert_eq!(heard.try_recv(), Ok("the hook runs"));
    assert_eq!(heard.recv().await, None);
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_in_the_same_way() {
    let (server, mut heard) = telling();
    drop(TestServer::start(server).await);
    for text in ["the task begins", "the task ends", "the hook runs"] {
        assert_eq!(heard.recv().await, Some(text));
    }
}

#[tokio::test]
async fn a_stop_waits_for_requests_under_way() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, may_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = move || async move {
        begins.notify_one();
        may_go_on.notified().await;
        "done"
    };
    let app = TestServer::start(server().get("/", slow)).await;
    let answer = tokio::spawn(app.get("/").send());
    begun.notified().await;
    let ((), answer) = tokio::join!(app.stop(), async {
        go_on.notify_one();
        answer.await.unwrap()
    });
    answer.assert_status(200).assert_text("done");
}

#[tokio::test]
#[should_panic(expected = "shutdown hook \"save\" failed: the disk is full")]
async fn a_hook_that_fails_is_told_by_the_stop() {
    let app = TestServer::start(server().on_shutdown("save", SOON, || async { Err("the disk is full".into()) })).await;
    app.stop().await;
}

async fn who(headers: HeaderMap) -> String {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("none");
    format!("{} {}", text(header::AUTHORIZATION), text(header::COOKIE))
}

#[tokio::test]
async fn a_client_has_its_own_headers_and_cookies() {
    let login = async || ([(header::SET_COOKIE, "id=7; Path=/")], "in");
    let logout = async || ([(header::SET_COOKIE, "id=; Path=/; Max-Age=0")], "out");
    let app = TestServer::start(server().get("/who", who).post("/login", login).post("/logout", logout)).await;
    let ann = app.client().bearer("ann").with_cookie("theme", "dark");
    ann.post("/login").send().await.assert_text("in");
    ann.get("/who?x=/").send().await.assert_text("Bearer ann theme=dark; id=7");
    ann.get("/who").bearer("other").cookie("a", "1").send().await.assert_text("Bearer other a=1; theme=dark; id=7");
    app.get("/who").send().await.assert_text("none none");
    app.client().get("/who").send().await.assert_text("none none");
    ann.post("/logout").send().await.assert_text("out");
    ann.get("/who").send().await.assert_text("Bearer ann theme=dark");
    assert_eq!((ann.cookie("id"), ann.cookie("theme").as_deref()), (None, Some("dark")));
}

#[cfg(feature = "binding")]
#[tokio::test]
async fn a_form_with_files_arrives() {
    let upload = async |mut parts: axum::extract::Multipart| {
        let mut all = Vec::new();
        while let Some(part) = parts.next_field().await.unwrap() {
            let about = (part.name().unwrap().to_owned(), part.file_name().map(str::to_owned));
            let kind = part.content_type().map(str::to_owned);
            all.push((about, kind, part.text().await.unwrap()));
        }
        Json(json!(all))
    };
    let app = TestServer::start(server().post("/", upload)).await;
    let form = MultipartForm::new().text("title", "two\nlines").file("file", "a.txt", "text/plain", "hello");
    app.post("/")
        .multipart(&form)
        .send()
        .await
        .assert_status(200)
        .assert_json(json!([[["title", null], null, "two\nlines"], [["file", "a.txt"], "text/plain", "hello"],]));
}

#[tokio::test]
async fn an_answer_is_read_as_it_comes() {
    let (sends, receives) = mpsc::unbounded_channel::<&'static str>();
    let receives = Arc::new(Mutex::new(Some(receives)));
    let events = move || async move {
        let receives = receives.lock().unwrap().take().unwrap();
        let next = |mut receives: mpsc::UnboundedReceiver<&'static str>| async move {
            let text = receives.recv().await?;
            Some((Ok::<_, Infallible>(text), receives))
        };
        Body::from_stream(futures_util::stream::unfold(receives, next))
    };
    let app = TestServer::start(server().get("/events", events)).await;
    sends.send("one\r\ntw").unwrap();
    let mut answer = app.get("/events").stream().await;
    answer.assert_status(200);
    assert_eq!(answer.line().await.as_deref(), Some("one"));
    // The handler has not ended.
    sends.send("o\nthree").unwrap();
    assert_eq!(answer.line().await.as_deref(), Some("two"));
    drop(sends);
    assert_eq!(answer.line().await.as_deref(), Some("three"));
    assert_eq!((answer.line().await, answer.piece().await), (None, None));
}

/// A crowd goes round once.
async fn goes_round(load: &UnderLoad, app: &TestServer) -> Outcome {
    let mut crowd = load.crowd(app.address());
    crowd.goes_round().await;
    crowd.end().await
}

fn load() -> UnderLoad {
    UnderLoad::new("a program that is not started").clients(3)
}

#[tokio::test]
async fn a_status_that_is_not_expected_is_a_failure() {
    let secret = async |headers: HeaderMap| {
        let is_known = headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer secret");
        if is_known { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    };
    let app = TestServer::start(server().get("/secret", secret)).await;
    for (path, status) in [("/typo", "404 Not Found"), ("/secret", "401 Unauthorized")] {
        let outcome = goes_round(&load().path(path), &app).await;
        assert!(outcome.answered == 0 && outcome.failed >= 6, "{outcome:?}");
        let failure = outcome.failures[0].to_string();
        assert!(failure.starts_with(&format!("GET {path}: {status}")), "{failure}");
    }
    let load = load()
        .request(Request::get("/typo").expects(404))
        .request(Request::get("/secret").expects(401))
        .request(Request::get("/secret").bearer("secret"));
    let outcome = goes_round(&load, &app).await;
    outcome.assert_nobody_noticed();
    assert!(outcome.answered >= 18 && outcome.connected == 3, "{outcome:?}");
}

#[tokio::test]
async fn each_request_may_be_another_one() {
    let known = Arc::new(Mutex::new(HashSet::new()));
    let create = move |Json(body): Json<Value>| async move {
        let is_new = known.lock().unwrap().insert(body["email"].to_string());
        if is_new { StatusCode::CREATED } else { StatusCode::CONFLICT }
    };
    let app = TestServer::start(server().post("/users", create)).await;
    let user = |number: u64| Request::post("/users").json(json!({ "email": number })).expects(201);
    goes_round(&load().request_with(user), &app).await.assert_nobody_noticed();
    let outcome = goes_round(&load().request(user(1)), &app).await;
    let failure = outcome.failures[0].to_string();
    assert!(failure.starts_with(r#"POST /users {"email":1}: 409 Conflict"#), "{failure}");
}

#[cfg(feature = "websocket")]
mod websockets {
    use super::*;
    use crate::Route;
    use crate::websocket::{Message, Received, Socket};

    /// Serves WebSockets at `/talk`.
    async fn talking<F, R>(serve: F) -> TestServer
    where
        F: Fn(Socket) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let talk = Route::websocket("/talk", "talk", async || (), move |socket: Socket, (): ()| serve(socket));
        TestServer::start(server().route(talk)).await
    }

    /// Sends each message back, so many times.
    async fn echo(mut socket: Socket, times: usize) {
        while let Received::Message(message) = socket.receive().await {
            for _ in 0..times {
                let _ = socket.send(message.clone()).await;
            }
        }
    }

    /// Sends one message back, and closes.
    async fn close(mut socket: Socket) {
        if let Received::Message(message) = socket.receive().await {
            let _ = socket.send(message).await;
        }
        socket.end().await;
    }

    #[tokio::test]
    async fn texts_bytes_and_the_close_code_go_over() {
        let app = talking(|socket| echo(socket, 1)).await;
        let mut socket = app.get("/talk").websocket().await;
        socket.send(Message::Text("hello".to_owned())).await;
        assert_eq!(socket.text().await, "hello");
        socket.send(Message::Binary(vec![0, 255].into())).await;
        assert_eq!(socket.binary().await, vec![0, 255]);
        socket.send(Message::Text("[1, 2]".to_owned())).await;
        assert_eq!(socket.json::<Vec<u8>>().await, [1, 2]);
        assert_eq!(socket.close(1000).await, 1000);
        let app = talking(close).await;
        let mut socket = app.get("/talk").websocket().await;
        socket.send(Message::Text("bye".to_owned())).await;
        assert_eq!((socket.text().await, socket.closed().await), ("bye".to_owned(), 1000));
        assert_eq!((socket.receive().await, socket.close(1000).await), (None, 1000));
    }

    #[tokio::test]
    async fn a_stop_closes_websockets_as_a_worker_does() {
        let app = talking(|socket| echo(socket, 1)).await;
        let mut socket = app.get("/talk").websocket().await;
        let ((), code) = tokio::join!(app.stop(), socket.closed());
        assert_eq!(code, 1001);
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer() {
        let app = talking(close).await;
        let answer = app.get("/talk").header("origin", "https://other.example").try_websocket().await.unwrap_err();
        answer.assert_status(403);
        app.get("/nowhere").try_websocket().await.unwrap_err().assert_status(404);
    }

    #[tokio::test]
    async fn websockets_talk_while_others_ask() {
        let app = talking(|socket| echo(socket, 1)).await;
        let load = load().request(Request::get("/readyz")).websocket(Talk::new("/talk").sockets(2));
        let outcome = goes_round(&load, &app).await;
        outcome.assert_nobody_noticed();
        assert!(outcome.answered >= 6 && outcome.messages >= 4 && outcome.connected == 3, "{outcome:?}");
    }

    #[tokio::test]
    async fn a_websocket_that_is_closed_refused_or_wrong_is_a_failure() {
        let failure = async |app: &TestServer, talk: Talk| {
            let outcome = goes_round(&load().websocket(talk.sockets(1)), app).await;
            assert!(outcome.failed > 0, "{outcome:?}");
            outcome.failures[0].to_string()
        };
        let app = talking(close).await;
        assert_eq!(
            failure(&app, Talk::new("/talk")).await,
            "WebSocket 0 of /talk: message 2: no answer: the WebSocket was closed with code 1000"
        );
        let refused = failure(&app, Talk::new("/nowhere")).await;
        assert!(refused.starts_with("WebSocket 0 of /nowhere: 404 Not Found"), "{refused}");
        let app = talking(|socket| echo(socket, 2)).await;
        assert_eq!(
            failure(&app, Talk::new("/talk").says(|_, number| format!("no. {number}"))).await,
            "WebSocket 0 of /talk: message 2: the message before it was answered twice: no. 1"
        );
    }
}

#[tokio::test]
async fn axums_own_extractor_of_the_clients_address_works() {
    use axum::extract::ConnectInfo;

    let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string();
    let app = TestServer::start(Server::bare(&Config::<()>::default()).get("/", peer)).await;
    app.get("/").send().await.assert_status(200).assert_text("127.0.0.1");
}

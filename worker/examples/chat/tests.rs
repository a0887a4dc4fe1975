//! The requests of the documents and what they print, in both languages; and what a chat for others must refuse.

use gin_worker::testing::{TestRequest, TestServer, TestWebSocket};

use super::*;

/// The chat in a file of its own.
struct Room {
    server: TestServer,
    _directory: tempfile::TempDir,
}

impl std::ops::Deref for Room {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

async fn room_with(settings: Settings) -> Room {
    let directory = tempfile::tempdir().unwrap();
    let hub = Hub::open(&directory.path().join("chat.log")).unwrap();
    let config = Config::builder().app(settings).build();
    Room { server: TestServer::start(server(&config, hub)).await, _directory: directory }
}

async fn room() -> Room {
    room_with(Settings::default()).await
}

async fn said(socket: &mut TestWebSocket, text: &str) {
    socket.send(Message::Text(text.to_owned())).await;
}

fn hi(room: &Room) -> TestRequest {
    room.post("/broadcast").json(json!({ "message": "hi" }))
}

#[tokio::test]
async fn everybody_hears_what_one_says() {
    let room = room().await;
    let mut ann = room.get("/ws?user_id=ann").websocket().await;
    let mut anybody = room.get("/ws").websocket().await;
    said(&mut ann, "hello").await;
    assert_eq!((ann.text().await, anybody.text().await), ("hello".to_owned(), "hello".to_owned()));
    said(&mut anybody, "hello, ann").await;
    assert_eq!((ann.text().await, anybody.text().await), ("hello, ann".to_owned(), "hello, ann".to_owned()));
    // Who comes later hears what is said from then on.
    let mut bob = room.get("/ws?user_id=bob").websocket().await;
    said(&mut ann, "welcome").await;
    assert_eq!(bob.text().await, "welcome");
    assert_eq!(bob.close(1000).await, 1000);
}

#[tokio::test]
async fn a_page_hears_who_says_it() {
    let room = room().await;
    let mut ann = room.get("/ws?user_id=ann%0a&format=json").websocket().await;
    let served_by: Value = ann.json().await;
    assert_eq!(served_by["served_by"]["pid"], std::process::id());
    let mut anybody = room.get("/ws?user_id=").websocket().await;
    said(&mut ann, "hello").await;
    assert_eq!(ann.json::<Value>().await, json!({ "user_id": "ann", "message": "hello" }));
    said(&mut anybody, "\"<b>").await;
    assert_eq!(ann.json::<Value>().await, json!({ "user_id": "anonymous", "message": "\"<b>" }));
    assert_eq!(hi(&room).send().await.status.as_u16(), 200);
    assert_eq!(ann.json::<Value>().await, json!({ "user_id": null, "message": "hi" }));
    room.get("/ws?format=xml").send().await.assert_status(426);
    assert_eq!(room.get("/ws?format=xml").try_websocket().await.unwrap_err().status.as_u16(), 400);
}

#[tokio::test]
async fn a_program_on_this_host_tells_everybody() {
    let room = room().await;
    let mut all = [room.get("/ws?user_id=ann").websocket().await, room.get("/ws?user_id=bob").websocket().await];
    hi(&room).send().await.assert_status(200).assert_json(json!({ "message": "广播成功" }));
    hi(&room).header("accept-language", "en").send().await.assert_status(200).assert_json(json!({ "message": "sent" }));
    for socket in &mut all {
        assert_eq!((socket.text().await, socket.text().await), ("hi".to_owned(), "hi".to_owned()));
    }
    for body in ["{}", "{", r#"{"message":""}"#, r#"{"message":1}"#] {
        let refused = room.post("/broadcast").typed("application/json", body).send().await;
        let refused: Value = refused.assert_status(400).json();
        assert_eq!(refused["error"], "请求参数错误");
        assert!(refused["details"].is_string(), "{refused}");
    }
}

#[tokio::test]
async fn no_page_and_nobody_behind_a_proxy_tells_everybody() {
    let room = room().await;
    let body = r#"{"message":"hi"}"#;
    let kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"];
    let mut refused: Vec<TestRequest> = kinds.iter().map(|kind| room.post("/broadcast").typed(kind, body)).collect();
    refused.push(room.post("/broadcast").body(body));
    refused.push(hi(&room).header("origin", "http://evil.example"));
    refused.push(hi(&room).header("origin", &room.url("")));
    refused.push(hi(&room).header("x-forwarded-for", "192.0.2.1"));
    refused.push(hi(&room).header("forwarded", "for=192.0.2.1"));
    for request in refused {
        request.send().await.assert_status(403).assert_json(json!({ "error": "权限不足" }));
    }
    room.post("/broadcast").typed("Application/JSON; charset=utf-8", body).send().await.assert_status(200);
}

#[tokio::test]
async fn where_there_is_a_token_only_who_has_it_tells_everybody() {
    let room = room_with(Settings { broadcast_token: Some("open-sesame".to_owned()) }).await;
    for wrong in ["", "open", "open-sesame!", "open-sesamE"] {
        hi(&room).bearer(wrong).send().await.assert_status(403).assert_json(json!({ "error": "权限不足" }));
    }
    hi(&room).send().await.assert_status(403);
    hi(&room).bearer("open-sesame").header("x-forwarded-for", "192.0.2.1").send().await.assert_status(200);
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_websocket() {
    let room = room().await;
    let foreign = room.get("/ws?user_id=ann").header("origin", "http://evil.example").try_websocket().await;
    let refused = foreign.unwrap_err();
    let expected = json!({ "error": "不允许来自该来源的 WebSocket 连接", "code": "ORIGIN_REFUSED" });
    refused.assert_status(403).assert_json(expected);
    room.get("/ws?user_id=ann").header("origin", &room.url("")).websocket().await;
}

#[tokio::test]
async fn a_message_has_bounds() {
    let room = room().await;
    let mut ann = room.get("/ws?user_id=ann").websocket().await;
    said(&mut ann, "").await;
    said(&mut ann, &"é".repeat(2001)).await;
    assert_eq!(ann.text().await, "é".repeat(2000));
    said(&mut ann, &"x".repeat((8 << 10) + 1)).await;
    assert_eq!(ann.closed().await, 1009);
}

#[tokio::test]
async fn a_place_of_another_file_ends_the_connection() {
    async fn far(State(app): State<App>) -> Member {
        Member { user_id: "ann".to_owned(), account: None, seen: app.hub.end() + 1, form: Form::Text }
    }
    let directory = tempfile::tempdir().unwrap();
    let hub = Hub::open(&directory.path().join("chat.log")).unwrap();
    let config = Config::builder().app(Settings::default()).build();
    let server = Server::new(&config)
        .route(Route::websocket("/ws", WebSockets::new("chat"), far, chat))
        .with_state(App { hub, broadcast_token: None });
    let app = TestServer::start(server).await;
    assert_eq!(app.get("/ws").websocket().await.closed().await, 1008);
}

#[tokio::test]
async fn the_page_is_one_file() {
    let room = room().await;
    let page = room.get("/").send().await;
    page.assert_status(200).assert_header("content-type", "text/html; charset=utf-8");
    let pid: u32 = room.get("/pid").send().await.assert_status(200).json();
    assert_eq!(pid, std::process::id());
}

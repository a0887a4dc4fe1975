//! A client that does all right: its requests are answered as without moves.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Request, Response};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{RecvStream, client};
use tokio::task::{JoinHandle, JoinSet};

use super::rig::{Moves, OWN, Plan, Report, digest, serve};
use crate::connections::http2::OwnSettings;

/// A client, and the servers of its connection.
struct Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    servers: JoinHandle<Report>,
}

impl Client {
    async fn start(plan: Plan, builder: &Builder) -> Self {
        let (near, far) = tokio::io::duplex(16 << 10);
        let servers = tokio::spawn(serve(far, plan, Moves::default()));
        let (send, connection) = builder.handshake(near).await.unwrap();
        Self { send, connection: tokio::spawn(connection), servers }
    }

    async fn request(&mut self, path: &str, headers: HeaderMap, body: usize) -> Response<RecvStream> {
        let (response, expected) = self.begin(path, headers, body).await;
        let response = response.await.unwrap();
        assert_eq!(response.headers()["x-digest"], expected.to_string());
        response
    }

    /// Sends a request. Returns the digest that the answer must have, too.
    async fn begin(&mut self, path: &str, headers: HeaderMap, body: usize) -> (client::ResponseFuture, u64) {
        self.send = self.send.clone().ready().await.unwrap();
        let mut request = Request::builder().uri(format!("https://example.com{path}")).body(()).unwrap();
        *request.headers_mut() = headers;
        let expected = digest(path, request.headers());
        let (response, mut stream) = self.send.send_request(request, body == 0).unwrap();
        if body > 0 {
            // After an early answer it is reset.
            let _ = stream.send_data(vec![b'y'; body].into(), true);
        }
        (response, expected)
    }

    async fn get(&mut self, path: &str) -> usize {
        read(self.request(path, HeaderMap::new(), 0).await).await
    }

    async fn end(self) -> Report {
        drop(self.send);
        let report = within(self.servers).await.unwrap();
        self.connection.abort();
        assert_eq!(report.error, None);
        report
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it hangs")
}

async fn read(response: Response<RecvStream>) -> usize {
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    length
}

/// A generator of Knuth's.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for _ in 0..self.below(7) {
            let name = format!("x-{}", self.below(12)).parse::<axum::http::HeaderName>().unwrap();
            let length = [0, 1, 3, 40, 200, 900][self.below(6)];
            let value: Vec<u8> = (0..length)
                .map(|_| {
                    let byte = u8::try_from(self.below(256)).unwrap();
                    if byte < 32 || byte == 127 { b'a' } else { byte }
                })
                .collect();
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    }
}

#[tokio::test]
async fn the_header_table_of_a_client_is_the_same_in_each_server() {
    let mut random = Random(1);
    let mut client = Client::start(Plan::MOVES, &Builder::new()).await;
    for number in 0..300 {
        let path = format!("/size/{}", number % 5 * 100);
        assert_eq!(read(within(client.request(&path, random.headers(), 0)).await).await, number % 5 * 100);
    }
    let report = client.end().await;
    assert!(report.moves > 200 && report.largest > 2000, "{report:?}");
}

#[tokio::test]
async fn without_moves_the_tap_changes_nothing() {
    let mut random = Random(2);
    let mut client = Client::start(Plan::STAYS, &Builder::new()).await;
    for _ in 0..50 {
        read(within(client.request("/size/20000", random.headers(), 0)).await).await;
        read(within(client.request("/", random.headers(), 100_000)).await).await;
    }
    assert_eq!(client.end().await.moves, 0);
}

/// Has ten requests under way all the time: path, length of the body, length of the answer.
async fn keep_busy(requests: &[(&'static str, usize, usize)]) -> Report {
    let mut random = Random(3);
    let mut client = Client::start(Plan::GATED, &Builder::new()).await;
    let mut under_way = JoinSet::new();
    for (path, body, length) in requests.iter().copied().cycle().take(300) {
        let (response, expected) = within(client.begin(path, random.headers(), body)).await;
        under_way.spawn(async move {
            let response = response.await.unwrap();
            assert_eq!(response.headers()["x-digest"], expected.to_string());
            assert_eq!(read(response).await, length);
        });
        if under_way.len() == 10 {
            within(under_way.join_next()).await.unwrap().unwrap();
        }
    }
    within(under_way.join_all()).await;
    client.end().await
}

#[tokio::test]
async fn a_busy_connection_moves_while_requests_wait_at_the_gate() {
    let report = keep_busy(&[("/size/20000", 0, 20_000), ("/size/10", 0, 10)]).await;
    assert!(report.moves > 10, "{report:?}");
    // Uploads need what is behind the gate, so it helps less.
    let report = keep_busy(&[("/size/20000", 0, 20_000), ("/", 1, 1), ("/", 70_000, 70_000)]).await;
    assert!(report.moves > 0, "{report:?}");
}

#[tokio::test]
async fn uploads_and_downloads_go_on_over_many_servers() {
    let own = [
        OWN,
        OwnSettings { connection_window: 65_536, ..OWN },
        OwnSettings { connection_window: 1 << 20, window: 20_000, ..OWN },
    ];
    for own in own {
        let mut client = Client::start(Plan { own, ..Plan::MOVES }, &Builder::new()).await;
        for number in 0..30 {
            let length = [1, 1000, 70_000, 300_000][number % 4];
            assert_eq!(within(async { read(client.request("/", HeaderMap::new(), length).await).await }).await, length);
            assert_eq!(within(client.get("/size/0")).await, 0);
        }
        let report = client.end().await;
        assert!(report.moves > 40, "{report:?}");
    }
}

/// Reads three answers of 20,000 bytes without opening the window again: 5,535 bytes are left.
async fn use_up(client: &mut Client) -> Vec<RecvStream> {
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let mut body = within(client.request("/size/20000", HeaderMap::new(), 0)).await.into_body();
        let mut length = 0;
        while let Some(data) = within(body.data()).await {
            length += data.unwrap().len();
        }
        assert_eq!(length, 20_000);
        bodies.push(body);
    }
    bodies
}

/// Opens the window again, and reads the rest of a body.
async fn read_on(bodies: &mut [RecvStream], mut waits: RecvStream) -> usize {
    let mut length = within(waits.data()).await.unwrap().unwrap().len();
    for body in bodies {
        body.flow_control().release_capacity(20_000).unwrap();
    }
    while let Some(data) = within(waits.data()).await {
        length += data.unwrap().len();
    }
    waits.flow_control().release_capacity(length).unwrap();
    length
}

#[tokio::test]
async fn a_window_below_its_beginning_is_kept_to() {
    let mut client = Client::start(Plan::MOVES, &Builder::new()).await;
    let mut bodies = use_up(&mut client).await;
    let waits = within(client.request("/size/20000", HeaderMap::new(), 0)).await.into_body();
    // An answer without a body passes those that wait.
    assert_eq!(within(client.get("/size/0")).await, 0);
    assert_eq!(read_on(&mut bodies, waits).await, 20_000);
    for _ in 0..5 {
        assert_eq!(within(client.get("/size/100000")).await, 100_000);
    }
    drop(bodies);
    let report = client.end().await;
    assert!(report.moves >= 6, "{report:?}");
}

#[tokio::test]
async fn the_last_answer_before_a_goodbye_is_whole_though_its_window_is_small() {
    let mut client = Client::start(Plan { goodbye_after: Some(3), ..Plan::MOVES }, &Builder::new()).await;
    let mut bodies = use_up(&mut client).await;
    let waits = within(client.request("/size/20000", HeaderMap::new(), 0)).await.into_body();
    assert_eq!(read_on(&mut bodies, waits).await, 20_000);
    assert_eq!(client.end().await.moves, 3);
}

#[tokio::test]
async fn tables_of_each_size_follow_the_new_encoder() {
    for size in [0, 100, 4096, 65_536] {
        let mut client = Client::start(Plan::MOVES, Builder::new().header_table_size(size)).await;
        for _ in 0..10 {
            assert_eq!(within(client.get("/size/10")).await, 10);
            assert_eq!(within(client.get("/large")).await, 0);
        }
        let report = client.end().await;
        assert!(report.moves > 15, "{size}: {report:?}");
    }
}

#[tokio::test]
async fn windows_of_streams_are_those_of_the_clients_settings() {
    let mut client = Client::start(Plan::MOVES, Builder::new().initial_window_size(1000)).await;
    for _ in 0..10 {
        assert_eq!(within(client.get("/size/20000")).await, 20_000);
    }
    assert!(client.end().await.moves > 8);
}

#[tokio::test]
async fn trailers_come_with_each_answer() {
    let mut client = Client::start(Plan::MOVES, &Builder::new()).await;
    for _ in 0..10 {
        let mut body = within(client.request("/trailers", HeaderMap::new(), 3000)).await.into_body();
        let mut length = 0;
        while let Some(data) = within(body.data()).await {
            length += data.as_ref().unwrap().len();
            body.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        assert_eq!(length, 3000);
        assert_eq!(within(body.trailers()).await.unwrap().unwrap()["x-sum"], "1");
    }
    assert!(client.end().await.moves > 8);
}

#[tokio::test]
async fn early_answers_end_uploads_and_the_connection_moves_on() {
    let mut client = Client::start(Plan::MOVES, &Builder::new()).await;
    for _ in 0..20 {
        assert_eq!(read(within(client.request("/early", HeaderMap::new(), 300_000)).await).await, 0);
        assert_eq!(within(async { read(client.request("/", HeaderMap::new(), 70_000).await).await }).await, 70_000);
    }
    let report = client.end().await;
    assert!(report.moves > 20, "{report:?}");
}

#[tokio::test]
async fn requests_that_the_client_resets_are_counted_over_all_servers() {
    let mut client = Client::start(Plan::MOVES, &Builder::new()).await;
    for _ in 0..10 {
        // Without an end of its body it would stay open.
        client.send = client.send.clone().ready().await.unwrap();
        let request = Request::builder().method("POST").uri("https://example.com/").body(()).unwrap();
        let (response, mut stream) = client.send.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"beginning"), false).unwrap();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        assert_eq!(within(client.get("/size/10")).await, 10);
    }
    let report = client.end().await;
    assert!(report.resets == 10 && report.moves >= 10, "{report:?}");
}

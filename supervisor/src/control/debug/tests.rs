//! A worker that answers as it is told, and the master before it.

use axum::body::to_bytes;
use axum::{Extension, Router};
use gin_shared::metrics::Memory;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::control::scrapes::Scrapes;
use crate::control::{Caller, acting, looking};
use crate::inbox::Message;

/// The head of a good answer whose body lasts as long as its connection.
const BEGINS: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\r\n";

/// A worker's private listener, as the loop would name it.
struct Worker {
    directory: TempDir,
    profiles: Profiles,
}

impl Worker {
    /// Answers each request with this text, and keeps the connection open.
    fn answering(answer: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("private");
        let listener = UnixListener::bind(&path).unwrap();
        let (handle, mut inbox) = Handle::new();
        spawn_local(async move {
            while let Some(message) = inbox.recv().await {
                if let Message::Private(_, _, answer) = message {
                    let _ = answer.send(Some(path.clone()));
                }
            }
        });
        spawn_local(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(answered(stream, answer).await);
            }
        });
        Self { directory, profiles: Profiles::new(handle) }
    }

    async fn ask(&self, path: &str) -> Response {
        let asked = Params((3, 0, path.to_owned()));
        debug(State(self.profiles.clone()), asked, Uri::from_static("/?seconds=1")).await
    }
}

async fn answered(mut stream: UnixStream, answer: &str) -> UnixStream {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream
}

/// The status of an answer, and its text.
async fn told(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), REFUSAL_MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn no_more_profiles_are_taken_at_once_than_there_are_places() {
    let test = async {
        let worker = Worker::answering(BEGINS);
        let mut under_way = Vec::new();
        for _ in 0..PLACES {
            under_way.push(worker.ask("pprof/profile").await);
        }
        assert!(under_way.iter().all(|response| response.status() == StatusCode::OK));
        assert_eq!(under_way[0].headers()[header::CONTENT_TYPE], "application/octet-stream");
        let (status, text) = told(worker.ask("pprof/profile").await).await;
        assert!(status == 503 && text.contains("too many profiles"), "{status} {text}");
        under_way.pop();
        assert_eq!(worker.ask("pprof/profile").await.status(), StatusCode::OK);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn profiles_leave_connections_for_commands() {
    let (handle, _inbox) = Handle::new();
    let followers = Arc::clone(&handle.followers.of_events);
    let _all = followers.try_acquire_many(u32::try_from(followers.available_permits()).unwrap()).unwrap();
    assert!(Profiles::new(handle).places().is_none());
}

#[tokio::test]
async fn a_worker_is_asked_for_its_profiles_alone() {
    let test = async {
        let worker = Worker::answering(BEGINS);
        for path in ["", "pprof/", "pprof/profile/", "../livez", "pprof/cmdline"] {
            let (status, text) = told(worker.ask(path).await).await;
            assert!(status == 404 && text.contains("pprof/profile, pprof/heap"), "{path}: {status} {text}");
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_refusal_of_the_worker_says_what_to_do() {
    let busy = "HTTP/1.1 409 Conflict\r\ncontent-length: 39\r\n\r\n{\"error\": \"a profile is under way yet\"}";
    let lacks = "HTTP/1.1 501 Not Implemented\r\ncontent-length: 29\r\n\r\nheap profiles need jemalloc\n\n";
    let off = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let cases = [(busy, 409, "a profile is"), (lacks, 501, "need jemalloc\""), (off, 404, "features.pprof = true")];
    let test = async {
        for (answer, status, text) in cases {
            let worker = Worker::answering(answer);
            let told = told(worker.ask("pprof/heap").await).await;
            assert!(told.0 == status && told.1.contains(text), "{told:?}");
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_worker_that_is_gone_is_told() {
    let test = async {
        let worker = Worker::answering(BEGINS);
        std::fs::remove_file(worker.directory.path().join("private")).unwrap();
        let (status, text) = told(worker.ask("vars").await).await;
        assert!(status == 502 && text.contains("does not say"), "{status} {text}");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn an_answer_ends_when_another_program_takes_over() {
    let test = async {
        let worker = Worker::answering(BEGINS);
        let mut body = worker.ask("pprof/profile").await.into_body();
        worker.profiles.handle.paused.send_replace(true);
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("another program takes over"), "{error}");
        assert!(body.frame().await.is_none());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn an_answer_of_which_nobody_takes_anything_is_cut() {
    let test = async {
        let worker = Worker::answering(BEGINS);
        let socket = worker.directory.path().join("private");
        let body = private_client::stream(&socket, "/debug/vars").await.unwrap().into_body();
        let (places, all) = (worker.profiles.places().unwrap(), u32::try_from(PLACES).unwrap());
        let mut passing = Passing::new(body, ANSWER_MAX, places, std::future::ready(Cut::Late));
        // The places come back, and nobody has asked for a piece.
        drop(worker.profiles.places.acquire_many(all).await.unwrap());
        assert!(matches!(passing.frame().await, Some(Err(Cut::Late))));
        assert!(passing.frame().await.is_none());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_cut() {
    let test = async {
        let worker = Worker::answering("HTTP/1.1 200 OK\r\n\r\nfirst");
        let socket = worker.directory.path().join("private");
        for (left, is_cut) in [(5, false), (4, true)] {
            let body = private_client::stream(&socket, "/debug/vars").await.unwrap().into_body();
            let places = worker.profiles.places().unwrap();
            let mut passing = Passing::new(body, left, places, std::future::pending());
            assert_eq!(matches!(passing.frame().await, Some(Err(Cut::TooLong))), is_cut);
        }
    };
    LocalSet::new().run_until(test).await;
}

#[test]
fn a_profile_has_its_own_time() {
    for (asked, seconds) in [
        ("/", 30),
        ("/?hz=9&seconds=5", 5),
        ("/?seconds=999", 300),
        ("/?seconds=x", 30),
        ("/?seconds=%31%32%30", 120),
        ("/?s%65conds=7", 7),
        // The worker refuses it.
        ("/?seconds=7&seconds=8", 30),
    ] {
        assert_eq!(profiled(&asked.parse().unwrap()).as_secs(), seconds, "{asked}");
    }
}

/// Asks a router over a connection of its own.
async fn answer_of(router: Router, path: &str) -> String {
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let caller = Caller { user: "nobody".to_owned(), uid: 65_534, pid: None };
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
    let talk = async {
        let request = format!("GET {path} HTTP/1.1\r\nhost: gin\r\nconnection: close\r\n\r\n");
        ours.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::join!(serving, talk).1
}

#[tokio::test]
async fn the_status_socket_gives_no_profile() {
    // The loop has ended: it names no worker.
    let (handle, _) = Handle::new();
    let scrapes = Scrapes::new(handle.clone(), Memory::own(16), "shop".to_owned());
    let path = "/v1/workers/3/0/debug/pprof/profile";
    let answer = answer_of(looking(handle.clone(), scrapes.clone()), path).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("may only look"), "{answer}");
    let answer = answer_of(acting(handle, scrapes), path).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("no worker in slot 0"), "{answer}");
}

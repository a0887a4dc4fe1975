use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::http::Uri;
use futures_util::FutureExt;
use gin_shared::pprof::Profile;
use tokio::sync::oneshot;
use tower::ServiceExt;

use super::*;
use crate::graceful::Phase;
use crate::profile::ProfileError;

const TOKEN: &str = "0123456789abcdeF";

fn debug(config: &Config) -> (Arc<About>, Arc<Debug>) {
    let (life, parts) = (Life::default(), Parts::default());
    let about = About::new(config, life.clone(), None, None, parts.clone());
    let requests = Requests::new(Duration::from_secs(3600));
    (about, Debug::new(config, &life, parts, Some(requests), None).unwrap())
}

fn private_router() -> Router {
    let (about, debug) = debug(&Config::default());
    private(&about, &debug)
}

/// The endpoints of a public listener whose token is [`TOKEN`], among unknown paths.
fn public_router() -> Router {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{TOKEN}").unwrap();
    let mut config = Config::default();
    config.profiling.token_file = Some(file.path().to_owned());
    let (about, debug) = debug(&config);
    public(of_an_application(), &about, &debug)
}

/// A router that answers unknown paths in words of its own.
fn of_an_application() -> Router {
    Router::new().fallback(any(async || (StatusCode::NOT_FOUND, "there is nothing here")))
}

async fn ask(router: &Router, method: Method, path: &str, authorization: Option<&str>) -> Response {
    let mut request = Request::new(Body::empty());
    (*request.method_mut(), *request.uri_mut()) = (method, path.parse::<Uri>().unwrap());
    if let Some(authorization) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, authorization.parse().unwrap());
    }
    router.clone().oneshot(request).await.unwrap()
}

async fn told(response: Response) -> (StatusCode, HeaderMap, String) {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn without_the_token_every_path_is_an_unknown_one() {
    let router = public_router();
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS, Method::DELETE];
    let wrong = [None, Some("Bearer 0123456789abcdef"), Some("Basic OnRva2Vu"), Some(TOKEN), Some("")];
    for method in methods {
        let unknown = told(ask(&router, method.clone(), "/debug/unknown", None).await).await;
        assert_eq!(unknown.0, StatusCode::NOT_FOUND);
        for (path, _) in paths() {
            for authorization in wrong {
                for query in ["", "?seconds=x&seconds=y", &format!("?token={TOKEN}")] {
                    let path = format!("{path}{query}");
                    let own = told(ask(&router, method.clone(), &path, authorization).await).await;
                    assert_eq!(own, unknown, "{method} {path} {authorization:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn with_the_token_every_path_answers() {
    let router = public_router();
    for authorization in ["Bearer 0123456789abcdeF", "Basic OjAxMjM0NTY3ODlhYmNkZUY="] {
        for path in ["/debug/pprof", "/debug/pprof/", "/debug/pprof/goroutine", "/debug/pprof/block", "/debug/vars/"] {
            let (status, _, body) = told(ask(&router, Method::GET, path, Some(authorization)).await).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert!(!body.is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn without_a_token_in_the_configuration_there_is_nothing_on_public_listeners() {
    let (about, debug) = debug(&Config::default());
    let router = public(of_an_application(), &about, &debug);
    let response = ask(&router, Method::GET, "/debug/vars", Some("Bearer 0123456789abcdeF")).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_is_as_it_is_asked_for() {
    let router = private_router();
    for (path, kind, begins) in [
        ("/debug/pprof/block", "application/octet-stream", ""),
        ("/debug/pprof/block?debug=0", "application/octet-stream", ""),
        ("/debug/pprof/block?flame", "image/svg+xml", "<?xml"),
        ("/debug/pprof/block?debug=1", "text/plain; charset=utf-8", "     polls"),
        ("/debug/pprof/goroutine?debug=2", "text/plain; charset=utf-8", "0 requests and 0 tasks"),
        ("/debug/pprof/", "text/html; charset=utf-8", "<!DOCTYPE html>"),
        ("/debug/vars", "application/json", "{\"cmdline\":["),
    ] {
        let (status, headers, body) = told(ask(&router, Method::GET, path, None).await).await;
        assert_eq!((status, headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, kind), "{path}");
        assert!(body.starts_with(begins), "{path}: {body}");
    }
    let response = ask(&router, Method::GET, "/debug/pprof/block", None).await;
    let profile = Profile::decode(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
    assert_eq!((profile.kinds.len(), &*profile.default_kind), (2, "delay"));
}

#[test]
fn what_may_be_long_is_built_on_no_thread_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let router = private_router();
        // The only thread for blocking work is busy until the end.
        let (end, is_over) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || is_over.recv().is_err());
        let mut all = Vec::new();
        for page in ["goroutine", "block"] {
            for shape in ["", "?flame", "?debug=1"] {
                let path = format!("/debug/pprof/{page}{shape}");
                let asked = router.clone();
                let mut answer = Box::pin(async move { ask(&asked, Method::GET, &path, None).await.status() });
                assert!((&mut answer).now_or_never().is_none(), "{page}{shape}");
                all.push(answer);
            }
        }
        drop(end);
        assert!(busy.await.unwrap());
        for answer in all {
            assert_eq!(answer.await, StatusCode::OK);
        }
    });
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason() {
    let router = private_router();
    for (query, reason) in [
        ("seconds=0", "seconds: it must be a number from 1 to 300"),
        ("seconds=301", "seconds:"),
        ("seconds=-1", "seconds:"),
        ("seconds=1&hz=1000", "hz: it must be a number from 1 to 999"),
        ("hz=", "hz:"),
        ("seconds=1&seconds=2", "the query cannot be read"),
    ] {
        let path = format!("/debug/pprof/profile?{query}");
        let (status, _, body) = told(ask(&router, Method::GET, &path, None).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(body.contains(reason), "{query}: {body}");
    }
    let (status, headers, _) = told(ask(&router, Method::POST, "/debug/vars", None).await).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers[header::ALLOW], "GET, HEAD");
    // No profile begins for a head alone.
    let (status, _, body) = told(ask(&router, Method::HEAD, "/debug/pprof/profile?seconds=300", None).await).await;
    assert_eq!((status, &*body), (StatusCode::OK, ""));
}

#[test]
fn a_profile_has_the_length_that_is_asked_for() {
    let wanted = Wanted::default().cpu().unwrap();
    assert_eq!((wanted.time, wanted.hz), (Duration::from_secs(30), 99));
    let wanted = Wanted { seconds: Some("300".to_owned()), hz: Some("1".to_owned()), ..Wanted::default() };
    assert_eq!((wanted.cpu().unwrap().time, wanted.cpu().unwrap().hz), (Duration::from_secs(300), 1));
}

fn form() -> Form {
    Form { title: "shop".to_owned(), shape: Shape::Text }
}

#[tokio::test]
async fn the_head_goes_out_before_the_profile_is_there() {
    let (end, ended) = oneshot::channel::<Profile>();
    let response = form().later(async move { Ok(ended.await.unwrap()) });
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let mut body = Box::pin(to_bytes(response.into_body(), usize::MAX));
    assert!((&mut body).now_or_never().is_none());
    end.send(Profile::new(&[("samples", "count")])).unwrap();
    assert!(body.await.unwrap().starts_with(b"shop: 0 count\n"));
}

#[tokio::test]
async fn a_profile_that_fails_behind_its_head_has_no_end() {
    let response = form().later(async { Err(ProfileError::Busy) });
    assert_eq!(response.status(), StatusCode::OK);
    assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
}

#[tokio::test]
async fn a_client_that_goes_ends_its_profile() {
    let (end, mut ended) = oneshot::channel::<()>();
    let response = form().later(async move {
        let _kept = end;
        std::future::pending().await
    });
    let mut body = Box::pin(to_bytes(response.into_body(), usize::MAX));
    assert!((&mut body).now_or_never().is_none() && ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
    drop(body);
    assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
}

#[test]
fn a_profile_ends_with_the_drain_and_one_of_the_private_listener_that_begins_later_with_the_cut() {
    let life = Life::default();
    assert_eq!(
        (profile::until(Door::Private, &life), profile::until(Door::Public, &life)),
        (Phase::Draining, Phase::Draining)
    );
    life.reach(Phase::Draining);
    assert_eq!(
        (profile::until(Door::Private, &life), profile::until(Door::Public, &life)),
        (Phase::Cut, Phase::Draining)
    );
}

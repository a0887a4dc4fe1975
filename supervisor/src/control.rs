//! The control API over its two Unix sockets: `control` may act, `status` may only look. File modes decide who may connect.
//! Beside it the listener for scrapers ([`scrapers`]), which answers `/metrics` alone.

mod act;
mod debug;
mod look;
pub mod scrapers;
pub mod scrapes;
mod stream;
mod workers;

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use gin_shared::control::ErrorBody;
use gin_shared::exit;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};

use crate::inbox::Handle;
use crate::os::control_socket::ControlSocket;
use crate::os::identity::user_name;
use debug::Profiles;
use scrapes::Scrapes;

/// Time for a caller to read its answer before another program takes over.
const FINISH: Duration = Duration::from_secs(1);
/// The largest body taken, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// The path of workers' profiles.
const DEBUG: &str = "/v1/workers/{generation}/{slot}/debug/{*path}";
/// Time for a caller to send its head, and again its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// The caller, for the audit line: the kernel decided who it is when it connected.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its user's name.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// Its process.
    pub pid: Option<i32>,
}

/// The conditions on which callers are let in and served.
#[derive(Debug, Clone)]
pub struct Doors {
    /// A place for each connection.
    pub slots: Arc<Semaphore>,
    /// Turns true at the end: then answers that are under way are finished.
    pub over: watch::Receiver<bool>,
    /// While it is true, no caller is let in, and those that are in leave.
    pub paused: watch::Receiver<bool>,
}

/// Serves the API on a socket until all is over.
pub async fn serve(socket: ControlSocket, router: Router, doors: Doors) {
    let connection = |stream, doors| serve_connection(stream, router.clone(), doors);
    let_in("control socket", async || socket.accept().await, doors, connection).await;
}

/// Accepts callers while there is a place, and serves each beside the others. `name` is for the log.
async fn let_in<S, F>(
    name: &str,
    accept: impl AsyncFn() -> io::Result<S>,
    doors: Doors,
    serve_connection: impl Fn(S, Doors) -> F,
) where
    F: Future<Output = ()> + 'static,
{
    let (mut ends, mut pauses) = (doors.over.clone(), doors.paused.clone());
    loop {
        tokio::select! {
            _ = pauses.wait_for(|paused| !*paused) => {}
            _ = ends.wait_for(|over| *over) => return,
        }
        let slot = Arc::clone(&doors.slots).acquire_owned().await;
        let stream = tokio::select! {
            biased;
            _ = pauses.wait_for(|paused| *paused) => continue,
            accepted = accept() => accepted,
            _ = ends.wait_for(|over| *over) => return,
        };
        match stream {
            Ok(stream) => {
                let connection = serve_connection(stream, doors.clone());
                tokio::task::spawn_local(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: a pause lets some be closed.
                tracing::warn!("{name}: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, router: Router, doors: Doors) {
    let Doors { mut over, mut paused, .. } = doors;
    let (Ok(peer), Ok((stream, watched))) = (stream.peer_cred(), watched(stream)) else { return };
    let caller = Caller { user: user_name(peer.uid()), uid: peer.uid(), pid: peer.pid() };
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 * 1024)
        // Who has ended its requests (`nc -N`) reads its answer all the same.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // What a caller does wrong is its own business.
    tokio::select! {
        biased;
        // Who has left before it was heard wants nothing any more.
        () = hung_up(watched.as_ref()) => {}
        _ = connection.as_mut() => {}
        _ = over.wait_for(|over| *over) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
        _ = paused.wait_for(|paused| *paused) => {
            // One that was accepted just now has its request read and answered; those who follow something have been let go.
            if tokio::time::timeout(FINISH, connection.as_mut()).await.is_err() {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(FINISH, connection).await;
            }
        }
    }
}

/// A connection, and a second descriptor of it to watch it by: both hear of their events from now on, and so at the same time. Without a
/// descriptor to spare the caller is served all the same.
fn watched(stream: UnixStream) -> io::Result<(UnixStream, Option<UnixStream>)> {
    let stream = stream.into_std()?;
    let watched = stream.try_clone().and_then(UnixStream::from_std).ok();
    Ok((UnixStream::from_std(stream)?, watched))
}

/// Until the caller has closed its end for both directions; for ever if nothing watches it.
async fn hung_up(watched: Option<&UnixStream>) {
    let Some(stream) = watched else { return pending().await };
    while let Ok(ready) = stream.ready(Interest::WRITABLE).await
        && !ready.is_write_closed()
    {
        // Only the next change counts.
        let _ = stream.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}

/// Everything.
pub fn acting(handle: Handle, scrapes: Scrapes) -> Router {
    let acts = Router::new()
        .route("/v1/restart", post(act::restart))
        .route("/v1/reload", post(act::reload))
        .route("/v1/rollback", post(act::rollback))
        .route("/v1/upgrade-supervisor", post(act::upgrade_supervisor))
        .route("/v1/cancel", post(act::cancel))
        .route("/v1/scale", post(act::scale))
        .route("/v1/stop", post(act::stop))
        .route("/v1/migrate", post(act::migrate))
        .route("/v1/log-level", post(workers::set_log_level))
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(handle.clone());
    let profiles = Router::new().route(DEBUG, get(debug::debug)).with_state(Profiles::new(handle.clone()));
    finish(looks(handle, scrapes).merge(acts).merge(profiles))
}

/// What changes nothing.
pub fn looking(handle: Handle, scrapes: Scrapes) -> Router {
    // Who may only look cannot take the places of those who act.
    let handle = handle.with_own_followers();
    let refused = |Extension(caller): Extension<Caller>, uri: Uri| async move {
        let command = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        tracing::warn!(
            command,
            user = caller.user,
            uid = caller.uid,
            pid = caller.pid,
            "command {command} from {} refused: it came over the status socket",
            caller.user
        );
        error(StatusCode::FORBIDDEN, exit::REFUSED, "this socket may only look; use control.sock to act")
    };
    let acts =
        ["restart", "reload", "rollback", "upgrade-supervisor", "cancel", "scale", "stop", "migrate", "log-level"];
    let router =
        acts.iter().fold(looks(handle, scrapes), |router, act| router.route(&format!("/v1/{act}"), post(refused)));
    // A profile costs its worker time, and tells of its requests.
    finish(router.route(DEBUG, get(refused)))
}

fn looks(handle: Handle, scrapes: Scrapes) -> Router {
    Router::new()
        .route("/v1/status", get(look::status))
        .route("/v1/history", get(look::history))
        .route("/v1/certificates", get(look::certificates))
        .route("/v1/metrics", get(scrapes::metrics).with_state(scrapes))
        .route("/v1/workers/{generation}/{slot}/{path}", get(workers::worker))
        .route("/v1/log-level", get(workers::log_level))
        .route("/v1/events", get(stream::events))
        .route("/v1/operations/{id}", get(stream::operation))
        .with_state(handle)
}

fn finish(router: Router) -> Router {
    router
        .fallback(|| async { error(StatusCode::NOT_FOUND, exit::USAGE, "no such path; see /v1/status") })
        .method_not_allowed_fallback(|| async {
            error(
                StatusCode::METHOD_NOT_ALLOWED,
                exit::REFUSED,
                "not allowed here: this socket or path does not take that method",
            )
        })
}

/// A body that does not come is not waited for.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => error(StatusCode::REQUEST_TIMEOUT, exit::USAGE, "the request did not come in time"),
    }
}

/// A refusal.
fn error(status: StatusCode, exit: u8, text: impl Into<String>) -> Response {
    (status, Json(ErrorBody { error: text.into(), exit })).into_response()
}

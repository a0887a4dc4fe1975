//! The control API over its two Unix sockets: `control` may act, `status` may only look. File modes decide who may connect.

mod act;
mod look;
mod stream;
mod workers;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
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
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::driver::Handle;
use crate::os::identity::{lookup, user_name};
use crate::os::listener::remove_stale;
use crate::os::socket_file::{Access, permit};

/// How long a caller may take to read its answer before another program takes over.
const FINISH: Duration = Duration::from_secs(1);
/// The largest body taken, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// How long a caller may take for its head, and again for its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who calls, for the audit line: decided by the kernel when it connected.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its user's name.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// Its process.
    pub pid: Option<i32>,
}

/// A socket of the control API. Its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

impl ControlSocket {
    /// Binds it: for the owner, and for a group if there is one. A socket that a killed master left there is replaced; any
    /// other file, and a socket that somebody listens at, stays.
    ///
    /// # Errors
    /// Those of `bind(2)` and `chown(2)`; an unknown group; something in its place.
    pub fn bind(path: &Path, group: Option<&str>) -> io::Result<Self> {
        remove_stale(path).map_err(io::Error::other)?;
        let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        nix::sys::stat::umask(before);
        let listener = listener?;
        let metadata = std::fs::symlink_metadata(path)?;
        let socket = Self { listener, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) };
        if let Some(name) = group {
            let (_, gid) = lookup(None, Some(name)).map_err(io::Error::other)?;
            permit(path, socket.file, Access { owner: None, group: gid, mode: Some(0o660) })?;
        }
        Ok(socket)
    }

    /// Goes on with one that the program before this one bound.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn resume(fd: OwnedFd, path: &Path, group: Option<&str>) -> io::Result<Self> {
        let there = std::fs::symlink_metadata(path).ok().filter(|there| there.file_type().is_socket());
        if there.is_none()
            && let Ok(anew) = Self::bind(path, group)
        {
            tracing::warn!("{}: somebody has removed the socket; it is there again", path.display());
            return Ok(anew);
        }
        let listener = UnixListener::from_std(fd.into())?;
        // Whatever lies there instead is not ours to remove.
        let file = there.map_or((0, 0), |there| (there.dev(), there.ino()));
        Ok(Self { listener, path: path.to_owned(), file })
    }

    /// Serves until `over` turns true; then what is being answered is finished. While `paused` is true, nobody is let in, and
    /// who is in leaves.
    pub async fn serve(
        self,
        router: Router,
        slots: Arc<Semaphore>,
        over: watch::Receiver<bool>,
        paused: watch::Receiver<bool>,
    ) {
        let (mut ends, mut pauses) = (over.clone(), paused.clone());
        loop {
            tokio::select! {
                _ = pauses.wait_for(|paused| !*paused) => {}
                _ = ends.wait_for(|over| *over) => return,
            }
            let slot = Arc::clone(&slots).acquire_owned().await;
            let stream = tokio::select! {
                biased;
                _ = pauses.wait_for(|paused| *paused) => continue,
                accepted = self.listener.accept() => accepted,
                _ = ends.wait_for(|over| *over) => return,
            };
            match stream {
                Ok((stream, _)) => {
                    let (router, over, paused) = (router.clone(), over.clone(), paused.clone());
                    tokio::task::spawn_local(async move {
                        serve_connection(stream, router, over, paused).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: a pause lets some be closed.
                    tracing::warn!("control socket: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn serve_connection(
    stream: UnixStream,
    router: Router,
    mut over: watch::Receiver<bool>,
    mut paused: watch::Receiver<bool>,
) {
    let (caller, (stream, watched)) = match (stream.peer_cred(), twice(stream)) {
        (Ok(peer), Ok(streams)) => (Caller { user: user_name(peer.uid()), uid: peer.uid(), pid: peer.pid() }, streams),
        _ => return,
    };
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
        () = hung_up(&watched) => {}
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

/// A connection, and a second descriptor of it to watch it by.
fn twice(stream: UnixStream) -> io::Result<(UnixStream, UnixStream)> {
    let stream = stream.into_std()?;
    let watched = stream.try_clone()?;
    Ok((UnixStream::from_std(stream)?, UnixStream::from_std(watched)?))
}

/// Until the caller has closed its end for both directions.
async fn hung_up(stream: &UnixStream) {
    while let Ok(ready) = stream.ready(Interest::WRITABLE).await
        && !ready.is_write_closed()
    {
        // Only the next change counts.
        let _ = stream.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}

/// Everything.
pub fn acting(handle: Handle) -> Router {
    let acts = Router::new()
        .route("/v1/restart", post(act::restart))
        .route("/v1/reload", post(act::reload))
        .route("/v1/rollback", post(act::rollback))
        .route("/v1/upgrade-supervisor", post(act::upgrade_supervisor))
        .route("/v1/cancel", post(act::cancel))
        .route("/v1/scale", post(act::scale))
        .route("/v1/stop", post(act::stop))
        .route("/v1/log-level", post(workers::set_log_level))
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(handle.clone());
    finish(looks(handle).merge(acts))
}

/// What changes nothing.
pub fn looking(handle: Handle) -> Router {
    // Who may only look cannot take the places of those who act.
    let handle = handle.with_own_streams();
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
    let acts = ["restart", "reload", "rollback", "upgrade-supervisor", "cancel", "scale", "stop", "log-level"];
    let router = acts.iter().fold(looks(handle), |router, act| router.route(&format!("/v1/{act}"), post(refused)));
    finish(router)
}

fn looks(handle: Handle) -> Router {
    Router::new()
        .route("/v1/status", get(look::status))
        .route("/v1/history", get(look::history))
        .route("/v1/metrics", get(look::metrics))
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

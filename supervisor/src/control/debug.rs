//! `GET /v1/workers/{generation}/{slot}/debug/...`: profiles and figures of one worker, over its private listener.
//!
//! An answer is passed on piece by piece: the master holds a piece of it, and never the profile. Bounds of time and length end an answer in
//! its middle; so does another program that takes over. They end it, too, where the caller takes nothing of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path as Params, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use gin_shared::exit;
use http_body::Body as _;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;

use super::error;
use super::workers::{absent, late, private_listener, silent};
use crate::inbox::Handle;
use crate::private_client::{self, Streamed};

/// Time for a worker to begin its answer; that of the heap begins when all of it is known, and has [`REST`].
const HEAD: Duration = Duration::from_secs(5);
/// Time for an answer beside that for which it profiles.
const REST: Duration = Duration::from_secs(30);
/// Seconds that a worker profiles, if nobody says.
const USUAL: u64 = 30;
/// The most seconds that a worker profiles.
const LONGEST: u64 = 300;
/// The longest answer, in bytes.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;
/// The longest refusal that is read, in bytes.
const REFUSAL_MAX: usize = 16 * 1024;
/// Answers at once: connections are left for commands.
const PLACES: usize = 64;
/// The paths that may be asked.
const PATHS: [&str; 5] = ["pprof/profile", "pprof/heap", "pprof/goroutine", "pprof/block", "vars"];

/// The way to the workers' profiles.
#[derive(Debug, Clone)]
pub(super) struct Profiles {
    handle: Handle,
    places: Arc<Semaphore>,
}

/// The places that an answer takes: one of its own, and one of those that last. So the two kinds together leave room for commands.
type Places = [OwnedSemaphorePermit; 2];

impl Profiles {
    /// Nobody is asked yet.
    #[must_use]
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, places: Arc::new(Semaphore::new(PLACES)) }
    }

    fn places(&self) -> Option<Places> {
        let own = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some([own, Arc::clone(&self.handle.followers.of_events).try_acquire_owned().ok()?])
    }
}

/// `GET /v1/workers/{generation}/{slot}/debug/{*path}`
pub(super) async fn debug(
    State(profiles): State<Profiles>,
    Params((generation, slot, path)): Params<(u64, u32, String)>,
    uri: Uri,
) -> Response {
    if !PATHS.contains(&path.as_str()) {
        let text = format!("a worker is asked for none but {} below debug/", PATHS.join(", "));
        return error(StatusCode::NOT_FOUND, exit::USAGE, text);
    }
    let Some(places) = profiles.places() else {
        let text = format!("too many profiles are under way already ({PLACES} at most); ask again when one has ended");
        return error(StatusCode::SERVICE_UNAVAILABLE, exit::BUSY, text);
    };
    let socket = private_listener(&profiles.handle, generation, slot).await;
    let Some(socket) = socket else { return absent(generation, slot) };
    let time = if path == "pprof/profile" { REST + profiled(&uri) } else { REST };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let asked = format!("/debug/{path}{query}");
    let head = if path == "pprof/heap" { REST } else { HEAD };
    let (head, body) = match tokio::time::timeout(head, private_client::stream(&socket, &asked)).await {
        Ok(Ok(answer)) => answer.into_parts(),
        Ok(Err(why)) => return silent(&why),
        Err(_) => return late(),
    };
    if head.status != StatusCode::OK {
        return refusal(head.status, body).await;
    }
    let cut = cut(time, profiles.handle.paused.subscribe());
    let mut response = Response::new(Body::new(Passing::new(body, ANSWER_MAX, places, cut)));
    *response.headers_mut() = passed_on(&head.headers);
    response
}

/// The part of a query by which an answer takes its time. It is read as the worker reads it.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    seconds: Option<String>,
}

/// The time for which a worker profiles, by the query. The worker refuses what is out of its bounds, and a query that cannot be read.
fn profiled(uri: &Uri) -> Duration {
    let wanted = Query::<Wanted>::try_from_uri(uri).map(|Query(wanted)| wanted).unwrap_or_default();
    let seconds = wanted.seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(USUAL);
    Duration::from_secs(seconds.min(LONGEST))
}

/// The headers of an answer that its reader needs.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let names = [header::CONTENT_TYPE, header::CONTENT_SECURITY_POLICY, header::CONTENT_DISPOSITION];
    names.into_iter().filter_map(|name| headers.get(&name).cloned().map(|value| (name, value))).collect()
}

/// A refusal of the worker, in the API's words.
async fn refusal(status: StatusCode, body: Streamed) -> Response {
    if status == StatusCode::NOT_FOUND {
        let text =
            "the worker has no profiles: set features.pprof = true and restart (gin-worker needs its feature profile)";
        return error(status, exit::FAILED, text);
    }
    let body = tokio::time::timeout(HEAD, Limited::new(body, REFUSAL_MAX).collect()).await;
    let said = body.ok().and_then(Result::ok).map(|body| words(&body.to_bytes())).unwrap_or_default();
    let text = if said.is_empty() { format!("the worker answers {status}") } else { said };
    let exit = if status == StatusCode::CONFLICT { exit::BUSY } else { exit::FAILED };
    error(status, exit, text)
}

/// The text of a refusal: plain, or of an error in JSON.
fn words(body: &[u8]) -> String {
    let json = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = json["error"].as_str().map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.trim().to_owned()
}

/// A reason to end an answer before its end.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the worker does not end its answer")]
    Late,
    #[error("the worker's answer is too long")]
    TooLong,
    #[error("another program takes over")]
    Paused,
    #[error(transparent)]
    Worker(#[from] hyper::Error),
}

/// The reason to end an answer, as soon as there is one.
async fn cut(time: Duration, mut paused: watch::Receiver<bool>) -> Cut {
    let is_paused = async {
        let _ = paused.wait_for(|paused| *paused).await;
    };
    tokio::select! {
        () = tokio::time::sleep(time) => Cut::Late,
        () = is_paused => Cut::Paused,
    }
}

/// An answer on its way. While its caller takes nothing, nobody asks for the next piece: so a task of its own cuts it.
struct Passing {
    way: Arc<Mutex<Way>>,
    cutting: AbortHandle,
}

/// The rest of an answer.
struct Way {
    /// `None`: it has ended, or was cut.
    open: Option<Open>,
    /// The reason why it was cut, until that is told.
    cut: Option<Cut>,
}

/// An answer that has not ended.
struct Open {
    body: Streamed,
    /// The number of bytes that it may still have.
    left: u64,
    /// Whoever waits for the next piece.
    reader: Option<Waker>,
    _places: Places,
}

impl Passing {
    /// Passes on `left` bytes at most, until there is a reason to cut.
    fn new(body: Streamed, left: u64, places: Places, cut: impl Future<Output = Cut> + 'static) -> Self {
        let open = Open { body, left, reader: None, _places: places };
        let way = Arc::new(Mutex::new(Way { open: Some(open), cut: None }));
        let weak = Arc::downgrade(&way);
        let cutting = tokio::task::spawn_local(async move {
            let why = cut.await;
            if let Some(way) = weak.upgrade() {
                locked(&way).cut(why);
            }
        });
        Self { way, cutting: cutting.abort_handle() }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.cutting.abort();
    }
}

impl Way {
    /// Gives the places back and closes the worker's connection, if the answer has not ended.
    fn cut(&mut self, why: Cut) {
        if let Some(Open { reader, .. }) = self.open.take() {
            self.cut = Some(why);
            reader.into_iter().for_each(Waker::wake);
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut open.body).poll_frame(context) else {
            open.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let frame = frame.map(|frame| -> Result<_, Cut> {
            let frame = frame?;
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            open.left = open.left.checked_sub(length).ok_or(Cut::TooLong)?;
            Ok(frame)
        });
        if !matches!(frame, Some(Ok(_))) {
            self.open = None;
        }
        Poll::Ready(frame)
    }
}

/// Nobody panics while he has the lock.
fn locked(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        locked(&self.way).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        let way = locked(&self.way);
        way.cut.is_none() && way.open.as_ref().is_none_or(|open| open.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        locked(&self.way).open.as_ref().map(|open| open.body.size_hint()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

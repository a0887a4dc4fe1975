//! Uploads that can be resumed: tus 1.0 (<https://tus.io/protocols/resumable-upload>), as its official clients speak it.
//!
//! A client creates an upload, sends its bytes in one request or in many, and asks after a break how far it came. Bytes lie on disk, below
//! `.tus` of the directory of the files, so any worker of any generation goes on where another one was: after a restart, a kill, or a
//! connection that broke.
//!
//! | request | answer |
//! |---|---|
//! | `OPTIONS` | 204 with the versions and extensions, and the largest size |
//! | `POST` with `Upload-Length`, `Upload-Metadata: filename BASE64` | 201 with the `Location` of the upload; 413, 415 by the name, 507, 429 |
//! | `HEAD` | 200 with `Upload-Offset`, `Upload-Length`, `Upload-Expires` |
//! | `PATCH` with `Upload-Offset` | 204 with the new offset; 409 if the offset is another one, 423 if somebody else writes |
//! | `DELETE` | 204 |
//! | `POST` to an upload with `X-HTTP-Method-Override` | as the method that it names |
//! | any but `OPTIONS` without `Tus-Resumable: 1.0.0` | 412 |
//!
//! The answer to the last bytes has the name of the file in `X-Filename`, in percent signs where it is not ASCII; so has the answer to each
//! `HEAD` after that, until the upload expires. The type of the contents is looked at when all of them are there: 415, and the upload is
//! gone.
//!
//! Extensions: creation, creation-with-upload, expiration, termination. There is no checksum (TLS has one) and no concatenation (a client
//! that sends parts at once gains nothing on one connection).
//!
//! An upload of a logged-in user (feature `auth`) is that user's alone: to others it is not there. Any other one belongs to whoever knows
//! its id, which has 128 random bits.
//!
//! A client (a user, or an address without one) may have 64 uploads under way, and they may take half of the quota together: the next one is
//! 429. A single one may be larger. An upload without a byte is kept for 10 minutes at most. So nobody holds the quota by uploads that are
//! only begun.
//!
//! A worker that drains reads on for 5 seconds; then it answers with the offset that it has, and closes the connection. The client goes on
//! at the next worker.

mod head;
mod id;
mod part;
mod receive;
mod sweep;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts as Head;
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, sleep};

use super::names::Name;
use super::{UploadError, Uploads};
use crate::middleware::client_ip;
use crate::parts::Parts;
use crate::{Connection, Error, Group, Life, Result, Route};
use head::{Creation, Told};
use id::Id;
use part::{Found, Part, Record};
use receive::{End, Receiver, blocking};
pub(crate) use sweep::{bytes, sweep};

/// A request waits so long for another one that writes to the same upload: the task of a connection that broke lets go soon.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks whether it has let go.
const AGAIN: Duration = Duration::from_millis(50);
/// A worker that drains reads on for so long.
const LAST: Duration = Duration::from_secs(5);

/// The routes of the protocol below this path.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(prefix: &str) -> Group<S> {
    let group = Group::new(prefix).describe("Uploads that can be resumed (tus 1.0)").tag("uploads");
    let group = ["", "/"].into_iter().fold(group, |group, path| {
        group
            .route(Route::options(path, abilities).describe("Tells the versions and extensions of tus"))
            .route(Route::post(path, create).describe("Begins an upload"))
    });
    group
        .route(Route::options("/:id", abilities).describe("Tells the versions and extensions of tus"))
        .route(Route::head("/:id", look).describe("Tells how far an upload is"))
        .route(Route::patch("/:id", append).describe("Goes on with an upload"))
        .route(Route::delete("/:id", remove).describe("Ends an upload"))
        .route(Route::post("/:id", meant).describe("Does what X-HTTP-Method-Override says"))
}

async fn abilities(request: Request) -> Response {
    let (head, _) = request.into_parts();
    told(uploads(&head).map(|uploads| {
        let mut response = StatusCode::NO_CONTENT.into_response();
        head::tell_abilities(response.headers_mut(), uploads.settings().resumable_file);
        response
    }))
}

// Each future holds a body's and several of the disk: they are large.

async fn create(request: Request) -> Response {
    let answered = async {
        let (asked, body) = Asked::of(request).await?;
        asked.created(body).await
    };
    told(Box::pin(answered).await)
}

async fn look(request: Request) -> Response {
    let answered = async { Asked::of(request).await?.0.looked_at().await };
    told(Box::pin(answered).await)
}

async fn append(request: Request) -> Response {
    let answered = async {
        let (asked, body) = Asked::of(request).await?;
        asked.appended(body).await
    };
    told(Box::pin(answered).await)
}

async fn remove(request: Request) -> Response {
    let answered = async { Asked::of(request).await?.0.removed().await };
    told(Box::pin(answered).await)
}

async fn meant(request: Request) -> Response {
    match head::meant(request.headers()) {
        Some(Method::PATCH) => append(request).await,
        Some(Method::DELETE) => remove(request).await,
        Some(Method::HEAD) => look(request).await,
        _ => told(Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, "an upload takes PATCH, HEAD and DELETE"))),
    }
}

/// The answer, with the version that each has.
fn told(result: Result<Response>) -> Response {
    let mut response = result.unwrap_or_else(IntoResponse::into_response);
    head::tell_version(response.headers_mut());
    response
}

/// The uploads of the server, if these can be resumed.
fn uploads(head: &Head) -> Result<Uploads> {
    let uploads: Uploads = Parts::handle(&head.extensions, "uploads")?;
    if uploads.settings().resumable { Ok(uploads) } else { Err(Error::not_found("not found")) }
}

/// The user who asks, if somebody is logged in.
///
/// # Errors
/// If the request has credentials that are not valid.
#[cfg(feature = "auth")]
async fn user(head: &mut Head) -> Result<Option<String>> {
    use axum::extract::OptionalFromRequestParts;

    use crate::auth::{Auth, User};

    let has_logins = head.extensions.get::<Parts>().is_some_and(|parts| parts.lent::<Auth>().is_some());
    if !has_logins {
        return Ok(None);
    }
    let user = <User as OptionalFromRequestParts<()>>::from_request_parts(head, &()).await?;
    Ok(user.map(|user| user.id().to_owned()))
}

#[cfg(not(feature = "auth"))]
#[allow(clippy::unnecessary_wraps, reason = "as with the feature")]
async fn user(_: &mut Head) -> Result<Option<String>> {
    Ok(None)
}

/// A request of the protocol, with all that its answer goes by. Its body is beside it: a body is not for two threads.
struct Asked {
    head: Head,
    user: Option<String>,
    uploads: Uploads,
    receiver: Receiver,
}

impl Asked {
    async fn of(request: Request) -> Result<(Self, Body)> {
        let (mut head, body) = request.into_parts();
        let uploads = uploads(&head)?;
        head::check_version(&head.headers)?;
        let user = user(&mut head).await?;
        let directory = uploads.directory().map_err(Error::internal)?;
        let receiver = Receiver { directory, quota: uploads.settings().quota };
        Ok((Self { head, user, uploads, receiver }, body))
    }

    async fn created(self, body: Body) -> Result<Response> {
        let settings = self.uploads.settings();
        let Creation { length, original, metadata } = Creation::read(&self.head.headers, settings.resumable_file)?;
        let id = Id::random().map_err(Error::internal)?;
        let name = Name::of(&original, id.number(), &settings.allow)?;
        let name = name.as_str().to_owned();
        let record = Record { length, name, metadata, user: self.user.clone(), address: self.address() };
        let Receiver { directory, quota } = self.receiver.clone();
        let part = blocking(move || part::create(&directory, quota, id, record)).await?;
        let location = format!("{}/{}", self.head.uri.path().trim_end_matches('/'), id.text());
        let mut response = if head::has_bytes(&self.head.headers) {
            self.received(part, body, StatusCode::CREATED).await?
        } else {
            let told = self.settled(part).await?;
            answer(StatusCode::CREATED, &told)
        };
        let location = HeaderValue::try_from(location).map_err(Error::internal)?;
        response.headers_mut().insert(header::LOCATION, location);
        Ok(response)
    }

    /// The address that counts for the client: its network, over IPv6. `None`: there is a user, or nobody tells the address.
    fn address(&self) -> Option<String> {
        let ip = client_ip::of(&self.head.extensions, &self.head.headers).filter(|_| self.user.is_none());
        Some(network(ip?).to_string())
    }

    async fn looked_at(self) -> Result<Response> {
        let told = match self.found().await? {
            Held::Open(part) => self.settled(part).await?,
            Held::Stored(told) => told,
        };
        let mut response = StatusCode::OK.into_response();
        told.put_all(response.headers_mut());
        Ok(response)
    }

    async fn appended(self, body: Body) -> Result<Response> {
        let offset = head::offset(&self.head.headers)?;
        match self.found().await? {
            Held::Open(part) if part.offset() == offset => self.received(part, body, StatusCode::NO_CONTENT).await,
            Held::Stored(told) if told.offset == offset => Ok(answer(StatusCode::NO_CONTENT, &told)),
            Held::Open(part) => Err(is_elsewhere(part.offset())),
            Held::Stored(told) => Err(is_elsewhere(told.offset)),
        }
    }

    async fn removed(self) -> Result<Response> {
        let id = self.id()?;
        let held = self.found().await?;
        let directory = Arc::clone(&self.receiver.directory);
        blocking(move || {
            let removed = match held {
                Held::Open(part) => part.remove(),
                Held::Stored(_) => part::forget(&directory, id),
            };
            removed.map_err(UploadError::from)
        })
        .await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Takes the request's bytes into the upload.
    async fn received(self, part: Part, body: Body, status: StatusCode) -> Result<Response> {
        let Self { head, receiver, uploads, .. } = self;
        let life = head.extensions.get::<Connection>().map(|connection| connection.context().drain.life.clone());
        let (part, end) = receiver.receive(part, body, drained(life)).await?;
        let is_whole = part.is_whole();
        if end == End::Gone && !is_whole {
            return Err(UploadError::Aborted.into());
        }
        let mut response = answer(status, &settled(&receiver, &uploads, part).await?);
        if end == End::Drained && head.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn settled(&self, part: Part) -> Result<Told> {
        settled(&self.receiver, &self.uploads, part).await
    }

    /// The id in the path.
    ///
    /// # Errors
    /// 404 if it is none.
    fn id(&self) -> Result<Id> {
        let last = self.head.uri.path().rsplit('/').next().unwrap_or_default();
        Id::parse(last).ok_or_else(missing)
    }

    /// The upload, once nobody else writes to it.
    ///
    /// # Errors
    /// 404 if there is none, or it is another user's; 423 if somebody writes to it for longer than [`PATIENCE`].
    async fn found(&self) -> Result<Held> {
        let id = self.id()?;
        let until = Instant::now() + PATIENCE;
        loop {
            let directory = Arc::clone(&self.receiver.directory);
            match blocking(move || part::find(&directory, id).map_err(UploadError::from)).await? {
                Found::Busy if Instant::now() < until => sleep(AGAIN).await,
                Found::Busy => {
                    let error = Error::new(StatusCode::LOCKED, "another request writes to this upload");
                    return Err(error.code("UPLOAD_LOCKED"));
                }
                Found::Open(part) if self.may(&part.record) => return Ok(Held::Open(part)),
                Found::Stored(record, touched) if self.may(&record) => {
                    return Ok(Held::Stored(whole(record, touched + self.uploads.settings().abandoned)));
                }
                Found::Open(_) | Found::Stored(..) | Found::Nothing => return Err(missing()),
            }
        }
    }

    /// True if the one who asks may go on with this upload.
    fn may(&self, record: &Record) -> bool {
        record.user.is_none() || record.user == self.user
    }
}

/// The addresses that one client may have: over IPv6 it has the lower half of them.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits((ip.to_bits() >> 64) << 64).into(),
        ip => ip,
    }
}

/// An upload that a request has for itself.
enum Held {
    Open(Part),
    Stored(Told),
}

/// Has the disk keep what came, and gives the file its name if all of it is there. Tells how far it is.
async fn settled(receiver: &Receiver, uploads: &Uploads, mut part: Part) -> Result<Told> {
    let (Receiver { directory, quota }, uploads) = (receiver.clone(), uploads.clone());
    blocking(move || {
        let expires = part.touched()? + part.kept_for(uploads.settings().abandoned);
        if part.is_whole() {
            let record = part.record.clone();
            let outcome = part.finish(&directory, quota);
            uploads.count(&outcome);
            outcome?;
            return Ok(whole(record, expires));
        }
        part.sync()?;
        let Record { length, metadata, .. } = part.record.clone();
        Ok(Told { offset: part.offset(), length, metadata, expires, filename: None })
    })
    .await
}

/// An upload that is a file.
fn whole(record: Record, expires: SystemTime) -> Told {
    let Record { length, name, metadata, .. } = record;
    Told { offset: length, length, metadata, expires, filename: Some(name) }
}

fn answer(status: StatusCode, told: &Told) -> Response {
    let mut response = status.into_response();
    told.put(response.headers_mut());
    response
}

fn missing() -> Error {
    Error::not_found("there is no such upload")
}

fn is_elsewhere(offset: u64) -> Error {
    Error::conflict(format!("the upload goes on at byte {offset}")).code("UPLOAD_OFFSET")
}

/// Waits until the worker has drained for [`LAST`].
async fn drained(life: Option<Life>) {
    match life {
        Some(life) => {
            life.draining().await;
            sleep(LAST).await;
        }
        None => pending().await,
    }
}

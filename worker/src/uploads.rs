#![doc = include_str!("uploads.md")]

mod directory;
mod error;
mod feed;
mod form;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod listing;
mod names;
mod part;
mod quota;
#[cfg(test)]
mod tests;
mod tus;
mod types;
mod writing;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderValue, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use rustix::fs::{AtFlags, unlinkat};
use tokio::task::spawn_blocking;

use crate::parts::Parts;
use crate::{Error, Group, Result, ResultExt, config, files};
use directory::Directory;
pub use error::UploadError;
pub use form::{Field, Form, Stored};
pub use listing::Listed;
use names::Name;
pub(crate) use part::UploadsPart;

/// The stored files of a server that has called [`crate::Server::uploads`], an extractor. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Uploads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: config::Uploads,
    /// Set at the start of the worker.
    directory: OnceLock<Arc<Directory>>,
    stored: AtomicU64,
    refused: AtomicU64,
}

impl<S: Send + Sync> FromRequestParts<S> for Uploads {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self> {
        Parts::handle(&parts.extensions, "uploads")
    }
}

impl Uploads {
    fn new(settings: config::Uploads) -> Self {
        let (stored, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { settings, directory: OnceLock::new(), stored, refused }))
    }

    /// All stored files, the newest first.
    ///
    /// ```no_run
    /// use gin_worker::axum::Json;
    /// use gin_worker::uploads::{Listed, Uploads};
    /// use gin_worker::Result;
    ///
    /// async fn list(uploads: Uploads) -> Result<Json<Vec<Listed>>> {
    ///     Ok(Json(uploads.list().await?))
    /// }
    /// ```
    ///
    /// # Errors
    /// 500 if the directory cannot be read.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let directory = self.directory().internal()?;
        spawn_blocking(move || listing::read(&directory)).await.internal()?.internal()
    }

    /// Answers with the file of this name, to be saved: 404 if there is none. Ranges and conditions count as for any file.
    ///
    /// No browser shows it as a page of this site, whatever it contains: it is an attachment of the type `application/octet-stream`, with
    /// `X-Content-Type-Options: nosniff` and `Content-Security-Policy: sandbox`. It is kept by no shared cache.
    ///
    /// ```no_run
    /// use gin_worker::axum::extract::{Path, Request};
    /// use gin_worker::axum::response::Response;
    /// use gin_worker::uploads::Uploads;
    ///
    /// async fn download(uploads: Uploads, Path(name): Path<String>, request: Request) -> Response {
    ///     uploads.download(&name, request).await
    /// }
    /// ```
    pub async fn download(&self, name: &str, request: Request) -> Response {
        let Some(name) = Name::parse(name) else { return Error::not_found("not found").into_response() };
        let directory = match self.directory() {
            Ok(directory) => directory,
            Err(error) => return Error::internal(error).into_response(),
        };
        let path = directory.path().join(name.as_str());
        let mut response = Box::pin(files::attachment(path, name.as_str(), request)).await;
        harmless(&mut response);
        response
    }

    /// Removes the file of this name. False: there is none.
    ///
    /// # Errors
    /// 500 if it cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let Some(name) = Name::parse(name) else { return Ok(false) };
        let directory = self.directory().internal()?;
        spawn_blocking(move || remove(&directory, &name)).await.internal()?.internal()
    }

    /// Routes for uploads that can be resumed, by tus 1.0, below this path. They are 404 while `uploads.resumable` is false.
    ///
    /// ```
    /// use gin_worker::uploads::Uploads;
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).uploads().group(Uploads::resumable("/tus"));
    /// ```
    #[must_use]
    pub fn resumable<S: Clone + Send + Sync + 'static>(prefix: &str) -> Group<S> {
        tus::routes(prefix)
    }

    pub(crate) fn settings(&self) -> &config::Uploads {
        &self.0.settings
    }

    /// The directory of the files.
    ///
    /// # Errors
    /// If the part is not open: only before the worker is ready.
    pub(crate) fn directory(&self) -> io::Result<Arc<Directory>> {
        let directory = self.0.directory.get().cloned();
        directory.ok_or_else(|| io::Error::other("the directory of uploads is not open"))
    }

    /// The first directory stays.
    fn open(&self, directory: Directory) {
        let _ = self.0.directory.set(Arc::new(directory));
    }

    /// Counts an upload, and tells the log if there was no room for it.
    pub(crate) fn count<T>(&self, outcome: &Result<T, UploadError>) {
        let counter = if outcome.is_ok() { &self.0.stored } else { &self.0.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome
            && error.is_no_space()
        {
            tracing::warn!("a file is refused: {error}");
        }
    }

    /// Uploads that were stored and refused since the start of this worker.
    fn counted(&self) -> (u64, u64) {
        (self.0.stored.load(Ordering::Relaxed), self.0.refused.load(Ordering::Relaxed))
    }
}

fn remove(directory: &Directory, name: &Name) -> io::Result<bool> {
    match unlinkat(directory.fd(), name.as_str(), AtFlags::empty()) {
        Ok(()) => directory.sync().map(|()| true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Has a browser save a stranger's file, and never show it.
fn harmless(response: &mut Response) {
    let status = response.status();
    let headers = response.headers_mut();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        // The file may be removed, and not everybody may have it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if !status.is_success() {
        return;
    }
    // Several ranges have a type of their own, which names their boundary.
    let is_several = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
    if !is_several {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
}

//! Static files: conditional, in parts, compressed, listed, and never from outside of their directory.

mod cache;
mod conditional;
mod digest;
mod encoding;
mod fallback;
mod flights;
mod freshness;
mod listing;
mod media_type;
mod range;
mod representation;
mod resolve;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::Error;
use crate::config::Static;
use crate::request_path::normal_path;
use cache::{Cache, Known};
use freshness::Freshness;
use listing::{Form, Listing};
use representation::{Content, Representation, send};
use resolve::{Root, Wanted};

/// A smaller file gains nothing. Without the feature `compression` no file is large enough.
const COMPRESS_MIN: usize = if cfg!(feature = "compression") { 1024 } else { usize::MAX - 1 };

/// The files of one directory, under one path.
#[derive(Debug)]
pub(crate) struct Files {
    cache: Cache,
    /// In the normal form of requests' paths, without a `/` at its end.
    prefix: String,
    /// The same as it was written, for people.
    written: String,
}

/// What of a request counts for files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// They know the connection.
    pub(crate) extensions: &'a Extensions,
}

impl<'a> Asking<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// The file or directory to which the path of a request leads, below the directory `root`: its path there, true for a directory,
/// and the open file.
#[cfg(any(test, fuzzing))]
pub(crate) fn look_up(root: &Path, path: &str) -> Option<(PathBuf, bool, io::Result<std::os::fd::OwnedFd>)> {
    let Wanted { path, is_directory } = resolve::wanted(path)?;
    let found = Root::open(root).and_then(|root| root.at(&path));
    Some((path, is_directory, found))
}

impl Files {
    /// # Errors
    /// If there is no such directory.
    pub(crate) fn open(dir: &Path, prefix: &str, memory: u64) -> io::Result<Self> {
        let root = Root::open(dir)?;
        let prefix = prefix.trim_matches('/');
        let written = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Ok(Self { cache: Cache::new(root, memory), prefix: normal_path(&written), written })
    }

    /// The same for one file: its directory, and its name there.
    ///
    /// # Errors
    /// As [`Self::open`]; a path that ends in no name.
    pub(crate) fn one(path: &Path, memory: u64) -> io::Result<(Self, PathBuf)> {
        // The application has chosen it: a link may lead anywhere.
        let path = path.canonicalize()?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self::open(dir, "", memory)?, name.into()))
    }

    /// Looks whether there is a file of this name.
    ///
    /// # Errors
    /// If there is none, it may not be read, or the name leads out of the directory.
    pub(crate) fn has(&self, name: &Path) -> io::Result<()> {
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::other("it is not below the directory"));
        }
        let is_file = self.cache.open(name)?.metadata()?.is_file();
        if is_file { Ok(()) } else { Err(io::Error::other("it is no file")) }
    }

    /// Answers with one file, whatever the path that was asked for.
    pub(crate) async fn answer_with(&self, settings: &Static, request: &Asking<'_>, name: &Path) -> Response {
        let wanted = Wanted { path: name.to_owned(), is_directory: false };
        self.answer_wanted(settings, request, &wanted).await.unwrap_or_else(nothing)
    }

    /// Answers a request for something below the prefix.
    pub(crate) async fn answer(&self, settings: &Static, request: &Asking<'_>) -> Response {
        let wanted = request.uri.path().strip_prefix(&self.prefix).and_then(resolve::wanted);
        let found = match wanted {
            Some(wanted) => self.answer_wanted(settings, request, &wanted).await,
            None => None,
        };
        match (found, &settings.fallback) {
            (Some(response), _) => response,
            (None, Some(page)) => self.fall_back(settings, request, Path::new(page)).await,
            (None, None) => nothing(),
        }
    }

    /// `None`: there is nothing.
    async fn answer_wanted(&self, settings: &Static, request: &Asking<'_>, wanted: &Wanted) -> Option<Response> {
        let Asking { method, .. } = request;
        if *method != Method::GET && *method != Method::HEAD {
            let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here"));
            return Some(([(header::ALLOW, "GET,HEAD")], error).into_response());
        }
        self.find(settings, request, wanted).await.unwrap_or_else(|error| Some(failed(error)))
    }

    async fn find(&self, settings: &Static, request: &Asking<'_>, wanted: &Wanted) -> io::Result<Option<Response>> {
        let Asking { uri, headers, .. } = request;
        match self.cache.look(&wanted.path).await? {
            Known::Nothing => Ok(None),
            Known::Directory if !wanted.is_directory => Ok(Some(to_directory(uri))),
            Known::Directory => {
                for index in &settings.index_files {
                    let path = wanted.path.join(index);
                    let known = self.cache.look(&path).await?;
                    if matches!(known, Known::Whole(..) | Known::Large(..)) {
                        return self.allowed(settings, request, &path, known).await;
                    }
                }
                if settings.enable_directory_listing {
                    return self.list(settings, headers, &wanted.path).await.map(Some);
                }
                Ok(None)
            }
            // A file is no directory.
            Known::Whole(..) | Known::Large(..) if wanted.is_directory => Ok(None),
            known => self.allowed(settings, request, &wanted.path, known).await,
        }
    }

    /// Answers with the file at `path`, whatever its type. `None`: there is no file.
    async fn at(&self, settings: &Static, request: &Asking<'_>, path: &Path) -> Option<Response> {
        let answer = async { self.file(settings, request, path, self.cache.look(path).await?).await };
        answer.await.unwrap_or_else(|error| Some(failed(error)))
    }

    /// The same for a file that is known, if files of its type are served.
    async fn allowed(
        &self,
        settings: &Static,
        request: &Asking<'_>,
        path: &Path,
        known: Known,
    ) -> io::Result<Option<Response>> {
        if !is_allowed(&settings.allowed_types, path) {
            return Ok(None);
        }
        self.file(settings, request, path, known).await
    }

    async fn file(
        &self,
        settings: &Static,
        request: &Asking<'_>,
        path: &Path,
        known: Known,
    ) -> io::Result<Option<Response>> {
        let Asking { method, headers, .. } = request;
        let (ending, freshness) = (ending(path), Freshness::of(settings, path));
        let is_usual = is_usual(method, headers);
        let (stamp, content, whole) = match known {
            Known::Whole(stamp, whole) => (stamp, Content::Memory(Arc::clone(&whole)), Some(whole)),
            Known::Large(stamp, file) => (stamp, Content::Disk(file, stamp), None),
            Known::Nothing | Known::Directory => return Ok(None),
        };
        if settings.max_size.is_some_and(|most| stamp.length > most) {
            return Ok(Some(Error::forbidden("this file is too large to be served").into_response()));
        }
        if is_usual
            && let Some(whole) = &whole
            && let Some((known, compresses, said)) = whole.usual.get()
            && (*known, *compresses) == (freshness, settings.enable_compression)
            && !(said.contains_key(header::VARY) && headers.contains_key(header::ACCEPT_ENCODING))
        {
            let mut response = Response::new(Body::from(whole.bytes.clone()));
            *response.headers_mut() = said.clone();
            return Ok(Some(response));
        }
        let (kind, is_text) = media_type::of(path, ending);
        let varies = settings.enable_compression && (is_text || ending.is_empty());
        let plain = Representation { stamp, coding: None, content };
        let chosen = if varies && !headers.contains_key(header::RANGE) {
            self.choose(settings, headers, path, plain, is_text).await?
        } else {
            plain
        };
        let mut response = send(request, &chosen, &kind);
        let status = response.status();
        let own = response.headers_mut();
        if varies || chosen.coding.is_some() {
            own.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        // A cache would keep a refusal, too, and give it to others (RFC 9111, section 3).
        if [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED].contains(&status) {
            own.insert(header::CACHE_CONTROL, freshness.header());
        }
        if is_usual
            && chosen.coding.is_none()
            && let Some(whole) = whole
        {
            let _ = whole.usual.set((freshness, settings.enable_compression, response.headers().clone()));
        }
        Ok(Some(response))
    }

    /// The coding that the client likes best: of a file beside the original, or compressed here.
    async fn choose(
        &self,
        settings: &Static,
        headers: &HeaderMap,
        path: &Path,
        plain: Representation,
        is_text: bool,
    ) -> io::Result<Representation> {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let accepted = encoding::accepted(accepted);
        for coding in accepted.codings {
            let mut beside = path.as_os_str().to_owned();
            beside.push(format!(".{}", coding.ending()));
            let known = self.cache.look(Path::new(&beside)).await?;
            let is_new = known.is_as_new_as(&plain.stamp);
            match (known, &plain.content) {
                (Known::Whole(stamp, whole), _) if is_new => {
                    return Ok(Representation { stamp, coding: Some(coding), content: Content::Memory(whole) });
                }
                (Known::Large(stamp, file), _) if is_new => {
                    return Ok(Representation { stamp, coding: Some(coding), content: Content::Disk(file, stamp) });
                }
                (_, Content::Memory(whole)) if is_text && whole.bytes.len() >= COMPRESS_MIN => {
                    let level = settings.compression_level;
                    let whole = self.cache.compressed(path, plain.stamp, &whole.bytes, coding, level).await?;
                    return Ok(Representation { coding: Some(coding), content: Content::Memory(whole), ..plain });
                }
                _ => {}
            }
        }
        Ok(plain)
    }

    async fn list(&self, settings: &Static, headers: &HeaderMap, path: &Path) -> io::Result<Response> {
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let wants_json = accepts.split(',').next().is_some_and(|first| first.trim().starts_with("application/json"));
        let (form, kind) =
            if wants_json { (Form::Json, "application/json") } else { (Form::Page, "text/html; charset=utf-8") };
        let (prefix, written, own) = (self.prefix.clone(), self.written.clone(), path.to_owned());
        let render = move |listing: &Listing| {
            let text = match form {
                Form::Json => listing::json(&listing::url(&prefix, &own), listing),
                Form::Page => {
                    listing::page(&format!("{written}/{}", own.display()), own.as_os_str().is_empty(), listing)
                }
            };
            text.into_bytes()
        };
        let bytes = self.cache.listed(path, form, &settings.allowed_types, render).await?;
        let mut response = Response::new(Body::from(bytes));
        let own = response.headers_mut();
        own.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        own.insert(header::VARY, HeaderValue::from_static("accept"));
        own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(response)
    }
}

/// The last part of a path; empty if it is no UTF-8.
fn name(path: &Path) -> &str {
    // `Path::file_name` reads the whole path in its parts, for each request.
    let path = path.to_str().unwrap_or_default();
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The ending of a path's name, behind its last point; empty if there is none, or nothing before it.
fn ending(path: &Path) -> &str {
    name(path).rsplit_once('.').filter(|(before, _)| !before.is_empty()).map_or("", |(_, ending)| ending)
}

/// Whether the whole file is asked for, as it is, whatever the client has of it.
fn is_usual(method: &Method, headers: &HeaderMap) -> bool {
    const OTHERWISE: [header::HeaderName; 6] = [
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ];
    method == Method::GET && !OTHERWISE.iter().any(|name| headers.contains_key(name))
}

/// By `static.allowed_types`.
fn is_allowed(allowed: &[String], path: &Path) -> bool {
    let own = ending(path);
    let is_own = |allowed: &String| allowed.trim_start_matches('.').eq_ignore_ascii_case(own);
    allowed.is_empty() || allowed.iter().any(is_own)
}

fn failed(error: io::Error) -> Response {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::forbidden("this file may not be read").into_response(),
        _ => Error::internal(error).into_response(),
    }
}

fn nothing() -> Response {
    Error::not_found("not found").into_response()
}

/// With a `/` at its end, or names in its page would be beside it.
fn to_directory(uri: &Uri) -> Response {
    // Relative to itself: no host can be slipped in.
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    match HeaderValue::try_from(format!("./{name}/{query}")) {
        Ok(location) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response(),
        Err(_) => nothing(),
    }
}

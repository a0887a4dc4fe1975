//! A form with files, part by part.

use std::future::poll_fn;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;

use super::Uploads;
use super::error::UploadError;
use super::feed::{Feed, FeedError};
use super::listing::as_rfc_3339;
use super::names::{Name, last_piece};
use super::writing::{self, Writing};
use crate::Error;
use crate::parts::Parts;

/// Most bytes of a part's head.
const HEAD_MAX: usize = 16 << 10;
/// Most bytes of a text.
const TEXT_MAX: u64 = 64 << 10;
/// Parts that a form may have beside its files.
const OTHER_PARTS: u32 = 100;
/// Bytes that a body may have beside its files.
const OTHER_BYTES: u64 = 1 << 20;
/// Longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// A form of the type `multipart/form-data`, an extractor. Its parts come one by one, as the client sends them: nothing of them is held in
/// memory but two blocks of 256 KiB. `limits.body` does not count for it, `uploads.file` and `uploads.files` do.
///
/// A handler that returns before the form's end drops the rest.
///
/// ```no_run
/// use gin_worker::axum::Json;
/// use gin_worker::uploads::{Form, Stored};
/// use gin_worker::{Error, Result};
///
/// async fn upload(mut form: Form) -> Result<Json<Stored>> {
///     while let Some(field) = form.next().await? {
///         if field.name() == "file" {
///             return Ok(Json(field.save().await?));
///         }
///     }
///     Err(Error::bad_request("the form has no field \"file\""))
/// }
/// ```
pub struct Form {
    feed: Feed,
    parser: multer::Multipart<'static>,
    /// The part that was given last.
    part: Option<multer::Field<'static>>,
    uploads: Uploads,
    parts: u32,
    files: u32,
    /// True after an error behind which no part can be found.
    is_lost: bool,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form").field("parts", &self.parts).field("files", &self.files).finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let uploads: Uploads = Parts::handle(&parts.extensions, "uploads")?;
        Ok(Self::new(uploads, &parts.headers, body)?)
    }
}

impl Form {
    /// # Errors
    /// If these headers are of no form.
    pub(super) fn new(uploads: Uploads, headers: &HeaderMap, body: Body) -> Result<Self, UploadError> {
        let settings = uploads.settings();
        let feed = Feed::new(body, settings.file.saturating_mul(settings.files.into()).saturating_add(OTHER_BYTES));
        match boundary(headers) {
            Ok(boundary) => {
                let parser = multer::Multipart::new(feed.clone(), boundary);
                Ok(Self { feed, parser, part: None, uploads, parts: 0, files: 0, is_lost: false })
            }
            Err(error) => {
                feed.drop_rest(settings.file.saturating_mul(2));
                Err(error)
            }
        }
    }

    /// The next part. What is left of the part before is read and thrown away. `None`: the form is at its end.
    ///
    /// # Errors
    /// [`UploadError::Malformed`], [`UploadError::TooManyParts`], [`UploadError::Aborted`], and [`UploadError::TooLarge`] for the whole form:
    /// no part comes behind them.
    pub async fn next(&mut self) -> Result<Option<Field<'_>>, UploadError> {
        if self.is_lost {
            return Err(UploadError::Malformed);
        }
        while self.part.is_some() {
            if self.bytes().await?.is_none() {
                self.part = None;
            }
        }
        let Self { feed, parser, .. } = self;
        let found = poll_fn(|cx| feed.poll(cx, |cx| parser.poll_next_field(cx))).await;
        let Some(part) = found.map_err(|error| self.lost(&error))? else { return Ok(None) };
        self.feed.went_on();
        self.parts += 1;
        if let Err(error) = self.judge(part.headers()) {
            self.is_lost = true;
            return Err(error);
        }
        self.part = Some(part);
        Ok(Some(Field { form: self }))
    }

    fn judge(&self, head: &HeaderMap) -> Result<(), UploadError> {
        if self.parts > self.uploads.settings().files.saturating_add(OTHER_PARTS) {
            return Err(UploadError::TooManyParts);
        }
        let bytes: usize = head.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > HEAD_MAX { Err(UploadError::Malformed) } else { Ok(()) }
    }

    /// The next bytes of the part. `None`: it is at its end.
    async fn bytes(&mut self) -> Result<Option<Bytes>, UploadError> {
        let Self { feed, part: Some(part), .. } = self else { return Ok(None) };
        let bytes = poll_fn(|cx| feed.poll(cx, |cx| part.poll_next_unpin(cx))).await;
        let bytes = bytes.transpose().map_err(|error| self.lost(&error))?;
        self.feed.went_on();
        Ok(bytes)
    }

    /// The reason for which no part can be found any more.
    fn lost(&mut self, error: &multer::Error) -> UploadError {
        self.is_lost = true;
        self.part = None;
        let of_feed = match error {
            multer::Error::StreamReadFailed(error) => error.downcast_ref::<FeedError>(),
            _ => None,
        };
        match of_feed {
            Some(FeedError::TooLarge { limit }) => UploadError::TooLarge { limit: *limit },
            Some(FeedError::Broken) => UploadError::Aborted,
            Some(FeedError::Idle) | None => UploadError::Malformed,
        }
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        self.feed.drop_rest(self.uploads.settings().file.saturating_mul(2));
    }
}

fn boundary(headers: &HeaderMap) -> Result<String, UploadError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(kind.ok_or(UploadError::NotMultipart)?).map_err(|error| match error {
        multer::Error::NoBoundary => UploadError::Malformed,
        _ => UploadError::NotMultipart,
    })?;
    if boundary.is_empty() || boundary.len() > BOUNDARY_MAX { Err(UploadError::Malformed) } else { Ok(boundary) }
}

/// A part of a form. Dropped, it is thrown away.
#[derive(Debug)]
pub struct Field<'f> {
    form: &'f mut Form,
}

impl Field<'_> {
    /// The name of the field, as the page gives it. Empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.form.part.as_ref().and_then(multer::Field::name).unwrap_or_default()
    }

    /// The name of the file on the client's disk. `None`: the part is no file. Nothing of it may be believed; [`Self::save`] makes a name of
    /// its own.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.form.part.as_ref().and_then(multer::Field::file_name)
    }

    /// Writes the file to the disk as it comes. It is listed once it is whole and on the disk; before, and after any error, there is
    /// nothing of it. A future that is dropped stores nothing, unless the name of the file is being made.
    ///
    /// # Errors
    /// [`UploadError`]. Behind one of this file alone (its type, its size, no space) the next part can be asked for.
    pub async fn save(self) -> Result<Stored, UploadError> {
        let form = self.form;
        let original = form.part.as_ref().and_then(multer::Field::file_name).map(last_piece).unwrap_or_default();
        let original = original.to_owned();
        let saved = Box::pin(save(form, &original)).await;
        form.uploads.count(&saved);
        saved.map_err(|error| match error {
            UploadError::Type { found, .. } => UploadError::Type { name: original, found },
            error => error,
        })
    }

    /// Reads the part as a text.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`] above 64 KiB; [`UploadError::Malformed`] if it is not UTF-8; those of [`Form::next`].
    pub async fn text(self) -> Result<String, UploadError> {
        let mut text = Vec::new();
        while let Some(bytes) = self.form.bytes().await? {
            if (text.len() + bytes.len()) as u64 > TEXT_MAX {
                return Err(UploadError::TooLarge { limit: TEXT_MAX });
            }
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text).map_err(|_| UploadError::Malformed)
    }
}

async fn save(form: &mut Form, original: &str) -> Result<Stored, UploadError> {
    let (directory, settings) = (form.uploads.directory()?, form.uploads.settings().clone());
    form.files += 1;
    if form.files > settings.files {
        return Err(UploadError::TooManyParts);
    }
    let name = Name::of(original, writing::number()?, &settings.allow)?;
    let mut writing = Writing::begin(directory, settings.quota, name.clone()).await?;
    let mut size = 0;
    while let Some(bytes) = form.bytes().await? {
        size += bytes.len() as u64;
        if size > settings.file {
            return Err(UploadError::TooLarge { limit: settings.file });
        }
        writing.add(&bytes).await?;
    }
    let kind = writing.finish().await?;
    Ok(Stored {
        filename: name.as_str().to_owned(),
        original_name: original.to_owned(),
        size,
        content_type: kind.to_owned(),
        upload_time: SystemTime::now(),
    })
}

/// A file that is stored: whole, on the disk, and listed.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Stored {
    /// The name by which it is downloaded and removed.
    pub filename: String,
    /// The name on the client's disk, without directories. It is text of a stranger's: a page must escape it.
    pub original_name: String,
    /// In bytes.
    pub size: u64,
    /// The media type of its contents.
    pub content_type: String,
    /// The time at which it was stored. In JSON it is RFC 3339, in seconds.
    #[serde(serialize_with = "as_rfc_3339")]
    pub upload_time: SystemTime,
}

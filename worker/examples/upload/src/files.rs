//! Uploads, downloads, and the list of files.
//!
//! `full` has these routes, too, for users who are logged in.

use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, Request};
use gin_worker::axum::http::StatusCode;
use gin_worker::axum::response::{IntoResponse, Response};
use gin_worker::uploads::{Field, Form, Listed, Stored, UploadError, Uploads};
use gin_worker::{Error, Group, Result, Route};
use serde::Serialize;

use crate::texts::{Text, Texts};

/// A form, or why the request has none.
type Sent = Result<Form>;

/// A file that was stored.
#[derive(Debug, Serialize)]
struct Uploaded {
    #[serde(flatten)]
    stored: Stored,
    download_url: String,
}

#[derive(Debug, Serialize)]
struct One {
    data: Uploaded,
    message: &'static str,
}

#[derive(Debug, Serialize)]
struct Several {
    data: All,
    message: String,
    /// A line for each file that was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<usize>,
}

#[derive(Debug, Serialize)]
struct All {
    uploaded_files: Vec<Uploaded>,
    total_count: usize,
}

#[derive(Debug, Serialize)]
struct Entry {
    #[serde(flatten)]
    listed: Listed,
    download_url: String,
}

#[derive(Debug, Serialize)]
struct List {
    data: Vec<Entry>,
    total: usize,
    message: &'static str,
}

/// Files of one form: those that were stored, and the names of the others, with the reasons.
#[derive(Default)]
struct Taken {
    stored: Vec<Stored>,
    refused: Vec<(String, Text)>,
}

impl From<Stored> for Uploaded {
    fn from(stored: Stored) -> Self {
        Self { download_url: url(&stored.filename), stored }
    }
}

impl From<Listed> for Entry {
    fn from(listed: Listed) -> Self {
        Self { download_url: url(&listed.filename), listed }
    }
}

pub fn routes<S: Clone + Send + Sync + 'static>() -> Group<S> {
    Group::new("")
        .tag("files")
        .route(Route::post("/upload", upload).describe("上传文件"))
        .route(Route::post("/upload/multiple", upload_several).describe("上传多个文件"))
        .route(Route::get("/download/:filename", download).describe("下载文件"))
        .route(Route::get("/files", list).describe("文件列表"))
}

async fn upload(texts: Texts, form: Sent) -> Result<Json<One>> {
    let mut form = form.map_err(|error| refused(texts, error))?;
    let stored = first(&mut form).await.map_err(|error| match error {
        UploadError::TooLarge { limit, .. } => too_large(texts, limit),
        error => refused(texts, error),
    })?;
    let no_file = || {
        Error::bad_request(texts.say(Text::TheUploadHasFailed)).details("the form has no file in the field \"file\"")
    };
    let data = stored.ok_or_else(no_file)?.into();
    // Fields behind the file are read, so that the connection can go on with the next request.
    while let Ok(Some(_)) = form.next().await {}
    Ok(Json(One { data, message: texts.say(Text::Uploaded) }))
}

async fn upload_several(texts: Texts, uploads: Uploads, form: Sent) -> Result<Json<Several>> {
    let unreadable = || Error::bad_request(texts.say(Text::TheFormCannotBeRead));
    let mut form = form.map_err(|_| unreadable())?;
    let mut taken = Taken::default();
    if let Err(error) = take(&mut form, &mut taken).await {
        withdraw(&uploads, &taken.stored).await?;
        return Err(if error.status() == StatusCode::BAD_REQUEST { unreadable() } else { refused(texts, error) });
    }
    if taken.stored.is_empty() && taken.refused.is_empty() {
        return Err(Error::bad_request(texts.say(Text::NoFileWasChosen)));
    }
    Ok(Json(told(texts, taken)))
}

async fn download(texts: Texts, uploads: Uploads, Path(name): Path<String>, request: Request) -> Response {
    let answer = uploads.download(&name, request).await;
    if answer.status() == StatusCode::NOT_FOUND {
        return Error::not_found(texts.say(Text::ThereIsNoSuchFile)).into_response();
    }
    answer
}

async fn list(texts: Texts, uploads: Uploads) -> Result<Json<List>> {
    let data: Vec<Entry> = uploads.list().await?.into_iter().map(Entry::from).collect();
    Ok(Json(List { total: data.len(), data, message: texts.say(Text::Files) }))
}

/// Stores the first file of the field `file`.
async fn first(form: &mut Form) -> Result<Option<Stored>, UploadError> {
    while let Some(field) = form.next().await? {
        if field.name() == "file" && chosen(&field).is_some() {
            return field.save().await.map(Some);
        }
    }
    Ok(None)
}

/// Stores the files of the fields `files`.
///
/// # Errors
/// If the form ends too early, or has too many parts, or the directory cannot be written.
async fn take(form: &mut Form, taken: &mut Taken) -> Result<()> {
    while let Some(field) = form.next().await? {
        let Some(name) = chosen(&field).filter(|_| field.name() == "files") else { continue };
        match field.save().await.map_err(Error::from) {
            Ok(stored) => taken.stored.push(stored),
            Err(error) => taken.refused.push((name, reason(error.status()).ok_or(error)?)),
        }
    }
    Ok(())
}

/// The name of a field's file. A browser sends a field without a file with an empty name.
fn chosen(field: &Field<'_>) -> Option<String> {
    field.file_name().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Removes files of a form that is answered with an error: its client knows of none of them.
async fn withdraw(uploads: &Uploads, stored: &[Stored]) -> Result<()> {
    for file in stored {
        uploads.remove(&file.filename).await?;
    }
    Ok(())
}

/// The answer to a form with several files.
fn told(texts: Texts, Taken { stored, refused }: Taken) -> Several {
    let uploaded_files: Vec<Uploaded> = stored.into_iter().map(Uploaded::from).collect();
    let total_count = uploaded_files.len();
    let errors: Vec<String> =
        refused.into_iter().map(|(name, reason)| format!("{name}: {}", texts.say(reason))).collect();
    Several {
        data: All { uploaded_files, total_count },
        message: texts.say_with(Text::NFilesUploaded, total_count),
        error_count: (!errors.is_empty()).then_some(errors.len()),
        errors,
    }
}

/// Why one file of several is refused. `None`: the reason is not the file's.
fn reason(status: StatusCode) -> Option<Text> {
    match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some(Text::ThisTypeOfFileIsNotTaken),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Text::TheFileIsTooLarge),
        StatusCode::INSUFFICIENT_STORAGE => Some(Text::ThereIsNoSpaceLeft),
        _ => None,
    }
}

/// The library's refusal as the documents answer it: a file that is not taken is a 400. `texts::told` translates the rest, by its code.
fn refused(texts: Texts, error: impl Into<Error>) -> Error {
    let error: Error = error.into();
    match error.status() {
        StatusCode::BAD_REQUEST => Error::bad_request(texts.say(Text::TheUploadHasFailed)).details(error.in_words()),
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            error.with_status(StatusCode::BAD_REQUEST)
        }
        _ => error,
    }
}

/// The documents' answer to a file of more than `limit` bytes.
fn too_large(texts: Texts, limit: u64) -> Error {
    let limit = size(limit, if texts.language() == "zh" { "" } else { " " });
    Error::bad_request(texts.say_with(Text::TheFileIsLargerThanN, limit))
}

/// A size in the largest unit of which it is a multiple: `10MB`, with this between the two.
fn size(bytes: u64, between: &str) -> String {
    let units = [("GB", 30), ("MB", 20), ("KB", 10)];
    let (unit, shift) =
        units.into_iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift).unwrap_or(("B", 0));
    format!("{}{between}{unit}", bytes >> shift)
}

/// The path of a file's download. Letters beyond ASCII are escaped.
fn url(name: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    format!("/download/{}", name.bytes().map(escaped).collect::<String>())
}

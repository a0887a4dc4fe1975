//! The right to use files: logins have the scope `files`, and only an admin may delete one.

use gin_worker::auth::{RequireRole, RequireScope, Scope};
use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, Request};
use gin_worker::axum::middleware::Next;
use gin_worker::axum::response::Response;
use gin_worker::serde_json::{Value, json};
use gin_worker::uploads::Uploads;
use gin_worker::{Error, Result};

use crate::routes::Admin;
use crate::texts::{Text, Texts};

/// The scope `files`.
pub struct Files;

impl Scope for Files {
    const NAME: &'static str = "files";
}

/// Lets users with the scope through.
pub async fn of_files(_: RequireScope<Files>, request: Request, next: Next) -> Response {
    next.run(request).await
}

/// `DELETE /files/:filename`
pub async fn remove_file(
    _: RequireRole<Admin>,
    texts: Texts,
    uploads: Uploads,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    if !uploads.remove(&name).await? {
        return Err(Error::not_found(texts.say(Text::ThereIsNoSuchFile)));
    }
    Ok(Json(json!({ "message": texts.say(Text::TheFileIsDeleted) })))
}

//! Files as answers of handlers: in parts, conditional, with the right type. For whole directories see [`crate::Server::files`].

use std::path::Path;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::assets::{Asking, Files};
use crate::config::Static;
use crate::live::Snapshot;

/// The file at `path` (Gin's `c.File`), by the settings of `[static]`. The path is the application's: nothing of it may be a client's.
///
/// ```
/// use gin_worker::axum::{extract::Request, response::IntoResponse};
/// use gin_worker::files;
///
/// async fn terms(request: Request) -> impl IntoResponse {
///     files::file("/srv/shop/terms.html", request).await
/// }
/// ```
pub async fn file(path: impl AsRef<Path>, request: Request) -> Response {
    let in_force = |own: &Snapshot| own.0.config.files.clone().in_mode(own.0.config.server.mode);
    let settings = request.extensions().get::<Snapshot>().map_or_else(Static::default, in_force);
    // Types and sizes are limited where a whole directory is shown.
    let settings = Static { allowed_types: Vec::new(), max_size: None, ..settings };
    match Files::one(path.as_ref(), 0) {
        Ok((files, name)) => files.answer_with(&settings, &Asking::of(&request), &name).await,
        Err(_) => crate::Error::not_found("not found").into_response(),
    }
}

/// The same, to be saved under `name` (Gin's `c.FileAttachment`).
///
/// ```
/// use gin_worker::axum::{extract::Request, response::IntoResponse};
/// use gin_worker::files;
///
/// async fn invoice(request: Request) -> impl IntoResponse {
///     files::attachment("/srv/shop/invoices/7.pdf", "invoice.pdf", request).await
/// }
/// ```
pub async fn attachment(path: impl AsRef<Path>, name: &str, request: Request) -> Response {
    let mut response = file(path, request).await;
    if response.status().is_success() {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition(name));
    }
    response
}

/// RFC 6266, with the name once in plain ASCII and once as it is (RFC 8187).
fn disposition(name: &str) -> HeaderValue {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\%/".contains(c) || c == ' ' { c } else { '_' }).collect();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(byte);
    let whole: String = name
        .bytes()
        .map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let text = if plain == name {
        format!("attachment; filename=\"{plain}\"")
    } else {
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}")
    };
    HeaderValue::try_from(text).expect("ASCII without control characters")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn no_name_breaks_out_of_its_quotes() {
        for (name, expected) in [
            ("report.pdf", "attachment; filename=\"report.pdf\""),
            ("a\"; x=\"b", "attachment; filename=\"a_; x=_b\"; filename*=UTF-8''a%22%3B%20x%3D%22b"),
            ("报告\r\n.pdf", "attachment; filename=\"____.pdf\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A%0D%0A.pdf"),
        ] {
            assert_eq!(disposition(name), expected);
        }
    }

    #[tokio::test]
    async fn a_file_is_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, "0123456789").unwrap();
        let request = || Request::get("/x/").header("range", "bytes=2-4").body(Body::empty()).unwrap();
        let response = attachment(&path, "b.txt", request()).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"b.txt\"");
        assert_eq!(file(dir.path().join("none"), request()).await.status(), StatusCode::NOT_FOUND);
    }
}

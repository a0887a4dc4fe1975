//! What a handler answers.

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, NoContent, Redirect, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::schema::{Describe, Object, Schema};
use crate::Error;

/// The answer of a handler, which tells its type.
///
/// A status that the type says is told: 200 of [`Json`], 201 of [`Created`]. One that the handler chooses at runtime,
/// `(StatusCode, Json<T>)`, is not.
///
/// ```
/// use gin_worker::Route;
/// use gin_worker::api::{Answer, Output, Schema};
/// use gin_worker::axum::http::{StatusCode, header};
/// use gin_worker::axum::response::{IntoResponse, Response};
///
/// struct Csv(String);
///
/// impl IntoResponse for Csv {
///     fn into_response(self) -> Response {
///         ([(header::CONTENT_TYPE, "text/csv")], self.0).into_response()
///     }
/// }
///
/// impl Answer for Csv {
///     fn outputs() -> Vec<Output> {
///         vec![Output::body("text/csv", Schema::Text), Output::empty(StatusCode::NOT_FOUND)]
///     }
/// }
///
/// async fn export() -> Csv {
///     Csv("id,name\n".to_owned())
/// }
///
/// let route = Route::<()>::api_get("/export", export);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not tell what it answers",
    label = "no `Answer`",
    note = "answers are `Json<T>`, `Created<Json<T>>`, `(StatusCode, Json<T>)`, texts, `()`, and `gin_worker::Result` of these; a struct is answered as `Json<T>`",
    note = "an `impl IntoResponse` has no type to tell: name the type, or take `Route::get` and its like"
)]
pub trait Answer {
    /// All answers that it may be.
    #[must_use]
    fn outputs() -> Vec<Output>;
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Output {
    /// `None` where the handler chooses it, and of errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `None` without a body, or if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'static str>,
    /// What the body is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
}

impl Output {
    /// A status without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status: Some(status.as_u16()), content_type: None, schema: None }
    }

    /// 200, with a body of this type.
    #[must_use]
    pub fn body(content_type: &'static str, schema: Schema) -> Self {
        Self { status: Some(StatusCode::OK.as_u16()), content_type: Some(content_type), schema: Some(schema) }
    }

    /// Changes the status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status.as_u16());
        self
    }

    /// An answer of any status.
    fn any() -> Self {
        Self { status: None, content_type: None, schema: None }
    }

    /// A refusal: every one has this shape.
    fn refusal() -> Self {
        let schema = Object::new("Error").field::<String>("error").field::<Option<Value>>("details");
        let schema = schema.field::<Option<String>>("code").into();
        Self { status: None, content_type: Some("application/json"), schema: Some(schema) }
    }
}

/// An answer with the status 201, which `/routes` tells.
///
/// ```
/// use gin_worker::api::Created;
/// use gin_worker::axum::Json;
/// use gin_worker::axum::response::IntoResponse;
///
/// let response = Created(Json("ann")).into_response();
/// assert_eq!(response.status(), 201);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created<R>(pub R);

impl<R: IntoResponse> IntoResponse for Created<R> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, self.0).into_response()
    }
}

impl<R: Answer> Answer for Created<R> {
    fn outputs() -> Vec<Output> {
        R::outputs().into_iter().map(|output| output.with_status(StatusCode::CREATED)).collect()
    }
}

impl<R: Answer> Answer for (StatusCode, R) {
    fn outputs() -> Vec<Output> {
        R::outputs().into_iter().map(|output| Output { status: None, ..output }).collect()
    }
}

impl<R: Answer, E> Answer for Result<R, E> {
    fn outputs() -> Vec<Output> {
        let mut all = R::outputs();
        all.push(Output::refusal());
        all
    }
}

impl<T: Describe> Answer for Json<T> {
    fn outputs() -> Vec<Output> {
        vec![Output::body("application/json", T::schema())]
    }
}

macro_rules! answers {
    ($($answer:ty => $output:expr;)*) => {$(
        impl Answer for $answer {
            fn outputs() -> Vec<Output> {
                vec![$output]
            }
        }
    )*};
}

answers! {
    () => Output::empty(StatusCode::OK);
    NoContent => Output::empty(StatusCode::NO_CONTENT);
    StatusCode => Output::any();
    Redirect => Output::any();
    Response => Output::any();
    Error => Output::refusal();
    String => Output::body("text/plain", Schema::Text);
    &'static str => Output::body("text/plain", Schema::Text);
    Cow<'static, str> => Output::body("text/plain", Schema::Text);
    Bytes => Output::body("application/octet-stream", Schema::Any);
    Vec<u8> => Output::body("application/octet-stream", Schema::Any);
}

impl<T> Answer for Html<T> {
    fn outputs() -> Vec<Output> {
        vec![Output::body("text/html", Schema::Text)]
    }
}

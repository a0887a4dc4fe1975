//! What a handler's arguments read of a request.

use axum::Json;
use axum::extract::{
    ConnectInfo, Extension, MatchedPath, NestedPath, Path, Query, RawPathParams, RawQuery, Request, State,
};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, Uri, Version};
use bytes::Bytes;
use serde::Serialize;

use super::arity::for_each_arity;
use super::schema::{Describe, Schema};

/// An argument of a handler that tells what it reads of a request.
///
/// An application's own extractor says it, too; one that reads nothing that a client chooses needs no method:
///
/// ```
/// use gin_worker::api::{Argument, Input};
///
/// struct CurrentUser(String); // what a middleware has found
/// impl Argument for CurrentUser {}
///
/// struct Paging(u32);
/// #[derive(serde::Deserialize)]
/// struct PagingQuery {
///     page: u32,
/// }
/// impl Argument for Paging {
///     fn inputs() -> Vec<Input> {
///         vec![Input::query::<PagingQuery>()]
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not tell what it reads of a request",
    label = "no `Argument`",
    note = "arguments are `State`, `Path`, `Query`, `Json`, `Bind...` and other extractors; a plain value comes in one of these",
    note = "for an extractor of your own write `impl gin_worker::api::Argument for` it; `Route::get` and its like need none"
)]
pub trait Argument {
    /// What it reads; nothing unless it says otherwise.
    #[must_use]
    fn inputs() -> Vec<Input> {
        Vec::new()
    }
}

/// A part of a request that an argument reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Input {
    /// The part.
    #[serde(rename = "in")]
    pub place: Place,
    /// Of a body: the types of it that are read.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub content_types: &'static [&'static str],
    /// What it must be. Of the path, a query and headers: an object with a field for each name, or the value of the only one.
    pub schema: Schema,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Place {
    /// The path's parameters.
    Path,
    /// The query string.
    Query,
    /// Headers.
    Header,
    /// The body.
    Body,
}

impl Input {
    /// The path's parameters.
    #[must_use]
    pub fn path<T: Describe>() -> Self {
        Self { place: Place::Path, content_types: &[], schema: T::schema() }
    }

    /// The query string.
    #[must_use]
    pub fn query<T: Describe>() -> Self {
        Self { place: Place::Query, content_types: &[], schema: T::schema() }
    }

    /// Headers: the field `x_token` is `x-token`.
    #[must_use]
    pub fn header<T: Describe>() -> Self {
        let mut schema = T::schema();
        if let Schema::Object(object) = &mut schema {
            object.fields.iter_mut().for_each(|field| field.name = field.name.replace('_', "-"));
        }
        Self { place: Place::Header, content_types: &[], schema }
    }

    /// A body of one of these types.
    #[must_use]
    pub fn body<T: Describe>(content_types: &'static [&'static str]) -> Self {
        Self { place: Place::Body, content_types, schema: T::schema() }
    }
}

/// All arguments of a handler.
#[diagnostic::on_unimplemented(message = "`{Self}` are not the arguments of a handler: at most 16 are")]
pub trait Arguments {
    /// What they read, in their order.
    #[must_use]
    fn inputs() -> Vec<Input>;
}

macro_rules! arguments {
    ($($argument:ident)*) => {
        impl<$($argument: Argument),*> Arguments for ($($argument,)*) {
            fn inputs() -> Vec<Input> {
                let all: &[Vec<Input>] = &[$($argument::inputs()),*];
                all.concat()
            }
        }
    };
}

for_each_arity!(arguments);

impl<T> Argument for State<T> {}
impl<T> Argument for Extension<T> {}
impl<T> Argument for ConnectInfo<T> {}
impl Argument for MatchedPath {}
impl Argument for NestedPath {}
impl Argument for RawPathParams {}
impl Argument for RawQuery {}
impl Argument for Request {}
impl Argument for Parts {}
impl Argument for Extensions {}
impl Argument for HeaderMap {}
impl Argument for Method {}
impl Argument for Uri {}
impl Argument for Version {}

#[cfg(feature = "tls")]
impl Argument for crate::tls::Tls {}
#[cfg(feature = "tls")]
impl Argument for crate::tls::ClientCertificate {}
#[cfg(feature = "tls")]
impl Argument for crate::tls::ClientName {}

impl<T: Describe> Argument for Path<T> {
    fn inputs() -> Vec<Input> {
        vec![Input::path::<T>()]
    }
}

impl<T: Describe> Argument for Query<T> {
    fn inputs() -> Vec<Input> {
        vec![Input::query::<T>()]
    }
}

impl<T: Describe> Argument for Json<T> {
    fn inputs() -> Vec<Input> {
        vec![Input::body::<T>(&["application/json"])]
    }
}

impl Argument for String {
    fn inputs() -> Vec<Input> {
        vec![Input::body::<Self>(&["text/plain"])]
    }
}

impl Argument for Bytes {
    fn inputs() -> Vec<Input> {
        vec![Input { place: Place::Body, content_types: &["application/octet-stream"], schema: Schema::Any }]
    }
}

/// What the argument reads, if it is there.
impl<A: Argument> Argument for Option<A> {
    fn inputs() -> Vec<Input> {
        A::inputs()
    }
}

/// What the argument reads; the handler sees the refusal.
impl<A: Argument, E> Argument for Result<A, E> {
    fn inputs() -> Vec<Input> {
        A::inputs()
    }
}

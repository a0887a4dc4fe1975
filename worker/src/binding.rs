//! A request's values as a type of one's own, checked by its rules: Gin's `Bind` and `ShouldBind`.
//!
//! | | reads | if that fails |
//! |---|---|---|
//! | [`Bind`] | the body by its `Content-Type` (JSON, a form, the fields of a multipart form), then the query string for what the body lacks | 400, text/plain |
//! | [`ShouldBind`] | the same | the handler decides: a `Result` inside |
//! | [`BindJson`], [`ShouldBindJson`] | a JSON body alone, whatever `Content-Type` says | |
//! | [`BindForm`], [`ShouldBindForm`] | a form's body alone | |
//! | [`BindQuery`], [`ShouldBindQuery`] | the query string alone | |
//! | [`BindPath`], [`ShouldBindPath`] | the path's parameters alone (Gin's `BindUri`) | |
//! | [`BindHeader`], [`ShouldBindHeader`] | headers alone: `x_token` is `X-Token` | |
//!
//! A handler that writes takes one of the strict extractors, which read one place alone. With [`Bind`] the URL can set a field that the
//! body leaves out: `?is_admin=true`, say. A body of a type that the extractor cannot read is refused: 415.
//!
//! Rules are garde's, whose derive needs `garde` among the application's own dependencies; every field that breaks one is named:
//!
//! ```
//! use gin_worker::binding::{BindQuery, ShouldBindJson};
//! use gin_worker::garde::Validate;
//! use gin_worker::{Error, Result};
//!
//! #[derive(serde::Deserialize, Validate)]
//! struct NewUser {
//!     #[garde(length(min = 1, max = 50))]
//!     name: String,
//!     #[garde(email)]
//!     email: String,
//! }
//!
//! #[derive(serde::Deserialize, Validate)]
//! struct Page {
//!     #[garde(range(min = 1))]
//!     #[serde(default = "first")]
//!     page: u32,
//! }
//!
//! fn first() -> u32 {
//!     1
//! }
//!
//! async fn list(BindQuery(page): BindQuery<Page>) -> String {
//!     format!("page {}", page.page)
//! }
//!
//! async fn create(ShouldBindJson(new): ShouldBindJson<NewUser>) -> Result<String> {
//!     let new = new?; // 400 {"error": "invalid request", "details": {"email": ["not a valid email: value is missing `@`"]}}
//!     Ok(new.name)
//! }
//! ```

mod described;
mod fields;

use std::collections::BTreeMap;

use axum::RequestExt;
use axum::extract::{FromRequest, FromRequestParts, Multipart, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use garde::Validate;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::error::{AsItIs, Report};
use crate::{Error, Result};
use fields::{Fields, Mismatch};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// A type that a request can be bound to: read by serde, checked by garde.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound to a request",
    label = "needs `serde::Deserialize` and `garde::Validate`",
    note = "write `#[derive(serde::Deserialize, garde::Validate)]` above it, with garde among the dependencies in Cargo.toml",
    note = "a field without a rule needs `#[garde(skip)]`, and a type without rules `#[garde(allow_unvalidated)]`"
)]
pub trait Bindable: DeserializeOwned + Validate<Context: Default> {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + Validate<Context: Default>> Bindable for T {}

/// The answer when a request cannot be bound: as Gin's `Bind`, 400 and text/plain. A body that is too long (413) or of another type (415)
/// is refused as anywhere.
///
/// A handler that takes a `Result` of an extractor answers itself. `?` makes an [`Error`] of it, whose answer is JSON:
///
/// ```
/// use gin_worker::binding::{BindQuery, Refused};
/// use gin_worker::garde::Validate;
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Error, Result, Server};
///
/// #[derive(serde::Deserialize, Validate)]
/// struct Page {
///     #[garde(range(min = 1))]
///     page: u32,
/// }
///
/// async fn list(page: Result<BindQuery<Page>, Refused>) -> Result<String> {
///     let BindQuery(page) = page.map_err(|refused| Error::from(refused).code("NO_SUCH_PAGE"))?;
///     Ok(page.page.to_string())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = TestServer::start(Server::new(&Config::<()>::default()).get("/", list)).await;
/// let answer: gin_worker::serde_json::Value = app.get("/?page=0").send().await.assert_status(400).json();
/// assert_eq!(answer["code"], "NO_SUCH_PAGE");
/// # }
/// ```
#[derive(Debug)]
pub struct Refused(Error);

impl Refused {
    /// What is wrong, with every field that failed in its `details`.
    #[must_use]
    pub fn report(&self) -> Report {
        self.0.report()
    }
}

impl From<Refused> for Error {
    fn from(Refused(error): Refused) -> Self {
        error
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        if self.0.status() != StatusCode::BAD_REQUEST {
            return self.0.into_response();
        }
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (self.0.status(), headers, format!("{}\n", self.0.in_words())).into_response();
        response.extensions_mut().insert(AsItIs);
        response
    }
}

macro_rules! of_body {
    ($($(#[$doc:meta])* $bind:ident $should:ident $read:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// What is wrong is answered with 400 and text: see [`Refused`].
        #[derive(Debug, Clone, Copy)]
        pub struct $bind<T>(pub T);

        $(#[$doc])*
        ///
        /// The handler gets a `Result`, and answers what is wrong; `?` answers 400 with the fields that failed, as JSON.
        #[derive(Debug)]
        pub struct $should<T>(pub Result<T>);

        impl<T: Bindable, S: Send + Sync> FromRequest<S> for $bind<T> {
            type Rejection = Refused;

            async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
                $read(request, state).await.and_then(checked).map(Self).map_err(Refused)
            }
        }

        impl<T: Bindable, S: Send + Sync> FromRequest<S> for $should<T> {
            type Rejection = std::convert::Infallible;

            async fn from_request(request: Request, state: &S) -> Result<Self, std::convert::Infallible> {
                Ok(Self($read(request, state).await.and_then(checked)))
            }
        }
    )*};
}

macro_rules! of_head {
    ($($(#[$doc:meta])* $bind:ident $should:ident $read:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// What is wrong is answered with 400 and text: see [`Refused`].
        #[derive(Debug, Clone, Copy)]
        pub struct $bind<T>(pub T);

        $(#[$doc])*
        ///
        /// The handler gets a `Result`, and answers what is wrong; `?` answers 400 with the fields that failed, as JSON.
        #[derive(Debug)]
        pub struct $should<T>(pub Result<T>);

        impl<T: Bindable, S: Send + Sync> FromRequestParts<S> for $bind<T> {
            type Rejection = Refused;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
                $read(parts, state).await.and_then(checked).map(Self).map_err(Refused)
            }
        }

        impl<T: Bindable, S: Send + Sync> FromRequestParts<S> for $should<T> {
            type Rejection = std::convert::Infallible;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, std::convert::Infallible> {
                Ok(Self($read(parts, state).await.and_then(checked)))
            }
        }
    )*};
}

of_body! {
    /// The body first, by its `Content-Type`; then the query string for each field that the body lacks.
    ///
    /// So the URL can set a field of a type that is meant for a body. A handler that writes takes [`BindJson`], [`ShouldBindJson`],
    /// [`BindForm`] or [`ShouldBindForm`], which read the body alone. A body of another type is refused: 415.
    ///
    /// ```
    /// use gin_worker::binding::{Bind, ShouldBind};
    /// use gin_worker::garde::Validate;
    /// use gin_worker::testing::TestServer;
    /// use gin_worker::{Config, Result, Server};
    ///
    /// #[derive(serde::Deserialize, Validate)]
    /// struct NewUser {
    ///     #[garde(length(min = 1))]
    ///     name: String,
    /// }
    ///
    /// async fn simple(Bind(user): Bind<NewUser>) -> String {
    ///     user.name
    /// }
    ///
    /// async fn own(ShouldBind(user): ShouldBind<NewUser>) -> Result<String> {
    ///     let user = user?; // Or answer otherwise.
    ///     Ok(user.name)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server: Server = Server::new(&Config::<()>::default()).post("/simple", simple).post("/own", own);
    /// let app = TestServer::start(server).await;
    /// app.post("/simple").form(&[("name", "ann")]).send().await.assert_text("ann");
    /// app.post("/own").json(gin_worker::serde_json::json!({ "name": "" })).send().await.assert_status(400);
    /// # }
    /// ```
    Bind ShouldBind any;
    /// A JSON body alone, whatever its `Content-Type`. The query string sets nothing.
    ///
    /// ```
    /// use gin_worker::binding::{BindJson, ShouldBindJson};
    /// use gin_worker::garde::Validate;
    /// use gin_worker::testing::TestServer;
    /// use gin_worker::{Config, Result, Server};
    ///
    /// #[derive(serde::Deserialize, Validate)]
    /// struct NewUser {
    ///     #[garde(length(min = 1))]
    ///     name: String,
    /// }
    ///
    /// async fn simple(BindJson(user): BindJson<NewUser>) -> String {
    ///     user.name
    /// }
    ///
    /// async fn own(ShouldBindJson(user): ShouldBindJson<NewUser>) -> Result<String> {
    ///     let user = user?; // Or answer otherwise.
    ///     Ok(user.name)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server: Server = Server::new(&Config::<()>::default()).post("/simple", simple).post("/own", own);
    /// let app = TestServer::start(server).await;
    /// app.post("/simple").json(gin_worker::serde_json::json!({ "name": "ann" })).send().await.assert_text("ann");
    /// app.post("/own").json(gin_worker::serde_json::json!({ "name": "" })).send().await.assert_status(400);
    /// # }
    /// ```
    BindJson ShouldBindJson json;
    /// A form's body alone, as a browser sends it: urlencoded, or the fields of a multipart form. Another type is refused: 415.
    ///
    /// ```
    /// use gin_worker::binding::{BindForm, ShouldBindForm};
    /// use gin_worker::garde::Validate;
    /// use gin_worker::testing::TestServer;
    /// use gin_worker::{Config, Result, Server};
    ///
    /// #[derive(serde::Deserialize, Validate)]
    /// struct NewUser {
    ///     #[garde(length(min = 1))]
    ///     name: String,
    /// }
    ///
    /// async fn simple(BindForm(user): BindForm<NewUser>) -> String {
    ///     user.name
    /// }
    ///
    /// async fn own(ShouldBindForm(user): ShouldBindForm<NewUser>) -> Result<String> {
    ///     let user = user?; // Or answer otherwise.
    ///     Ok(user.name)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server: Server = Server::new(&Config::<()>::default()).post("/simple", simple).post("/own", own);
    /// let app = TestServer::start(server).await;
    /// app.post("/simple").form(&[("name", "ann")]).send().await.assert_text("ann");
    /// app.post("/own").form(&[("name", "")]).send().await.assert_status(400);
    /// # }
    /// ```
    BindForm ShouldBindForm form;
}

of_head! {
    /// The query string. A key that comes several times fills a `Vec`.
    ///
    /// ```
    /// use gin_worker::binding::{BindQuery, ShouldBindQuery};
    /// use gin_worker::garde::Validate;
    /// use gin_worker::testing::TestServer;
    /// use gin_worker::{Config, Result, Server};
    ///
    /// #[derive(serde::Deserialize, Validate)]
    /// struct Page {
    ///     #[garde(range(min = 1))]
    ///     page: u32,
    /// }
    ///
    /// async fn simple(BindQuery(page): BindQuery<Page>) -> String {
    ///     page.page.to_string()
    /// }
    ///
    /// async fn own(ShouldBindQuery(page): ShouldBindQuery<Page>) -> Result<String> {
    ///     let page = page?; // Or answer otherwise.
    ///     Ok(page.page.to_string())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server: Server = Server::new(&Config::<()>::default()).get("/simple", simple).get("/own", own);
    /// let app = TestServer::start(server).await;
    /// app.get("/simple?page=2").send().await.assert_text("2");
    /// app.get("/own?page=0").send().await.assert_status(400);
    /// # }
    /// ```
    BindQuery ShouldBindQuery query;
    /// The parameters of the route's path, by their names.
    ///
    /// ```
    /// use gin_worker::binding::{BindPath, ShouldBindPath};
    /// use gin_worker::garde::Validate;
    /// use gin_worker::testing::TestServer;
    /// use gin_worker::{Config, Result, Server};
    ///
    /// #[derive(serde::Deserialize, Validate)]
    /// struct Key {
    ///     #[garde(range(min = 1))]
    ///     id: u64,
    /// }
    ///
    /// async fn simple(BindPath(key): BindPath<Key>) -> String {
    ///     key.id.to_string()
    /// }
    ///
    /// async fn own(ShouldBindPath(key): ShouldBindPath<Key>) -> Result<String> {
    ///     let key = key?; // Or answer otherwise.
    ///     Ok(key.id.to_string())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server: Server =
    ///     Server::new(&Config::<()>::default()).get("/simple/:id", simple).get("/own/:id", own);
    /// let app = TestServer::start(server).await;
    /// app.get("/simple/7").send().await.assert_text("7");
    /// app.get("/own/0").send().await.assert_status(400);
    /// # }
    /// ```
    BindPath ShouldBindPath path;
    /// Headers: the field `x_tenant` is the header `X-Tenant`.
    ///
    /// ```
    /// use gin_worker::binding::{BindHeader, ShouldBindHeader};
    /// use gin_worker::garde::Validate;
    /// use gin_worker::testing::TestServer;
    /// use gin_worker::{Config, Result, Server};
    ///
    /// #[derive(serde::Deserialize, Validate)]
    /// struct Tenant {
    ///     #[garde(length(min = 1))]
    ///     x_tenant: String,
    /// }
    ///
    /// async fn simple(BindHeader(tenant): BindHeader<Tenant>) -> String {
    ///     tenant.x_tenant
    /// }
    ///
    /// async fn own(ShouldBindHeader(tenant): ShouldBindHeader<Tenant>) -> Result<String> {
    ///     let tenant = tenant?; // Or answer otherwise.
    ///     Ok(tenant.x_tenant)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server: Server = Server::new(&Config::<()>::default()).get("/simple", simple).get("/own", own);
    /// let app = TestServer::start(server).await;
    /// app.get("/simple").header("x-tenant", "ann").send().await.assert_text("ann");
    /// app.get("/own").send().await.assert_status(400);
    /// # }
    /// ```
    BindHeader ShouldBindHeader headers;
}

/// Reads a type from fields, and checks it by its own rules. An error names every field that is missing, does not fit, or breaks a rule.
fn checked<T: Bindable>(fields: Fields) -> Result<T> {
    let (value, mismatches) = fields.read::<T>();
    let mut wrong: BTreeMap<String, Vec<String>> =
        mismatches.into_iter().map(|Mismatch { field, text }| (field, vec![text])).collect();
    let value = value.ok_or_else(|| invalid(wrong.clone()))?;
    if let Err(report) = value.validate() {
        let replaced: Vec<String> = wrong.keys().cloned().collect();
        // A rule says nothing of what is not there.
        let is_replaced = |path: &str| {
            let mut behind = replaced.iter().filter_map(|field| path.strip_prefix(field.as_str()));
            behind.any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        for (path, error) in report.iter().map(|(path, error)| (path.to_string(), error)) {
            if !is_replaced(&path) {
                wrong.entry(path).or_default().push(error.to_string());
            }
        }
    }
    if wrong.is_empty() { Ok(value) } else { Err(invalid(wrong)) }
}

fn invalid(wrong: impl IntoIterator<Item = (String, Vec<String>)>) -> Error {
    let details: BTreeMap<String, Vec<String>> = wrong
        .into_iter()
        .map(|(field, texts)| (if field.is_empty() { "request".to_owned() } else { field }, texts))
        .collect();
    Error::bad_request("invalid request").details(details)
}

fn whole(text: impl Into<String>) -> Error {
    invalid([(String::new(), vec![text.into()])])
}

/// What stands before the parameters, in small letters.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

async fn any<S: Send + Sync>(request: Request, state: &S) -> Result<Fields> {
    let query = pairs(request.uri().query().unwrap_or_default().as_bytes());
    let body = match content_type(request.headers()).as_str() {
        // Without a body a type means nothing: many clients send one with each GET.
        _ if request.body().is_end_stream() => Fields::default(),
        kind if kind == JSON || kind.ends_with("+json") => json(request, state).await?,
        FORM | MULTIPART => form(request, state).await?,
        kind => of_no_body(request, kind, &[JSON, FORM, MULTIPART]).await?,
    };
    Ok(body.or(query))
}

/// No fields, of a body that is empty. One that is not has a type that cannot be read: passed over, it would be lost without a word.
async fn of_no_body(request: Request, kind: &str, readable: &[&str]) -> Result<Fields> {
    let mut body = request.with_limited_body().into_body();
    while let Some(frame) = body.frame().await {
        if frame.map_err(not_read)?.data_ref().is_some_and(|data| !data.is_empty()) {
            let what =
                if kind.is_empty() { "a body without Content-Type".to_owned() } else { format!("a body of {kind}") };
            let text = format!("{what} cannot be read; send {}", readable.join(" or "));
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    }
    Ok(Fields::default())
}

async fn json<S>(request: Request, _: &S) -> Result<Fields> {
    let body = bytes(request).await?;
    if body.is_empty() {
        return Err(whole("the body is empty; it must be JSON"));
    }
    let value = serde_json::from_slice(&body).map_err(|error| whole(format!("not JSON: {error}")))?;
    Fields::of_json(value).ok_or_else(|| whole("not a JSON object"))
}

async fn form<S: Send + Sync>(request: Request, state: &S) -> Result<Fields> {
    match content_type(request.headers()).as_str() {
        MULTIPART => {}
        FORM => return Ok(pairs(&bytes(request).await?)),
        kind => return of_no_body(request, kind, &[FORM, MULTIPART]).await,
    }
    let rejected = |error: axum::extract::multipart::MultipartError| {
        Error::new(error.status(), "invalid request").details(BTreeMap::from([("request", [error.body_text()])]))
    };
    let mut parts = Multipart::from_request(request, state).await.map_err(|error| whole(error.body_text()))?;
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(rejected)? {
        // Files are the handler's, by axum's own Multipart.
        let Some(name) = part.name().filter(|_| part.file_name().is_none()).map(str::to_owned) else { continue };
        fields.push((name, part.text().await.map_err(rejected)?));
    }
    Ok(Fields::of_pairs(fields))
}

/// A whole body, in one piece. Each frame is copied and dropped: kept, it would keep the buffer that it is a part of.
async fn bytes(request: Request) -> Result<Bytes> {
    let mut body = request.with_limited_body().into_body();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(not_read)?.into_data() else { continue };
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The answer when a body cannot be read. One that was ended by us has its answer from the connection.
fn not_read(error: axum::Error) -> Error {
    let error = error.into_inner();
    let is_long = std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source())
        .any(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
    let status = if is_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
    let text = format!("the body cannot be read: {error}");
    Error::new(status, "invalid request").details(BTreeMap::from([("request", [text])]))
}

async fn query<S: Sync>(parts: &mut Parts, _: &S) -> Result<Fields> {
    Ok(pairs(parts.uri.query().unwrap_or_default().as_bytes()))
}

async fn path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Fields> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|rejected| Error::new(StatusCode::BAD_REQUEST, rejected.body_text()))?;
    Ok(Fields::of_pairs(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()))))
}

async fn headers<S: Sync>(parts: &mut Parts, _: &S) -> Result<Fields> {
    let texts = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().replace('-', "_"), value.to_str().ok()?.to_owned())));
    Ok(Fields::of_pairs(texts))
}

fn pairs(text: &[u8]) -> Fields {
    Fields::of_pairs(form_urlencoded::parse(text).into_owned())
}

#[cfg(test)]
mod tests;

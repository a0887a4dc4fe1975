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
mod reading;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use garde::Validate;
use serde::de::DeserializeOwned;

use crate::error::{AsItIs, Report};
use crate::{Error, Result};
use reading::{any, checked, form, headers, json, path, query};

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

macro_rules! extractors {
    ($(#[$doc:meta])* $bind:ident $should:ident) => {
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
    };
}

macro_rules! of_body {
    ($($(#[$doc:meta])* $bind:ident $should:ident $read:ident;)*) => {$(
        extractors! { $(#[$doc])* $bind $should }

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
        extractors! { $(#[$doc])* $bind $should }

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

#[cfg(test)]
mod tests;

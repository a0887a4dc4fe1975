//! Routes that know their types: what a handler reads and what it answers, as schemas in `/routes`.
//!
//! [`Route::api_get`](crate::Route::api_get) and its like take the handlers that [`Route::get`](crate::Route::get) takes, if each
//! argument is an [`Argument`] and the answer an [`Answer`]. Nothing is written at the handler. `Route::get` stays free: it takes every
//! handler of axum's, and its route has no schemas.
//!
//! ```
//! use gin_worker::Route;
//! use gin_worker::api::Created;
//! use gin_worker::axum::Json;
//! use gin_worker::axum::extract::Query;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Paging {
//!     #[serde(default)]
//!     page: u32,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct User {
//!     name: String,
//! }
//!
//! async fn list(Query(paging): Query<Paging>) -> Json<Vec<User>> {
//!     Json(vec![User { name: format!("ann of page {}", paging.page) }])
//! }
//!
//! async fn create(Json(user): Json<User>) -> gin_worker::Result<Created<Json<User>>> {
//!     Ok(Created(Json(user)))
//! }
//!
//! let (list, create) = (Route::<()>::api_get("/users", list), Route::<()>::api_post("/users", create));
//! ```
//!
//! Where an argument, an answer or a type has none, the compiler names it, and says what to write. Of a handler that cannot be one at all,
//! because its body's extractor is not the last argument, say, axum's `#[axum::debug_handler]` tells more (feature `macros`, and
//! `axum` in the application's own Cargo.toml).
//!
//! # Where a schema comes from
//!
//! There is no macro. A type with `serde::Deserialize` is asked for its fields by a deserializer that notes what the type asks for:
//! names, kinds, variants, and which fields it can do without. So an answer's type derives `Deserialize` beside `Serialize`, or says its
//! schema itself: see [`Describe`]. What serde does not tell is not in the schema: the rules of a validation, the parts of a tuple and of a
//! flattened struct, and which of two names of a field is an alias.

mod answer;
mod argument;
mod arity;
mod function;
mod probe;
mod schema;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Created, Output};
pub use argument::{Argument, Arguments, Input, Place};
pub use function::{Function, Operation};
pub use schema::{Describe, Field, Object, OneOf, Schema, Variant};

//! Requests that pages of other origins send with a client's cookies are refused. The feature `csrf`.

#![allow(dead_code, reason = "filled by the next commits")]

use std::collections::HashSet;
use std::sync::Arc;

use axum::http::Method;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tower::Layer;

use crate::parts::{Health, Part, Registered};
use crate::{Config, Error, config};

/// Routes that are left out: their method, if they have one, and their path in axum's words.
pub(crate) type Exempt = Arc<HashSet<(Option<Method>, String)>>;

/// The layer around all routes of a server. It stands outside of the sessions, and finds what the part lends in [`crate::parts::Parts`],
/// which is outside of it.
pub(crate) fn layer(_: &config::Security, _: Exempt) -> CsrfLayer {
    CsrfLayer
}

/// Refuses requests of foreign pages.
#[derive(Debug, Clone)]
pub(crate) struct CsrfLayer;

impl<S> Layer<S> for CsrfLayer {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}

/// The secret of the tokens, as a part of a server.
pub(crate) struct CsrfPart;

impl CsrfPart {
    pub(crate) fn new(_: &Config) -> Self {
        Self
    }

    /// Gives the layer and the handlers what they take.
    pub(crate) fn lend(&self, _: &mut Registered) {}
}

impl Part for CsrfPart {
    fn name(&self) -> &'static str {
        "csrf"
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn health(&self) -> Health {
        Health::Here
    }

    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn details(&self) -> Value {
        json!({})
    }
}

//! Profiles and figures under `/debug/`: on the private listener, elsewhere with a token.

#![allow(dead_code, reason = "no server has them yet")]

use std::sync::Arc;

use axum::Router;

use crate::observed::requests::Requests;
use crate::parts::Parts;
use crate::router::Route;
use crate::system::About;
use crate::traces::Tracer;
use crate::{Config, Life, StartError};

/// Everything that the endpoints know.
#[derive(Debug)]
pub(crate) struct Debug(());

impl Debug {
    /// Reads the token.
    ///
    /// # Errors
    /// If there is no token in the file that is to have it.
    pub(crate) fn new(
        _: &Config,
        _: &Life,
        _: Parts,
        _: Option<&'static Requests>,
        _: Option<&'static Tracer>,
    ) -> Result<Arc<Self>, StartError> {
        Ok(Arc::new(Self(())))
    }
}

/// The endpoints of the private listener.
pub(crate) fn private(_: &Arc<About>, _: &Arc<Debug>) -> Router {
    Router::new()
}

/// The endpoints of public listeners: none without a token.
pub(crate) fn public<S>(_: &Arc<About>, _: &Arc<Debug>) -> Vec<Route<S>> {
    Vec::new()
}

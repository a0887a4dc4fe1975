//! Uploads as a part of a server.

use futures_util::future::BoxFuture;
use gin_shared::config::Problem;
use serde_json::{Value, json};

use crate::parts::{Health, Part, Registered};
use crate::{Config, Error};

/// The uploads of a server.
pub(crate) struct UploadsPart;

impl UploadsPart {
    /// Makes the part as `[uploads]` says.
    ///
    /// # Errors
    /// If an ending has contents that nobody can tell.
    #[allow(clippy::unnecessary_wraps, reason = "filled by the next commits")]
    pub(crate) fn new(_: &Config) -> Result<Self, Problem> {
        Ok(Self)
    }

    /// Gives handlers what they take.
    pub(crate) fn lend(&self, _: &mut Registered) {}
}

impl Part for UploadsPart {
    fn name(&self) -> &'static str {
        "uploads"
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

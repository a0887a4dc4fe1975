//! In place of `assets`, without the feature `static-files`.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use crate::Error;
use crate::config::Static;

/// Files that cannot be opened.
#[derive(Debug)]
pub(crate) struct Files(());

/// What of a request counts for files: nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a>(PhantomData<&'a ()>);

impl<'a> Asking<'a> {
    pub(crate) fn of(_: &'a Request) -> Self {
        Self(PhantomData)
    }
}

impl Files {
    /// # Errors
    /// Always.
    pub(crate) fn open(_: &Path, _: &str, _: u64) -> io::Result<Self> {
        let text = "this program was built without the feature \"static-files\" of gin-worker";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// # Errors
    /// Always.
    pub(crate) fn one(path: &Path, memory: u64) -> io::Result<(Self, PathBuf)> {
        Ok((Self::open(path, "", memory)?, path.to_owned()))
    }

    /// # Errors
    /// Never.
    pub(crate) fn has(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(crate) async fn answer_with(&self, settings: &Static, asking: &Asking<'_>, _: &Path) -> Response {
        self.answer(settings, asking).await
    }

    pub(crate) async fn answer(&self, _: &Static, _: &Asking<'_>) -> Response {
        Error::not_found("not found").into_response()
    }
}

//! In place of `assets`, without the feature `static-files`.

use std::io;
use std::path::{Path, PathBuf};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use crate::config::Static;
use crate::{Error, StartError};

/// Files that cannot be opened.
#[derive(Debug)]
pub(crate) struct Files(());

/// What of a request counts for files: nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking(());

impl Asking {
    pub(crate) fn of(_: &Request) -> Self {
        Self(())
    }
}

impl Files {
    /// # Errors
    /// Always.
    pub(crate) fn open(dir: &Path, _: &str, _: u64) -> Result<Self, StartError> {
        let error = io::Error::new(
            io::ErrorKind::Unsupported,
            "this program was built without the feature \"static-files\" of gin-worker",
        );
        Err(StartError::Files { dir: dir.display().to_string(), error })
    }

    /// # Errors
    /// Always.
    pub(crate) fn one(path: &Path, memory: u64) -> Result<(Self, PathBuf), StartError> {
        Ok((Self::open(path, "", memory)?, path.to_owned()))
    }

    pub(crate) async fn answer_with(&self, settings: &Static, asking: &Asking, _: &Path) -> Response {
        self.answer(settings, asking).await
    }

    pub(crate) async fn answer(&self, _: &Static, _: &Asking) -> Response {
        Error::not_found("not found").into_response()
    }
}

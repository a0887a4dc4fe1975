//! Directories and files among the routes.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Extension, Request};
use axum::http::Method;
use axum::response::IntoResponse;

use super::Server;
use crate::assets::{Asking, Files};
use crate::live::Snapshot;
use crate::router::Route;
use crate::{Error, StartError};

/// Files, under a path.
pub(crate) struct Mount {
    pub(crate) prefix: String,
    /// A directory, or one file.
    pub(crate) path: PathBuf,
    pub(crate) is_file: bool,
}

impl Server {
    /// The files of `[static]`, and of the application.
    pub(crate) fn add_files(&mut self) -> Result<(), StartError> {
        if self.config.files.dir.is_some() && !self.is_bare {
            let prefix = self.config.files.url_prefix.clone();
            self.add_mount(&prefix, |snapshot| snapshot.0.files.clone());
        }
        let memory = self.config.files.memory;
        for Mount { prefix, path, is_file } in std::mem::take(&mut self.mounts) {
            if is_file {
                let (files, name) = Files::one(&path, memory)?;
                let (files, name) = (Arc::new(files), Arc::new(name));
                let answer = async move |Extension(snapshot): Extension<Snapshot>, request: Request| {
                    files.answer_with(&snapshot.0.config.files, &Asking::of(&request), &name).await
                };
                self.registry.route(Route::get(&prefix, answer).named("gin_worker::files"));
            } else {
                let files = Arc::new(Files::open(&path, &prefix, memory)?);
                self.add_mount(&prefix, move |_| Some(Arc::clone(&files)));
            }
        }
        Ok(())
    }

    /// A directory: itself, and all below.
    fn add_mount(
        &mut self,
        prefix: &str,
        files: impl Fn(&Snapshot) -> Option<Arc<Files>> + Clone + Send + Sync + 'static,
    ) {
        let bare = prefix.trim_end_matches('/');
        let mut paths = vec![format!("{bare}/"), format!("{bare}/*filepath")];
        paths.extend((!bare.is_empty()).then(|| bare.to_owned()));
        paths.retain(|path| !self.is_answered(&Method::GET, path));
        for path in paths {
            let files = files.clone();
            let answer = async move |Extension(snapshot): Extension<Snapshot>, request: Request| match files(&snapshot)
            {
                Some(files) => files.answer(&snapshot.0.config.files, &Asking::of(&request)).await,
                None => Error::not_found("not found").into_response(),
            };
            self.registry.route(Route::get(&path, answer).named("gin_worker::files").describe("Files"));
        }
    }

    /// Whether the application has a route there.
    fn is_answered(&self, method: &Method, path: &str) -> bool {
        let mut all = self.done.iter().flatten().flat_map(|built| built.routes.iter());
        all.any(|record| record.path == path && (record.method == method.as_str() || record.method == "ANY"))
            || self.registry.answers(method, path)
    }
}

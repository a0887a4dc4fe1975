//! Directories and files among the routes: `[static]`, and those of the application.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Extension, Request};
use axum::http::Method;
use axum::response::IntoResponse;

use super::joining::Part;
use crate::assets::{Asking, Files};
use crate::config::Config;
use crate::live::Snapshot;
use crate::router::{Place, Record, Registry, Route, RoutePath};
use crate::{Error, StartError};

/// Files under a path.
pub(super) struct Mount {
    pub(super) prefix: String,
    /// A directory, or one file.
    pub(super) path: PathBuf,
    pub(super) is_file: bool,
    /// Where the application has added it.
    pub(super) place: Place,
}

/// A line for each directory whose prefix has files already: nobody would ever see it.
pub(super) fn twice(mounts: &[Mount], config: &Config, is_bare: bool) -> Vec<String> {
    let normal = |prefix: &str| RoutePath::parse(&format!("{}/", prefix.trim_end_matches('/'))).ok();
    let of_config = config.files.dir.is_some() && !is_bare;
    let mut known = Vec::new();
    known.extend(of_config.then(|| (normal(&config.files.url_prefix), "those of static.dir".to_owned())));
    let mut wrong = Vec::new();
    for Mount { prefix, place, .. } in mounts.iter().filter(|mount| !mount.is_file) {
        let own = normal(prefix);
        match known.iter().find(|(other, _)| *other == own && own.is_some()) {
            Some((_, other)) => wrong.push(format!("{place}: files under {prefix} exclude {other}")),
            None => known.push((own, format!("files under {prefix}, registered at {place}"))),
        }
    }
    wrong
}

/// Adds routes for files to a registry.
pub(super) struct Mounting<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: &'a mut Registry<()>,
    /// Routers that were built before: their routes come first.
    pub(super) parts: &'a [Part],
}

impl Mounting<'_> {
    /// Adds the files of `[static]`, unless the server is bare, and those of the application.
    pub(super) fn add(mut self, mounts: Vec<Mount>, is_bare: bool) -> Result<(), StartError> {
        if self.config.files.dir.is_some() && !is_bare {
            let prefix = self.config.files.url_prefix.clone();
            self.add_directory(&prefix, Place::Key("static.dir"), |snapshot| snapshot.0.files.clone());
        }
        let memory = self.config.files.memory;
        for Mount { prefix, path, is_file, place } in mounts {
            if is_file {
                let (files, name) = Files::one(&path, memory)?;
                let (files, name) = (Arc::new(files), Arc::new(name));
                let answer = async move |Extension(snapshot): Extension<Snapshot>, request: Request| {
                    files.answer_with(&snapshot.0.config.files, &Asking::of(&request), &name).await
                };
                self.registry.route(Route::get(&prefix, answer).own("gin_worker::files").placed(place));
            } else {
                let files = Arc::new(Files::open(&path, &prefix, memory)?);
                self.add_directory(&prefix, place, move |_| Some(Arc::clone(&files)));
            }
        }
        Ok(())
    }

    /// Adds a directory: itself, and everything below.
    fn add_directory(
        &mut self,
        prefix: &str,
        place: Place,
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
            let route = Route::get(&path, answer).own("gin_worker::files").placed(place);
            self.registry.route(route.describe("Files"));
        }
    }

    /// True if the application has a route there.
    fn is_answered(&self, method: &Method, path: &str) -> bool {
        let Ok(wanted) = RoutePath::parse(path) else { return false };
        let mut all = self.parts.iter().flat_map(|part| part.routes.iter());
        let answers = |record: &Record| record.method == method.as_str() || record.method == "ANY";
        all.any(|record| record.template == wanted.as_str() && answers(record)) || self.registry.answers(method, path)
    }
}

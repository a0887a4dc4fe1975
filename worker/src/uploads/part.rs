//! Uploads as a part of a server: its life, and the task that removes what killed workers have left.

use std::time::Duration;

use futures_util::future::BoxFuture;
use gin_shared::config::Problem;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::directory::Directory;
use super::{Uploads, tus, types, writing};
use crate::parts::{Health, Part, Registered, Sweeper, state_directory};
use crate::{Config, Error, Result};

/// The uploads of a server.
pub(crate) struct UploadsPart {
    uploads: Uploads,
    sweeper: Sweeper,
}

impl UploadsPart {
    /// Makes the part as `[uploads]` says.
    ///
    /// # Errors
    /// If an ending has contents that nobody can tell.
    pub(crate) fn new(config: &Config) -> Result<Self, Problem> {
        match config.uploads.allow.iter().find(|ending| !types::is_known(ending)) {
            Some(ending) => Err(Problem {
                place: "uploads.allow".to_owned(),
                text: format!("nobody can tell by its contents whether a file is a \"{ending}\"; take it out"),
            }),
            None => Ok(Self { uploads: Uploads::new(config.uploads.clone()), sweeper: Sweeper::default() }),
        }
    }

    /// Gives handlers what they take.
    pub(crate) fn lend(&self, registered: &mut Registered) {
        registered.lend(self.uploads.clone());
    }

    async fn begin(&self) -> Result<()> {
        let settings = self.uploads.settings().clone();
        let opening = spawn_blocking(move || {
            let path = match settings.dir {
                Some(dir) => dir,
                None => state_directory()?.join("uploads"),
            };
            Directory::made(&path).map_err(|error| {
                format!("cannot open {}: {error}; set uploads.dir to a directory of the worker's user", path.display())
            })
        });
        let directory = opening.await.map_err(Error::internal)?.map_err(Error::internal)?;
        self.uploads.open(directory);
        Ok(())
    }
}

/// Removes what nobody goes on with.
async fn sweep(uploads: Uploads) {
    if let Ok(directory) = uploads.directory() {
        let (quota, abandoned) = (uploads.settings().quota, uploads.settings().abandoned);
        // Its panic would be in the log.
        let _ = spawn_blocking(move || sweep_in(&directory, quota, abandoned)).await;
    }
}

fn sweep_in(directory: &Directory, quota: u64, abandoned: Duration) {
    if let Err(error) = writing::sweep(directory) {
        tracing::warn!("uploads that ended early are not removed from {}: {error}", directory.path().display());
    }
    tus::sweep(directory, quota, abandoned);
}

impl Part for UploadsPart {
    fn name(&self) -> &'static str {
        "uploads"
    }

    fn noun(&self) -> &'static str {
        "directory of uploads"
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.begin())
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            let uploads = self.uploads.clone();
            self.sweeper.begin(Duration::ZERO, move || sweep(uploads.clone()));
            Ok(())
        })
    }

    fn health(&self) -> Health {
        match self.uploads.directory() {
            Ok(_) => Health::Here,
            Err(error) => Health::Away { why: error.to_string() },
        }
    }

    /// It is there once it is open: a disk that fails is told by each request.
    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.sweeper.end();
        })
    }

    fn details(&self) -> Value {
        let directory = self.uploads.directory().ok().map(|directory| directory.path().display().to_string());
        let (stored, refused) = self.uploads.counted();
        json!({ "directory": directory, "stored": stored, "refused": refused })
    }
}

//! A directory of releases with a `current` symlink, as Capistrano lays them out.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Releases, each with a `mode` for the fixtures.
#[derive(Debug)]
pub struct Releases(PathBuf);

impl Releases {
    /// In `directory`, with nothing released.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The symlink.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.0.join("current")
    }

    /// A release's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join("releases").join(name)
    }

    /// Makes a release of this `mode`, and `current` point to it.
    ///
    /// # Panics
    /// If the directory cannot be written.
    pub fn release(&self, name: &str, mode: &str) {
        std::fs::create_dir_all(self.path(name)).unwrap();
        std::fs::write(self.path(name).join("mode"), mode).unwrap();
        self.point_to(name);
    }

    /// Makes `current` point to a release, at once.
    ///
    /// # Panics
    /// If the directory cannot be written.
    pub fn point_to(&self, name: &str) {
        let temporary = self.0.join("current.new");
        symlink(Path::new("releases").join(name), &temporary).unwrap();
        std::fs::rename(temporary, self.current()).unwrap();
    }
}

//! Where an instance keeps its sockets, PID file and locks, for the master to make and `gin-ctl` to find.
//!
//! The first that applies: `$RUNTIME_DIRECTORY` (systemd's `RuntimeDirectory=`), `/run/gin/NAME` for root,
//! `$XDG_RUNTIME_DIR/gin/NAME` for others, `/tmp/gin-UID/NAME` for them, `/dev/shm/gin-UID/NAME` (0700). Where one cannot be made
//! because nothing can be written there, or because somebody else has made it, the next one is taken. None is believed before
//! [`crate::directory`] has looked at it.
//!
//! Root's is not in `/tmp`, where anybody may make it first. `/dev/shm` is for a container whose root is read-only.

use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// The control socket's file name.
pub const CONTROL: &str = "control.sock";
/// The status socket's file name.
pub const STATUS: &str = "status.sock";
/// Made by `gin-ctl stop` where a service manager runs it.
pub const STOPPING: &str = "stopping";
/// The PID file's name, unless `pid_file` says otherwise.
pub const PID_FILE: &str = "pid";

/// What decides where the directory is.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Who runs.
    pub uid: Uid,
    /// `$RUNTIME_DIRECTORY`, its first entry.
    pub runtime_directory: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn from_env() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let first =
            |p: PathBuf| p.to_str().and_then(|text| text.split(':').next()).map_or_else(|| p.clone(), PathBuf::from);
        Self {
            uid: Uid::effective(),
            runtime_directory: path("RUNTIME_DIRECTORY").map(first),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
        }
    }

    /// The directories that a master which starts as the instance `name` may use: the first that can be made.
    #[must_use]
    pub fn directories(&self, name: &str) -> Vec<PathBuf> {
        match &self.runtime_directory {
            Some(given) => vec![given.clone()],
            None if self.uid.is_root() => self.parents().iter().map(|parent| parent.join(name)).collect(),
            // /run/gin is where to look for root's, not a place of ours.
            None => self.parents().iter().filter(|p| !p.starts_with("/run/gin")).map(|p| p.join(name)).collect(),
        }
    }

    /// The directories that hold one directory an instance, for `gin-ctl` that looks: the likeliest first.
    #[must_use]
    pub fn parents(&self) -> Vec<PathBuf> {
        let system = PathBuf::from("/run/gin");
        let own = |top: &str| PathBuf::from(format!("{top}/gin-{}", self.uid));
        let shared_memory = own("/dev/shm");
        if self.uid.is_root() {
            return vec![system, shared_memory];
        }
        let user = self.xdg_runtime_dir.as_ref().map(|dir| dir.join("gin"));
        user.into_iter().chain([own("/tmp"), shared_memory, system]).collect()
    }
}

/// The instance's name for a configuration file: its stem, or `default`.
#[must_use]
pub fn instance_name(config: Option<&Path>) -> String {
    config
        .and_then(|path| path.file_stem())
        .map_or_else(|| "default".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Whether `name` can name an instance: letters, digits, `.`, `_`, `-`, `@`; at most 64; no leading dot.
#[must_use]
pub fn is_instance_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_looks_for_nothing_in_tmp() {
        let surroundings =
            |uid| Surroundings { uid: Uid::from_raw(uid), runtime_directory: None, xdg_runtime_dir: None };
        let is_tmp = |path: &PathBuf| path.starts_with("/tmp");
        assert!(
            !surroundings(0).parents().iter().any(is_tmp) && !surroundings(0).directories("shop").iter().any(is_tmp)
        );
        assert!(surroundings(7).parents().contains(&PathBuf::from("/tmp/gin-7")));
    }
}

//! The directory of what a service keeps: a database of its own, sessions, their secret.
//!
//! The first that applies: `$STATE_DIRECTORY` (systemd's `StateDirectory=`), `/var/lib/gin/NAME` for root, `$XDG_STATE_HOME/gin/NAME`,
//! `~/.local/state/gin/NAME`. NAME is the instance's, without a supervisor the program's. Releases of a service share it, so it is no
//! directory below a release.

use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use gin_shared::inherit::GIN_INSTANCE;
use nix::unistd::Uid;

/// Makes the directory, if it is not there, for the worker's user alone.
///
/// # Errors
/// If there is none, or it cannot be made: a sentence that says what to do.
pub(crate) fn state_directory() -> Result<PathBuf, String> {
    let program = std::env::current_exe().ok().and_then(|path| path.file_stem().map(OsString::from));
    let name = name(std::env::var_os(GIN_INSTANCE), program);
    let dir = directory(Uid::effective().is_root(), &name, |name| std::env::var_os(name).map(PathBuf::from))
        .ok_or("there is no state directory: set STATE_DIRECTORY (StateDirectory= of the unit) or HOME")?;
    make(&dir)?;
    Ok(dir)
}

/// The directory's own name. The instance's variable alone says it: a program that migrates the workers' database has no slot.
fn name(instance: Option<OsString>, program: Option<OsString>) -> OsString {
    instance.filter(|name| !name.is_empty()).or(program).unwrap_or_else(|| "service".into())
}

/// The place of the directory.
fn directory(is_root: bool, name: &OsStr, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    if let Some(given) = absolute("STATE_DIRECTORY") {
        let first = given.to_str().and_then(|all| all.split(':').next()).map(PathBuf::from);
        return Some(first.unwrap_or(given));
    }
    let parent = if is_root {
        PathBuf::from("/var/lib")
    } else {
        absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?
    };
    Some(parent.join("gin").join(name))
}

fn make(dir: &Path) -> Result<(), String> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        format!(
            "cannot make {}: {error}; set STATE_DIRECTORY (StateDirectory= of the unit) to a directory of the worker's user",
            dir.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_units_or_the_systems_or_the_users() {
        let of = |is_root, variables: &[(&str, &str)]| {
            let variable =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, path)| PathBuf::from(path));
            directory(is_root, OsStr::new("shop"), variable).map(|path| path.display().to_string())
        };
        let path = |text: &str| Some(text.to_owned());
        let home = ("HOME", "/home/ann");
        assert_eq!(of(true, &[("STATE_DIRECTORY", "/var/lib/shop:/var/lib/other"), home]), path("/var/lib/shop"));
        assert_eq!(of(true, &[home]), path("/var/lib/gin/shop"));
        assert_eq!(of(false, &[("XDG_STATE_HOME", "/state"), home]), path("/state/gin/shop"));
        assert_eq!(of(false, &[("XDG_STATE_HOME", "relative"), home]), path("/home/ann/.local/state/gin/shop"));
        assert_eq!(of(false, &[]), None);
    }

    #[test]
    fn the_directory_has_the_instances_name_also_for_a_program_beside_the_workers() {
        let of = |instance: Option<&str>, program: Option<&str>| {
            name(instance.map(OsString::from), program.map(OsString::from)).into_string().unwrap()
        };
        assert_eq!(of(Some("shop"), Some("server")), "shop");
        assert_eq!(of(Some(""), Some("server")), "server");
        assert_eq!(of(None, Some("server")), "server");
        assert_eq!(of(None, None), "service");
    }

    #[test]
    fn the_directory_is_its_users_alone() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        make(&dir).unwrap();
        make(&dir).unwrap();
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(parent.path().join("file"), "").unwrap();
        let refused = make(&parent.path().join("file/b")).unwrap_err();
        assert!(refused.starts_with("cannot make /") && refused.contains("STATE_DIRECTORY"), "{refused}");
    }
}

//! The files that a worker may open (Landlock), as far as this kernel can hold it to them.

#![allow(
    unsafe_code,
    reason = "the version of Landlock that the kernel has is asked by a system call that nobody wraps"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError,
};
use nix::fcntl::OFlag;
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::error_text::without_code;

/// The newest version whose rights are asked for: those of later ones are no rights to files, or would close the sockets
/// that a worker connects to.
const NEWEST: ABI = ABI::V5;

/// Paths that any program reads: itself and its libraries, the system's settings, the kernel's view of processes.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/proc",
    "/sys",
    // /etc/resolv.conf and /etc/localtime lead there.
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];

/// The files that a worker may open, beside the system's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// Paths that it may read and execute.
    pub read: Vec<PathBuf>,
    /// Paths that it may change, too.
    pub write: Vec<PathBuf>,
}

/// A restriction that fails.
#[derive(Debug, thiserror::Error)]
pub enum FileAccessError {
    /// A configured path cannot be opened.
    #[error("sandbox.{key} {}: {}", path.display(), without_code(error))]
    Path {
        /// The key that names it.
        key: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The kernel refuses.
    #[error("sandbox: Landlock: {0}")]
    Kernel(#[from] RulesetError),
}

/// Restricts this process to `files`, the system's own and its program. A kernel without Landlock restricts nothing.
///
/// # Errors
/// See [`FileAccessError`].
pub fn restrict(files: &Files, executable: &OwnedFd) -> Result<(), FileAccessError> {
    let (all, read) = (AccessFs::from_all(NEWEST), AccessFs::from_read(NEWEST));
    let mut rules = Ruleset::default().handle_access(all)?.create()?;
    rules = rules.add_rule(PathBeneath::new(executable, AccessFs::Execute | AccessFs::ReadFile))?;
    for path in SYSTEM.map(Path::new) {
        // Not every system has all of them.
        if let Ok(file) = open(path) {
            rules = allow(rules, path, file, read)?;
        }
    }
    for path in DEVICES.map(Path::new) {
        if let Ok(file) = open(path) {
            rules = allow(rules, path, file, read | AccessFs::WriteFile | AccessFs::IoctlDev)?;
        }
    }
    for (key, paths, access) in [("read", &files.read, read), ("write", &files.write, all)] {
        for path in paths {
            let file = open(path).map_err(|error| FileAccessError::Path { key, path: path.clone(), error })?;
            rules = allow(rules, path, file, access)?;
        }
    }
    rules.restrict_self()?;
    Ok(())
}

/// Devices that any program may need. Not all of `/dev`: root's disks are there, too.
const DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];

/// Names a file or directory, and opens nothing of it.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path)
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    file: File,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // A file has no rights of a directory.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    rules.add_rule(PathBeneath::new(file, access))
}

/// The version of Landlock that the kernel has; 0: none, or it is switched off.
#[must_use]
pub fn version() -> u32 {
    let (none, asks_for_version) = (std::ptr::null::<libc::c_void>(), 1_u32);
    // SAFETY: with this flag the call reads no memory and makes nothing: it gives a number (landlock_create_ruleset(2)).
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, asks_for_version) };
    u32::try_from(version).unwrap_or(0)
}

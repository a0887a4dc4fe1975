//! Packages of gin, made by `systemd/package/build` of the programs that are built.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{binary, write_program};

const PROGRAMS: [&str; 3] = ["gin-supervisor", "gin-ctl", "gin-server"];

/// The difference of a package's programs from those that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// None.
    None,
    /// Other files, which do the same: each program has one section more, with the package's version in it.
    OtherBuild,
    /// A gin-server that exits with status 3.
    BadServer,
    /// A gin-supervisor that exits with status 3.
    BadSupervisor,
}

impl Change {
    /// The program that is unfit.
    fn unfit(self) -> Option<&'static str> {
        match self {
            Self::None | Self::OtherBuild => None,
            Self::BadServer => Some("gin-server"),
            Self::BadSupervisor => Some("gin-supervisor"),
        }
    }
}

/// A version of gin as a deb, an rpm and an archive. Its files are gone when it is dropped.
#[derive(Debug)]
pub struct Package {
    _dir: TempDir,
    deb: PathBuf,
    rpm: PathBuf,
    archive: PathBuf,
}

impl Package {
    /// Makes one of this version. The programs are those of the directory `GIN_RELEASE_DIR`, or those that the tests run. The files are
    /// compressed little.
    ///
    /// # Panics
    /// If it cannot be made: Debian's packages binutils, dpkg-dev and rpm are needed.
    #[must_use]
    pub fn build(version: &str, change: Change) -> Self {
        let dir = tempfile::Builder::new().prefix("package").tempdir_in("/tmp").unwrap();
        let (programs, out) = (dir.path().join("programs"), dir.path().join("out"));
        std::fs::create_dir(&programs).unwrap();
        self::programs(&programs, version, change);
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/package/build");
        let output = Command::new(build)
            .arg(out)
            .args(["--fast", "--version", version, "--bin"])
            .arg(&programs)
            .args(["deb", "rpm", "archive"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let made: Vec<PathBuf> = said.lines().map(PathBuf::from).collect();
        let [deb, rpm, archive] = made.as_slice() else { panic!("{version} {change:?}: {said}{errors}") };
        assert!(output.status.success(), "{version} {change:?}: {said}{errors}");
        let (deb, rpm, archive) = (deb.clone(), rpm.clone(), archive.clone());
        Self { _dir: dir, deb, rpm, archive }
    }

    /// The package for dpkg.
    #[must_use]
    pub fn deb(&self) -> PathBuf {
        self.deb.clone()
    }

    /// The package for rpm.
    #[must_use]
    pub fn rpm(&self) -> PathBuf {
        self.rpm.clone()
    }

    /// The compressed tar file.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.archive.clone()
    }
}

/// Puts all programs of a version into a directory, with its change.
pub(super) fn programs(directory: &Path, version: &str, change: Change) {
    for name in PROGRAMS {
        put(name, directory, version, change);
    }
}

/// Puts a program into a directory, with its change.
fn put(name: &str, directory: &Path, version: &str, change: Change) {
    let (built, place) = (built(name), directory.join(name));
    if change.unfit() == Some(name) {
        write_program(&place, "#!/bin/sh\nexit 3\n");
    } else if change == Change::OtherBuild {
        let section = directory.join("build");
        std::fs::write(&section, version).unwrap();
        let option = format!("--add-section=.gin_build={}", section.display());
        let copied = Command::new("objcopy").arg(option).args([&built, &place]).status().unwrap();
        assert!(copied.success(), "objcopy of {}", built.display());
    } else {
        symlink(built, place).unwrap();
    }
}

/// A program as it was built.
fn built(name: &str) -> PathBuf {
    std::env::var_os("GIN_RELEASE_DIR").map_or_else(|| binary(name), |directory| Path::new(&directory).join(name))
}

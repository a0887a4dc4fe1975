//! Where an instance's sockets are.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use gin_shared::exit;
use gin_shared::runtime_dir::{CONTROL, STATUS, Surroundings};

use crate::failure::Failure;

/// An instance that has left its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// May act.
    pub control: PathBuf,
    /// May look.
    pub status: PathBuf,
}

impl Instance {
    fn at(directory: &Path) -> Option<Self> {
        let name = directory.file_name()?.to_string_lossy().into_owned();
        let (control, status) = (directory.join(CONTROL), directory.join(STATUS));
        (answers(&control) || answers(&status)).then_some(Self { name, control, status })
    }

    /// A socket named on the command line serves for both.
    #[must_use]
    pub fn from_socket(socket: &Path) -> Self {
        // .../shop/control.sock
        let directory = socket.parent().and_then(Path::file_name);
        let name = directory.unwrap_or(socket.as_os_str()).to_string_lossy().into_owned();
        Self { name, control: socket.to_owned(), status: socket.to_owned() }
    }
}

/// True if somebody listens there; one who would not listen to us is somebody, too.
fn answers(socket: &Path) -> bool {
    match UnixStream::connect(socket) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// All that can be seen from here.
#[must_use]
pub fn all() -> Vec<Instance> {
    let parents = Surroundings::from_env().parents();
    let directories = parents.iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten().flatten();
    let mut instances: Vec<Instance> = directories.filter_map(|entry| Instance::at(&entry.path())).collect();
    instances.sort_by(|a, b| a.name.cmp(&b.name));
    instances
}

/// The one that is meant.
///
/// # Errors
/// If there is none, or several and no name.
pub fn find(socket: Option<&Path>, name: Option<&str>) -> Result<Instance, Failure> {
    if let Some(socket) = socket {
        return Ok(Instance::from_socket(socket));
    }
    let mut found = all();
    if let Some(name) = name {
        let meant = found.iter().position(|instance| instance.name == name);
        return meant.map(|at| found.swap_remove(at)).ok_or_else(|| {
            let parents = Surroundings::from_env().parents();
            let places: Vec<String> = parents.iter().map(|p| p.join(name).display().to_string()).collect();
            Failure::new(
                exit::NO_SUPERVISOR,
                format!("no supervisor \"{name}\" there (looked in {})", places.join(", ")),
            )
        });
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => {
            let parents = Surroundings::from_env().parents();
            let places: Vec<String> = parents.iter().map(|p| p.display().to_string()).collect();
            Err(Failure::new(
                exit::NO_SUPERVISOR,
                format!("no supervisor there (looked in {}); name its socket with -s", places.join(", ")),
            ))
        }
        _ => {
            let names: Vec<String> = found.into_iter().map(|instance| instance.name).collect();
            Err(Failure::new(exit::USAGE, format!("several instances: say which, {}", names.join(" or "))))
        }
    }
}

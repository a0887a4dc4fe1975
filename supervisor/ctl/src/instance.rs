//! Where an instance's sockets are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use gin_shared::directory::{Directory, Doubt, Why};
use gin_shared::exit;
use gin_shared::runtime_dir::{CONTROL, STATUS, Surroundings, is_instance_name};

use crate::failure::Failure;
use crate::socket::Socket;

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
        let name = directory.file_name().and_then(OsStr::to_str)?.to_owned();
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
    match Socket::open(socket) {
        Ok(socket) => socket.answers(),
        Err(failure) => failure.exit == exit::REFUSED,
    }
}

/// The instances' directories that can be seen from here, and why others are passed over.
#[must_use]
pub fn directories() -> (Vec<Directory>, Vec<Doubt>) {
    let (mut believed, mut doubts) = (Vec::new(), Vec::new());
    for parent in Surroundings::from_env().parents() {
        match Directory::open(&parent) {
            Ok(parent) => inside(&parent, &mut believed, &mut doubts),
            Err(doubt) => doubts.push(doubt),
        }
    }
    // What is not there, or is nothing of ours, needs no word.
    doubts.retain(|doubt| matches!(doubt.why, Why::Link | Why::Owner(_) | Why::Mode(_)));
    (believed, doubts)
}

fn inside(parent: &Directory, believed: &mut Vec<Directory>, doubts: &mut Vec<Doubt>) {
    let mut names = parent.names().unwrap_or_default();
    names.sort();
    for name in names.iter().filter(|name| name.to_str().is_some_and(is_instance_name)) {
        match Directory::open(&parent.path().join(name)) {
            Ok(directory) => believed.push(directory),
            Err(doubt) => doubts.push(doubt),
        }
    }
}

/// All that can be seen from here.
#[must_use]
pub fn all() -> Vec<Instance> {
    of(&directories().0)
}

/// Directories, of these, whose instances answer.
#[must_use]
pub fn of(directories: &[Directory]) -> Vec<Instance> {
    let mut instances: Vec<Instance> =
        directories.iter().filter_map(|directory| Instance::at(directory.path())).collect();
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
    let (directories, doubts) = directories();
    let mut found = of(&directories);
    let none = |place: &dyn Fn(PathBuf) -> PathBuf, who: &str, advice: &str| {
        let places = Surroundings::from_env().parents().into_iter();
        let places: Vec<String> = places.map(|parent| place(parent).display().to_string()).collect();
        let passed_over: String = doubts.iter().map(|doubt| format!("; passed over: {doubt}")).collect();
        let text = format!("no supervisor {who}there (looked in {}){advice}{passed_over}", places.join(", "));
        Failure::new(exit::NO_SUPERVISOR, text)
    };
    if let Some(name) = name {
        let meant = found.iter().position(|instance| instance.name == name);
        let missing = || none(&|parent: PathBuf| parent.join(name), &format!("\"{name}\" "), "");
        return meant.map(|at| found.swap_remove(at)).ok_or_else(missing);
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(none(&|parent: PathBuf| parent, "", "; name its socket with -s")),
        _ => {
            let names: Vec<String> = found.into_iter().map(|instance| instance.name).collect();
            Err(Failure::new(exit::USAGE, format!("several instances: say which, {}", names.join(" or "))))
        }
    }
}

//! The files of a state directory, for tests.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Names of the files in a directory, each of which is for its owner alone.
pub(crate) fn private_files(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        names.push(name);
    }
    names.sort();
    names
}

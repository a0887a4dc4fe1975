//! A secret that signs cookies and tokens: as it is configured, or made once and kept in the state directory, where all workers of all
//! generations find it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::rand;
use nix::unistd::geteuid;

use super::id::{Id, hex};
use crate::BoxError;

/// Bytes of a secret that is made here, and the fewest that a configured one may have.
const BYTES: usize = 32;

/// A configured secret. `key`: of the configuration, for the error.
///
/// # Errors
/// If it is too short.
pub(crate) fn checked(key: &str, secret: String) -> Result<Vec<u8>, BoxError> {
    if secret.len() < BYTES {
        let text = format!(
            "{key} has {} bytes, and needs {BYTES}: `openssl rand -hex 32` makes one; without the key the worker makes its own",
            secret.len()
        );
        return Err(text.into());
    }
    Ok(secret.into_bytes())
}

/// The secret in a file of this directory. The first worker that looks makes it. `of`: things that it signs, for the error.
///
/// # Errors
/// If it cannot be read or made, or others than its owner may read it.
pub(crate) fn kept(directory: &Path, file: &str, of: &str) -> Result<Vec<u8>, BoxError> {
    let path = directory.join(file);
    let read = match read(&path, of) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path).and_then(|()| read(&path, of)),
        read => read,
    };
    read.map_err(|error| format!("cannot keep the secret of {of} in {}: {error}", path.display()).into())
}

fn read(path: &Path, of: &str) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode();
    let is_tight = mode & 0o077 == 0;
    if !is_tight && mode & 0o007 == 0 && metadata.uid() == geteuid().as_raw() {
        // Kubernetes gives files of a volume to the pod's group (`fsGroup`), at each start.
        file.set_permissions(Permissions::from_mode(mode & 0o600))?;
    } else if !is_tight {
        return Err(io::Error::other(format!("others may read it, its mode is {:04o}; chmod 600", mode & 0o7777)));
    }
    let mut secret = Vec::new();
    file.read_to_end(&mut secret)?;
    if secret.len() < BYTES {
        return Err(io::Error::other(format!("it is too short; remove it, and all {of} end")));
    }
    Ok(secret)
}

/// Makes the file whole, or not at all. If another worker is faster, its file is the one.
fn make(path: &Path) -> io::Result<()> {
    let mut secret = [0; BYTES];
    rand::fill(&mut secret).map_err(|_| io::Error::other("the system gives no random bits"))?;
    let own = path.with_added_extension(hex(&secret_name()?));
    let made = write(&own, &secret).and_then(|()| std::fs::hard_link(&own, path));
    let removed = std::fs::remove_file(&own);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => removed,
        Err(error) => Err(error),
        Ok(()) => removed,
    }
}

/// A name that no other worker chooses.
fn secret_name() -> io::Result<[u8; 8]> {
    Id::random().map(|id| id.low().to_be_bytes()).map_err(io::Error::other)
}

fn write(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "sessions.key";

    fn kept_there(directory: &Path) -> Result<Vec<u8>, BoxError> {
        kept(directory, FILE, "sessions")
    }

    #[test]
    fn all_workers_have_one_secret() {
        let directory = tempfile::tempdir().unwrap();
        let all: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| kept_there(directory.path()).unwrap())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(all[0].len() == BYTES && all.iter().all(|secret| *secret == all[0]));
        let files: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, [FILE]);
        let path = directory.path().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let set = |mode| std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        set(0o660);
        assert_eq!(kept_there(directory.path()).unwrap(), all[0]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        set(0o604);
        let open = kept_there(directory.path()).unwrap_err().to_string();
        assert!(open.contains("mode is 0604") && !open.contains(&hex(&all[0])), "{open}");
    }

    #[test]
    fn a_configured_secret_is_long_enough() {
        assert_eq!(checked("sessions.secret", "x".repeat(32)).unwrap().len(), 32);
        let short = checked("sessions.secret", "hunter2".to_owned()).unwrap_err().to_string();
        assert!(short.starts_with("sessions.secret has 7 bytes") && !short.contains("hunter2"), "{short}");
    }
}

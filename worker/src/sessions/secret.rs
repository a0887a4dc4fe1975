//! The secret that signs the cookies: as it is configured, or made once and kept in the state directory, where all workers of all
//! generations find it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::rand;
use nix::unistd::geteuid;

use super::cookie::{Id, hex};
use crate::BoxError;

const FILE: &str = "sessions.key";
/// Bytes of a secret that is made here, and the fewest that a configured one may have.
const BYTES: usize = 32;

/// A configured secret.
///
/// # Errors
/// If it is too short.
pub(super) fn checked(secret: String) -> Result<Vec<u8>, BoxError> {
    if secret.len() < BYTES {
        let text = format!(
            "sessions.secret has {} bytes, and needs {BYTES}: `openssl rand -hex 32` makes one; without the key the worker makes its own",
            secret.len()
        );
        return Err(text.into());
    }
    Ok(secret.into_bytes())
}

/// The secret in this directory. The first worker that looks makes it.
///
/// # Errors
/// If it cannot be read or made, or others than its owner may read it.
pub(super) fn kept(directory: &Path) -> Result<Vec<u8>, BoxError> {
    let path = directory.join(FILE);
    let read = match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(directory, &path).and_then(|()| read(&path)),
        read => read,
    };
    read.map_err(|error| format!("cannot keep the secret of sessions in {}: {error}", path.display()).into())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
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
        return Err(io::Error::other("it is too short; remove it, and all sessions end"));
    }
    Ok(secret)
}

/// Makes the file whole, or not at all. If another worker is faster, its file is the one.
fn make(directory: &Path, path: &Path) -> io::Result<()> {
    let mut secret = [0; BYTES];
    rand::fill(&mut secret).map_err(|_| io::Error::other("the system gives no random bits"))?;
    let own = directory.join(format!("{FILE}.{}", hex(&secret_name()?)));
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

    #[test]
    fn all_workers_have_one_secret() {
        let directory = tempfile::tempdir().unwrap();
        let all: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| kept(directory.path()).unwrap())).collect();
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
        assert_eq!(kept(directory.path()).unwrap(), all[0]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        set(0o604);
        let open = kept(directory.path()).unwrap_err().to_string();
        assert!(open.contains("mode is 0604") && !open.contains(&hex(&all[0])), "{open}");
    }

    #[test]
    fn a_configured_secret_is_long_enough() {
        assert_eq!(checked("x".repeat(32)).unwrap().len(), 32);
        let short = checked("hunter2".to_owned()).unwrap_err().to_string();
        assert!(short.contains("7 bytes") && !short.contains("hunter2"), "{short}");
    }
}

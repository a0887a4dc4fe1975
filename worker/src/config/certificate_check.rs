//! Certificates that the configuration names, for `--config-check`. A start does not look at them here: under a supervisor it is that which
//! reads them, with rights of its own, and a worker that runs alone opens them before its listeners.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gin_shared::config::listen::{PairFiles, TlsSettings};
use gin_shared::config::{Entry, Place, Problem, Value};
use gin_shared::tls::certificate::Facts;
use gin_shared::tls::contents::{self, ContentError};
use gin_shared::tls::material::Secret;

use super::{Config, Invalid};

/// Sections whose tables name files of TLS.
const SECTIONS: [&str; 2] = ["security", "supervisor"];

/// A file that cannot be used: the key that names it, its path, and the reason.
struct Fault {
    key: &'static str,
    file: PathBuf,
    why: Why,
}

enum Why {
    /// This user may not read it.
    Hidden,
    Wrong(String),
}

impl<A> Config<A> {
    /// Reads the certificates, keys, authorities and the secret of session tickets that listeners need, and looks whether they can be used:
    /// as the supervisor does at its start. Without a listener that speaks TLS nothing is read.
    ///
    /// Returns a warning for each file that this user may not read: the supervisor may be another user, who may.
    ///
    /// # Errors
    /// [`Invalid`]: each file that cannot be used, with the place where it is named.
    pub fn check_certificates(&self) -> Result<Vec<String>, Invalid> {
        let (mut warnings, mut problems) = (Vec::new(), Vec::new());
        for Fault { key, file, why } in faults(&self.tls_settings(), self.security.ticket_secret_file.as_deref()) {
            let (name, place) = self.named(key, &file);
            match why {
                Why::Hidden => warnings.push(format!(
                    "{place}: {name}: {}: permission denied, so it was not checked; the supervisor reads it with its own rights: check \
                     as its user",
                    file.display()
                )),
                Why::Wrong(text) => problems.push(Problem { place, text: format!("{name}: {text}") }),
            }
        }
        if problems.is_empty() { Ok(warnings) } else { Err(Invalid { problems, file: self.origin.file.clone() }) }
    }

    /// Settings of all listeners that speak TLS. Without a table there is one, by the default.
    fn tls_settings(&self) -> Vec<&TlsSettings> {
        let default = self.listeners.is_empty().then_some(&self.listener_default);
        let all = self.listeners.iter().map(|(_, settings)| settings).chain(default);
        all.filter_map(|settings| settings.tls.as_ref()).collect()
    }

    /// The whole name of the key that names this file, and the place where it stands.
    fn named(&self, key: &str, file: &Path) -> (String, String) {
        let text = file.to_string_lossy();
        let mut sections = self.origin.entries.iter().filter(|entry| SECTIONS.contains(&entry.key.as_str()));
        let found = sections.find_map(|section| find(section, key, &text));
        let file_name = self.file_name();
        match found {
            Some((name, place)) => (name, place.of(&file_name)),
            None => (format!("security.{key}"), file_name),
        }
    }
}

/// The entry of this key and text within another: its whole name, and its place.
fn find<'a>(entry: &'a Entry, key: &str, text: &str) -> Option<(String, &'a Place)> {
    let within = |entries: &'a [Entry]| entries.iter().find_map(|entry| find(entry, key, text));
    let found = match &entry.node.value {
        Value::String(own) => return (entry.key == key && own == text).then(|| (entry.key.clone(), &entry.place)),
        Value::Table(entries) => within(entries),
        Value::Array(nodes) => nodes.iter().find_map(|node| match &node.value {
            Value::Table(entries) => within(entries),
            _ => None,
        }),
        _ => None,
    };
    found.map(|(name, place)| (format!("{}.{name}", entry.key), place))
}

/// What is wrong with the files of these settings, each once.
fn faults(settings: &[&TlsSettings], ticket_secret: Option<&Path>) -> Vec<Fault> {
    let pairs: BTreeSet<&PairFiles> = settings.iter().flat_map(|settings| &settings.pairs).collect();
    let authorities = settings.iter().filter_map(|settings| settings.client.as_ref().map(|(file, _)| file.as_path()));
    let authorities: BTreeSet<&Path> = authorities.collect();
    let ticket_secret = ticket_secret.filter(|_| settings.iter().any(|settings| settings.tickets));
    let now = SystemTime::now();
    let of_pairs = pairs.into_iter().flat_map(|files| pair(files, now));
    let of_authorities = authorities.into_iter().filter_map(|file| authority(file).err());
    of_pairs.chain(of_authorities).chain(ticket_secret.and_then(|file| secret(file).err())).collect()
}

fn pair(files: &PairFiles, now: SystemTime) -> Vec<Fault> {
    let (cert, key) = (read("cert_file", &files.cert), read("key_file", &files.key));
    let of_time = |facts: Facts| contents::check_time(&files.cert, &facts, now);
    let (checked, unread) = match (cert, key) {
        (Ok(cert), Ok(key)) => (contents::pair(files, cert.bytes(), key.bytes()).and_then(of_time), None),
        (Ok(cert), Err(unread)) => (contents::certificate(&files.cert, cert.bytes()).and_then(of_time), Some(unread)),
        // Both are told.
        (Err(cert), key) => return std::iter::once(cert).chain(key.err()).collect(),
    };
    let fault = |error: ContentError| wrong(if error.file() == files.cert { "cert_file" } else { "key_file" }, &error);
    checked.err().map(fault).into_iter().chain(unread).collect()
}

fn authority(file: &Path) -> Result<(), Fault> {
    let read = read("client_ca_file", file)?;
    contents::authorities(file, read.bytes()).map_err(|error| wrong("client_ca_file", &error))
}

fn secret(file: &Path) -> Result<(), Fault> {
    let read = read("ticket_secret_file", file)?;
    contents::ticket_secret(file, read.bytes().len()).map_err(|error| wrong("ticket_secret_file", &error))
}

fn wrong(key: &'static str, error: &ContentError) -> Fault {
    Fault { key, file: error.file().to_owned(), why: Why::Wrong(error.to_string()) }
}

/// Reads a file, which may hold a key.
fn read(key: &'static str, file: &Path) -> Result<Secret, Fault> {
    // A pipe would be waited for.
    let is_file = fs::metadata(file).map(|metadata| metadata.is_file());
    let read = is_file.and_then(|is_file| if is_file { fs::read(file).map(Some) } else { Ok(None) });
    let why = match read {
        Ok(Some(bytes)) => return Ok(Secret::new(bytes)),
        Ok(None) => Why::Wrong(format!("{}: not a regular file", file.display())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Why::Hidden,
        Err(error) => Why::Wrong(format!("cannot read {}: {error}", file.display())),
    };
    Err(Fault { key, file: file.to_owned(), why })
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fixture(name: &str) -> String {
        format!("{}/../tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    /// What is told of this text: errors, or else warnings.
    fn told(text: &str) -> String {
        let config = Config::<()>::from_text(Path::new("shop.toml"), text).unwrap();
        config.check_certificates().map_or_else(|wrong| wrong.to_string(), |warnings| warnings.join("\n"))
    }

    fn https(cert: &str, key: &str) -> String {
        format!("[security]\nenable_https = true\ncert_file = {:?}\nkey_file = {:?}\n", fixture(cert), fixture(key))
    }

    #[test]
    fn a_pair_that_cannot_be_used_is_told_where_it_is_named() {
        assert_eq!(told(&https("server.pem", "server.key")), "");
        for (cert, key, begins, has) in [
            ("none.pem", "server.key", "shop.toml:3: security.cert_file: cannot read /", "none.pem: No such file"),
            ("server.pem", "none.key", "shop.toml:4: security.key_file: cannot read /", "none.key: No such file"),
            ("expired.pem", "expired.key", "shop.toml:3: security.cert_file: /", "has ended on 2021-01-01; replace"),
            (
                "server.pem",
                "mismatch.key",
                "shop.toml:3: security.cert_file: /",
                "mismatch.key is another certificate's",
            ),
            ("server.key", "server.key", "shop.toml:3: security.cert_file: /", "no certificate in it"),
            ("server.pem", "server.pem", "shop.toml:3: security.cert_file: /", "no private key in it"),
            ("ca.pem", "server.pem", "shop.toml:4: security.key_file: /", "no private key in it"),
            ("ed25519.pem", "ed25519.key", "shop.toml:3: security.cert_file: /", "not supported; use ECDSA or RSA"),
            ("", "server.key", "shop.toml:3: security.cert_file: /", "not a regular file"),
        ] {
            let said = told(&https(cert, key));
            assert!(said.starts_with(begins) && said.contains(has) && said.lines().count() == 1, "{said}");
        }
        let said = told(&https("none.pem", "none.key"));
        assert_eq!(said.lines().count(), 2, "{said}");
    }

    #[test]
    fn files_of_each_listener_are_looked_at_where_they_stand() {
        let listen =
            |tls: &str| format!("[[supervisor.listen]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\ntls = {tls}\n");
        let pair = format!("cert_file = {:?}, key_file = {:?}", fixture("server.pem"), fixture("server.key"));
        let mutual = |ca: &str| format!("{{ {pair}, client_ca_file = {:?}, client_auth = \"required\" }}", fixture(ca));
        assert_eq!(told(&listen(&mutual("ca.pem"))), "");
        for (ca, has) in [("ca.key", "no certificate in it"), ("none.pem", "No such file")] {
            let said = told(&listen(&mutual(ca)));
            assert!(said.starts_with("shop.toml:4: supervisor.listen.tls.client_ca_file: "), "{said}");
            assert!(said.contains(has), "{said}");
        }
        // What nobody needs is not read.
        let unused = format!("[security]\ncert_file = \"/none.pem\"\nkey_file = \"/none.key\"\n{}", listen("false"));
        assert_eq!(told(&unused), "");
        let more = format!("certificates = [{{ cert_file = \"/none.pem\", key_file = {:?} }}]\n", fixture("rsa.key"));
        let said = told(&(https("server.pem", "server.key") + &more));
        assert!(said.starts_with("shop.toml:5: security.certificates.cert_file: cannot read /none.pem"), "{said}");
    }

    #[test]
    fn a_secret_of_tickets_has_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tickets");
        let text = https("server.pem", "server.key") + &format!("ticket_secret_file = {file:?}\n");
        for (length, is_fine) in [(31, false), (32, true)] {
            fs::write(&file, vec![7; length]).unwrap();
            let said = told(&text);
            assert_eq!(said.is_empty(), is_fine, "{said}");
            assert!(is_fine || said.starts_with("shop.toml:5: security.ticket_secret_file: /"), "{said}");
        }
    }

    #[test]
    fn a_key_that_is_the_supervisors_to_read_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("own.key");
        fs::copy(fixture("server.key"), &key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::read(&key).is_ok() {
            // Root may read everything.
            return;
        }
        let with = |cert: &str| {
            format!("[security]\nenable_https = true\ncert_file = {:?}\nkey_file = {key:?}\n", fixture(cert))
        };
        let said = told(&with("server.pem"));
        assert!(said.starts_with("shop.toml:4: security.key_file: ") && said.contains("permission denied"), "{said}");
        // What can be read is looked at.
        assert!(told(&with("expired.pem")).contains("has ended"));
    }
}

//! Settings that are valid, and with which a start would fail all the same: a directory that is not there, a log that cannot be written.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use gin_shared::config::{Entry, Place, Problem, Value};
use gin_shared::listen::Address;
use rustix::fs::{Access, CWD, Mode, OFlags, accessat, openat};

use super::{Config, Invalid, Output, StaticMount};

impl<A> Config<A> {
    /// The file that these settings were read from, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.origin.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Looks for what a start needs beside valid settings, and makes nothing: the directory of `[static]`, the log's output, the address.
    /// [`Self::load`] does so for `--config-check`.
    ///
    /// # Errors
    /// [`Invalid`]: everything with which a start would fail, with the place where it is set.
    pub fn check(&self) -> Result<(), Invalid> {
        let found = [
            ("static", "dir", self.files.dir.as_deref().and_then(|dir| directory(dir).err())),
            ("static", "fallback", self.missing_fallback()),
            ("logging", "file_path", self.log_file().and_then(|path| log_file(path).err())),
            ("logging", "output", self.journal().err().map(|error| format!("\"journald\": {error}"))),
            ("server", "host", self.address().err()),
        ];
        let wrong = found.into_iter().filter_map(|(section, key, text)| {
            text.map(|text| Problem { place: self.place(section, key), text: format!("{section}.{key}: {text}") })
        });
        let problems: Vec<Problem> =
            wrong.chain(self.missing_of_mounts()).chain(self.missing_of_monitoring()).collect();
        if problems.is_empty() { Ok(()) } else { Err(Invalid { problems, file: self.origin.file.clone() }) }
    }

    /// The last line of a check that has found nothing wrong.
    pub(super) fn fine(&self) -> String {
        match self.file() {
            Some(file) => format!("{}: the configuration is fine", file.display()),
            None => "the configuration is fine: no file, only the environment and the command line".to_owned(),
        }
    }

    fn log_file(&self) -> Option<&Path> {
        self.logging.file_path.as_deref().filter(|_| self.logging.output == Output::File)
    }

    /// Without the feature the key itself is an error.
    #[cfg(not(feature = "journald"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    fn journal(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(feature = "journald")]
    fn journal(&self) -> io::Result<()> {
        if self.logging.output == Output::Journald { tracing_journald::layer().map(drop) } else { Ok(()) }
    }

    /// Host and port of a worker that runs alone. Where the supervisor's listeners are named, nobody binds them.
    fn address(&self) -> Result<(), String> {
        let supervisor = entry(&self.origin.entries, "supervisor").map(|entry| &entry.node.value);
        let is_replaced = matches!(supervisor, Some(Value::Table(keys)) if entry(keys, "listen").is_some());
        if is_replaced {
            return Ok(());
        }
        let read = Address::from_host_port(&self.server.host, self.server.port);
        read.map(drop).map_err(|error| error.to_string())
    }

    /// The problem of `static.fallback`, if its directory is there and it is not.
    fn missing_fallback(&self) -> Option<String> {
        let dir = self.files.dir.as_deref().filter(|dir| directory(dir).is_ok())?;
        fallback(dir, self.files.fallback.as_deref()?).err()
    }

    /// Directories and fallbacks of `[[static.mounts]]` that are missing.
    fn missing_of_mounts(&self) -> impl Iterator<Item = Problem> {
        let file = self.file_name();
        self.files.mounts.iter().enumerate().filter_map(move |(index, StaticMount { dir, options, .. })| {
            let of = |key: &'static str| move |text: String| (key, text);
            let named = options.fallback.as_deref();
            let wrong = directory(dir)
                .map_err(of("dir"))
                .and_then(|()| named.map_or(Ok(()), |name| fallback(dir, name).map_err(of("fallback"))));
            let (key, text) = wrong.err()?;
            let place = self.place_in_mount(index, key).map_or_else(|| file.clone(), |place| place.of(&file));
            Some(Problem { place, text: format!("static.mounts.{key}: {text}") })
        })
    }

    /// Files of `[monitoring]` that are needed and cannot be used.
    fn missing_of_monitoring(&self) -> impl Iterator<Item = Problem> {
        let ca_file = self.tracing.ca_file.as_deref().filter(|_| self.traces_handlers());
        let is_asked = cfg!(feature = "profile") && self.profiling.is_on;
        let found = [
            ("jaeger", "ca_file", ca_file.and_then(|path| certificates(path).err())),
            ("pprof", "token_file", is_asked.then(|| self.profiling.read_token().err()).flatten()),
        ];
        found.into_iter().filter_map(move |(table, key, text)| {
            let Value::Table(keys) = &self.entry("monitoring", table)?.node.value else { return None };
            let place = entry(keys, key)?.place.of(&self.file_name());
            Some(Problem { place, text: text? })
        })
    }

    fn place_in_mount(&self, index: usize, key: &str) -> Option<&Place> {
        let Value::Array(mounts) = &self.entry("static", "mounts")?.node.value else { return None };
        let Value::Table(keys) = &mounts.get(index)?.value else { return None };
        entry(keys, key).map(|entry| &entry.place)
    }

    pub(super) fn file_name(&self) -> String {
        self.file().map_or_else(|| "default".to_owned(), |file| file.display().to_string())
    }

    /// The place where a key is set.
    fn place(&self, section: &str, key: &str) -> String {
        self.said(section, key).unwrap_or_else(|| self.file_name())
    }

    /// The place where a key is set: a file's line, a variable, a flag. `None`: nothing that was read sets it.
    pub(crate) fn said(&self, section: &str, key: &str) -> Option<String> {
        self.entry(section, key).map(|entry| entry.place.of(&self.file_name()))
    }

    /// True if anything that was read sets a key of this section.
    pub(crate) fn has(&self, section: &str) -> bool {
        let section = entry(&self.origin.entries, section).map(|entry| &entry.node.value);
        matches!(section, Some(Value::Table(keys)) if !keys.is_empty())
    }

    fn entry(&self, section: &str, key: &str) -> Option<&Entry> {
        let Value::Table(keys) = &entry(&self.origin.entries, section)?.node.value else { return None };
        entry(keys, key)
    }
}

fn entry<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// Looks whether a file of authorities can be read.
fn certificates(path: &Path) -> Result<(), String> {
    std::fs::read(path).map(drop).map_err(|error| {
        let path = path.display();
        format!("monitoring.jaeger.ca_file: cannot read {path}: {error}; the worker's user must be able to read it")
    })
}

/// Opens a directory as its files are served from it.
fn directory(dir: &Path) -> Result<(), String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, dir, flags, Mode::empty()).map(drop).map_err(|error| {
        let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let error = io::Error::from(error);
        format!("cannot serve {}: {error}; make the directory, or remove the key", whole.display())
    })
}

/// Looks for the page of a single-page application.
fn fallback(dir: &Path, name: &str) -> Result<(), String> {
    let path = dir.join(name);
    if path.is_file() {
        return Ok(());
    }
    let whole = std::path::absolute(&path).unwrap_or(path);
    Err(format!("cannot serve {}: there is no such file; make the file, or remove the key", whole.display()))
}

/// Looks whether a log file can be written, or made in a directory that may have to be made first.
fn log_file(path: &Path) -> Result<(), String> {
    let failed = |at: &Path, error: io::Error| format!("cannot write to {}: {error}", at.display());
    if path.exists() {
        return OpenOptions::new().append(true).open(path).map(drop).map_err(|error| failed(path, error));
    }
    let nearest = path.ancestors().skip(1).find(|directory| directory.exists()).unwrap_or(Path::new("/"));
    let may_make = accessat(CWD, nearest, Access::WRITE_OK | Access::EXEC_OK, rustix::fs::AtFlags::EACCESS);
    match may_make {
        Ok(()) if nearest.is_dir() => Ok(()),
        Ok(()) => Err(failed(nearest, io::ErrorKind::NotADirectory.into())),
        Err(error) => Err(failed(nearest, error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let config = Config::<()>::from_text(Path::new("shop.toml"), text).unwrap();
        config.check().map_or_else(|wrong| wrong.to_string(), |()| config.fine())
    }

    #[test]
    fn what_a_start_would_not_find_is_told_with_its_line() {
        assert_eq!(told("[server]\nport = 1\n"), "shop.toml: the configuration is fine");
        let said = told("[server]\nhost = \"example.org\"\n[static]\nurl_prefix = \"/s\"\ndir = \"./none\"\n");
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("shop.toml:5: static.dir: cannot serve /"), "{said}");
        assert!(lines[0].contains("/none: No such file or directory"), "{said}");
        assert!(lines[1].starts_with("shop.toml:2: server.host: "), "{said}");
        let listen = "[[supervisor.listen]]\naddress = \"127.0.0.1:0\"\n";
        assert!(told(&format!("[server]\nhost = \"example.org\"\n{listen}")).ends_with("is fine"));
    }

    #[test]
    fn each_directory_and_each_page_of_its_own_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mount = |prefix: &str, dir: &Path, more: &str| {
            format!("[[static.mounts]]\nurl_prefix = {prefix:?}\ndir = {dir:?}\n{more}")
        };
        let text = |fallback: &str, none: &Path| {
            format!("[static]\ndir = {:?}\nfallback = {fallback:?}\n", dir.path())
                + &mount("/a", none, "")
                + &mount("/b", dir.path(), &format!("fallback = {fallback:?}\n"))
        };
        std::fs::write(dir.path().join("index.html"), "").unwrap();
        assert!(told(&text("index.html", dir.path())).ends_with("is fine"));
        let said = told(&text("app.html", &dir.path().join("none")));
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("shop.toml:3: static.fallback: cannot serve /"), "{said}");
        assert!(lines[0].contains("/app.html: there is no such file"), "{said}");
        assert!(lines[1].starts_with("shop.toml:6: static.mounts.dir: cannot serve /"), "{said}");
        assert!(lines[2].starts_with("shop.toml:10: static.mounts.fallback: cannot serve /"), "{said}");
    }

    #[cfg(all(feature = "otel", feature = "profile"))]
    #[test]
    fn files_of_traces_and_profiles_are_looked_for() {
        let text = |is_on: bool| {
            format!(
                "[features]\npprof = {is_on}\n[monitoring.pprof]\ntoken_file = \"/none/token\"\n[monitoring.jaeger]\nenable = {is_on}\n\
                 endpoint = \"https://collector:4317\"\nca_file = \"/none/ca.pem\"\n"
            )
        };
        assert!(told(&text(false)).ends_with("is fine"));
        if cfg!(feature = "tls") {
            let said = told(&text(true));
            let lines: Vec<&str> = said.lines().collect();
            assert!(
                lines[0].starts_with("shop.toml:8: monitoring.jaeger.ca_file: cannot read /none/ca.pem: "),
                "{said}"
            );
            assert!(
                lines[1].starts_with("shop.toml:4: monitoring.pprof.token_file: cannot read /none/token: "),
                "{said}"
            );
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_and_none_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let text = |path: &Path| format!("[logging]\noutput = \"file\"\nfile_path = {path:?}\n");
        let file = dir.path().join("logs/shop.log");
        assert!(told(&text(&file)).ends_with("is fine"));
        assert!(!dir.path().join("logs").exists());
        std::fs::write(dir.path().join("plain"), "").unwrap();
        let said = told(&text(&dir.path().join("plain/shop.log")));
        assert!(said.starts_with("shop.toml:3: logging.file_path: cannot write to "), "{said}");
    }
}

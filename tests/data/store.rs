//! A database of each kind.

use std::path::PathBuf;
use std::process::Command;

use harness::{Service, ServiceKind};
use tempfile::TempDir;

/// The kinds of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A server of MariaDB.
    MariaDb,
    /// A server of PostgreSQL.
    Postgres,
}

/// A database.
pub enum Store {
    /// A file in a directory.
    File(TempDir),
    /// A server.
    Server(Service),
}

/// Lines of `[database]` by which an outage is noticed soon.
pub const SOON: &str = "acquire_timeout = \"3s\"\nmax_open_conns = 8\n";

impl Store {
    /// Makes an empty one, and starts its server if it has one.
    pub fn start(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::File(tempfile::Builder::new().prefix("sql").tempdir_in("/tmp").unwrap()),
            Kind::MariaDb => Self::Server(Service::start(ServiceKind::MariaDb)),
            Kind::Postgres => Self::Server(Service::start(ServiceKind::Postgres)),
        }
    }

    fn file(dir: &TempDir) -> PathBuf {
        dir.path().join("shop.sqlite")
    }

    /// Its section of the configuration.
    pub fn section(&self) -> String {
        match self {
            Self::File(dir) => format!("[database]\ndriver = \"sqlite\"\ndatabase = {:?}\n{SOON}", Self::file(dir)),
            Self::Server(server) => server.section() + SOON,
        }
    }

    /// The answer to a statement: a line a row, with tabs between the columns.
    pub fn ask(&self, statement: &str) -> String {
        match self {
            Self::File(dir) => {
                let mut sqlite = Command::new("/usr/bin/sqlite3");
                sqlite.args(["-batch", "-noheader", "-separator", "\t", "-cmd", ".timeout 5000"]);
                let output = sqlite.arg(Self::file(dir)).arg(statement).output().unwrap();
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{statement:?}: {error}");
                String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
            }
            Self::Server(server) => server.ask(statement),
        }
    }

    /// The rows of a statement that gives one column.
    pub fn rows(&self, statement: &str) -> Vec<String> {
        self.ask(statement).lines().map(str::to_owned).collect()
    }

    /// True if there is a table of this name.
    pub fn has_table(&self, name: &str) -> bool {
        let statement = match self {
            Self::File(_) => format!("SELECT count(*) FROM sqlite_master WHERE name = '{name}'"),
            Self::Server(_) => format!("SELECT count(*) FROM information_schema.tables WHERE table_name = '{name}'"),
        };
        self.ask(&statement) != "0"
    }

    /// Its server.
    pub fn server(&mut self) -> &mut Service {
        match self {
            Self::File(_) => panic!("a file has no server"),
            Self::Server(server) => server,
        }
    }
}

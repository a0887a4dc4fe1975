//! The database that `[database]` names, as sqlx connects to it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use gin_shared::config::Problem;
use gin_shared::inherit::GIN_RELEASE;
use sea_orm::DbBackend;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use super::error::{is_answer, is_busy};
use super::migrate;
use crate::config::{Database as Config, Driver, Tls};
use crate::parts::state_directory;

/// Time for which SQLite waits for another connection's lock: those of this generation, and of the next one beside it.
const BUSY: Duration = Duration::from_secs(5);
/// Between two tries to make a new file of SQLite a WAL.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Longest time of a statement, on the server where it knows such a limit.
pub(super) const STATEMENT: Duration = Duration::from_secs(30);
/// PostgreSQL's setting of it.
const POSTGRES_LIMIT: &str = "statement_timeout";
/// The file in the state directory.
const FILE: &str = "database.sqlite";
/// The path that is no file.
const MEMORY: &str = ":memory:";

/// The fault of a configuration of MySQL without a user.
const NO_USER: &str = "database.username: it must say as which user the service connects (in database.url: mysql://USER@HOST/NAME); \
                       without one it would be root";

/// Parameters of a URL of PostgreSQL that sqlx knows.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// A database, and how to connect to it.
pub(super) struct Target {
    pub(super) kind: Kind,
    /// Its name: the label of its metrics.
    pub(super) name: String,
    /// Place of the database, for people: without user and password.
    pub(super) place: String,
}

/// A kind of database.
pub(super) enum Kind {
    /// A file; `None`: in memory, for as long as its one connection lives.
    Sqlite(Box<SqliteConnectOptions>, Option<PathBuf>),
    /// MySQL or MariaDB.
    MySql(Box<MySqlConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

/// Why a connection was not made.
pub(super) struct Refusal {
    pub(super) why: String,
    /// True if the database has said it, and is there: a wrong password, say, or no room for one more connection.
    pub(super) is_answer: bool,
}

impl Target {
    /// # Errors
    /// If the URL is none, a password cannot be read, or something is missing.
    pub(super) fn read(config: &Config) -> Result<Self, Problem> {
        let problem = |text| Problem { place: "[database]".to_owned(), text };
        let password = config.read_password().map_err(problem)?;
        let kind = match &config.url {
            Some(url) => by_url(url, config, password.as_deref()),
            None => by_keys(config, password.as_deref()),
        };
        Ok(Self::of(kind.map_err(problem)?))
    }

    fn of(kind: Kind) -> Self {
        let (name, place) = match &kind {
            Kind::Sqlite(_, None) => ("memory".to_owned(), MEMORY.to_owned()),
            Kind::Sqlite(_, Some(file)) => {
                let name = file.file_stem().map_or_else(|| FILE.to_owned(), |name| name.to_string_lossy().into_owned());
                (name, file.display().to_string())
            }
            Kind::MySql(options) => {
                named(options.get_host(), options.get_port(), options.get_socket(), options.get_database())
            }
            Kind::Postgres(options) => {
                named(options.get_host(), options.get_port(), options.get_socket(), options.get_database())
            }
        };
        Self { kind, name, place }
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self.kind {
            Kind::Sqlite(..) => DbBackend::Sqlite,
            Kind::MySql(_) => DbBackend::MySql,
            Kind::Postgres(_) => DbBackend::Postgres,
        }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.kind, Kind::Sqlite(_, None))
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::Sqlite(_, Some(_)))
    }

    /// The database that migrations connect to by themselves.
    pub(super) fn for_migrations(&self) -> migrate::Kind {
        match &self.kind {
            Kind::Sqlite(_, file) => migrate::Kind::Sqlite(file.clone()),
            Kind::MySql(options) => migrate::Kind::MySql(options.clone()),
            Kind::Postgres(options) => migrate::Kind::Postgres(options.clone()),
        }
    }

    /// Makes SQLite's file, for this user alone; SQLite gives its other files the same mode. A file that is there stays as it is.
    pub(super) fn make_file(&self) -> io::Result<()> {
        let Kind::Sqlite(_, Some(file)) = &self.kind else { return Ok(()) };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => Ok(()),
            Ok(_) => {
                let release = std::env::var(GIN_RELEASE).ok();
                if let Some(warning) = of_one_release(file, release.as_deref()) {
                    tracing::warn!("{warning}");
                }
                Ok(())
            }
        }
    }

    /// Makes a connection, and closes it.
    pub(super) async fn connect(&self, within: Duration) -> Result<(), Refusal> {
        match timeout(within, self.kind.connect()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refusal { why: error.to_string(), is_answer: is_answer(&error) }),
            Err(_) => Err(Refusal { why: format!("no answer within {within:?}"), is_answer: false }),
        }
    }
}

impl Kind {
    async fn connect(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(options, _) => loop {
                match options.connect().await {
                    // SQLite does not wait for the lock with which the first connection of all makes a file a WAL.
                    Err(sqlx::Error::Database(error)) if is_busy(error.as_ref()) => {
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                    made => return made?.close().await,
                }
            },
            Self::MySql(options) => options.connect().await?.close().await,
            Self::Postgres(options) => options.connect().await?.close().await,
        }
    }
}

/// A warning about a new file that only one release would use.
fn of_one_release(file: &Path, release: Option<&str>) -> Option<String> {
    let release = release.filter(|_| file.is_relative())?;
    let file = file.display();
    Some(format!(
        "the database {file} is new and empty, in the directory of the release {release}: the next release begins with another one; name \
         it by an absolute path"
    ))
}

/// A database's name, and where its server is.
fn named(host: &str, port: u16, socket: Option<&PathBuf>, database: Option<&str>) -> (String, String) {
    let name = database.unwrap_or("default");
    let place = match socket {
        Some(socket) => format!("{} ({name})", socket.display()),
        None => format!("{host}:{port} ({name})"),
    };
    (name.to_owned(), place)
}

/// # Errors
/// The fault of the URL: never the URL, which has a password.
fn by_url(url: &str, config: &Config, password: Option<&str>) -> Result<Kind, String> {
    let wrong = |error: sqlx::Error| format!("database.url: {error}");
    match url.split(':').next().unwrap_or_default() {
        "sqlite" if url.contains(MEMORY) || url.contains("mode=memory") => {
            Ok(sqlite(SqliteConnectOptions::new(), None))
        }
        "sqlite" => {
            let options = SqliteConnectOptions::from_str(url).map_err(wrong)?;
            let file = options.get_filename().to_owned();
            Ok(sqlite(options, Some(file)))
        }
        "mysql" | "mariadb" => {
            if !says_user(url) {
                return Err(NO_USER.to_owned());
            }
            let mut options = MySqlConnectOptions::from_str(url).map_err(wrong)?;
            if let Some(password) = password {
                options = options.password(password);
            }
            Ok(mysql(options, config, says_tls(url)))
        }
        "postgres" | "postgresql" => {
            let (known, unknown) = known_parameters(url);
            let mut options = PgConnectOptions::from_str(&known).map_err(wrong)?;
            for name in unknown {
                tracing::warn!("database.url: the parameter {name} is not known here, and is passed over");
            }
            if let Some(password) = password {
                options = options.password(password);
            }
            Ok(postgres(options, config, says_tls(url)))
        }
        _ => Err("database.url: begin it with sqlite:, mysql:// or postgres://".to_owned()),
    }
}

/// A URL of PostgreSQL without the parameters that sqlx does not know, and the names of these: sqlx would log them with their values, and
/// `sslpassword` is one of them.
fn known_parameters(url: &str) -> (String, Vec<&str>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), Vec::new()) };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        if PARAMETERS.contains(&name) || name.starts_with("options[") || name.starts_with("options%5B") {
            known.push(pair);
        } else if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            unknown.push(name);
        } else {
            // No name, but the end of a password, perhaps, whose ? is not written as %3F.
            unknown.push("behind the ?");
        }
    }
    (format!("{base}?{}", known.join("&")), unknown)
}

/// True if the URL says by itself whether the connection is encrypted.
fn says_tls(url: &str) -> bool {
    url.contains("sslmode=") || url.contains("ssl-mode=")
}

/// # Errors
/// The setting or directory that is missing.
fn by_keys(config: &Config, password: Option<&str>) -> Result<Kind, String> {
    match config.driver {
        Driver::Sqlite => match config.database.as_deref() {
            Some(MEMORY) => Ok(sqlite(SqliteConnectOptions::new(), None)),
            Some(file) => Ok(sqlite_file(Path::new(file))),
            None => Ok(sqlite_file(&state_directory()?.join(FILE))),
        },
        Driver::Mysql => {
            let mut options = MySqlConnectOptions::new().port(port(config, 3306)).database(database(config)?);
            options =
                if config.host.starts_with('/') { options.socket(&config.host) } else { options.host(&config.host) };
            options = options.username(config.username.as_deref().ok_or(NO_USER)?);
            if let Some(password) = password {
                options = options.password(password);
            }
            Ok(mysql(options.charset(&config.charset), config, false))
        }
        Driver::Postgres => {
            let options = PgConnectOptions::new_without_pgpass().host(&config.host);
            let mut options = options.port(port(config, 5432)).database(database(config)?);
            if let Some(username) = &config.username {
                options = options.username(username);
            }
            if let Some(password) = password {
                options = options.password(password);
            }
            Ok(postgres(options, config, false))
        }
    }
}

/// True if a URL of MySQL has a user: sqlx would connect as root.
fn says_user(url: &str) -> bool {
    let authority = url.split_once("//").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| !user.is_empty() && !user.starts_with(':'))
}

fn database(config: &Config) -> Result<&str, String> {
    config.database.as_deref().ok_or_else(|| "database.database: it must say which database is used".to_owned())
}

/// The port, or the default one of a configuration that was made for SQLite.
fn port(config: &Config, default: u16) -> u16 {
    if config.port == 0 { default } else { config.port }
}

fn sqlite_file(file: &Path) -> Kind {
    sqlite(SqliteConnectOptions::new().filename(file), Some(file.to_owned()))
}

/// Readers and one writer at a time do not hinder one another (WAL); a commit is safe from a crash of the process, and the last ones may
/// be lost if the machine loses its power (synchronous).
fn sqlite(options: SqliteConnectOptions, file: Option<PathBuf>) -> Kind {
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .disable_statement_logging();
    Kind::Sqlite(Box::new(options), file)
}

fn mysql(mut options: MySqlConnectOptions, config: &Config, has_tls: bool) -> Kind {
    if !has_tls {
        options = options.ssl_mode(match config.tls {
            Tls::Disable => MySqlSslMode::Disabled,
            Tls::Prefer => MySqlSslMode::Preferred,
            Tls::Require => MySqlSslMode::VerifyIdentity,
        });
    }
    if let Some(file) = &config.ca_file {
        options = options.ssl_ca(file);
    }
    Kind::MySql(Box::new(options.disable_statement_logging()))
}

/// The limit of a statement's time is a part of the options, so that a server (or a pooler before it) that refuses it refuses the start.
fn postgres(mut options: PgConnectOptions, config: &Config, has_tls: bool) -> Kind {
    if !options.get_options().is_some_and(|options| options.contains(POSTGRES_LIMIT)) {
        options = options.options([(POSTGRES_LIMIT, STATEMENT.as_millis())]);
    }
    if !has_tls {
        options = options.ssl_mode(match config.tls {
            Tls::Disable => PgSslMode::Disable,
            Tls::Prefer => PgSslMode::Prefer,
            Tls::Require => PgSslMode::VerifyFull,
        });
    }
    if let Some(file) = &config.ca_file {
        options = options.ssl_root_cert(file);
    }
    Kind::Postgres(Box::new(options.disable_statement_logging()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut Config)) -> Result<Target, String> {
        let mut config = Config::default();
        change(&mut config);
        Target::read(&config).map_err(|problem| problem.to_string())
    }

    fn url(url: &str) -> Result<Target, String> {
        read(|config| config.url = Some(url.to_owned()))
    }

    fn secure(config: &mut Config, driver: Driver) {
        config.driver = driver;
        config.database = Some("shop".to_owned());
        config.username = Some("ann".to_owned());
        config.tls = Tls::Require;
        config.port = 0;
    }

    #[test]
    fn a_database_is_named_by_keys() {
        let target = read(|config| secure(config, Driver::Postgres)).ok().unwrap();
        assert_eq!((target.name.as_str(), target.place.as_str()), ("shop", "127.0.0.1:5432 (shop)"));
        let Kind::Postgres(options) = target.kind else { panic!("{}", target.place) };
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        let target = read(|config| secure(config, Driver::Mysql)).ok().unwrap();
        assert_eq!((target.name.as_str(), target.place.as_str()), ("shop", "127.0.0.1:3306 (shop)"));
        let Kind::MySql(options) = target.kind else { panic!("{}", target.place) };
        assert!(matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity));
        let target = read(|config| config.database = Some("/srv/shop.db".to_owned())).ok().unwrap();
        assert_eq!((target.name.as_str(), target.place.as_str()), ("shop", "/srv/shop.db"));
        let missing = read(|config| config.driver = Driver::Mysql).err().unwrap();
        assert!(missing.contains("database.database"), "{missing}");
        let nobody = |config: &mut Config| {
            secure(config, Driver::Mysql);
            config.username = None;
        };
        let root = read(nobody).err().unwrap();
        assert!(root.contains("database.username") && root.contains("root"), "{root}");
    }

    #[test]
    fn each_connection_to_postgresql_has_the_limit_of_a_statements_time() {
        let limits = |target: Target| {
            let Kind::Postgres(options) = target.kind else { panic!("{}", target.place) };
            options.get_options().unwrap_or_default().to_owned()
        };
        let by_keys = limits(read(|config| secure(config, Driver::Postgres)).ok().unwrap());
        assert!(by_keys.contains("statement_timeout=30000"), "{by_keys}");
        let by_url = limits(url("postgres://db/shop?options[statement_timeout]=60000").ok().unwrap());
        assert!(by_url.contains("statement_timeout=60000") && !by_url.contains("30000"), "{by_url}");
    }

    #[test]
    fn a_file_that_only_one_release_would_use_is_warned_of() {
        let told = |file, release| of_one_release(Path::new(file), release);
        let warning = told("data/shop.db", Some("v7")).unwrap();
        assert!(warning.contains("data/shop.db") && warning.contains("release v7"), "{warning}");
        assert_eq!((told("data/shop.db", None), told("/srv/shop.db", Some("v7"))), (None, None));
    }

    #[test]
    fn a_database_is_named_by_a_url() {
        let target = url("mariadb://ann:secret@db.example.org/shop?ssl-mode=REQUIRED").ok().unwrap();
        assert_eq!((target.name.as_str(), target.place.as_str()), ("shop", "db.example.org:3306 (shop)"));
        let Kind::MySql(options) = target.kind else { panic!("{}", target.place) };
        assert!(matches!(options.get_ssl_mode(), MySqlSslMode::Required));
        assert!(matches!(url("sqlite::memory:").ok().unwrap().kind, Kind::Sqlite(_, None)));
        assert_eq!(url("sqlite:///srv/shop.db").ok().unwrap().place, "/srv/shop.db");
        let parameters = "postgres://db/shop?user=ann&sslpassword=secret&options[a]=b&1#secret@&sslmode=require";
        let (known, unknown) = known_parameters(parameters);
        assert_eq!(known, "postgres://db/shop?user=ann&options[a]=b&sslmode=require");
        assert_eq!(unknown, ["sslpassword", "behind the ?"]);
        assert_eq!(url(parameters).ok().unwrap().name, "shop");
        for nobodys in ["mysql://db/shop", "mysql://:secret@db/shop", "mariadb://@db/shop?a=b@c", "mysql://db"] {
            let text = url(nobodys).err().unwrap();
            assert!(text.contains("database.username") && !text.contains("secret"), "{text}");
        }
        for wrong in ["oracle://ann:secret@db/shop", "postgres://ann:secret@db:port/shop", "secret"] {
            let text = url(wrong).err().unwrap();
            assert!(text.contains("database.url") && !text.contains("secret"), "{text}");
        }
    }
}

//! The history of the database, oldest first.
//!
//! The second migration makes the first accounts, so this happens once, whichever worker of whichever release comes first:
//!
//! | `server.mode` | accounts |
//! |---|---|
//! | `debug` | `admin`, with the role `admin`, and `user2` to `user8`: the password of each is `password`, or the one of that file |
//! | others | `admin`, with the password that stands in the file `app.admin_password_file`; without one the start fails |
//!
//! They stay when the mode changes: a database that debug mode has begun is none for a release.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gin_worker::auth::Passwords;
use gin_worker::config::{self, Mode};
use gin_worker::sea_orm::DbBackend;
use gin_worker::sea_orm_migration::prelude::*;
use gin_worker::{BoxError, Config};

pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateAccounts), Box::new(FirstAccounts)]
    }
}

/// The configuration of the first accounts: nothing gives a migration arguments.
static FIRST: Mutex<Option<First>> = Mutex::new(None);

#[derive(Clone)]
struct First {
    mode: Mode,
    auth: config::Auth,
    password_file: Option<PathBuf>,
}

/// Says of which configuration the first accounts are made: called before the server starts.
pub fn begin_with<A>(config: &Config<A>, admin_password_file: Option<&Path>) {
    let (auth, password_file) = (config.auth.clone(), admin_password_file.map(Path::to_owned));
    let first = First { mode: config.server.mode, auth, password_file };
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
}

struct CreateAccounts;

impl MigrationName for CreateAccounts {
    fn name(&self) -> &str {
        "m20260901_090000_create_accounts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAccounts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut table = Table::create()
            .table("accounts")
            .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
            .col(ColumnDef::new("username").string_len(200).not_null())
            .col(ColumnDef::new("hash").string_len(500).not_null())
            .col(ColumnDef::new("roles").string_len(500).not_null())
            .to_owned();
        if manager.get_database_backend() == DbBackend::MySql {
            // Else MariaDB takes "Admin" for "admin".
            table.character_set("utf8mb4").collate("utf8mb4_bin");
        }
        manager.create_table(table).await?;
        let index = Index::create().name("accounts_username").table("accounts").col("username").unique().to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("accounts").to_owned()).await
    }
}

struct FirstAccounts;

impl MigrationName for FirstAccounts {
    fn name(&self) -> &str {
        "m20260901_100000_first_accounts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for FirstAccounts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let any = Query::select().column("id").from("accounts").limit(1).to_owned();
        if manager.get_connection().query_one(&any).await?.is_some() {
            return Ok(());
        }
        let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let accounts = accounts(first).await.map_err(|error| DbErr::Custom(error.to_string()))?;
        let mut insert = Query::insert();
        insert.into_table("accounts").columns(["username", "hash", "roles"]);
        for (username, hash, roles) in accounts {
            insert.values_panic([Expr::val(username), Expr::val(hash), Expr::val(roles)]);
        }
        manager.execute(insert).await
    }

    /// The accounts stay: by now their passwords may be others.
    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

/// The role that may see and delete accounts.
const ADMIN: &str = "admin";

/// Names, hashes and roles of the first accounts.
async fn accounts(first: Option<First>) -> Result<Vec<(String, String, &'static str)>, BoxError> {
    let First { mode, auth, password_file } = first.ok_or("migrations::begin_with was not called")?;
    let is_debug = mode == Mode::Debug;
    let password = match password_file {
        Some(file) => read(&file)?,
        None if is_debug => "password".to_owned(),
        None => {
            return Err("there is no account yet; write the password of admin into a file that only the worker's user can read, \
                        and name it in app.admin_password_file (or set server.mode = \"debug\", for accounts with a known password)"
                .into());
        }
    };
    // One hash for all of debug mode: it takes its time.
    let hash = Passwords::new(&auth).hash(&password).await?;
    let others = (2..=8).filter(|_| is_debug).map(|number| (format!("user{number}"), hash.clone(), ""));
    Ok(std::iter::once((ADMIN.to_owned(), hash.clone(), ADMIN)).chain(others).collect())
}

/// The password in this file, without the newline at its end.
fn read(file: &Path) -> Result<String, BoxError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("app.admin_password_file: cannot read {}: {error}", file.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(format!("app.admin_password_file: {} is empty", file.display()).into());
    }
    Ok(password.to_owned())
}

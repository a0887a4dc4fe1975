//! The users in the database, and what is said of them.

use std::time::{Duration, SystemTime};

use gin_worker::api::Argument;
use gin_worker::axum::extract::FromRequestParts;
use gin_worker::axum::http::request::Parts;
use gin_worker::cache::Cache;
use gin_worker::database::{Database, is_unique_violation};
use gin_worker::sea_orm::ActiveValue::{NotSet, Set, Unchanged};
use gin_worker::sea_orm::sea_query::{Asterisk, BinOper, Condition, Expr, Func};
use gin_worker::sea_orm::{
    self, ActiveModelTrait, ColumnTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};
use gin_worker::{Error, Result, ResultExt};
use serde::{Deserialize, Serialize};

use crate::answers::{Answers, Rendered};
use crate::asked::{Asked, Change, NewUser};
use crate::entity::{ActiveModel, Column, Entity, Model};
use crate::settings::Settings;
use crate::texts::{Text, Texts};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub created_at: String,
}

impl From<Model> for User {
    fn from(Model { id, name, email, created_at, .. }: Model) -> Self {
        let since_1970 = Duration::from_secs(created_at.try_into().unwrap_or(0));
        let created_at = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_1970).to_string();
        Self { id, name, email, created_at }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    pub data: Vec<User>,
    pub pagination: Pagination,
    pub message: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Pagination {
    pub page: u64,
    pub size: u64,
    pub total: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct One {
    pub data: User,
    pub message: String,
}

impl One {
    pub fn new(data: User, message: &str) -> Self {
        Self { data, message: message.to_owned() }
    }
}

/// The users, as a handler takes them.
pub struct Users {
    database: Database,
    answers: Answers,
    /// Of the client that asks.
    texts: Texts,
}

impl FromRequestParts<Settings> for Users {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, settings: &Settings) -> Result<Self> {
        let database = Database::from_request_parts(parts, settings).await?;
        let cache = Cache::from_request_parts(parts, settings).await?;
        let texts = Texts::of(&parts.headers);
        let answers = Answers::new(&cache, texts.language(), settings.fresh());
        Ok(Self { database, answers, texts })
    }
}

/// A client chooses nothing of it.
impl Argument for Users {}

impl Users {
    pub async fn page(&self, asked: Asked) -> Result<Rendered<Page>> {
        self.answers.get(&asked, || self.read_page(&asked)).await
    }

    pub async fn one(&self, id: i64) -> Result<Rendered<One>> {
        self.answers.get(id, || self.read_one(id)).await
    }

    pub async fn add(&self, NewUser { name, email }: NewUser) -> Result<User> {
        let now = now();
        let (name, email, created_at, updated_at) = (Set(name), Set(email), Set(now), Set(Some(now)));
        let new = ActiveModel { id: NotSet, name, email, created_at, updated_at };
        let added = new.insert(&self.database).await.map_err(|error| self.refused(error))?;
        self.answers.forget().await;
        Ok(added.into())
    }

    pub async fn change(&self, id: i64, Change { name, email }: Change) -> Result<User> {
        let (name, email) = (name.map_or(NotSet, Set), email.map_or(NotSet, Set));
        let change = ActiveModel { id: Unchanged(id), name, email, created_at: NotSet, updated_at: Set(Some(now())) };
        let changed = change.update(&self.database).await.map_err(|error| self.refused(error))?;
        self.answers.forget().await;
        Ok(changed.into())
    }

    pub async fn remove(&self, id: i64) -> Result {
        let removed = Entity::delete_by_id(id).exec(&self.database).await?;
        if removed.rows_affected == 0 {
            return Err(self.missing());
        }
        self.answers.forget().await;
        Ok(())
    }

    async fn read_one(&self, id: i64) -> Result<One> {
        let found = Entity::find_by_id(id).one(&self.database).await?;
        let found = found.ok_or_else(|| self.missing())?;
        Ok(One::new(found.into(), self.texts.say(Text::DetailsOfTheUser)))
    }

    /// The rows of the page and the number of all are of the same moment: it is one statement.
    async fn read_page(&self, asked: &Asked) -> Result<Page> {
        let (page, size, search) = (asked.page, asked.size, asked.search.as_str());
        let count = count(search).into_query();
        // A database counts rows with 63 bits.
        let offset = (page - 1).saturating_mul(size).min(i64::MAX.unsigned_abs());
        let rows = found(search)
            .expr_as(Expr::SubQuery(None, Box::new(count.into())), "total")
            .order_by_asc(Column::Id)
            .offset(offset)
            .limit(size)
            .into_model::<Counted>()
            .all(&self.database)
            .await?;
        // A page after the last one has no row that says it.
        let total = match rows.first() {
            Some(row) => row.total,
            None => self.total(search).await?,
        };
        let pagination = Pagination { page, size, total: u64::try_from(total).internal()? };
        let data = rows.into_iter().map(User::from).collect();
        Ok(Page { data, pagination, message: self.texts.say(Text::ListOfUsers).to_owned() })
    }

    async fn total(&self, search: &str) -> Result<i64> {
        let total = count(search).into_tuple::<i64>().one(&self.database).await?;
        Ok(total.unwrap_or(0))
    }

    fn missing(&self) -> Error {
        Error::not_found(self.texts.say(Text::ThereIsNoSuchUser))
    }

    fn refused(&self, error: DbErr) -> Error {
        match error {
            DbErr::RecordNotUpdated | DbErr::RecordNotFound(_) => self.missing(),
            _ if is_unique_violation(&error) => Error::conflict(self.texts.say(Text::TheEmailIsTaken)),
            _ => error.into(),
        }
    }
}

/// A user, and how many there are.
#[derive(Debug, FromQueryResult)]
struct Counted {
    id: i64,
    name: String,
    email: String,
    created_at: i64,
    total: i64,
}

impl From<Counted> for User {
    fn from(Counted { id, name, email, created_at, .. }: Counted) -> Self {
        Model { id, name, email, created_at, updated_at: None }.into()
    }
}

/// Number of them. SQLite counts rows without a look at each only if nothing is said of them: no column, and no condition.
fn count(search: &str) -> sea_orm::Select<Entity> {
    found(search).select_only().expr_as(Func::count(Expr::col(Asterisk)), "total")
}

/// Users whose name or email has this text, in capitals or not. An empty one is in all.
fn found(search: &str) -> sea_orm::Select<Entity> {
    if search.is_empty() { Entity::find() } else { Entity::find().filter(holding(search)) }
}

fn holding(search: &str) -> Condition {
    let pattern = pattern(search);
    Condition::any().add(like(Column::Name, &pattern)).add(like(Column::Email, &pattern))
}

/// `LOWER(column) LIKE LOWER(pattern) ESCAPE '!'`: without LOWER, PostgreSQL would tell capitals apart, and SQLite would not.
fn like(column: Column, pattern: &str) -> Expr {
    let escaped = Expr::Binary(
        Box::new(Func::lower(Expr::val(pattern)).into()),
        BinOper::Escape,
        Box::new(Expr::Constant('!'.into())),
    );
    Expr::Binary(Box::new(Func::lower(column.into_expr()).into()), BinOper::Like, Box::new(escaped))
}

/// The text anywhere, and itself: `%` and `_` are characters like any other.
fn pattern(search: &str) -> String {
    let mut pattern = String::from("%");
    for character in search.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn now() -> i64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_1970.as_secs().try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gin_worker::sea_orm::DbBackend;

    #[test]
    fn a_search_is_for_its_characters() {
        assert_eq!(pattern("50%_off!"), "%50!%!_off!!%");
        for (backend, quote) in [(DbBackend::Sqlite, '"'), (DbBackend::Postgres, '"'), (DbBackend::MySql, '`')] {
            let sql = found("a_b").build(backend).to_string();
            let like = |name: &str| format!("LOWER(`users`.`{name}`) LIKE LOWER('%a!_b%') ESCAPE '!'");
            let expected = format!("WHERE {} OR {}", like("name"), like("email")).replace('`', &quote.to_string());
            assert!(sql.ends_with(&expected), "{sql}");
        }
    }

    #[test]
    fn rows_are_counted_and_no_values() {
        let sql = count("").build(DbBackend::Sqlite).to_string();
        assert_eq!(sql, r#"SELECT COUNT(*) AS "total" FROM "users""#);
    }
}

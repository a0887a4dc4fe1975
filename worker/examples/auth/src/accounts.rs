//! The accounts in the database.

use gin_worker::axum::extract::FromRequestParts;
use gin_worker::axum::http::request::Parts;
use gin_worker::database::Database;
use gin_worker::sea_orm::ActiveValue::{NotSet, Set};
use gin_worker::sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use gin_worker::{Error, Result};

/// Somebody who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub id: i64,
    pub username: String,
    /// Of the password, with its parameters.
    pub hash: String,
    pub roles: Vec<String>,
}

/// The table `accounts`.
mod entity {
    use gin_worker::sea_orm::{self, entity::prelude::*};

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[sea_orm(unique)]
        pub username: String,
        pub hash: String,
        /// With spaces between them.
        pub roles: String,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl From<entity::Model> for Account {
    fn from(entity::Model { id, username, hash, roles }: entity::Model) -> Self {
        let roles = roles.split_whitespace().map(str::to_owned).collect();
        Self { id, username, hash, roles }
    }
}

/// The accounts, as a handler takes them.
pub struct Accounts(Database);

impl<S: Send + Sync> FromRequestParts<S> for Accounts {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Database::from_request_parts(parts, state).await.map(Self)
    }
}

impl Accounts {
    /// The account of exactly this name. MySQL takes "admin " for "admin", and each number of spaces would have its own attempts.
    pub async fn find(&self, username: &str) -> Result<Option<Account>> {
        let found = entity::Entity::find().filter(entity::Column::Username.eq(username)).one(&self.0).await?;
        Ok(found.map(Account::from).filter(|account| account.username == username))
    }

    /// By id.
    pub async fn all(&self) -> Result<Vec<Account>> {
        let all = entity::Entity::find().order_by_asc(entity::Column::Id).all(&self.0).await?;
        Ok(all.into_iter().map(Account::from).collect())
    }

    /// False if there is no such account.
    pub async fn remove(&self, id: i64) -> Result<bool> {
        let removed = entity::Entity::delete_by_id(id).exec(&self.0).await?;
        Ok(removed.rows_affected > 0)
    }

    /// Puts another hash in the place of this one. Nothing happens if the account is gone, or has a new password since.
    pub async fn set_hash(&self, id: i64, before: &str, hash: String) -> Result {
        let change = entity::ActiveModel { id: NotSet, username: NotSet, hash: Set(hash), roles: NotSet };
        entity::Entity::update_many()
            .set(change)
            .filter(entity::Column::Id.eq(id))
            .filter(entity::Column::Hash.eq(before))
            .exec(&self.0)
            .await?;
        Ok(())
    }
}

//! The table `users`, as this release reads and writes it.

use gin_worker::sea_orm::{self, entity::prelude::*};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub name: String,
    #[sea_orm(unique)]
    pub email: String,
    /// Seconds since 1970: the three databases have no type of time that is the same in all of them.
    pub created_at: i64,
    /// `None` in rows that the release before has written.
    pub updated_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

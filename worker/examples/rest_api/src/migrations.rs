//! The history of the database, oldest first.
//!
//! While a release replaces another, both serve. So a migration *expands* first: the old code goes on with what it adds. It *contracts* in a
//! later release: it takes away only what the release before does not name any more.

use gin_worker::sea_orm::DbBackend;
use gin_worker::sea_orm_migration::prelude::*;

pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateUsers), Box::new(FirstUsers), Box::new(AddUpdatedAt), Box::new(DropNickname)]
    }
}

/// Says the name under which the database remembers a migration. It never changes, wherever the code moves to.
macro_rules! named {
    ($migration:ident, $name:literal) => {
        struct $migration;

        impl MigrationName for $migration {
            fn name(&self) -> &str {
                $name
            }
        }
    };
}

// Release 1: users have a nickname.
named!(CreateUsers, "m20260105_090000_create_users");
named!(FirstUsers, "m20260105_100000_first_users");
// Release 2 expands: it writes `updated_at`, which release 1 does not know, and does not name the nickname any more.
named!(AddUpdatedAt, "m20260202_090000_add_updated_at");
// Release 3 contracts: neither release 2 nor 3 names the nickname.
named!(DropNickname, "m20260302_090000_drop_nickname");

#[async_trait::async_trait]
impl MigrationTrait for CreateUsers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut table = Table::create()
            .table("users")
            .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
            .col(ColumnDef::new("name").string_len(200).not_null())
            .col(ColumnDef::new("email").string_len(254).not_null())
            .col(ColumnDef::new("nickname").string_len(200).null())
            .col(ColumnDef::new("created_at").big_integer().not_null())
            .to_owned();
        if manager.get_database_backend() == DbBackend::MySql {
            // Else MariaDB takes "é" for "e", and refuses one of two emails.
            table.character_set("utf8mb4").collate("utf8mb4_bin");
        }
        manager.create_table(table).await?;
        // Two requests that come at once cannot both have the email: the database decides, not a look before.
        let index = Index::create().name("users_email").table("users").col("email").unique().to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("users").to_owned()).await
    }
}

/// Names and emails of those that are there from the beginning.
const FIRST_USERS: [(&str, &str); 2] = [("张三", "zhangsan@example.com"), ("李四", "lisi@example.com")];

#[async_trait::async_trait]
impl MigrationTrait for FirstUsers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut insert = Query::insert();
        insert.into_table("users").columns(["name", "email", "created_at"]);
        for (name, email) in FIRST_USERS {
            insert.values_panic([Expr::val(name), Expr::val(email), Expr::val(1_704_067_200_i64)]);
        }
        manager.execute(insert).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // If they stayed, the next `up` could not insert them again.
        let emails = Expr::col("email").is_in(FIRST_USERS.map(|(_, email)| email));
        manager.execute(Query::delete().from_table("users").and_where(emails).to_owned()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AddUpdatedAt {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Not NOT NULL: release 1 still inserts rows, and does not say it.
        let column = ColumnDef::new("updated_at").big_integer().null().to_owned();
        manager.alter_table(Table::alter().table("users").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("users").drop_column("updated_at").to_owned()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for DropNickname {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("users").drop_column("nickname").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = ColumnDef::new("nickname").string_len(200).null().to_owned();
        manager.alter_table(Table::alter().table("users").add_column(column).to_owned()).await
    }
}

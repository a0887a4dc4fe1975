//! The place that a key of the configuration names.

use gin_shared::config::Problem;

use crate::config::Store;
use crate::database::Database;
use crate::parts::Registered;
#[cfg(feature = "redis")]
use crate::redis::Redis;

/// A place for rows.
pub(crate) enum Place {
    /// A file of SQLite in the state directory.
    Directory,
    /// The service's database.
    Database(Database),
    #[cfg(feature = "redis")]
    Redis(Redis),
}

impl Place {
    /// The place that is configured. `key`: of the configuration, for the problem.
    ///
    /// # Errors
    /// If the program has not registered it, or this build does not know it.
    pub(crate) fn of(store: Store, key: &'static str, registered: &Registered) -> Result<Self, Problem> {
        let found = match store {
            Store::Sqlite => Ok(Self::Directory),
            Store::Database => registered
                .lent::<Database>()
                .cloned()
                .map(Self::Database)
                .ok_or("\"database\" needs a database: the program must call Server::database(), too"),
            #[cfg(feature = "redis")]
            Store::Redis => registered
                .lent::<Redis>()
                .cloned()
                .map(Self::Redis)
                .ok_or("\"redis\" needs Redis, and the server has none"),
            #[cfg(not(feature = "redis"))]
            Store::Redis => Err("\"redis\" needs the feature `redis` of gin-worker"),
        };
        found.map_err(|text| Problem { place: key.to_owned(), text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_registered_is_told() {
        let problem = |store| {
            let place = Place::of(store, "sessions.store", &Registered::default());
            place.err().map(|problem| problem.to_string())
        };
        assert_eq!(problem(Store::Sqlite), None);
        for store in [Store::Database, Store::Redis] {
            let problem = problem(store).unwrap();
            assert!(problem.starts_with("sessions.store: ") && problem.contains("needs"), "{problem}");
        }
    }
}

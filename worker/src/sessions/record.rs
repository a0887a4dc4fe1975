//! The contents of a session, its lifetime, and what a request changes. Nothing here reads a clock or a store.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cookie::Signer;
use crate::{Error, Result, ResultExt};

/// A time, in milliseconds since 1970, or a length of time.
pub(super) type Millis = i64;

/// Most bytes of a session's JSON.
const DATA_MAX: usize = 64 << 10;
/// A use of a session is noted so often at least.
const NOTED_MAX: Millis = 5 * 60 * 1000;

/// The contents of a session.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    /// The user who is logged in.
    pub(super) user: Option<String>,
    pub(super) values: Map<String, Value>,
    /// The time of the login, else of its beginning. 0: it is not in the store.
    pub(super) created: Millis,
    pub(super) expires: Millis,
    /// Rises with each change.
    pub(super) version: i64,
}

/// A session as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// By [`Signer::user_key`].
    pub(super) user_key: Option<String>,
    /// JSON.
    pub(super) data: String,
    pub(super) created: Millis,
    pub(super) expires: Millis,
    pub(super) version: i64,
}

/// The JSON of a session. Another version of the library may know more fields.
#[derive(Serialize, Deserialize)]
struct Data {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default)]
    values: Map<String, Value>,
}

impl Record {
    /// `None`: the JSON is not a session's.
    pub(super) fn read(row: &Row) -> Option<Self> {
        let Data { user, values } = serde_json::from_str(&row.data).ok()?;
        Some(Self { user, values, created: row.created, expires: row.expires, version: row.version })
    }

    /// # Errors
    /// If the session is too large.
    pub(super) fn row(&self, signer: &Signer) -> Result<Row> {
        let data = serde_json::to_string(&Data { user: self.user.clone(), values: self.values.clone() }).internal()?;
        if data.len() > DATA_MAX {
            let text =
                format!("a session has at most {DATA_MAX} bytes of JSON, and this one would have {}", data.len());
            return Err(Error::internal(text));
        }
        let user_key = self.user.as_deref().map(|user| signer.user_key(user));
        Ok(Row { user_key, data, created: self.created, expires: self.expires, version: self.version })
    }

    /// The same after these changes.
    pub(super) fn changed(&self, changes: &[Change]) -> Self {
        let mut record = self.clone();
        changes.iter().for_each(|change| change.apply(&mut record));
        record
    }

    /// True if it says nothing: such a session is not begun.
    pub(super) fn is_empty(&self) -> bool {
        self.user.is_none() && self.values.is_empty()
    }
}

/// A change by a request. It is made again if another request has changed the session meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Set(String, Value),
    Remove(String),
    Clear,
    LogIn { user: String, at: Millis },
}

impl Change {
    pub(super) fn apply(&self, record: &mut Record) {
        match self {
            Self::Set(key, value) => {
                record.values.insert(key.clone(), value.clone());
            }
            Self::Remove(key) => {
                record.values.remove(key);
            }
            Self::Clear => record.values.clear(),
            Self::LogIn { user, at } => {
                // Values of one user are not another one's.
                if record.user.as_ref().is_some_and(|before| before != user) {
                    record.values.clear();
                }
                record.user = Some(user.clone());
                record.created = *at;
            }
        }
    }
}

/// Lifetimes of sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    idle: Millis,
    absolute: Millis,
}

impl Lifetime {
    pub(super) fn new(idle: Duration, absolute: Duration) -> Self {
        // A year is the longest time that the configuration takes.
        let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::from(u32::MAX));
        Self { idle: millis(idle), absolute: millis(absolute) }
    }

    /// The end of a session that is used now.
    pub(super) fn end(self, created: Millis, now: Millis) -> Millis {
        self.at_most(created, now + self.idle)
    }

    /// The end as it stands in the store, and no later than `absolute` allows: it was longer, perhaps, when the end was written.
    pub(super) fn at_most(self, created: Millis, expires: Millis) -> Millis {
        expires.min(created + self.absolute)
    }

    /// The end of a session that is used now, if it is to be noted in the store.
    pub(super) fn due(self, record: &Record, now: Millis) -> Option<Millis> {
        let end = self.end(record.created, now);
        (end - record.expires >= (self.idle / 10).clamp(1, NOTED_MAX)).then_some(end)
    }

    /// Seconds until the cookie is of no use.
    pub(super) fn max_age(self, created: Millis, now: Millis) -> Millis {
        ((created + self.absolute - now).max(0) + 999) / 1000
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lifetime() -> Lifetime {
        Lifetime::new(Duration::from_secs(100), Duration::from_secs(1000))
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
        assert_eq!(lifetime().end(0, 0), 100_000);
        assert_eq!(lifetime().end(0, 950_000), 1_000_000);
        assert_eq!((lifetime().at_most(0, 7), lifetime().at_most(0, 2_000_000)), (7, 1_000_000));
        let record = |expires| Record { expires, ..Record::default() };
        assert_eq!(lifetime().due(&record(100_000), 9_999), None);
        assert_eq!(lifetime().due(&record(100_000), 10_000), Some(110_000));
        assert_eq!(lifetime().due(&record(1_000_000), 999_999), None, "it cannot live longer");
        assert_eq!((lifetime().max_age(0, 1), lifetime().max_age(0, 2_000_000)), (1000, 0));
        let year = Lifetime::new(Duration::from_secs(366 * 86_400), Duration::from_secs(366 * 86_400));
        assert_eq!(year.due(&record(year.end(0, 0)), NOTED_MAX - 1), None);
    }

    #[test]
    fn values_of_one_user_are_not_another_ones() {
        let log_in = |user: &str| Change::LogIn { user: user.to_owned(), at: 7 };
        let set = Change::Set("cart".to_owned(), json!(["tea"]));
        let of_anybody = Record::default().changed(&[set.clone(), log_in("ann")]);
        assert_eq!((of_anybody.user.as_deref(), of_anybody.values.len(), of_anybody.created), (Some("ann"), 1, 7));
        let again = of_anybody.changed(&[log_in("ann")]);
        assert_eq!(again.values.len(), 1);
        assert!(again.changed(&[log_in("bob")]).values.is_empty());
        let less = again.changed(&[set, Change::Remove("cart".to_owned())]);
        assert!(less.values.is_empty() && !less.is_empty());
    }

    #[test]
    fn a_row_says_the_same_and_has_a_limit() {
        let user = "Ann\0 ' OR 1=1 \u{1f375}".to_owned();
        let mut record = Record { user: Some(user), created: 1, expires: 2, version: 3, ..Record::default() };
        record.values.insert("a\0b".to_owned(), json!({ "c": "\0" }));
        let signer = Signer::new(&[7; 32], "session");
        let row = record.row(&signer).unwrap();
        assert!(!row.data.contains('\0'), "PostgreSQL takes none");
        assert_eq!(Record::read(&row).unwrap(), record);
        assert_eq!(row.user_key.unwrap().len(), 32);
        record.values.insert("large".to_owned(), json!("x".repeat(DATA_MAX)));
        assert!(record.row(&signer).unwrap_err().to_string().contains("at most 65536 bytes"));
        let unread = Row { user_key: None, data: "[".to_owned(), created: 0, expires: 0, version: 0 };
        assert_eq!(Record::read(&unread), None);
        let newer = Row { data: r#"{"values":{},"more":1}"#.to_owned(), ..unread };
        assert_eq!(Record::read(&newer).unwrap(), Record::default());
    }
}

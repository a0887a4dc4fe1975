//! Users and groups: names to numbers, and back for log lines.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};
use rustix::thread::{CapabilitySet, capabilities};

/// The database that an unknown name was looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// Users (passwd).
    User,
    /// Groups.
    Group,
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
        })
    }
}

/// A user or group that has no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{database} {name}: {}", reason.map_or_else(|| "unknown".to_owned(), |errno| errno.desc().to_lowercase()))]
pub struct LookupError {
    /// Where it was looked up.
    pub database: Database,
    /// The name as it was configured.
    pub name: String,
    /// The error of the lookup; `None`: there is no such entry.
    pub reason: Option<Errno>,
}

/// Resolves the names of a user and a group to their numbers.
///
/// A number needs no entry in any database. A user without a configured group gets its own primary group.
///
/// # Errors
/// "user deploy: unknown", "group web: unknown".
pub fn lookup(user: Option<&str>, group: Option<&str>) -> Result<(Option<Uid>, Option<Gid>), LookupError> {
    let failed = |database, name: &str, reason| LookupError { database, name: name.to_owned(), reason };
    let (uid, own) = match user {
        None => (None, None),
        Some(name) => match (User::from_name(name), name.parse()) {
            (Ok(Some(entry)), _) => (Some(entry.uid), Some(entry.gid)),
            (_, Ok(number)) => {
                let entry = User::from_uid(Uid::from_raw(number)).ok().flatten();
                (Some(Uid::from_raw(number)), Some(entry.map_or(Gid::from_raw(number), |e| e.gid)))
            }
            (Ok(None), Err(_)) => return Err(failed(Database::User, name, None)),
            (Err(error), Err(_)) => return Err(failed(Database::User, name, Some(error))),
        },
    };
    let gid = match group {
        None => own,
        Some(name) => match (Group::from_name(name), name.parse()) {
            (Ok(Some(entry)), _) => Some(entry.gid),
            (_, Ok(number)) => Some(Gid::from_raw(number)),
            (Ok(None), Err(_)) => return Err(failed(Database::Group, name, None)),
            (Err(error), Err(_)) => return Err(failed(Database::Group, name, Some(error))),
        },
    };
    Ok((uid, gid))
}

/// True if a worker of this user and group is another one than this process.
#[must_use]
pub fn is_other(uid: Option<Uid>, gid: Option<Gid>) -> bool {
    uid.is_some_and(|uid| uid != Uid::effective()) || gid.is_some_and(|gid| gid != Gid::effective())
}

/// True if this process may start others of another user and group, as root may.
#[must_use]
pub fn may_change_identity() -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    capabilities(None).map_or(true, |own| own.effective.contains(needed))
}

/// The name of a user, or "uid N" if the number has no entry.
#[must_use]
pub fn user_name(uid: u32) -> String {
    thread_local! {
        // A directory service may take long to answer: it is asked once for each user.
        static NAMES: RefCell<HashMap<u32, String>> = RefCell::default();
    }
    let look_up = || {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        user.map_or_else(|| format!("uid {uid}"), |user| user.name)
    };
    NAMES.with_borrow_mut(|names| names.entry(uid).or_insert_with(look_up).clone())
}

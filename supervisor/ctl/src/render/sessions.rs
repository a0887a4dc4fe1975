//! The processes of each worker: it leads a session of its own, which its children are in.

use std::collections::HashMap;

use gin_shared::process::{self, Stat};

/// Processes by session, as `memory_restart` counts them, too.
#[derive(Debug, Default)]
pub struct Sessions(HashMap<i32, Vec<i32>>);

impl Sessions {
    /// Files that are there now.
    #[must_use]
    pub fn now() -> Self {
        let mut sessions: HashMap<i32, Vec<i32>> = HashMap::new();
        for pid in process::all() {
            if let Some(stat) = Stat::of(pid) {
                sessions.entry(stat.session).or_default().push(pid);
            }
        }
        Self(sessions)
    }

    /// The processes of the worker whose first one is `leader`; that one alone, if it leads no session yet.
    #[must_use]
    pub fn of(&self, leader: i32) -> Vec<i32> {
        self.0.get(&leader).cloned().unwrap_or_else(|| vec![leader])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_leads_no_session_stands_alone() {
        assert_eq!(Sessions::default().of(7), [7]);
        let own = i32::try_from(std::process::id()).unwrap();
        let session = Stat::of(own).unwrap().session;
        assert!(Sessions::now().of(session).contains(&own));
    }
}

//! The listeners of one generation.

use std::collections::HashMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::os::listener::{Listener, ListenerSpec, Listening};

/// The listeners of a generation: open while it has workers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "Vec<Known>", from = "Vec<Known>")]
pub enum Listeners {
    /// With their sockets.
    Open(Vec<Listening>),
    /// What to open again.
    Closed(Vec<Known>),
}

/// A listener without its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What was asked for.
    pub spec: ListenerSpec,
    /// Which socket it was, while that was open.
    #[serde(default)]
    pub inode: Option<u64>,
}

impl From<Listeners> for Vec<Known> {
    fn from(listeners: Listeners) -> Self {
        match listeners {
            Listeners::Open(open) => {
                let known = |listening: Listening| {
                    let inode = Some(listening.socket.state().inode);
                    Known { spec: listening.spec, inode }
                };
                open.into_iter().map(known).collect()
            }
            Listeners::Closed(known) => known,
        }
    }
}

impl From<Vec<Known>> for Listeners {
    fn from(known: Vec<Known>) -> Self {
        Self::Closed(known)
    }
}

impl Listeners {
    /// With their sockets; none once they are closed.
    #[must_use]
    pub fn open(&self) -> &[Listening] {
        match self {
            Self::Open(open) => open,
            Self::Closed(_) => &[],
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn specs(&self) -> Vec<ListenerSpec> {
        Vec::<Known>::from(self.clone()).into_iter().map(|known| known.spec).collect()
    }

    /// What was asked for where this socket is.
    #[must_use]
    pub fn of(&self, inode: u64) -> Option<ListenerSpec> {
        let known = Vec::<Known>::from(self.clone());
        known.into_iter().find(|known| known.inode == Some(inode)).map(|known| known.spec)
    }

    /// Lets the sockets go: one that no other generation has is closed.
    pub fn close(&mut self) {
        let known = Vec::<Known>::from(std::mem::replace(self, Self::Closed(Vec::new())));
        *self = Self::Closed(known.into_iter().map(|known| Known { inode: None, ..known }).collect());
    }

    /// Takes those of `sockets` that it had.
    pub fn reopen(&mut self, sockets: &HashMap<u64, Rc<Listener>>) {
        if let Self::Closed(known) = self {
            let found = known.iter().filter_map(|known| {
                let socket = Rc::clone(sockets.get(&known.inode?)?);
                Some(Listening { spec: known.spec.clone(), socket })
            });
            *self = Self::Open(found.collect());
        }
    }
}

//! The listeners of one generation.

use std::collections::HashMap;
use std::rc::Rc;

use crate::os::listener::{Listener, ListenerSpec, Listening};
use crate::socket_record::SocketRecord;
use crate::state::ListenerRecord;

/// The listeners of a generation. Their sockets are open while the generation has workers.
#[derive(Debug)]
pub enum Listeners {
    /// With their sockets.
    Open(Vec<Listening>),
    /// On a stop: without the sockets that were bound here. Workers may have these still, and a successor takes them up.
    Left {
        /// The sockets that a service manager passed.
        passed: Vec<Listening>,
        /// The sockets that were bound here, as they were.
        own: Vec<(ListenerSpec, SocketRecord)>,
    },
    /// Without sockets: what a rollback opens again.
    Closed(Vec<ListenerRecord>),
}

impl Listeners {
    /// The open listeners; none once they are closed.
    #[must_use]
    pub fn open(&self) -> &[Listening] {
        match self {
            Self::Open(open) | Self::Left { passed: open, .. } => open,
            Self::Closed(_) => &[],
        }
    }

    /// The sockets that were closed on a stop, and that workers may still have.
    #[must_use]
    pub fn left(&self) -> &[(ListenerSpec, SocketRecord)] {
        match self {
            Self::Left { own, .. } => own,
            Self::Open(_) | Self::Closed(_) => &[],
        }
    }

    /// The listeners as the state file describes them.
    #[must_use]
    pub fn records(&self) -> Vec<ListenerRecord> {
        let record = |spec: &ListenerSpec, inode| ListenerRecord { spec: spec.clone(), inode: Some(inode) };
        let of_open = |listening: &Listening| record(&listening.spec, listening.socket.record().inode);
        match self {
            Self::Open(open) => open.iter().map(of_open).collect(),
            Self::Left { passed, own } => {
                let own = own.iter().map(|(spec, socket)| record(spec, socket.inode));
                passed.iter().map(of_open).chain(own).collect()
            }
            Self::Closed(records) => records.clone(),
        }
    }

    /// The listeners as they were configured.
    #[must_use]
    pub fn specs(&self) -> Vec<ListenerSpec> {
        self.records().into_iter().map(|record| record.spec).collect()
    }

    /// Lets the sockets go. A socket that no other generation has is closed.
    pub fn close(&mut self) {
        let without = |record| ListenerRecord { inode: None, ..record };
        *self = Self::Closed(self.records().into_iter().map(without).collect());
    }

    /// Takes the sockets out that were bound here. Those that a service manager passed stay: they are its own.
    pub fn take_own(&mut self) -> Vec<Rc<Listener>> {
        let Self::Open(open) = self else { return Vec::new() };
        let (passed, own): (Vec<_>, Vec<_>) =
            std::mem::take(open).into_iter().partition(|listening| listening.socket.is_passed());
        let closed = |one: &Listening| (one.spec.clone(), SocketRecord { closed: true, ..one.socket.record() });
        *self = Self::Left { passed, own: own.iter().map(closed).collect() };
        own.into_iter().map(|listening| listening.socket).collect()
    }

    /// Takes those of `sockets` that the generation had.
    pub fn reopen(&mut self, sockets: &HashMap<u64, Rc<Listener>>) {
        if let Self::Closed(records) = self {
            let found = records.iter().filter_map(|record| {
                let socket = Rc::clone(sockets.get(&record.inode?)?);
                Some(Listening { spec: record.spec.clone(), socket })
            });
            *self = Self::Open(found.collect());
        }
    }
}

//! A listening socket as the state file describes it.

use gin_shared::listen::Address;
use serde::{Deserialize, Serialize};

use crate::descriptor_name::PREFIX;

/// A socket that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRecord {
    /// The socket's inode: names it in the whole system for as long as a process has it open.
    pub inode: u64,
    /// The address in the configuration: port 0 stays 0.
    pub asked: Address,
    /// The address where it listens.
    pub address: Address,
    /// The number of connections that may wait.
    #[serde(default)]
    pub backlog: u32,
    /// True if the service manager passed the socket, and so passes it again.
    #[serde(default)]
    pub passed: bool,
    /// Device and inode of the file that was made for a Unix socket.
    #[serde(default)]
    pub file: Option<(u64, u64)>,
    /// True if the master has closed the socket, because it stops: workers may have it still.
    #[serde(default)]
    pub closed: bool,
}

impl SocketRecord {
    /// The name of its descriptor.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{PREFIX}listener/{}", self.inode)
    }
}

//! What `gin-supervisor --config-check --json` says of a configuration: what `gin-ctl unit` makes units of.

use serde::{Deserialize, Serialize};

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The instance's name.
    pub instance: String,
    /// The file, absolute.
    pub file: Option<String>,
    /// Where commands come in, if not in the runtime directory.
    pub control: Option<String>,
    /// What clients connect to.
    pub listeners: Vec<CheckedListener>,
    /// How long a start, and so a reload, may take at most, in milliseconds; workers that ask for more time not counted.
    pub start_ms: u64,
    /// How long a stop may take at most, in milliseconds.
    pub stop_ms: u64,
    /// The version of the program that checked it.
    #[serde(default)]
    pub version: String,
    /// Whether it can go on with the state that it was shown.
    #[serde(default)]
    pub state: bool,
    /// Things that work but are likely not meant.
    pub warnings: Vec<String>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedListener {
    /// Its name.
    pub name: String,
    /// Where.
    pub address: crate::listen::Address,
    /// How many connections may wait.
    pub backlog: u32,
    /// For Unix sockets.
    pub mode: Option<u32>,
    /// For Unix sockets: by number.
    pub owner: Option<u32>,
    /// For Unix sockets: by number.
    pub group: Option<u32>,
}

//! The words that gin's parts share: names, formats, codes.
//!
//! No runtime and next to no code. Nothing here is promised to anyone outside this workspace.
//!
//! | you want | go to |
//! |---|---|
//! | who a worker is | [`generation`] |
//! | to write or read an address | [`listen`] |
//! | what a worker inherits, and to adopt it | [`inherit`] |
//! | `READY=1` and its like | [`notify`] |
//! | what master and our worker say to each other | [`channel`] |
//! | the control API's types | [`control`], [`status`] |
//! | every key of the configuration | [`mod@reference`] |
//! | what a master leaves for its successor | [`state`] |
//! | exit codes | [`exit`] |
//! | where sockets and PID files are | [`runtime_dir`] |

pub mod channel;
pub mod check;
pub mod control;
pub mod exit;
pub mod generation;
pub mod inherit;
pub mod listen;
pub mod notify;
pub mod reference;
pub mod runtime_dir;
pub mod sections;
pub mod state;
pub mod status;

//! What talks to the kernel. The only place in the master where `unsafe` is allowed; each file allows it for itself.

pub mod activation;
pub mod channel;
pub mod exec;
pub mod fault;
pub mod limits;
pub mod listener;
pub mod memory;
pub mod notify;
pub mod orphan;
pub mod pidfd;
pub mod pidfile;
pub mod private;
pub mod proc_net;
pub mod runtime;
pub mod signal;
pub mod spawn;
pub mod state_file;
pub mod succession;
pub mod time;
mod watch;
pub mod words;

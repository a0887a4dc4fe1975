//! System calls. The only place in the master where `unsafe` is allowed; each file allows it for itself.
//!
//! Two crates wrap system calls, each for what it does best:
//!
//! - *rustix*: pidfds and poll (by way of [`gin_shared::process`]), memfds, clocks, capabilities, CPU sets.
//! - *nix*: users and groups, signals and signalfd, waitid, sockets and their options, stat, locks, limits, execve.
//!
//! Two more make the rules of a worker's sandbox known to the kernel: *landlock* (files), *seccompiler* (system calls).

pub mod activation;
pub mod adopt_error;
pub mod alarm;
pub mod channel;
pub mod child;
pub mod closer;
pub mod control_socket;
pub mod core_filter;
pub mod exec;
pub use gin_shared::fault;
pub mod file_access;
pub mod identity;
pub mod limits;
pub mod listener;
pub mod memfd;
pub mod notify;
pub mod orphan;
mod packet;
pub mod pidfile;
pub mod private;
pub mod proc_net;
pub mod runtime;
pub mod sandbox;
pub mod scrape_listener;
pub mod sd_notify;
pub mod seccomp;
pub mod sessions;
pub mod shared_memory;
pub mod signal;
pub mod socket_file;
pub mod spawn;
pub mod state_file;
pub mod succession;
pub mod time;
mod watch;
pub mod words;

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
//! | to give sockets to a worker that asks for them | [`announcement`] |
//! | what master and our worker say to each other | [`channel`] |
//! | to send and receive descriptors | [`descriptors`] |
//! | what two workers say when one hands its connections to the other | [`handover`] |
//! | the control API's types | [`control`], [`status`] |
//! | words of memory that several processes have | [`mapping`] |
//! | to have a program migrate its database | [`migration`] |
//! | to count for all workers together, and to tell it | `metrics`, with the feature of that name |
//! | every key of the configuration | [`mod@reference`] |
//! | to read one | [`config`] |
//! | what a master leaves for its successor | [`state`] |
//! | to open, signal or look at a process | [`process`] |
//! | to make a line of a log printable, and bounded | [`log_line`] |
//! | to name traces and spans | [`trace_context`] |
//! | to read the address of a receiver of spans | [`trace_endpoint`] |
//! | to write or read protocol buffers | [`protobuf`] |
//! | profiles, and pictures of them | `pprof`, `flame`, with the feature `profiles` |
//! | exit codes | [`exit`] |
//! | to keep descriptors for what must not fail | [`mod@reserve`] |
//! | to read a certificate, or to give one to a worker | [`tls`] |
//! | to advise a program that binds a port that is held for it | [`address_in_use`] |
//! | to believe a file or a socket | [`directory`] |
//! | to ask whether somebody listens at a Unix socket | [`unix_socket`] |
//! | to show what others have written | [`plain_text`] |
//! | where sockets and PID files are | [`runtime_dir`] |

pub mod address_in_use;
pub mod announcement;
pub mod channel;
pub mod check;
pub mod config;
pub mod control;
pub mod descriptors;
pub mod directory;
pub mod exit;
pub mod fault;
#[cfg(feature = "profiles")]
pub mod flame;
pub mod generation;
pub mod handover;
pub mod inherit;
pub mod listen;
pub mod log_line;
pub mod mapping;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod migration;
pub mod notify;
pub mod plain_text;
#[cfg(feature = "profiles")]
pub mod pprof;
pub mod process;
pub mod protobuf;
pub mod reference;
pub mod reserve;
pub mod runtime_dir;
pub mod sections;
pub mod state;
pub mod status;
pub mod tls;
pub mod trace_context;
pub mod trace_endpoint;
pub mod unix_socket;

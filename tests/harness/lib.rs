//! Starts the real binaries, loads them, and counts each way in which a client can be hurt.
//!
//! Tests meet the programs on events: a start on NOTIFY_SOCKET, an upgrade on gin-ctl or on the events stream, an end on
//! a pidfd, a line of a log on inotify. State that has no event is polled in one place, [`eventually`], which says when
//! that is allowed. The only other sleep paces the clients of a [`Load`].

#![allow(clippy::unwrap_used, reason = "a harness fails by panicking: that is its verdict")]

mod alone;
mod balancer;
mod builder;
mod certificates;
mod collector;
mod control;
mod endpoint;
mod engine;
mod hold;
mod http;
mod http2;
mod https;
mod lab;
mod latency;
mod load;
mod network;
mod notify;
mod package;
mod place;
mod pod;
mod process;
mod releases;
pub mod roots;
mod rounds;
mod scrape;
mod services;
mod ssh;
mod stream;
mod supervisor;
mod switch;
mod terminal;
mod tunnel;
mod waiting;
mod websocket;

pub use alone::{Alone, alone, alone_in, ours_alone, ours_alone_in};
pub use balancer::{Balancer, Servers, balancer};
pub use builder::{Builder, supervisor};
pub use certificates::{certificate, put_pair, tls_file};
pub use collector::{Behaviour, Collector, Export, Span, Trace};
pub use control::{Ctl, Events};
pub use endpoint::{Asker, Connection, Endpoint};
pub use engine::Engine;
pub use hold::{Held, Hold};
pub use http::{Address, Client, Failure, Response, get};
pub use http2::{Http2, WINDOW};
pub use https::{Https, Secure, VERSIONS};
pub use lab::Lab;
pub use latency::Latencies;
pub use load::{Load, Report};
pub use network::Network;
pub use notify::Notifications;
pub use package::{Change, Package};
pub use place::{binary, fake_clock, fixture, free_port, points, soak, times, write_program};
pub use pod::{End, Pod, put_config_map};
pub use process::Process;
pub use releases::Releases;
pub use rounds::rounds;
pub use scrape::{Scrape, Series};
pub use services::{PASSWORD, Service, ServiceKind};
pub use ssh::Ssh;
pub use supervisor::Supervisor;
pub use switch::{Host, Switch};
pub use terminal::Terminal;
pub use tunnel::Tunnel;
pub use waiting::{PATIENCE, eventually, on_change};
pub use websocket::{Talk, WebSocket};

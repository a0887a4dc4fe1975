//! The real binaries, watched from outside. One file a behaviour.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking: that is its verdict")]

mod arrows;
mod attacks;
mod believed;
mod bounds;
mod chaos;
mod chat;
mod container;
mod docs;
mod faults;
mod fitness;
mod gate;
mod gin;
mod gunicorn;
mod handover;
mod hostile;
mod identity;
mod in_flight;
mod in_place;
mod left_state;
mod limits;
mod listing;
mod logs;
mod notify;
mod operator;
mod pauses;
mod promises;
mod readiness;
mod recipes;
mod reconfigure;
mod release;
mod restart;
mod rollback;
mod room;
mod sandbox;
mod service;
mod settings;
mod signals;
mod start;
mod succession;
mod systemd;
mod takers;
mod unfit;
mod websockets;
mod worker;

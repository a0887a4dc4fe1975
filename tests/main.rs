//! The real binaries, watched from outside. One file a behaviour.

mod gunicorn;
mod hostile;
mod in_flight;
mod operator;
mod readiness;
mod release;
mod restart;
mod signals;
mod start;
mod unfit;
mod worker;

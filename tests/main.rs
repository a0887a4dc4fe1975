//! The real binaries, watched from outside. One file a behaviour.

mod restart;

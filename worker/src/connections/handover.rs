//! Handover of connections between a worker that drains and those that serve.

#[cfg(test)]
mod adversary_tests;
pub(crate) mod giver;
pub(crate) mod taker;

//! The report of a worker to the master: how many connections it has.

//! The serving giver: a worker with too many connections gives a number of them, and serves on.

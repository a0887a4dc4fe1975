//! A worker that is killed at each step of an upload, and a disk that is full.

//! All programs as one.

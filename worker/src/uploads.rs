//! Files of clients, written to disk as they come. The feature `uploads`.

#![allow(dead_code, reason = "filled by the next commits")]

mod directory;
mod part;
mod tus;

pub(crate) use part::UploadsPart;

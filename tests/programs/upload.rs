//! Uploads, through restarts.

//! How long a body may be.

use axum::extract::DefaultBodyLimit;

/// Another limit for bodies than `limits.body`, in bytes, for a route or a group; a longer one is answered with 413. It counts where an
/// extractor reads the body.
pub fn body_limit(bytes: usize) -> DefaultBodyLimit {
    DefaultBodyLimit::max(bytes)
}

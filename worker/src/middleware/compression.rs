//! Answers that are compressed on their way.

use std::fmt;

use tower::Layer;
use tower_http::compression::CompressionLayer;

/// What [`compression`] gives: a layer, for routes, groups and servers.
#[derive(Clone, Default)]
pub struct Compression(CompressionLayer);

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compression").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Compression {
    type Service = <CompressionLayer as Layer<S>>::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

/// zstd, br or gzip, as the client likes best, for answers of handlers; files are compressed where they are read. What is small, has a
/// coding already, is a picture or a stream of events goes as it is.
///
/// ```
/// use gin_worker::{Group, Route, middleware::compression};
///
/// async fn report() -> String {
///     "a long text ".repeat(1000)
/// }
///
/// let reports = Group::<()>::new("/reports").layer(compression()).route(Route::get("/", report));
/// ```
#[must_use]
pub fn compression() -> Compression {
    Compression::default()
}

//! Answers that are compressed on their way.

use tower_http::compression::CompressionLayer;

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
pub fn compression() -> CompressionLayer {
    CompressionLayer::new()
}

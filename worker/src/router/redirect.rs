//! Gin's `RedirectTrailingSlash`: a path that is wrong by one slash at its end is told where to go.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::record::Routes;

/// Which paths there are.
#[derive(Clone)]
pub struct Redirects(Arc<matchit::Router<Vec<String>>>);

impl Redirects {
    pub(super) fn of(routes: &Routes) -> Self {
        let mut methods = HashMap::<&str, Vec<String>>::new();
        for record in routes.iter() {
            methods.entry(&record.template).or_default().push(record.method.clone());
        }
        let mut tree = matchit::Router::new();
        for (path, methods) in methods {
            // Those that exclude one another have been refused.
            let _ = tree.insert(path, methods);
        }
        Self(Arc::new(tree))
    }

    /// 301 for GET, else 307, as Gin does it, to the same path with another end; `None` if there is no such route either.
    #[must_use]
    pub fn answer(&self, method: &Method, uri: &Uri) -> Option<Response> {
        let path = uri.path();
        let other = match path.strip_suffix('/') {
            Some(without) => without.to_owned(),
            None => format!("{path}/"),
        };
        // "//example.org" would be another host (RFC 3986, section 4.2), and "\" is taken for "/" by browsers.
        if other.len() < 2 || other.starts_with("//") || other.starts_with("/\\") {
            return None;
        }
        let found = self.0.at(&other).ok()?;
        // GET answers HEAD, too.
        let is =
            |known: &String| known == "ANY" || known == method.as_str() || (method == Method::HEAD && known == "GET");
        if !found.value.iter().any(is) {
            return None;
        }
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let location = HeaderValue::try_from(format!("{other}{query}")).ok()?;
        let status = if method == Method::GET { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
        Some((status, [(header::LOCATION, location)]).into_response())
    }
}

impl std::fmt::Debug for Redirects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redirects").finish_non_exhaustive()
    }
}

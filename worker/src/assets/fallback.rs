//! The page of a single-page application: what a browser gets where there is no file.
//!
//! The application's own router, in the browser, knows what such a path means. A script, an image or a call of an API that is missing
//! stays missing: only a client that names `text/html` gets the page.

use std::path::Path;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;

use super::{Asking, Files, nothing};
use crate::config::Static;

impl Files {
    /// Answers a request for which there is no file: with this page, if a browser asks.
    pub(super) async fn fall_back(&self, settings: &Static, request: &Asking<'_>, page: &Path) -> Response {
        let Asking { method, uri, headers, .. } = request;
        let page =
            if is_for_page(method, uri.path(), headers) { self.page(settings, request, page).await } else { None };
        let mut response = page.unwrap_or_else(nothing);
        // Another client gets 404 for the same path.
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    async fn page(&self, settings: &Static, request: &Asking<'_>, page: &Path) -> Option<Response> {
        let mut response = self.at(settings, request, page).await?;
        let own = response.headers_mut();
        // Not even if pages may be kept: a file may lie at this path tomorrow.
        if let Some(value) = own.get_mut(header::CACHE_CONTROL) {
            *value = HeaderValue::from_static("no-cache");
        }
        Some(response)
    }
}

/// True for a request of a browser that goes to a page. Hidden files stay nowhere for everybody.
fn is_for_page(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let reads = *method == Method::GET || *method == Method::HEAD;
    reads && names_html(headers) && !path.split('/').any(|segment| segment.starts_with('.'))
}

/// True if `Accept` has `text/html`. `*/*` alone does not count: that is what scripts, images and curl send.
fn names_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        is_html && !parts.any(is_weight_zero)
    })
}

/// True for `q=0`: the client does not take it (RFC 9110, section 12.4.2).
fn is_weight_zero(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>().is_ok_and(|weight| weight == 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_goes_to_a_page_is_known_by_what_it_accepts() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (method, path, accept, is) in [
            (Method::GET, "/deep/link", browser, true),
            (Method::HEAD, "/deep/link", browser, true),
            (Method::GET, "/deep/link", "Text/HTML; q=0.5", true),
            (Method::POST, "/deep/link", browser, false),
            (Method::GET, "/deep/link", "*/*", false),
            (Method::GET, "/deep/link", "", false),
            (Method::GET, "/deep/link", "application/json, text/plain, */*", false),
            (Method::GET, "/deep/link", "application/json, text/html;q=0", false),
            (Method::GET, "/deep/link", "text/html; q=0.0", false),
            (Method::GET, "/.env", browser, false),
            (Method::GET, "/a/.git/config", browser, false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(is_for_page(&method, path, &headers), is, "{method} {path} {accept}");
        }
        assert!(!is_for_page(&Method::GET, "/", &HeaderMap::new()));
    }
}

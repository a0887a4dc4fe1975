//! Media types of files, by the endings of their names.

use std::path::Path;

use axum::http::HeaderValue;

/// The value of `Content-Type` for a file whose name has this ending, and true for a text: it is worth compressing.
pub(super) fn of(path: &Path, ending: &str) -> (HeaderValue, bool) {
    common(ending).unwrap_or_else(|| {
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        (content_type(&kind), is_text(&kind))
    })
}

fn is_text(kind: &mime_guess::Mime) -> bool {
    let also = [
        "json",
        "javascript",
        "xml",
        "wasm",
        "manifest+json",
        "svg+xml",
        "xhtml+xml",
        "rss+xml",
        "atom+xml",
        "x-javascript",
    ];
    kind.type_() == mime_guess::mime::TEXT || also.contains(&kind.essence_str().split('/').nth(1).unwrap_or_default())
}

/// What is asked for most, without looking it up.
fn common(ending: &str) -> Option<(HeaderValue, bool)> {
    let (kind, is_text) = match ending {
        "html" => ("text/html; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "js" => ("text/javascript; charset=utf-8", true),
        "txt" => ("text/plain; charset=utf-8", true),
        "json" => ("application/json", true),
        "svg" => ("image/svg+xml", true),
        "png" => ("image/png", false),
        "jpg" => ("image/jpeg", false),
        "webp" => ("image/webp", false),
        "woff2" => ("font/woff2", false),
        "bin" => ("application/octet-stream", false),
        _ => return None,
    };
    Some((HeaderValue::from_static(kind), is_text))
}

fn content_type(kind: &mime_guess::Mime) -> HeaderValue {
    let has_charset = kind.type_() == mime_guess::mime::TEXT || kind.essence_str() == "application/javascript";
    let text = if has_charset { format!("{}; charset=utf-8", kind.essence_str()) } else { kind.to_string() };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_is_what_is_looked_up() {
        for ending in ["html", "css", "js", "txt", "json", "svg", "png", "jpg", "webp", "woff2", "bin"] {
            let kind = mime_guess::from_ext(ending).first_or_octet_stream();
            assert_eq!(common(ending).unwrap(), (content_type(&kind), is_text(&kind)), "{ending}");
        }
        assert_eq!(common("avif"), None);
    }
}

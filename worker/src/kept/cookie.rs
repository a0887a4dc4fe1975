//! Cookies of a request, by their names.

use axum::http::{HeaderMap, header};

/// Values of all cookies of this name, in their order. HTTP/2 may send a line for each.
pub(crate) fn all_of<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let all = headers.get_all(header::COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
    all.filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Pairs of a line. Many lines have one alone: to see that goes by words, and a split by bytes.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (one, many) =
        if line.contains(&b';') { (None, Some(line.split(|byte| *byte == b';'))) } else { (Some(line), None) };
    one.into_iter().chain(many.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; csrf=2;mycsrf=3".parse().unwrap());
        headers.append(header::COOKIE, "csrf=4".parse().unwrap());
        assert_eq!(all_of(&headers, "csrf").collect::<Vec<_>>(), [b"2", b"4"]);
        assert_eq!((all_of(&headers, "srf").count(), all_of(&headers, "b").count()), (0, 0));
    }
}

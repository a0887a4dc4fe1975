//! An error with all its underlying ones, as text.

use std::error::Error;
use std::fmt;

/// Most errors below one that are told. An error that is its own source would be told without an end.
const DEPTH_MAX: usize = 32;

/// The errors below one, from the nearest on.
pub(super) fn below<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = error.source();
    let all = std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    });
    all.take(DEPTH_MAX)
}

/// `cannot load order: connection refused`
pub(super) fn in_a_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    for error in below(error) {
        let text = error.to_string();
        // Many errors have the text of their source in their own.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

/// Writes each on a line of its own.
pub(super) fn in_lines(error: &(dyn Error + 'static), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    for error in below(error) {
        write!(f, "\n  because: {error}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn link(text: &'static str, source: Option<Link>) -> Link {
        Link { text, source: source.map(Box::new) }
    }

    #[test]
    fn the_whole_chain_is_told_and_each_text_once() {
        let error = link("cannot load order", Some(link("no answer: refused", Some(link("refused", None)))));
        assert_eq!(in_a_line(&error), "cannot load order: no answer: refused");
        assert_eq!(below(&error).count(), 2);
        let endless = (0..100).fold(link("0", None), |source, _| link("x", Some(source)));
        assert_eq!(below(&endless).count(), DEPTH_MAX);
    }
}

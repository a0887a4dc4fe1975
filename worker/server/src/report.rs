//! What is wrong with a configuration, pointed at.

use std::fmt;
use std::io::IsTerminal;

use gin_worker::config::Invalid;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// Lines are not broken: they are searched and copied.
const WIDTH: usize = 1000;

#[derive(Debug)]
struct Problem {
    message: String,
    source: Option<NamedSource<String>>,
    /// The line's first byte and length.
    line: Option<(usize, usize)>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().filter(|_| self.line.is_some()).map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (start, length) = self.line?;
        Some(Box::new(std::iter::once(LabeledSpan::new(Some("here".to_owned()), start, length))))
    }
}

/// All of it, for people.
pub fn report(invalid: &Invalid) -> String {
    let is_terminal = std::io::stderr().is_terminal();
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let theme = match (is_terminal, is_plain) {
        (true, false) => GraphicalTheme::unicode(),
        (true, true) => GraphicalTheme::unicode_nocolor(),
        (false, _) => GraphicalTheme::none(),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_context_lines(0);
    let mut text = String::new();
    for (place, what) in invalid.problems() {
        // What stands on such a line may be a secret, or be spelled nearly like one.
        let is_secret = ["database.", "redis.", "security.", "app"].iter().any(|section| what.starts_with(section));
        let line = invalid.file().filter(|_| !is_secret).and_then(|(path, source)| {
            let number = place.strip_prefix(&*path.to_string_lossy())?.strip_prefix(':')?.parse().ok()?;
            span(source, number)
        });
        let source = invalid.file().map(|(path, source)| NamedSource::new(path.to_string_lossy(), source.to_owned()));
        let problem = Problem { message: format!("{place}: {what}"), source, line };
        text.push_str("error: ");
        // Writing to a text cannot fail.
        let mut drawn = String::new();
        let _ = handler.render_report(&mut drawn, &problem);
        // Without the sign before it.
        let begin = drawn.find(&problem.message).unwrap_or(0);
        text.push_str(&drawn[begin..]);
    }
    text
}

/// Where this line is, without the space around its text.
fn span(source: &str, number: usize) -> Option<(usize, usize)> {
    let mut start = 0;
    let line = source.split_inclusive('\n').nth(number.checked_sub(1)?)?;
    start += source.split_inclusive('\n').take(number - 1).map(str::len).sum::<usize>();
    let text = line.trim();
    (!text.is_empty()).then(|| (start + line.len() - line.trim_start().len(), text.len()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_thing_that_is_wrong_is_pointed_at() {
        let text = "[server]\nport = 1\n  prot = 2\n";
        let invalid = gin_worker::Config::<()>::from_text(Path::new("a.toml"), text).unwrap_err();
        let told = report(&invalid);
        assert!(told.contains("error: a.toml:3: server.prot: unknown key; did you mean \"port\"?\n"), "{told}");
        assert!(told.contains("prot = 2"), "{told}");
        let text_of_secret = "[database]\npasswrod = \"hunter2\"\n";
        let invalid = gin_worker::Config::<()>::from_text(Path::new("a.toml"), text_of_secret).unwrap_err();
        assert!(!report(&invalid).contains("hunter2"));
        assert_eq!(span(text, 3), Some((20, 8)));
        assert_eq!(span(text, 9), None);
    }
}

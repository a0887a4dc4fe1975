//! What is wrong with a configuration, pointed at.

use std::fmt;
use std::io::IsTerminal;

use gin_shared::reference::{SECTIONS, Section};
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
        let line = invalid.file().and_then(|(path, source)| {
            let number = place.strip_prefix(&*path.to_string_lossy())?.strip_prefix(':')?.parse().ok()?;
            let section = named(what).or_else(|| begun(source, number));
            span(source, number).filter(|_| section.is_some_and(|name| !may_hold_secrets(name)))
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

/// The section that a problem names: "server.prot: unknown key".
fn named(what: &str) -> Option<&str> {
    let (name, _) = what.split_once('.')?;
    section(name).map(|section| section.name)
}

/// The section in which this line stands: of a file that cannot be read nobody else says it. TOML begins one by `[name]`, YAML by
/// `name:`.
fn begun(source: &str, number: usize) -> Option<&str> {
    let lines: Vec<&str> = source.lines().take(number).collect();
    lines.into_iter().rev().find_map(|line| {
        let of_toml = line.trim_start().strip_prefix('[').map(|rest| rest.trim_start_matches('['));
        let rest = of_toml.or_else(|| line.trim_end().ends_with(':').then_some(line))?;
        rest.split(['.', ']', ':']).next().map(str::trim)
    })
}

/// True unless it is known that no value in this section is a secret: also one of the application's own may be, and a word that is
/// spelled nearly like `password`.
fn may_hold_secrets(name: &str) -> bool {
    section(name).is_none_or(|section| section.keys.iter().any(|key| key.secret))
}

fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
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

    #[test]
    fn a_line_that_cannot_be_read_is_shown_where_no_secret_can_be() {
        let shown =
            |file: &str, text: &str| report(&gin_worker::Config::<()>::from_text(Path::new(file), text).unwrap_err());
        let told = shown("a.toml", "[server]\nport = = 1\n");
        assert!(told.contains("port = = 1"), "{told}");
        for text in [
            "[database]\nport = 1\npassword = [\"hunter2\"\n",
            "[sessions]\nsecret = \"hunter2\n",
            "[shop]\nkey = \"hunter2\n",
            "database = { password = \"hunter2\"\n",
        ] {
            let told = shown("a.toml", text);
            assert!(told.contains("a.toml:") && !told.contains("hunter2"), "{told}");
        }
        let told = shown("a.yaml", "redis:\n  password: \"hunter2\n");
        assert!(told.contains("a.yaml") && !told.contains("hunter2"), "{told}");
    }
}

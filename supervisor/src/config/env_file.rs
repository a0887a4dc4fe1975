//! `env_file`: variables for the workers, a line each. Of what systemd's `EnvironmentFile=` can do, no value goes on over
//! several lines.

use std::path::Path;

use crate::error_text::without_code;
use gin_shared::config::Problem;

/// Reads `NAME=value` lines. Empty lines and those that begin with # or ; say nothing; `export ` in front is passed over;
/// quotes around a value go.
///
/// # Errors
/// What is wrong, and in which line.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let problem = |place: String, text: String| Problem { place, text };
    let name = path.display().to_string();
    let text = super::read_file(path)
        .map_err(|error| vec![problem(name.clone(), format!("env_file: {}", without_code(&error)))])?;
    let mut variables = Vec::new();
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match parse_line(line) {
            Ok(variable) => variables.extend(variable),
            Err(error) => problems.push(problem(format!("{name}:{}", index + 1), error.to_string())),
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

/// A line that sets no variable.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("expected NAME=value")]
    NoEquals,
    #[error("\"{0}\" cannot name a variable; use letters, digits and _")]
    Name(String),
    #[error("{0}: NUL in its value")]
    Nul(String),
}

fn parse_line(line: &str) -> Result<Option<(String, String)>, LineError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or(LineError::NoEquals)?;
    let name = name.trim_end();
    let fine =
        name.chars().enumerate().all(|(at, c)| c == '_' || c.is_ascii_alphabetic() || at > 0 && c.is_ascii_digit());
    if name.is_empty() || !fine {
        return Err(LineError::Name(name.to_owned()));
    }
    let value = value.trim();
    let quoted = |quote: char| value.len() >= 2 && value.starts_with(quote) && value.ends_with(quote);
    let value = if quoted('"') || quoted('\'') { &value[1..value.len() - 1] } else { value };
    if value.contains('\0') {
        return Err(LineError::Nul(name.to_owned()));
    }
    Ok(Some((name.to_owned(), value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_quotes_and_export_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        std::fs::write(&path, "# no\n; no\n\nA=1\nexport B = \"two words\"\nC='x'\nD=a=b\nE=\n").unwrap();
        let variables = read(&path).unwrap();
        let pairs: Vec<(&str, &str)> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "two words"), ("C", "x"), ("D", "a=b"), ("E", "")]);
        std::fs::write(&path, "A=1\nno\n1X=2\n").unwrap();
        let problems: Vec<String> = read(&path).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(problems[0].ends_with("env:2: expected NAME=value"), "{problems:?}");
        assert!(problems[1].contains("env:3: \"1X\" cannot name a variable"), "{problems:?}");
        assert!(read(&dir.path().join("none")).unwrap_err()[0].text.contains("no such file"));
    }
}

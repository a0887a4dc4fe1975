//! The text of a statement, for the log and for traces.

use sea_orm::DbBackend;

/// Longest text of a statement, in bytes: an insert of a thousand rows says no more with all of them.
const LENGTH_MAX: usize = 1000;

/// The statement in a line, without values: a text in quotes and a number are `?`. Parameters stand in no statement anyway; this is for
/// statements that a program has put together by itself.
pub(super) fn without_values(sql: &str, backend: DbBackend) -> String {
    let mut line = String::with_capacity(sql.len().min(LENGTH_MAX));
    let mut rest = sql.trim();
    while let Some(first) = rest.chars().next() {
        if line.len() >= LENGTH_MAX {
            line.push('…');
            break;
        }
        let (part, length) = token(rest, first, backend);
        line.push_str(part);
        rest = &rest[length..];
    }
    line
}

/// The operation of a statement without values, and the first table that it names: `SELECT` and `users`. A statement that begins with no
/// word has neither; one that is none of the usual four has no table.
pub(super) fn summary(sql: &str) -> (&str, Option<&str>) {
    let sql = sql.trim_start();
    let operation = &sql[..span(sql, |c| c.is_ascii_alphabetic())];
    let before = match operation.to_ascii_uppercase().as_str() {
        "SELECT" | "DELETE" => "FROM",
        "INSERT" | "REPLACE" => "INTO",
        "UPDATE" => "UPDATE",
        _ => return (operation, None),
    };
    (operation, behind(sql, before).and_then(table))
}

/// The text behind a keyword that stands outside of all brackets.
fn behind<'a>(sql: &'a str, keyword: &str) -> Option<&'a str> {
    let (mut rest, mut depth) = (sql, 0_usize);
    while let Some(first) = rest.chars().next() {
        let (part, length) = token(rest, first, DbBackend::Sqlite);
        rest = &rest[length..];
        match part {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            word if depth == 0 && word.eq_ignore_ascii_case(keyword) => return Some(rest.trim_start()),
            _ => {}
        }
    }
    None
}

/// The table's name at the beginning of the text, without the schema before it and the quotes around it.
fn table(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let (part, length) = token(rest, rest.chars().next()?, DbBackend::Sqlite);
        match rest[length..].strip_prefix('.') {
            Some(behind) => rest = behind,
            None => {
                let name = part.trim_matches(['"', '`']);
                let is_name = !name.is_empty() && (name.len() < part.len() || name.chars().all(is_word));
                return Some(name).filter(|name| is_name && !name.starts_with('?'));
            }
        }
    }
}

/// Text to show for the first token, and the token's length.
fn token(rest: &str, first: char, backend: DbBackend) -> (&str, usize) {
    let is_mysql = backend == DbBackend::MySql;
    if backend == DbBackend::Postgres
        && let Some(length) = postgres_text(rest)
    {
        return ("?", length);
    }
    match first {
        '\'' => ("?", quoted(rest, first, is_mysql)),
        '"' if is_mysql => ("?", quoted(rest, first, true)),
        // A name.
        '"' | '`' => {
            let length = quoted(rest, first, false);
            (&rest[..length], length)
        }
        first if first.is_whitespace() => (" ", span(rest, char::is_whitespace)),
        first if first.is_ascii_digit() => ("?", span(rest, |c| c.is_ascii_alphanumeric() || c == '.')),
        first if is_word(first) => {
            let length = span(rest, is_word);
            (&rest[..length], length)
        }
        first => (&rest[..first.len_utf8()], first.len_utf8()),
    }
}

/// Length of a text as PostgreSQL alone writes it: `E'it\'s'`, `$$it's$$`, `$a$it's$a$`.
fn postgres_text(text: &str) -> Option<usize> {
    if text.starts_with(['e', 'E']) && text[1..].starts_with('\'') {
        return Some(1 + quoted(&text[1..], '\'', true));
    }
    let behind = text.strip_prefix('$')?;
    let (name, _) = behind.split_once('$')?;
    // A parameter, `$1`, begins with a digit.
    let is_tag =
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let tag = &text[..name.len() + 2];
    is_tag.then(|| text[tag.len()..].find(tag).map_or(text.len(), |at| at + 2 * tag.len()))
}

/// Part of a name, or of a numbered parameter: `$1`, `?1`.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '?')
}

/// Length of the beginning whose characters are all like this.
fn span(text: &str, is_in: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_in(c)).unwrap_or(text.len())
}

/// Length of what begins with this quote, to the quote at its end. A doubled quote ends one text and begins another. `has_escapes`: a
/// backslash takes its meaning from the next character.
fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && has_escapes {
            is_escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_told_without_its_values() {
        let of = |sql| without_values(sql, DbBackend::Postgres);
        assert_eq!(
            of("SELECT \"a 1\"\n  FROM t1 WHERE b = $1 LIMIT 10"),
            "SELECT \"a 1\" FROM t1 WHERE b = $1 LIMIT ?"
        );
        assert_eq!(of("a = 'it''s secret' AND b = 4.5e3"), "a = ?? AND b = ?");
        assert_eq!(of(r"a = 'C:\' AND b = 'secret'"), "a = ? AND b = ?");
        assert_eq!(of("a = 'never ends"), "a = ?");
        assert_eq!(of(r"a = E'it\'s secret' AND e = $1"), "a = ? AND e = $1");
        assert_eq!(of("a = $$it's secret$$ AND b = $q$se$$cret$q$ OR c$d = $2"), "a = ? AND b = ? OR c$d = $2");
        assert_eq!(of("DO $$ BEGIN 'secret'"), "DO ?");
        let of = |sql| without_values(sql, DbBackend::MySql);
        assert_eq!(of(r#"`a "1"` = 'it\'s secret' AND b = "secret""#), "`a \"1\"` = ? AND b = ?");
        assert_eq!(without_values("id = ?1 OR é = '…'", DbBackend::Sqlite), "id = ?1 OR é = ?");
    }

    #[test]
    fn a_statement_has_an_operation_and_a_table() {
        for (sql, operation, table) in [
            (r#"SELECT "users"."id" FROM "users" WHERE "id" = $1"#, "SELECT", Some("users")),
            ("select `a b`.* from `shop`.`a b`, c", "select", Some("a b")),
            ("SELECT EXTRACT(YEAR FROM day) FROM public.days", "SELECT", Some("days")),
            (r#"SELECT (SELECT COUNT(*) FROM "x"), "FROM" FROM "users""#, "SELECT", Some("users")),
            ("SELECT COUNT(*) FROM (SELECT id FROM users) AS sub", "SELECT", None),
            ("SELECT ?", "SELECT", None),
            (r#"INSERT INTO "users" ("name") VALUES (?)"#, "INSERT", Some("users")),
            ("INSERT IGNORE INTO users VALUES (?)", "INSERT", Some("users")),
            ("REPLACE INTO users VALUES (?)", "REPLACE", Some("users")),
            (r#"UPDATE "users" SET "name" = $1"#, "UPDATE", Some("users")),
            ("  DELETE FROM users", "DELETE", Some("users")),
            ("DELETE FROM", "DELETE", None),
            ("SELECT * FROM ?", "SELECT", None),
            ("WITH a AS (SELECT ? FROM b) SELECT * FROM a", "WITH", None),
            ("CREATE TABLE counts (id INTEGER)", "CREATE", None),
            ("BEGIN", "BEGIN", None),
            ("%% nonsense", "", None),
            ("\"users\"", "", None),
            ("", "", None),
        ] {
            assert_eq!(summary(sql), (operation, table), "{sql}");
        }
    }

    #[test]
    fn a_long_statement_is_cut() {
        let long = without_values(&"(?, ?), ".repeat(1000), DbBackend::Sqlite);
        assert!(long.len() <= LENGTH_MAX + '…'.len_utf8() && long.ends_with('…'), "{long}");
        let name = without_values(&"x".repeat(5000), DbBackend::Sqlite);
        assert_eq!(name.len(), 5000, "a name is not cut in its midst");
    }
}

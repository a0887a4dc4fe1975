//! A route's path, in Gin's words (`/users/:id`, `/files/*filepath`) or axum's (`/users/{id}`, `/files/{*filepath}`).
//!
//! What stands beside the parameters is brought into the normal form of requests' paths: `/größe` and `/gr%C3%B6%C3%9Fe` are one route.

use crate::request_path::normal_path;

/// A path as the router takes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoutePath {
    /// In axum's words, and in its normal form.
    text: String,
    params: Vec<String>,
}

/// What is wrong with one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is relative.
    #[error("\"{0}\" must begin with /")]
    Relative(String),
    /// A `:` or `*` without a name, or braces that do not pair.
    #[error("\"{path}\": the parameter in \"{segment}\" has no name, or its braces do not pair")]
    Unnamed {
        /// All of it.
        path: String,
        /// Where.
        segment: String,
    },
    /// Something follows a catch-all.
    #[error("\"{0}\": nothing may follow a catch-all")]
    BehindCatchAll(String),
    /// Two parameters in a segment, or text behind one.
    #[error("\"{path}\": \"{segment}\" may have one parameter, at its end")]
    Mixed {
        /// All of it.
        path: String,
        /// Where.
        segment: String,
    },
    /// Two of the same name.
    #[error("\"{path}\" has two parameters named {name}")]
    Twice {
        /// All of it.
        path: String,
        /// The name.
        name: String,
    },
}

/// A segment, taken apart.
enum Segment<'a> {
    Static(&'a str),
    /// What stands before it, and its name.
    Param(&'a str, &'a str),
    CatchAll(&'a str, &'a str),
}

impl RoutePath {
    /// Reads it.
    ///
    /// # Errors
    /// If it does not begin with `/`, or a parameter is not one.
    pub fn parse(written: &str) -> Result<Self, PathError> {
        let path = || written.to_owned();
        let rest = written.strip_prefix('/').ok_or_else(|| PathError::Relative(path()))?;
        let (mut text, mut params) = (String::new(), Vec::<String>::new());
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            text.push('/');
            let name = match take_apart(segment, &path)? {
                Segment::Static(plain) => {
                    text.push_str(&normal_path(plain));
                    continue;
                }
                Segment::Param(before, name) => {
                    text.push_str(&format!("{}{{{name}}}", normal_path(before)));
                    name
                }
                Segment::CatchAll(before, name) => {
                    if segments.peek().is_some() {
                        return Err(PathError::BehindCatchAll(path()));
                    }
                    text.push_str(&format!("{}{{*{name}}}", normal_path(before)));
                    name
                }
            };
            if params.iter().any(|known| known == name) {
                return Err(PathError::Twice { path: path(), name: name.to_owned() });
            }
            params.push(name.to_owned());
        }
        Ok(Self { text, params })
    }

    /// As axum's router takes it: in the normal form of a request's path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its parameters' names, in order.
    #[must_use]
    pub fn params(&self) -> &[String] {
        &self.params
    }

    /// Its catch-all's name, and what stands before it.
    #[must_use]
    pub fn catch_all(&self) -> Option<(&str, &str)> {
        let (before, rest) = self.text.split_once("{*")?;
        Some((before, rest.strip_suffix('}')?))
    }
}

/// As Gin joins a group's prefix and a route's path: one `/` between them, and a `/` at the end only if the path has one.
#[must_use]
pub fn join(prefix: &str, path: &str) -> String {
    let prefix = prefix.trim_end_matches('/');
    match path.trim_start_matches('/') {
        "" if path.is_empty() && !prefix.is_empty() => prefix.to_owned(),
        rest => format!("{prefix}/{rest}"),
    }
}

fn take_apart<'a>(segment: &'a str, path: &impl Fn() -> String) -> Result<Segment<'a>, PathError> {
    let unnamed = || PathError::Unnamed { path: path(), segment: segment.to_owned() };
    let mixed = || PathError::Mixed { path: path(), segment: segment.to_owned() };
    let Some(at) = segment.find([':', '*', '{', '}']) else { return Ok(Segment::Static(segment)) };
    let (before, param) = segment.split_at(at);
    let (catches, name) = match param.as_bytes() {
        [b':', ..] => (false, &param[1..]),
        [b'*', ..] => (true, &param[1..]),
        [b'{', b'*', ..] => (true, inner(&param[2..]).ok_or_else(unnamed)?),
        [b'{', ..] => (false, inner(&param[1..]).ok_or_else(unnamed)?),
        _ => return Err(unnamed()),
    };
    if name.contains([':', '*', '{', '}']) {
        return Err(mixed());
    }
    match (name, catches) {
        ("", _) => Err(unnamed()),
        (name, true) => Ok(Segment::CatchAll(before, name)),
        (name, false) => Ok(Segment::Param(before, name)),
    }
}

/// What stands between the braces, the first of which is gone.
fn inner(rest: &str) -> Option<&str> {
    rest.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gins_words_and_axums_are_the_same_path() {
        for (gin, axum, params) in [
            ("/", "/", vec![]),
            ("/users/:id", "/users/{id}", vec!["id"]),
            ("/users/:id/posts/:post", "/users/{id}/posts/{post}", vec!["id", "post"]),
            ("/files/*filepath", "/files/{*filepath}", vec!["filepath"]),
            ("/v:version/x/", "/v{version}/x/", vec!["version"]),
        ] {
            let path = RoutePath::parse(gin).unwrap();
            assert_eq!(
                (path.as_str(), path.params()),
                (axum, &params.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()[..])
            );
            assert_eq!(RoutePath::parse(axum).unwrap(), path);
        }
    }

    #[test]
    fn what_stands_beside_parameters_has_the_form_of_requests() {
        for (written, template) in [
            ("/größe/:id", "/gr%C3%B6%C3%9Fe/{id}"),
            ("/gr%c3%b6%c3%9fe/{id}", "/gr%C3%B6%C3%9Fe/{id}"),
            ("/%7euser/räume-:größe", "/~user/r%C3%A4ume-{größe}"),
            ("/报告/*rest", "/%E6%8A%A5%E5%91%8A/{*rest}"),
            ("/a b/100%", "/a%20b/100%25"),
        ] {
            let path = RoutePath::parse(written).unwrap();
            assert_eq!(path.as_str(), template);
            assert_eq!(RoutePath::parse(template).unwrap(), path);
        }
    }

    #[test]
    fn what_is_no_path_is_named() {
        for (bad, says) in [
            ("users", "must begin with /"),
            ("", "must begin with /"),
            ("/:", "has no name"),
            ("/*", "has no name"),
            ("/{id", "braces do not pair"),
            ("/id}", "braces do not pair"),
            ("/*rest/more", "nothing may follow"),
            ("/:a:b", "one parameter"),
            ("/{a}b", "braces do not pair"),
            ("/:a/:a", "two parameters named a"),
        ] {
            let error = RoutePath::parse(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn a_group_and_a_path_are_joined_with_one_slash() {
        for (prefix, path, joined) in [
            ("", "/", "/"),
            ("/", "/", "/"),
            ("/api", "/", "/api/"),
            ("/api/", "/users", "/api/users"),
            ("/api", "", "/api"),
            ("/api", "users/", "/api/users/"),
        ] {
            assert_eq!(join(prefix, path), joined, "{prefix} {path}");
        }
    }
}

//! Cookies of one client, as a browser keeps them (RFC 6265).

use std::time::SystemTime;

use axum::http::{HeaderMap, header};

/// Cookies of one client, of one host.
#[derive(Debug, Default)]
pub(super) struct Jar(Vec<Cookie>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

impl Jar {
    /// Takes the cookies of an answer to a request for this path. A cookie whose time is over is removed.
    pub(super) fn keep(&mut self, path: &str, headers: &HeaderMap, now: SystemTime) {
        let texts = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        for (cookie, is_over) in texts.filter_map(|text| parse(text, path, now)) {
            self.0.retain(|old| (&old.name, &old.path) != (&cookie.name, &cookie.path));
            if !is_over {
                self.0.push(cookie);
            }
        }
    }

    /// Sets a cookie for all paths.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|old| old.name != name);
        self.0.push(Cookie { name: name.to_owned(), value: value.to_owned(), path: "/".to_owned() });
    }

    /// The value of `Cookie` in a request for this path: cookies of longer paths first. `None` without cookies.
    pub(super) fn header(&self, path: &str) -> Option<String> {
        let mut sent: Vec<&Cookie> = self.0.iter().filter(|cookie| matches(path, &cookie.path)).collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let texts: Vec<String> = sent.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// The value of the cookie that was set last with this name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|cookie| cookie.name == name).map(|cookie| cookie.value.as_str())
    }
}

/// Reads a `Set-Cookie`. The second: true if its time is over.
fn parse(text: &str, request_path: &str, now: SystemTime) -> Option<(Cookie, bool)> {
    let mut parts = text.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let (mut path, mut age, mut expires) = (directory(request_path), None, None);
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "path" if value.starts_with('/') => path = value,
            "max-age" => age = value.trim().parse::<i64>().ok(),
            "expires" => expires = date(value),
            _ => {}
        }
    }
    let is_over = age.map_or_else(|| expires.is_some_and(|at| at <= now), |seconds| seconds <= 0);
    let cookie = Cookie { name: name.trim().to_owned(), value: value.trim().to_owned(), path: path.to_owned() };
    (!cookie.name.is_empty()).then_some((cookie, is_over))
}

/// The path of a cookie that says none (section 5.1.4).
fn directory(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(last) => &path[..last],
    }
}

/// True if a request for this path has the cookies of that one (section 5.1.4).
fn matches(path: &str, of_cookie: &str) -> bool {
    let rest = path.strip_prefix(of_cookie);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of_cookie.ends_with('/'))
}

/// Reads `Thu, 01 Jan 1970 00:00:00 GMT`, and the older way to write it with hyphens.
fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let words: Vec<&str> = text.split([' ', '-', ',']).filter(|word| !word.is_empty()).collect();
    let &[_, day, month, year, time, _] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| month.eq_ignore_ascii_case(name))? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::HeaderValue;

    use super::*;

    fn keep(jar: &mut Jar, path: &str, cookie: &str) {
        let headers = HeaderMap::from_iter([(header::SET_COOKIE, cookie.parse::<HeaderValue>().unwrap())]);
        jar.keep(path, &headers, SystemTime::now());
    }

    #[test]
    fn a_cookie_goes_with_requests_below_its_path() {
        let mut jar = Jar::default();
        keep(&mut jar, "/login", "id=7; Path=/; HttpOnly; Secure; SameSite=Lax");
        keep(&mut jar, "/admin/login", "role=root");
        assert_eq!(jar.header("/").as_deref(), Some("id=7"));
        assert_eq!(jar.header("/admin").as_deref(), Some("role=root; id=7"));
        assert_eq!(jar.header("/admin/users").as_deref(), Some("role=root; id=7"));
        assert_eq!(jar.header("/administrator").as_deref(), Some("id=7"));
        keep(&mut jar, "/", "id=8; path=/");
        assert_eq!((jar.header("/").as_deref(), jar.value("id")), (Some("id=8"), Some("8")));
    }

    #[test]
    fn a_cookie_whose_time_is_over_is_gone() {
        for over in [
            "id=; Path=/; Max-Age=0",
            "id=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "id=; Path=/; expires=Thu, 1-Jan-1970 00:00:00 GMT",
        ] {
            let mut jar = Jar::default();
            jar.set("id", "7");
            keep(&mut jar, "/", over);
            assert_eq!(jar.header("/"), None, "{over}");
        }
        let mut jar = Jar::default();
        keep(&mut jar, "/", "id=7; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60");
        keep(&mut jar, "/", "other=1; Expires=Fri, 31 Dec 2100 23:59:59 GMT");
        assert_eq!(jar.header("/").as_deref(), Some("id=7; other=1"));
    }

    #[test]
    fn a_date_is_read_in_both_ways() {
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        assert_eq!(date("Fri, 02 Jan 1970 00:00:00 GMT"), Some(day));
        assert_eq!(date("Fri, 02-Jan-1970 00:00:00 GMT"), Some(day));
        assert_eq!(date("tomorrow"), None);
    }
}

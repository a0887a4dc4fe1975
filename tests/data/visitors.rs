//! Clients with sessions: each has a cookie, and counts its visits for itself.

use std::sync::Mutex;
use std::thread;

use harness::{Address, Client, Failure, Response, rounds};

/// A client, and what it knows.
#[derive(Debug, Clone)]
pub struct Visitor {
    user: String,
    /// `name=value`, as the server has set it last.
    pub cookie: String,
    /// Visits that were answered.
    pub visits: u64,
    /// Visits without an answer since the last one: they may have counted.
    pub open: u64,
}

/// A request with a cookie, on a connection of its own.
pub fn ask(address: &Address, method: &str, path: &str, cookie: &str) -> Result<Response, Failure> {
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    let text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{cookie}Content-Length: 0\r\n\r\n");
    Client::asking(address, &text)?.response()
}

/// The whole header by which an answer sets its cookie.
pub fn set_cookie(answer: &Response) -> Option<&str> {
    answer.headers.get("set-cookie").map(String::as_str)
}

/// `name=value` of the cookie that an answer sets.
///
/// # Panics
/// If it sets none.
pub fn cookie_of(answer: &Response) -> String {
    let header = set_cookie(answer).unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    header.split(';').next().unwrap_or_default().trim().to_owned()
}

impl Visitor {
    /// Logs in.
    ///
    /// # Panics
    /// If that fails.
    pub fn login(address: &Address, user: &str) -> Self {
        let answer = ask(address, "POST", &format!("/login?user={user}"), "").unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        Self { user: user.to_owned(), cookie: cookie_of(&answer), visits: 0, open: 0 }
    }

    /// Visits once. `may_break`: the connection may end without an answer.
    ///
    /// # Panics
    /// If the client is logged out, or a visit was lost or counted twice.
    pub fn visit(&mut self, address: &Address, may_break: bool) {
        let answer = match ask(address, "POST", "/visit", &self.cookie) {
            Ok(answer) => answer,
            Err(failure) => {
                assert!(may_break, "{failure:?} for {self:?}");
                self.open += 1;
                return;
            }
        };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{self:?}: {text}");
        let body = answer.json();
        assert_eq!(body["user"], self.user.as_str(), "{self:?}");
        let visits = body["visits"].as_u64().unwrap();
        let most = self.visits + self.open + 1;
        assert!((self.visits + 1..=most).contains(&visits), "{visits} for {self:?}");
        (self.visits, self.open) = (visits, 0);
        if set_cookie(&answer).is_some() {
            self.cookie = cookie_of(&answer);
        }
    }

    /// True if the cookie is worth something.
    ///
    /// # Panics
    /// If the answer is neither yes nor no.
    pub fn is_in(&self, address: &Address) -> bool {
        is_in(address, &self.cookie)
    }
}

/// True if somebody is logged in by this cookie.
///
/// # Panics
/// If the answer is neither 200 nor 401.
pub fn is_in(address: &Address, cookie: &str) -> bool {
    let answer = ask(address, "GET", "/me", cookie).unwrap();
    assert!([200, 401].contains(&answer.status), "{answer:?}");
    answer.status == 200
}

/// Clients, logged in by as many threads as `visit_all` has.
pub fn crowd(address: &Address, count: usize) -> Vec<Visitor> {
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for part in 0..THREADS {
            let all = &all;
            scope.spawn(move || {
                for number in (part..count).step_by(THREADS) {
                    let visitor = Visitor::login(address, &format!("user-{number}"));
                    all.lock().unwrap().push(visitor);
                }
            });
        }
    });
    all.into_inner().unwrap()
}

const THREADS: usize = 8;

/// Each client visits once, while `meanwhile` happens. They go round until it is over.
pub fn visit_during(address: &Address, all: &mut [Visitor], may_break: bool, meanwhile: impl FnOnce()) {
    rounds(all, THREADS, |visitor, is_last| visitor.visit(address, may_break && !is_last), meanwhile);
}

//! Cookies that are forged, stolen, planted or old.

use std::time::{Duration, Instant};

use harness::{Supervisor, eventually};

use crate::data::site::{of_each_worker, site};
use crate::data::visitors::{Visitor, ask, cookie_of, is_in, set_cookie};

fn start(sections: &[&str]) -> Supervisor {
    site(2, "sessions", sections).start()
}

/// The same cookie with another character at each place of its value, one place at a time.
fn forgeries(cookie: &str) -> Vec<String> {
    let (name, value) = cookie.split_once('=').unwrap();
    let changed = |at: usize| {
        let mut bytes = value.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        format!("{name}={}", String::from_utf8(bytes).unwrap())
    };
    (0..value.len()).map(changed).collect()
}

#[test]
#[ignore = "needs the fixture with sessions: tests/run --services"]
fn a_forged_cookie_is_nobodys() {
    let gin = start(&[]);
    let address = gin.tcp();
    let visitor = Visitor::login(&address, "hal");
    let (name, value) = visitor.cookie.split_once('=').unwrap();
    for forged in forgeries(&visitor.cookie) {
        // The last character of a text in base64 may have bits that mean nothing; a cookie that says the same is the same.
        assert!(
            !is_in(&address, &forged) || forged[..forged.len() - 1] == visitor.cookie[..forged.len() - 1],
            "{forged}"
        );
    }
    for made_up in [
        "",
        "x",
        "\"",
        "%00",
        "../../etc/passwd",
        "' OR 1=1 --",
        &"x".repeat(4000),
        &value[1..],
        &value[..value.len() / 2],
    ] {
        assert!(!is_in(&address, &format!("{name}={made_up}")), "{made_up}");
    }
    // A cookie that another service has signed.
    let other = start(&[]);
    let theirs = Visitor::login(&other.tcp(), "hal");
    assert!(!is_in(&address, &theirs.cookie) && !is_in(&other.tcp(), &visitor.cookie));
    // None of this has hurt the real one.
    assert!(visitor.is_in(&address));
    gin.ends_sound();
    other.ends_sound();
}

#[test]
#[ignore = "needs the fixture with sessions: tests/run --services"]
fn a_planted_cookie_is_worth_nothing_after_the_login() {
    let gin = start(&[]);
    let address = gin.tcp();
    // Eve begins a session, and has Hal's browser use it.
    let planted = cookie_of(&ask(&address, "GET", "/plant", "").unwrap());
    let login = ask(&address, "POST", "/login?user=hal", &planted).unwrap();
    let hals = cookie_of(&login);
    assert_ne!(hals, planted);
    assert!(is_in(&address, &hals));
    for _ in 0..20 {
        assert!(!is_in(&address, &planted), "in no worker");
    }
    // A second login changes the id, too.
    let again = cookie_of(&ask(&address, "POST", "/login?user=hal", &hals).unwrap());
    assert_ne!(again, hals);
    assert!(!is_in(&address, &hals) && is_in(&address, &again));
    gin.ends_sound();
}

#[test]
#[ignore = "needs the fixture with sessions: tests/run --services"]
fn a_stolen_cookie_ends_with_the_logout_in_each_worker() {
    let gin = start(&[]);
    let address = gin.tcp();
    let (phone, desk) = (Visitor::login(&address, "hal"), Visitor::login(&address, "hal"));
    let other = Visitor::login(&address, "eve");
    // Each worker has seen it, so that none has to look it up.
    for _ in 0..20 {
        assert!(phone.is_in(&address) && desk.is_in(&address));
    }
    let answer = ask(&address, "POST", "/logout", &phone.cookie).unwrap();
    assert_eq!(answer.status, 204);
    assert!(set_cookie(&answer).is_some_and(|header| header.contains("Max-Age=0") || header.contains("Expires=")));
    for _ in 0..40 {
        assert!(!phone.is_in(&address), "a logout counts at once, in each worker");
    }
    assert!(desk.is_in(&address));
    assert_eq!(ask(&address, "POST", "/logout-everywhere", &desk.cookie).unwrap().status, 204);
    for _ in 0..40 {
        assert!(!desk.is_in(&address));
    }
    assert!(other.is_in(&address), "others are not logged out");
    // A restart brings nothing back.
    gin.restart();
    assert!(!phone.is_in(&address) && !desk.is_in(&address) && other.is_in(&address));
    gin.ends_sound();
}

#[test]
#[ignore = "needs the fixture with sessions: tests/run --services"]
fn a_user_has_no_more_sessions_than_the_limit() {
    let gin = start(&["[sessions]\nper_user = 2\n"]);
    let address = gin.tcp();
    let [one, two, three] = [(); 3].map(|()| Visitor::login(&address, "hal"));
    for _ in 0..20 {
        assert!(!one.is_in(&address), "the oldest has ended");
    }
    assert!(two.is_in(&address) && three.is_in(&address));
    gin.ends_sound();
}

#[test]
#[ignore = "needs the fixture with sessions: tests/run --services"]
fn a_session_ends_at_its_absolute_end_and_when_it_is_idle() {
    // It ends however busy it is, and the answer alone tells.
    let gin = start(&["[sessions]\nidle = \"1h\"\nabsolute = \"2s\"\n"]);
    let address = gin.tcp();
    let began = Instant::now();
    let visitor = Visitor::login(&address, "hal");
    eventually("the session has ended", || visitor.is_in(&address), |is_in| !is_in);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    gin.ends_sound();

    let gin = start(&["[sessions]\nidle = \"2s\"\nabsolute = \"1h\"\n"]);
    let address = gin.tcp();
    let (idle, busy) = (Visitor::login(&address, "hal"), Visitor::login(&address, "eve"));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert!(busy.is_in(&address), "it ended while it was used");
    }
    assert!(!idle.is_in(&address));
    gin.ends_sound();
}

#[test]
#[ignore = "needs the fixture with sessions: tests/run --services"]
fn the_cookie_is_for_no_script_no_other_site_and_no_plain_text() {
    for (mode, is_secure) in [("release", true), ("debug", false)] {
        let gin = start(&[&format!("[server]\nmode = \"{mode}\"\n")]);
        let answer = ask(&gin.tcp(), "POST", "/login?user=hal", "").unwrap();
        let header = set_cookie(&answer).unwrap().to_owned();
        for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(header.contains(part), "{header}");
        }
        assert_eq!(header.contains("Secure"), is_secure, "{mode}: {header}");
        assert!(header.starts_with("session="), "{header}");
        // Who asks for nothing of a session gets no cookie.
        assert!(of_each_worker(&gin, "/").len() == 2 && set_cookie(&gin.get("/")).is_none());
        assert_eq!(set_cookie(&ask(&gin.tcp(), "GET", "/me", "").unwrap()), None);
        gin.ends_sound();
    }
}

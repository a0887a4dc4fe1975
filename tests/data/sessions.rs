//! Sessions outlive workers, generations and the master, in each store.

use harness::{Service, ServiceKind, Supervisor, eventually, times};

use crate::data::site::{SOON, site, until_ready_is};
use crate::data::store::{Kind, Store};
use crate::data::visitors::{Visitor, ask, crowd, visit_during};

/// All cookies are signed by the same secret, however the store is.
const SECRET: &str = "secret = \"a-secret-of-at-least-32-bytes-1f6b8c\"\n";

fn nobody_is_logged_out(mut gin: Supervisor) {
    let address = gin.tcp();
    let mut all = crowd(&address, 1_000);
    for _ in 0..times(10, 30) {
        visit_during(&address, &mut all, false, || gin.restart());
    }
    // What was on its way in a killed worker has no answer. Its connections are cut, and its sessions are not.
    visit_during(&address, &mut all, true, || {
        let mut events = gin.events();
        gin.kill_worker(gin.workers()[0]);
        events.until("serving");
    });
    // Workers go on without a master.
    visit_during(&address, &mut all, false, || gin.die_and_adopt());
    visit_during(&address, &mut all, false, || gin.ctl(&["rollback"]).assert(0, &[]));
    assert!(all.iter().all(|visitor| visitor.visits >= 13), "each has visited in each round");
    gin.ends_sound();
}

#[test]
#[ignore = "needs the fixture with sessions: tests/run --services"]
fn a_thousand_clients_stay_logged_in_with_sessions_in_a_file() {
    nobody_is_logged_out(site(2, "sessions", &[]).start());
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn a_thousand_clients_stay_logged_in_with_sessions_in_redis() {
    let redis = Service::start(ServiceKind::Redis);
    let sections = [&*(redis.section() + SOON), &format!("[sessions]\nstore = \"redis\"\n{SECRET}")];
    nobody_is_logged_out(site(2, "sessions", &sections).start());
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn a_thousand_clients_stay_logged_in_with_sessions_in_postgresql() {
    let store = Store::start(Kind::Postgres);
    let sections = [&*store.section(), "[sessions]\nstore = \"database\"\n"];
    nobody_is_logged_out(site(2, "database sessions", &sections).start());
}

#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn a_thousand_clients_stay_logged_in_with_sessions_in_mariadb() {
    let store = Store::start(Kind::MariaDb);
    let sections = [&*store.section(), "[sessions]\nstore = \"database\"\n"];
    nobody_is_logged_out(site(2, "database sessions", &sections).start());
}

/// While the store is away a client is told so, and is not logged out.
fn an_outage_logs_nobody_out(gin: &Supervisor, server: &mut Service) {
    let address = gin.tcp();
    let mut visitor = Visitor::login(&address, "hal");
    visitor.visit(&address, false);
    for _ in 0..2 {
        server.kill();
        let answer = ask(&address, "POST", "/visit", &visitor.cookie).unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.headers.get("retry-after").map(String::as_str), Some("1"), "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        assert_eq!(ask(&address, "POST", "/login?user=eve", "").unwrap().status, 503);
        // A request that needs no session is served.
        assert_eq!(gin.get("/").status, 200);
        until_ready_is(gin, 503);
        server.start_again();
        until_ready_is(gin, 200);
        visitor.visit(&address, false);
        server.pause();
        let answer = ask(&address, "POST", "/visit", &visitor.cookie).unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        server.resume();
        until_ready_is(gin, 200);
        // The visit in between may have been written: the server read it when it went on.
        visitor.open += 1;
        visitor.visit(&address, false);
    }
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn an_outage_of_redis_logs_nobody_out() {
    let mut redis = Service::start(ServiceKind::Redis);
    let sections = [&*(redis.section() + SOON), "[sessions]\nstore = \"redis\"\n"];
    let gin = site(1, "sessions", &sections).start();
    an_outage_logs_nobody_out(&gin, &mut redis);
    gin.ends_sound();
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn an_outage_of_postgresql_logs_nobody_out() {
    let mut store = Store::start(Kind::Postgres);
    let sections = [&*store.section(), "[sessions]\nstore = \"database\"\n", "[timeouts]\nrequest = \"5s\"\n"];
    let gin = site(1, "database sessions", &sections).start();
    an_outage_logs_nobody_out(&gin, store.server());
    gin.ends_sound();
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn sessions_in_redis_are_known_on_each_host() {
    let redis = Service::start(ServiceKind::Redis);
    let sections = [&*(redis.section() + SOON), &format!("[sessions]\nstore = \"redis\"\n{SECRET}")];
    let [one, two] = [(); 2].map(|()| site(1, "sessions", &sections).start());
    let mut visitor = Visitor::login(&one.tcp(), "hal");
    for address in [one.tcp(), two.tcp(), one.tcp()] {
        visitor.visit(&address, false);
    }
    // A logout counts at once, on both.
    assert_eq!(ask(&two.tcp(), "POST", "/logout", &visitor.cookie).unwrap().status, 204);
    assert!(!visitor.is_in(&one.tcp()) && !visitor.is_in(&two.tcp()));
    one.ends_sound();
    two.ends_sound();
}

/// Redis may evict the list of a user's sessions. Each session that is used is listed again.
#[test]
#[ignore = "needs Redis: tests/run --services"]
fn a_user_whose_list_is_lost_is_logged_out_everywhere() {
    let redis = Service::start(ServiceKind::Redis);
    let sections = [&*(redis.section() + SOON), "[sessions]\nstore = \"redis\"\nidle = \"20s\"\n"];
    let gin = site(1, "sessions", &sections).start();
    let address = gin.tcp();
    let (phone, desk) = (Visitor::login(&address, "hal"), Visitor::login(&address, "hal"));
    let list = redis.ask("KEYS gin:sessions-of:*");
    let listed = || redis.ask(&format!("ZCARD {list}"));
    assert_eq!(listed(), "2", "{list}");
    assert_eq!(redis.ask(&format!("DEL {list}")), "1");
    let used = || {
        assert!(phone.is_in(&address) && desk.is_in(&address));
        listed()
    };
    eventually("both are listed again", used, |listed| listed == "2");
    assert_eq!(ask(&address, "POST", "/logout-everywhere", &desk.cookie).unwrap().status, 204);
    assert!(!phone.is_in(&address) && !desk.is_in(&address));
    gin.ends_sound();
}

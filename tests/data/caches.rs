//! The cache: in the process, in Redis, and in two levels over two workers.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Address, PASSWORD, Service, ServiceKind, Supervisor, eventually, get};
use serde_json::{Value, json};

use crate::data::site::{SOON, of_each_worker, private, site};
use crate::data::store::{Kind, Store};
use crate::data::traffic::{item, send};

/// A cache that does not answer costs a request less than this.
const BRIEF: Duration = Duration::from_secs(5);

fn start(workers: usize, store: &Store, redis: &Service, levels: &str) -> Supervisor {
    let sections =
        [&*store.section(), &*(redis.section() + SOON), &format!("[cache]\nlevels = \"{levels}\"\nttl = \"1h\"\n")];
    site(workers, "database cache", &sections).start()
}

fn create(address: &Address, id: i64) {
    assert_eq!(send(address, "POST", "/items", &item(id)).unwrap().status, 201);
}

/// Writes to the database, and removes it from the cache.
fn note(address: &Address, id: i64, note: &str) {
    let answer = send(address, "PUT", &format!("/cached/{id}"), &json!({ "note": note })).unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
}

fn notes(gin: &Supervisor, id: i64) -> BTreeSet<String> {
    let all = of_each_worker(gin, &format!("/cached/{id}"));
    all.iter().map(|answer| answer["value"]["note"].as_str().unwrap().to_owned()).collect()
}

fn only(note: &str) -> BTreeSet<String> {
    BTreeSet::from([note.to_owned()])
}

/// Number of times that all workers have asked the database.
fn asked(answers: &[Value]) -> u64 {
    answers.iter().map(|answer| answer["asked"].as_u64().unwrap()).sum()
}

/// Fifty clients ask for a value that is not there; gives what they got, and how often the source was asked.
fn stampede(gin: &Supervisor, name: &str) -> (BTreeSet<String>, u64) {
    let hold = gin.hold();
    let path = format!("/computed/{name}{}", hold.target().replace("/held", ""));
    let address = gin.tcp();
    let answers: Vec<Value> = thread::scope(|scope| {
        let clients: Vec<_> = (0..50).map(|_| scope.spawn(|| get(&address, &path).unwrap().json())).collect();
        let source = hold.arrived();
        // Those that come later find the value.
        source.release();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let values = answers.iter().map(|answer| answer["value"].as_str().unwrap().to_owned()).collect();
    (values, asked(&of_each_worker(gin, &path)))
}

#[test]
#[ignore = "needs the fixture with a cache: tests/run --services"]
fn a_value_is_computed_once_for_all_who_ask_a_process() {
    let gin = site(1, "cache", &[]).start();
    let (values, asked) = stampede(&gin, "tea");
    assert_eq!((values.len(), asked), (1, 1), "{values:?}");
    gin.ends_sound();
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn a_value_in_redis_is_computed_once_for_all_workers() {
    let redis = Service::start(ServiceKind::Redis);
    for levels in ["redis", "both"] {
        let sections = [&*(redis.section() + SOON), &format!("[cache]\nlevels = \"{levels}\"\n")];
        let gin = site(3, "cache", &sections).start();
        let (values, asked) = stampede(&gin, levels);
        assert_eq!((values.len(), asked), (1, 1), "{levels}: {values:?}");
        gin.ends_sound();
    }
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn redis_knows_the_service_by_a_user_of_its_access_list() {
    let redis = Service::start(ServiceKind::Redis);
    let made = redis.ask(&format!("ACL SETUSER shop on >of-shop-{PASSWORD} ~* &* +@all -@dangerous"));
    assert_eq!(made, "OK");
    let section = |password: &str| redis.section_with(&format!("username = \"shop\"\npassword = \"{password}\"\n"));
    let start = |section: String| site(2, "cache", &[&*(section + SOON), "[cache]\nlevels = \"both\"\n"]).start();
    let gin = start(section(&format!("of-shop-{PASSWORD}")));
    assert_eq!(gin.get("/computed/tea?by=none").status, 200);
    assert_ne!(redis.ask("DBSIZE"), "0", "the value is there");
    assert!(redis.ask("CLIENT LIST").contains("user=shop"), "{}", redis.ask("CLIENT LIST"));
    gin.ends_sound();

    // The word of the default user is not this one's.
    let gin = start(section(PASSWORD));
    assert_eq!(gin.get("/computed/tea?by=none").status, 200, "the source is asked");
    let told = private(&gin, "/readyz").concat();
    let is_refused = told.contains("authentication failed") || told.contains("WRONGPASS");
    assert!(is_refused && !told.contains(PASSWORD), "{told}");
    gin.ends_sound();
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn redis_is_asked_over_tls_if_its_certificate_is_known() {
    let redis = Service::start(ServiceKind::RedisTls);
    let start = |section: String| site(1, "cache", &[&*(section + SOON), "[cache]\nlevels = \"redis\"\n"]).start();
    let gin = start(redis.section());
    assert_eq!(gin.get("/computed/tea?by=none").status, 200);
    let kept = redis.ask("DBSIZE");
    assert_ne!(kept, "0", "the value is there");
    gin.ends_sound();

    // No public authority has signed the certificate; and without TLS there is no connection at all.
    for (lines, why) in [("tls = \"require\"\n", "invalid peer certificate"), ("", "Redis at 127.0.0.1:")] {
        let gin = start(redis.section_with(&format!("password = {PASSWORD:?}\n{lines}")));
        assert_eq!(gin.get("/computed/coffee?by=none").status, 200, "the source is asked");
        let told = private(&gin, "/readyz").concat();
        assert!(told.contains(why), "{told}");
        gin.ends_sound();
    }
    assert_eq!(redis.ask("DBSIZE"), kept);
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn a_change_reaches_the_first_level_of_each_worker() {
    let (store, redis) = (Store::start(Kind::Sqlite), Service::start(ServiceKind::Redis));
    let gin = start(2, &store, &redis, "both");
    let address = gin.tcp();
    create(&address, 1);
    assert_eq!(notes(&gin, 1), only("note 1"));
    // Both have it themselves now, and ask nobody.
    let before = asked(&of_each_worker(&gin, "/cached/1"));
    assert_eq!(before, 1, "one of them has asked the database, and the other one has asked Redis");
    for number in 0..20 {
        let text = format!("changed {number}");
        note(&address, 1, &text);
        // The word of it takes a round trip to Redis.
        eventually("each worker has the new value", || notes(&gin, 1), |notes| *notes == only(&text));
        assert_eq!(notes(&gin, 1), only(&text), "a worker went back to an old value");
    }
    gin.ends_sound();
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn without_redis_the_source_is_asked_and_nothing_old_comes_back_with_it() {
    let (store, mut redis) = (Store::start(Kind::Sqlite), Service::start(ServiceKind::Redis));
    let gin = start(2, &store, &redis, "both");
    let address = gin.tcp();
    create(&address, 1);
    create(&address, 2);
    assert_eq!(notes(&gin, 1), only("note 1"));
    redis.kill();
    let began = Instant::now();
    // The value that nobody has in his first level.
    assert_eq!(get(&address, "/cached/2").unwrap().status, 200);
    assert!(began.elapsed() < BRIEF, "{:?}", began.elapsed());
    // The cache is not needed: requests go to this host all the same.
    assert_eq!(gin.get("/readyz").status, 200);
    note(&address, 1, "changed while Redis was away");
    redis.start_again();
    eventually("each worker has the new value", || notes(&gin, 1), |all| *all == only("changed while Redis was away"));
    // The two levels work again.
    note(&address, 1, "changed later");
    eventually("each worker has the new value", || notes(&gin, 1), |all| *all == only("changed later"));
    gin.ends_sound();
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn a_full_redis_takes_nothing_new_and_keeps_nothing_old() {
    let (store, redis) = (Store::start(Kind::Sqlite), Service::start(ServiceKind::Redis));
    let gin = start(2, &store, &redis, "redis");
    let address = gin.tcp();
    create(&address, 1);
    assert_eq!(notes(&gin, 1), only("note 1"));
    assert_eq!(redis.ask("CONFIG SET maxmemory 1"), "OK");
    note(&address, 1, "changed while Redis was full");
    assert_eq!(notes(&gin, 1), only("changed while Redis was full"));
    assert_eq!(redis.ask("DBSIZE"), "0");
    // Others use it, too: sessions, and the rate limit.
    let told = private(&gin, "/readyz").concat();
    assert!(!told.contains("is away"), "{told}");
    gin.ends_sound();
}

#[test]
#[ignore = "needs Redis: tests/run --services"]
fn nothing_hangs_when_redis_stands_still() {
    let (store, redis) = (Store::start(Kind::Sqlite), Service::start(ServiceKind::Redis));
    for levels in ["redis", "both"] {
        let gin = start(2, &store, &redis, levels);
        let address = gin.tcp();
        let first = if levels == "redis" { 100 } else { 200 };
        (first..first + 10).for_each(|id| create(&address, id));
        redis.pause();
        let mut longest = Duration::ZERO;
        for id in first..first + 10 {
            let began = Instant::now();
            let answer = get(&address, &format!("/cached/{id}")).unwrap();
            longest = longest.max(began.elapsed());
            assert_eq!(answer.json()["value"], item(id), "{levels}");
        }
        assert!(longest < BRIEF, "{levels}: {longest:?}");
        redis.resume();
        let shared = || asked(&of_each_worker(&gin, &format!("/cached/{first}")));
        // The circuit tries once a second whether Redis is back: from then on a hit costs the database nothing.
        eventually("Redis is used again", || (shared(), shared()), |(before, after)| before == after);
        gin.ends_sound();
    }
}

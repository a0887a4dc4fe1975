//! `worker/examples/rest_api` under a supervisor, on each kind of database, by the variable alone that README names.

use std::collections::BTreeSet;
use std::thread;

use harness::{
    Address, Builder, Client, PASSWORD, Service, ServiceKind, Supervisor, binary, eventually, get, supervisor,
};
use serde_json::{Value, json};

use crate::data::input::encoded;
use crate::data::site::SOON;
use crate::data::store::{Kind, Store};
use crate::data::traffic::send;

const USERS: &str = "/api/v1/users/";

/// Its own tests are on SQLite: here are the statements that the databases understand each in its own way.
fn the_users_are_the_same(kind: Kind) {
    let mut store = Store::start(kind);
    let gin = start(&mut store, kind);
    let address = gin.tcp();
    assert_eq!(found(&address, ""), (names(&["张三", "李四"]), 2));
    let all = ["100%", "a_b", "axb", "wow!", r"back\slash", "Robert'); DROP TABLE users;--", "Ärger \u{1F600}"];
    for (number, name) in all.iter().enumerate() {
        create(&address, name, &format!("u{number}@example.com"));
    }
    for (search, name) in [
        ("%", "100%"),
        ("_", "a_b"),
        ("A_B", "a_b"),
        ("!", "wow!"),
        (r"\", all[4]),
        ("'); drop", all[5]),
        ("😀", all[6]),
    ] {
        assert_eq!(found(&address, &format!("search={}", encoded(search))), (names(&[name]), 1), "{search}");
    }
    assert_eq!(found(&address, "page=2&size=1"), (names(&["李四"]), 9));
    for beyond in ["page=4&size=3", "page=18446744073709551615&size=100"] {
        assert_eq!(found(&address, beyond), (names(&[]), 9), "{beyond}");
    }
    for refused in ["page=0", "size=101", "search=%00"] {
        assert_eq!(get(&address, &format!("{USERS}?{refused}")).unwrap().status, 400, "{refused}");
    }
    an_email_is_one_users(&address);
    a_user_changes_and_goes(&address);
    // Text that is too long is refused, by the size of the body or by its rule.
    let long = user(&"x".repeat(1 << 20), "long@example.com");
    assert!([400, 413].contains(&send(&address, "POST", USERS, &long).unwrap().status));
    gin.restart();
    assert_eq!(found(&gin.tcp(), "size=1"), (names(&["张三"]), 10));
    gin.ctl(&["migrate", "status"]).assert(0, &["m20260105_090000_create_users", "m20260302_090000_drop_nickname"]);
    assert!(!gin.log().contains(PASSWORD), "{}", gin.log());
    gin.ends_sound();
}

fn example() -> Builder {
    supervisor().set("soak = \"0s\"").set(&format!("command = [{:?}]", binary("rest_api")))
}

fn start(store: &mut Store, kind: Kind) -> Supervisor {
    let server = |store: &mut Store, scheme: &str| {
        format!("{scheme}://shop:{PASSWORD}@127.0.0.1:{}/shop", store.server().port())
    };
    let builder = example();
    let url = match kind {
        Kind::Sqlite => format!("sqlite://{}?mode=rwc", builder.dir().join("users.db").display()),
        Kind::MariaDb => server(store, "mysql"),
        Kind::Postgres => server(store, "postgres"),
    };
    builder.env("DATABASE_URL", &url).start()
}

/// Many want it at once, and the index decides.
fn an_email_is_one_users(address: &Address) {
    let statuses: Vec<u16> = thread::scope(|scope| {
        let ask = || send(address, "POST", USERS, &user("n", "wanted@example.com")).unwrap().status;
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(409)), (1, 7), "{statuses:?}");
    let taken = send(address, "PUT", &format!("{USERS}1"), &json!({ "email": "lisi@example.com" })).unwrap();
    assert_eq!((taken.status, taken.json()), (409, json!({ "error": "邮箱已存在" })));
}

fn a_user_changes_and_goes(address: &Address) {
    let path = format!("{USERS}{}", create(address, "before", "change@example.com"));
    let changed = send(address, "PUT", &path, &json!({ "name": "after" })).unwrap();
    assert_eq!((changed.status, &changed.json()["data"]["name"]), (200, &json!("after")));
    // The same again changes no row, and the user is there all the same.
    let again = send(address, "PUT", &path, &json!({ "name": "after" })).unwrap();
    assert_eq!((again.status, &again.json()["data"]["email"]), (200, &json!("change@example.com")));
    assert_eq!(get(address, &path).unwrap().json()["data"]["name"], "after");
    assert_eq!((delete(address, &path), delete(address, &path)), (200, 404));
    assert_eq!(get(address, &path).unwrap().status, 404);
    assert_eq!(send(address, "PUT", &path, &json!({ "name": "after" })).unwrap().status, 404);
}

fn user(name: &str, email: &str) -> Value {
    json!({ "name": name, "email": email })
}

/// Returns the number of the user.
fn create(address: &Address, name: &str, email: &str) -> i64 {
    let made = send(address, "POST", USERS, &user(name, email)).unwrap();
    assert_eq!(made.status, 201, "{name}: {}", String::from_utf8_lossy(&made.body));
    made.json()["data"]["id"].as_i64().unwrap()
}

fn delete(address: &Address, path: &str) -> u16 {
    let request = format!("DELETE {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    Client::asking(address, &request).unwrap().response().unwrap().status
}

/// Names on the page, and the number of all.
fn found(address: &Address, query: &str) -> (Vec<String>, u64) {
    let answer = get(address, &format!("{USERS}?{query}")).unwrap();
    assert_eq!(answer.status, 200, "{query}: {}", String::from_utf8_lossy(&answer.body));
    let page = answer.json();
    let users = page["data"].as_array().unwrap().iter();
    let found = users.map(|user| user["name"].as_str().unwrap().to_owned()).collect();
    (found, page["pagination"]["total"].as_u64().unwrap())
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
#[ignore = "needs the example: tests/run --services"]
fn its_users_are_in_sqlite() {
    the_users_are_the_same(Kind::Sqlite);
}

#[test]
#[ignore = "needs the example and MariaDB: tests/run --services"]
fn its_users_are_in_mariadb() {
    the_users_are_the_same(Kind::MariaDb);
}

#[test]
#[ignore = "needs the example and PostgreSQL: tests/run --services"]
fn its_users_are_in_postgresql() {
    the_users_are_the_same(Kind::Postgres);
}

/// The documents' cache of two levels: each worker keeps answers for an hour, and tells of a change all the same.
#[test]
#[ignore = "needs the example and Redis: tests/run --services"]
fn a_change_reaches_the_answers_of_all_workers_by_redis() {
    let redis = Service::start(ServiceKind::Redis);
    let builder = example().workers(2);
    let database = builder.dir().join("users.db");
    let sections =
        format!("[cache]\nlevels = \"both\"\n[database]\ndatabase = {database:?}\n[app]\nfresh_ms = 3600000\n");
    let gin = builder.section(&(redis.section() + SOON)).section(&sections).start();
    let address = gin.tcp();
    // The kernel chooses which worker answers.
    let totals = || (0..20).map(|_| found(&address, "size=1").1).collect::<BTreeSet<u64>>();
    assert_eq!(totals(), BTreeSet::from([2]));
    for number in 3..13 {
        create(&address, "n", &format!("n{number}@example.com"));
        eventually("all workers tell of the change", totals, |all| *all == BTreeSet::from([number]));
    }
    gin.ends_sound();
}

//! Input that means harm: it is stored as it is, or refused, and never an error of the server.

use harness::{Client, Supervisor};
use serde_json::{Value, json};

use crate::data::site::site;
use crate::data::store::{Kind, Store};
use crate::data::traffic::{item, send};

/// A text in a query.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

const HARMFUL: [&str; 9] = [
    "'; DROP TABLE items; --",
    "\" OR 1=1 --",
    "1; SELECT pg_sleep(10)",
    "\\'; DELETE FROM items; #",
    "$1 ? :name @name {0}",
    "%_!",
    "Robert\u{202e}\u{1F600}\u{301}",
    "\u{1}\t\r\n",
    "x' UNION SELECT version FROM seaql_migrations --",
];

fn search(gin: &Supervisor, text: &str) -> Vec<Value> {
    let answer = gin.get(&format!("/items?size=100&search={}", encoded(text)));
    assert_eq!(answer.status, 200, "{text:?}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()["data"].as_array().unwrap().clone()
}

/// The status of a request that is sent as it is.
fn raw(gin: &Supervisor, bytes: &[u8]) -> u16 {
    let mut client = Client::connect(&gin.tcp()).unwrap();
    client.send(bytes).unwrap();
    client.response().unwrap().status
}

fn bad_input_harms_nothing(kind: Kind) {
    let store = Store::start(kind);
    let gin = site(2, "database", &[&store.section()]).start();
    let address = gin.tcp();
    for id in 1..=20 {
        assert_eq!(send(&address, "POST", "/items", &item(id)).unwrap().status, 201);
    }
    for (id, text) in (100..).zip(HARMFUL) {
        let harmful = json!({ "id": id, "name": text, "note": text });
        assert_eq!(send(&address, "POST", "/items", &harmful).unwrap().status, 201, "{text:?}");
        assert_eq!(gin.get(&format!("/items/{id}")).json(), harmful);
        assert!(search(&gin, text).contains(&harmful), "{text:?}");
    }
    assert_eq!(store.ask("SELECT count(*) FROM items"), (20 + HARMFUL.len()).to_string());

    // The signs of LIKE are signs like others.
    for (text, count) in [("%", 1), ("_", 3), ("!", 1), ("name 1", 11), ("nothing", 0)] {
        let found = search(&gin, text).len();
        assert_eq!(found, count, "{text:?}");
    }
    for query in ["page=0", "page=-1", "size=0", "size=101", "page=x", "page=18446744073709551616", "size=1e3", "page="]
    {
        assert_eq!(gin.get(&format!("/items?{query}")).status, 400, "{query}");
    }
    for page in ["1000", "9223372036854775807", "18446744073709551615"] {
        let status = gin.get(&format!("/items?page={page}&size=100")).status;
        assert!([200, 400].contains(&status), "{page}: {status}");
    }
    for id in ["x", "9223372036854775808", "1%00", "1;DROP%20TABLE%20items"] {
        assert_eq!(gin.get(&format!("/items/{id}")).status, 400, "{id}");
    }

    // NUL, which PostgreSQL has in no text; a long name; bytes that are no text; a name that is taken.
    for name in ["a\0b".to_owned(), "x".repeat(1 << 20)] {
        let answer = send(&address, "POST", "/items", &json!({ "id": 500, "name": name, "note": "" })).unwrap();
        assert!([413, 422].contains(&answer.status), "{}", answer.status);
    }
    assert!([400, 422].contains(&gin.get("/items?search=%00").status));
    // Bytes that are no text are read as U+FFFD in a query.
    assert_eq!(gin.get("/items?search=%FF%FE").json()["pagination"]["total"], 0);
    let invalid = b"{\"id\": 501, \"name\": \"\xff\xfe\", \"note\": \"\"}";
    let head = format!(
        "POST /items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        invalid.len()
    );
    assert_eq!(raw(&gin, &[head.as_bytes(), invalid].concat()), 400);
    assert_eq!(send(&address, "POST", "/items", &item(1)).unwrap().status, 409);

    assert_eq!(store.ask("SELECT count(*) FROM items"), (20 + HARMFUL.len()).to_string());
    assert!(!gin.log().contains("ERROR"), "{}", gin.log());
    gin.ends_sound();
}

#[test]
#[ignore = "needs the fixture with a database: tests/run --services"]
fn bad_input_harms_nothing_in_sqlite() {
    bad_input_harms_nothing(Kind::Sqlite);
}

#[test]
#[ignore = "needs MariaDB: tests/run --services"]
fn bad_input_harms_nothing_in_mariadb() {
    bad_input_harms_nothing(Kind::MariaDb);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run --services"]
fn bad_input_harms_nothing_in_postgresql() {
    bad_input_harms_nothing(Kind::Postgres);
}

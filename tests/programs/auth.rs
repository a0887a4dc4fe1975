//! Logins by tokens, through restarts, rollbacks and kills, on three stores.

use std::thread;

use gin_worker::testing::{Request, UnderLoad};
use harness::{Address, Service, ServiceKind, Supervisor, binary, on_change, rounds, times};
use serde_json::{Value, json};

use crate::programs::site::{ask, site};

/// Threads of clients.
const THREADS: usize = 4;
/// Requests by which both of two workers were asked, as good as certainly.
const BOTH: usize = 24;

/// A client who is logged in, and what it knows.
#[derive(Debug)]
struct LoggedIn {
    id: String,
    token: String,
    refresh: String,
    /// Rounds that it has gone.
    rounds: usize,
}

fn login(address: &Address, username: &str, password: &str) -> harness::Response {
    ask(address, "POST", "/login", "", &json!({ "username": username, "password": password })).unwrap()
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

fn profile(address: &Address, token: &str) -> u16 {
    ask(address, "GET", "/api/profile", token, &Value::Null).unwrap().status
}

impl LoggedIn {
    fn new(address: &Address, id: &str, username: &str) -> Self {
        let answer = login(address, username, "password");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let (token, refresh) = (text(&answer.json(), "token"), text(&answer.json(), "refresh_token"));
        Self { id: id.to_owned(), token, refresh, rounds: 0 }
    }

    /// Everybody of the first start.
    fn all(address: &Address) -> Vec<Self> {
        let others = (2..=8).map(|number| (number.to_string(), format!("user{number}")));
        let all = std::iter::once(("1".to_owned(), "admin".to_owned())).chain(others);
        all.map(|(id, username)| Self::new(address, &id, &username)).collect()
    }

    /// Asks who it is, and now and then for new tokens. `may_break`: a connection may end without an answer.
    fn go_round(&mut self, address: &Address, may_break: bool) {
        self.rounds += 1;
        match ask(address, "GET", "/api/profile", &self.token, &Value::Null) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{self:?}: {}", String::from_utf8_lossy(&answer.body));
                assert_eq!(answer.json()["user_id"], self.id.as_str());
            }
            Err(failure) => assert!(may_break, "{failure:?} for {self:?}"),
        }
        if self.rounds.is_multiple_of(4) {
            self.ask_for_new(address, may_break);
        }
    }

    fn ask_for_new(&mut self, address: &Address, may_break: bool) {
        match ask(address, "POST", "/refresh", "", &json!({ "refresh_token": self.refresh })) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{self:?}: {}", String::from_utf8_lossy(&answer.body));
                (self.token, self.refresh) = (text(&answer.json(), "token"), text(&answer.json(), "refresh_token"));
            }
            // The same token is good for the same answer, for a while.
            Err(failure) => assert!(may_break, "{failure:?} for {self:?}"),
        }
    }
}

/// All clients go round while `meanwhile` happens, and once more when it is over.
fn during(address: &Address, all: &mut [LoggedIn], may_break: bool, meanwhile: impl FnOnce()) {
    rounds(all, THREADS, |client, is_last| client.go_round(address, may_break && !is_last), meanwhile);
}

fn nobody_is_logged_out(mut gin: Supervisor) {
    let address = gin.tcp();
    let mut all = LoggedIn::all(&address);
    for _ in 0..times(5, 20) {
        during(&address, &mut all, false, || gin.restart());
    }
    during(&address, &mut all, true, || {
        let mut events = gin.events();
        gin.kill_worker(gin.workers()[0]);
        events.until("serving");
    });
    during(&address, &mut all, false, || gin.die_and_adopt());
    during(&address, &mut all, false, || gin.ctl(&["rollback"]).assert(0, &[]));
    // A logout counts in each worker at once.
    for client in &all {
        let answer = ask(&address, "POST", "/api/logout", &client.token, &Value::Null).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        for _ in 0..BOTH {
            assert_eq!(profile(&address, &client.token), 401, "{client:?}");
        }
        let refresh = ask(&address, "POST", "/refresh", "", &json!({ "refresh_token": client.refresh })).unwrap();
        assert_eq!(refresh.status, 401, "{client:?}");
    }
    gin.ends_sound();
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn logins_in_a_file_go_on() {
    nobody_is_logged_out(site("auth", 2, &[]).start());
}

#[test]
#[ignore = "needs the program and PostgreSQL: tests/run --services"]
fn logins_in_postgresql_go_on() {
    let server = Service::start(ServiceKind::Postgres);
    nobody_is_logged_out(site("auth", 2, &[&server.section(), "[auth]\nstore = \"database\"\n"]).start());
}

#[test]
#[ignore = "needs the program and MariaDB: tests/run --services"]
fn logins_in_mariadb_go_on() {
    let server = Service::start(ServiceKind::MariaDb);
    nobody_is_logged_out(site("auth", 2, &[&server.section(), "[auth]\nstore = \"database\"\n"]).start());
}

#[test]
#[ignore = "needs the program and Redis: tests/run --services"]
fn logins_in_redis_go_on() {
    let server = Service::start(ServiceKind::Redis);
    nobody_is_logged_out(site("auth", 2, &[&server.section(), "[auth]\nstore = \"redis\"\n"]).start());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the program: tests/run --services"]
async fn restarts_under_load_hurt_nobody() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let login = |password: &str| Request::post("/login").json(json!({ "username": "admin", "password": password }));
    let outcome = UnderLoad::new(binary("auth"))
        .env("STATE_DIRECTORY", directory.path().display().to_string())
        .env("GIN_SERVER_MODE", "debug")
        .config(
            "[auth]\nattempts_account = 0\nattempts_address = 0\npassword_memory = \"64KiB\"\npassword_passes = 1\n",
        )
        .request(Request::get("/"))
        .request(login("password"))
        .request(login("wrong").expects(401))
        .request(Request::get("/api/profile").expects(401))
        .request(Request::get("/api/profile").bearer("x").expects(401))
        .clients(4)
        .restarts(u32::try_from(times(5, 20)).unwrap())
        .run()
        .await;
    println!("{} answers, {:?}", outcome.answered, outcome.restarts);
    outcome.assert_nobody_noticed();
}

/// A token that was used twice was stolen, or its answer was: whoever has the next one has it no more.
#[test]
#[ignore = "needs the program: tests/run --services"]
fn a_refresh_token_that_comes_again_after_a_restart_ends_the_login() {
    let gin = site("auth", 2, &["[auth]\nrefresh_grace = \"0s\"\n"]).start();
    let address = gin.tcp();
    let mut user = LoggedIn::new(&address, "2", "user2");
    let other = LoggedIn::new(&address, "2", "user2");
    let first = user.refresh.clone();
    user.ask_for_new(&address, false);
    gin.restart();
    let again = ask(&address, "POST", "/refresh", "", &json!({ "refresh_token": first })).unwrap();
    assert_eq!((again.status, &again.json()["error"]), (401, &json!("无效的认证令牌")));
    let newest = ask(&address, "POST", "/refresh", "", &json!({ "refresh_token": user.refresh })).unwrap();
    assert_eq!(newest.status, 401);
    for _ in 0..BOTH {
        assert_eq!(profile(&address, &user.token), 401);
        assert_eq!(profile(&address, &other.token), 200, "another login of the same user");
    }
    gin.ends_sound();
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn of_fifty_attempts_at_once_two_workers_try_ten() {
    let gin = site("auth", 2, &[]).start();
    let address = gin.tcp();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let all: Vec<_> = (0..50).map(|_| scope.spawn(|| login(&address, "admin", "wrong").status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(401), count(429)), (10, 40), "{statuses:?}");
    // A restart forgets no attempt.
    gin.restart();
    assert_eq!(login(&address, "admin", "password").status, 429);
    gin.ends_sound();
}

/// A line of the documents (8.2): `"path": "/api/users", "status": 200, "latency": "15ms", "user_id": "12345"`.
#[test]
#[ignore = "needs the program: tests/run --services"]
fn the_line_of_a_request_names_its_user() {
    let builder = site("auth", 1, &[]);
    let logs = builder.dir().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let file = logs.join("requests.log");
    let gin = builder.section(&format!("[logging]\noutput = \"file\"\nfile_path = {file:?}\n")).start();
    let address = gin.tcp();
    let user = LoggedIn::new(&address, "2", "user2");
    assert_eq!(profile(&address, &user.token), 200);
    // Refused, and known nevertheless; then somebody whom nobody knows.
    assert_eq!(ask(&address, "GET", "/api/admin/users", &user.token, &Value::Null).unwrap().status, 403);
    assert_eq!(profile(&address, "x"), 401);
    assert_eq!(profile(&address, ""), 401);
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        // The last one may be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["path"].as_str().is_some_and(|path| path.starts_with("/api/"))).collect()
    };
    let lines = on_change(&logs, "the log has four lines", lines, |lines| lines.len() == 4);
    let told = |line: &Value| json!([line["path"], line["status"], line.get("user_id")]).to_string();
    let mut all: Vec<String> = lines.iter().map(told).collect();
    all.sort_unstable();
    let expected = [
        r#"["/api/admin/users",403,"2"]"#,
        r#"["/api/profile",200,"2"]"#,
        r#"["/api/profile",401,null]"#,
        r#"["/api/profile",401,null]"#,
    ];
    assert_eq!(all, expected, "{lines:?}");
    for line in &lines {
        for name in ["level", "timestamp", "message", "method", "path", "latency"] {
            assert!(line[name].is_string(), "no {name} in {line}");
        }
    }
    assert!(!lines.iter().any(|line| line.to_string().contains(&user.token)), "no token stands in the log");
    gin.ends_sound();
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn the_first_start_of_release_mode_needs_a_password() {
    let release = || site("auth", 2, &[]).replace("GIN_SERVER_MODE = \"debug\"", "GIN_SERVER_MODE = \"release\"");
    let (code, log) = release().fails();
    assert!(code != 0 && log.contains("app.admin_password_file"), "{code}: {log}");
    let builder = release();
    let file = builder.dir().join("password");
    std::fs::write(&file, "correct horse\n").unwrap();
    let gin = builder.section(&format!("[app]\nadmin_password_file = {file:?}\n")).start();
    let address = gin.tcp();
    assert_eq!(login(&address, "admin", "password").status, 401);
    assert_eq!(login(&address, "admin", "correct horse").status, 200);
    assert_eq!(login(&address, "user2", "password").status, 401);
    assert!(!gin.log().contains("correct horse"), "{}", gin.log());
    // From now on it is in the database.
    std::fs::remove_file(&file).unwrap();
    gin.restart();
    assert_eq!(login(&address, "admin", "correct horse").status, 200);
    gin.ends_sound();
}

//! Parts that are away at start, or later, or for ever. The part here answers when its test says so.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::graceful::run_hooks;
use crate::system::{self, About};
use crate::traces::starting;
use crate::{Life, Server};

/// A part that is here or away as its test says.
struct Fake {
    name: &'static str,
    is_needed: bool,
    /// Number of tries that fail.
    failures: u32,
    tries: AtomicU32,
    /// Why it cannot be prepared.
    unprepared: Option<&'static str>,
    /// Least time of its preparation.
    prepares: Duration,
    health: Mutex<Health>,
    /// True if the next look finds it.
    is_back: AtomicBool,
    looks: watch::Sender<u32>,
    /// Why it cannot go by other settings.
    is_fixed: Option<&'static str>,
    did: Did,
}

/// Actions that were done, in order.
type Did = Arc<Mutex<Vec<String>>>;

impl Fake {
    fn new(name: &'static str, failures: u32) -> Self {
        Self {
            name,
            is_needed: true,
            failures,
            tries: AtomicU32::new(0),
            unprepared: None,
            prepares: Duration::ZERO,
            health: Mutex::new(away("not opened yet")),
            is_back: AtomicBool::new(false),
            looks: watch::Sender::new(0),
            is_fixed: None,
            did: Did::default(),
        }
    }

    fn set(&self, health: Health) {
        *self.health.lock().unwrap() = health;
    }

    fn does(&self, what: &str) {
        self.did.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what} {}", self.name));
    }
}

impl Part for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_needed(&self) -> bool {
        self.is_needed
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            if self.tries.fetch_add(1, Ordering::Relaxed) < self.failures {
                return Err(Error::away("database").caused_by("connection refused"));
            }
            self.set(Health::Here);
            self.does("open");
            Ok(())
        })
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.does("prepare");
            let began = Instant::now();
            while began.elapsed() < self.prepares {
                tokio::task::yield_now().await;
            }
            self.unprepared.map_or(Ok(()), |why| Err(Error::internal(why)))
        })
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }

    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.is_back.load(Ordering::Relaxed) {
                self.set(Health::Here);
            }
            self.looks.send_modify(|looks| *looks += 1);
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.does("close");
        })
    }

    fn details(&self) -> Value {
        json!({ "open": 3 })
    }

    fn reconfigure(&self, _: &Config) -> Result<(), String> {
        self.does("reconfigure");
        self.is_fixed.map_or(Ok(()), |why| Err(why.to_owned()))
    }
}

fn away(why: &str) -> Health {
    Health::Away { why: why.to_owned() }
}

fn parts(all: &[&Arc<Fake>]) -> Parts {
    let mut registered = Registered::default();
    all.iter().for_each(|fake| registered.add(Arc::clone(fake) as Arc<dyn Part>));
    registered.finish()
}

/// A start that is over soon.
fn pace(patience: Duration) -> Pace {
    let soon = Duration::from_millis(1);
    Pace { patience, retry: soon, extend: soon, tell: soon }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_part_that_is_away_at_start_is_waited_for_and_time_is_asked_for() {
    let did = Did::default();
    let database = Arc::new(Fake { did: Arc::clone(&did), ..Fake::new("database", 3) });
    let cache = Arc::new(Fake { did: Arc::clone(&did), ..Fake::new("cache", 0) });
    let asked = AtomicU32::new(0);
    let extend = |time: Duration| {
        assert!(time > Duration::from_millis(1));
        asked.fetch_add(1, Ordering::Relaxed);
    };
    parts(&[&database, &cache]).open(pace(LONG), &extend, &starting(None)).await.unwrap();
    assert_eq!(database.tries.load(Ordering::Relaxed), 4);
    assert!(asked.load(Ordering::Relaxed) > 0);
    assert_eq!(*did.lock().unwrap(), ["open database", "prepare database", "open cache", "prepare cache"]);
}

#[tokio::test]
async fn a_part_that_stays_away_fails_the_start_with_the_reason() {
    let database = Arc::new(Fake::new("database", u32::MAX));
    let error = parts(&[&database]).open(pace(Duration::from_millis(20)), &|_| {}, &starting(None)).await.unwrap_err();
    let StartError::Part { name: "database", .. } = error else { panic!("{error}") };
    let text = error.to_string();
    assert!(
        text.starts_with("the database: the database is away: connection refused; the worker has waited"),
        "{text}"
    );
    assert!(database.tries.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn a_long_migration_takes_no_time_from_the_parts_behind_it() {
    let patience = Duration::from_millis(200);
    let database = Arc::new(Fake { prepares: patience, ..Fake::new("database", 0) });
    let sessions = Arc::new(Fake::new("sessions", 1));
    parts(&[&database, &sessions]).open(pace(patience), &|_| {}, &starting(None)).await.unwrap();
    assert_eq!(sessions.tries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_part_that_cannot_be_prepared_fails_the_start_at_once() {
    let database = Arc::new(Fake { unprepared: Some("migration 7 failed"), ..Fake::new("database", 0) });
    let error = parts(&[&database]).open(pace(LONG), &|_| {}, &starting(None)).await.unwrap_err();
    assert_eq!(error.to_string(), "the database: migration 7 failed");
}

#[tokio::test]
async fn a_start_waits_for_no_part_that_can_be_missed() {
    let cache = Arc::new(Fake { is_needed: false, ..Fake::new("cache", u32::MAX) });
    let parts = parts(&[&cache]);
    parts.open(pace(LONG), &|_| {}, &starting(None)).await.unwrap();
    assert_eq!(cache.tries.load(Ordering::Relaxed), 1);
    assert!(cache.did.lock().unwrap().is_empty(), "it is not prepared");
    assert_eq!((parts.away(), parts.details()["cache"]["health"].as_str()), (None, Some("away")));
}

#[test]
fn a_start_gives_up_a_moment_before_the_supervisor_does() {
    let patience = |seconds| Pace::within(Duration::from_secs(seconds)).patience;
    assert_eq!(patience(30), Duration::from_secs(27));
    assert_eq!(patience(10), Duration::from_secs(9));
    assert_eq!(patience(600), Duration::from_secs(597));
}

#[tokio::test]
async fn a_part_is_looked_at_only_while_it_is_away_and_until_it_is_back() {
    let database = Arc::new(Fake::new("database", 0));
    let parts = parts(&[&database]);
    parts.open(pace(LONG), &|_| {}, &starting(None)).await.unwrap();
    let _watching = parts.watch(Duration::from_millis(1));
    assert_eq!((parts.away(), *database.looks.borrow()), (None, 0));
    database.set(away("connection reset"));
    assert_eq!(parts.away().as_deref(), Some("the database is away"));
    let mut looks = database.looks.subscribe();
    looks.wait_for(|looks| *looks >= 2).await.unwrap();
    assert!(parts.away().is_some());
    database.is_back.store(true, Ordering::Relaxed);
    // A look may be under way that has not seen it yet.
    let seen = *looks.borrow();
    looks.wait_for(|looks| *looks > seen + 1 || parts.away().is_none()).await.unwrap();
    assert_eq!(parts.away(), None);
}

#[tokio::test]
async fn parts_are_closed_with_the_sessions_first_and_then_in_the_documents_order() {
    let did = Did::default();
    let fakes = ["database", "cache", "sessions", "auth"]
        .map(|name| Arc::new(Fake { did: Arc::clone(&did), ..Fake::new(name, 0) }));
    let parts = parts(&[&fakes[0], &fakes[1], &fakes[2], &fakes[3]]);
    assert!(run_hooks(parts.hooks()).await.is_empty());
    assert_eq!(*did.lock().unwrap(), ["close sessions", "close auth", "close database", "close cache"]);
}

#[test]
fn a_part_that_cannot_go_by_new_settings_is_named() {
    let did = Did::default();
    let database = Arc::new(Fake { did: Arc::clone(&did), ..Fake::new("database", 0) });
    let auth = Arc::new(Fake { is_fixed: Some("the key is gone"), did: Arc::clone(&did), ..Fake::new("auth", 0) });
    let error = parts(&[&database, &auth]).reconfigure(&Config::default()).unwrap_err();
    assert_eq!(error.to_string(), "the auth: the key is gone");
    assert_eq!(*did.lock().unwrap(), ["reconfigure database", "reconfigure auth"]);
    parts(&[&database]).reconfigure(&Config::default()).unwrap();
}

#[test]
fn two_that_are_away_are_told_together() {
    let (database, sessions) = (Arc::new(Fake::new("database", 0)), Arc::new(Fake::new("sessions", 0)));
    assert_eq!(parts(&[&database, &sessions]).away().as_deref(), Some("the database and the sessions are away"));
}

#[test]
fn a_handler_gets_what_is_registered_and_else_says_what_to_do() {
    let mut registered = Registered::default();
    registered.lend(7_u32);
    let mut extensions = Extensions::default();
    extensions.insert(registered.finish());
    assert_eq!(Parts::handle::<u32>(&extensions, "database").unwrap(), 7);
    for without in [&extensions, &Extensions::default()] {
        let error = Parts::handle::<u64>(without, "database").unwrap_err();
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(error.to_string().ends_with("register it by Server::database()"), "{error}");
    }
}

async fn ask(router: &axum::Router, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

#[tokio::test]
async fn the_private_listener_tells_of_all_parts() {
    let database = Arc::new(Fake::new("database", 0));
    let about = |parts| About::new(&Config::default(), Life::default(), None, None, parts);
    let router = system::private(&about(parts(&[&database])));
    let (status, body) = ask(&router, "/readyz").await;
    assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("the database is away")));
    let details = json!({ "health": "away", "why": "not opened yet", "needed": true, "figures": { "open": 3 } });
    assert_eq!(body["parts"]["database"], details);
    let (status, body) = ask(&router, "/readyz?exclude=parts").await;
    assert_eq!((status, &body["parts"]["database"]), (StatusCode::OK, &details), "it is told, and does not count");
    let (status, body) = ask(&router, "/readyz?exclude=database").await;
    let refusal = json!("exclude: it must be \"parts\", or left out");
    assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &refusal));
    database.set(Health::Here);
    let (status, body) = ask(&router, "/readyz").await;
    assert_eq!((status, &body["parts"]["database"]["health"]), (StatusCode::OK, &json!("here")));
    let without = system::private(&about(Parts::default()));
    assert_eq!(ask(&without, "/readyz").await, (StatusCode::OK, json!("ready\n")));
}

fn server() -> Server {
    Server::new(&Config::<()>::default())
}

#[test]
fn a_router_that_nobody_would_open_parts_for_is_refused() {
    let error = server().part(Arc::new(Fake::new("database", 0))).into_router().unwrap_err();
    assert!(error.to_string().contains("Server::into_router opens nothing"), "{error}");
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn a_server_opens_its_parts_tells_of_them_and_closes_them_behind_its_own_hooks() {
    use crate::testing::TestServer;
    let database = Arc::new(Fake::new("database", 1));
    let did = Arc::clone(&database.did);
    let hook = Arc::clone(&did);
    let taken = async |parts: axum::Extension<Parts>| parts.away().unwrap_or_else(|| "all are here".to_owned());
    let server = server().part(Arc::clone(&database) as Arc<dyn Part>).get("/parts", taken).on_shutdown(
        "application",
        LONG,
        move || async move {
            hook.lock().unwrap().push("the application's hook".to_owned());
            Ok(())
        },
    );
    let app = TestServer::start(server).await;
    app.get("/parts").send().await.assert_status(200).assert_text("all are here");
    app.get("/readyz").send().await.assert_status(200).assert_text("ready\n");
    database.set(away("connection reset by 10.0.0.7"));
    let expected = json!({ "error": "the database is away" });
    app.get("/readyz").send().await.assert_status(503).assert_json(expected);
    app.get("/readyz?exclude=parts").send().await.assert_status(200).assert_text("ready\n");
    let expected = json!({ "error": "exclude: it must be \"parts\", or left out" });
    app.get("/readyz?exclude=database").send().await.assert_status(400).assert_json(expected);
    app.get("/health").send().await.assert_status(200);
    database.set(Health::Here);
    app.get("/readyz").send().await.assert_status(200);
    app.stop().await;
    let expected = ["open database", "prepare database", "the application's hook", "close database"];
    assert_eq!(*did.lock().unwrap(), expected);
}

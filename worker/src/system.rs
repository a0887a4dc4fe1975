//! The endpoints of the system: `/health`, `/livez`, `/readyz`; and `/info`, `/metrics`, `/routes`, of which release mode shows those that
//! `server.public` names, and the private listener all. `/routes?tree` draws them as radix trees. `/readyz?exclude=parts` tells
//! whether to send requests, whatever part of the service is away.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use gin_shared::inherit::{Identity, identity};
use serde_json::{Value, json};

use crate::config::{Config, Mode};
use crate::graceful::Phase;
use crate::metrics::Registry;
use crate::middleware::Metrics;
use crate::parts::Parts;
use crate::request_path::normal_path;
use crate::router::{Route, Routes};
use crate::{Error, Life, Result, ResultExt};

/// What the endpoints know.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) version: String,
    identity: Option<Identity>,
    life: Life,
    pub(crate) started: Instant,
    start_time: String,
    pub(crate) metrics_path: String,
    /// `None`: nothing is counted.
    pub(crate) metrics: Option<&'static Metrics>,
    /// Known once all are registered.
    pub(crate) routes: OnceLock<Arc<Routes>>,
    parts: Parts,
}

impl About {
    /// Of this process, which starts now. Without a registry nothing is counted.
    pub(crate) fn new(
        config: &Config,
        life: Life,
        version: Option<String>,
        registry: Option<&'static Registry>,
        parts: Parts,
    ) -> Arc<Self> {
        let version = version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
        let metrics = registry.map(|registry| Metrics::new(registry, config, &version, &life));
        Arc::new(Self {
            name: config.server.name.clone(),
            version,
            identity: identity(),
            life,
            started: Instant::now(),
            start_time: now(),
            metrics_path: normal_path(&config.monitoring.path),
            metrics,
            routes: OnceLock::new(),
            parts,
        })
    }

    fn uptime(&self) -> String {
        as_go_prints(self.started.elapsed())
    }

    fn health(&self) -> Value {
        json!({
            "status": "ok",
            "timestamp": now(),
            "uptime": self.uptime(),
            "version": self.version,
        })
    }

    fn info(&self) -> Value {
        let identity = self.identity.as_ref();
        json!({
            "name": self.name,
            "version": self.version,
            "start_time": self.start_time,
            "uptime": self.uptime(),
            "rust_version": env!("GIN_RUST_VERSION"),
            "framework": concat!("gin-worker ", env!("CARGO_PKG_VERSION")),
            "pid": std::process::id(),
            "instance": identity.map(|identity| &identity.instance),
            "generation": identity.map(|identity| identity.generation),
            "slot": identity.map(|identity| identity.slot),
            "release": identity.and_then(|identity| identity.release.as_ref()),
            "phase": format!("{:?}", self.life.phase()).to_lowercase(),
            "connections": self.life.connections(),
            "accepted": self.life.accepted(),
            "taken_over": self.life.taken_over(),
        })
    }

    /// As JSON, or as the trees of all methods.
    fn routes(&self, asked: &Asked) -> Response {
        let Some(routes) = self.routes.get() else { return StatusCode::NO_CONTENT.into_response() };
        if asked.tree.is_some() { trees(routes).into_response() } else { Json(routes.json()).into_response() }
    }

    /// The metrics, in the format that is asked for.
    async fn metrics(&self, Scrape { by }: Scrape, headers: &HeaderMap) -> Result<Response> {
        let metrics = self.metrics.ok_or_else(|| Error::not_found("nothing is counted (features.metrics)"))?;
        let by_worker = match by.as_deref() {
            None => false,
            Some("worker") => true,
            Some(_) => return Err(Error::bad_request("by: it must be \"worker\", or left out")),
        };
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accept = accepted.collect::<Vec<_>>().join(",");
        let (content_type, text) = metrics.scrape(by_worker, &accept).await.internal()?;
        Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
    }
}

/// The query of `/metrics`.
#[derive(Debug, serde::Deserialize)]
struct Scrape {
    /// "worker": of each worker that lives. Without it: of all together.
    by: Option<String>,
}

/// The query of the other endpoints. Each reads its own key.
#[derive(Debug, serde::Deserialize)]
struct Asked {
    /// Of `/routes`, with any value: as trees.
    tree: Option<String>,
    /// Of `/readyz`: with "parts", a part that is away does not count. A database is away for all replicas at once, and a cluster that
    /// takes all of them out has nobody left for the requests that need no database.
    exclude: Option<String>,
}

impl Asked {
    /// True if a part that is away counts for `/readyz`.
    ///
    /// # Errors
    /// If `exclude` names anything but the parts.
    fn counts_parts(&self) -> Result<bool> {
        match self.exclude.as_deref() {
            None => Ok(true),
            Some("parts") => Ok(false),
            Some(_) => Err(Error::bad_request("exclude: it must be \"parts\", or left out")),
        }
    }
}

fn trees(routes: &Routes) -> String {
    let trees = routes.trees();
    let drawn: Vec<String> = trees.iter().map(|(method, tree)| format!("{method}\n{tree}")).collect();
    drawn.join("\n")
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// A length of time in whole seconds, as Go prints it: "2h30m15s".
fn as_go_prints(time: Duration) -> String {
    let all = time.as_secs();
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Where a method answers with what is known.
type Shown = fn(&Arc<About>, Asked) -> Response;

/// Those that everybody may see.
pub(crate) fn public<S: Clone + Send + Sync + 'static>(config: &Config, about: &Arc<About>) -> Vec<Route<S>> {
    let shows_all = config.server.mode != Mode::Release;
    let is_public = |name: &str| shows_all || config.server.public.iter().any(|public| public == name);
    let mut all = vec![
        of("/health", about, |about, _| Json(about.health()).into_response()).describe("Whether it works"),
        of("/livez", about, |_, _| "ok\n".into_response()).describe("Whether it runs: for a liveness probe"),
        of("/readyz", about, |about, asked| ready(about, &asked).map_err(Error::into_refusal).into_response())
            .describe("Whether to send requests: for a readiness probe"),
    ];
    if is_public("/info") {
        all.push(of("/info", about, |about, _| Json(about.info()).into_response()).describe("Which worker this is"));
    }
    if is_public("/routes") {
        for path in ROUTES {
            all.push(of(path, about, |about, asked| about.routes(&asked)).describe("Every route"));
        }
    }
    if is_public("/metrics") && about.metrics.is_some() {
        let own = Arc::clone(about);
        let shown = async move |Query(scrape): Query<Scrape>, headers: HeaderMap| own.metrics(scrape, &headers).await;
        let route = Route::get(&about.metrics_path, shown).own("gin_worker::system");
        all.push(route.describe("The service's metrics, for Prometheus"));
    }
    all.into_iter().map(|route| route.tag("system")).collect()
}

/// Both show the routes: the second is for clients that know `/api/v1` alone.
const ROUTES: [&str; 2] = ["/routes", "/api/v1/routes"];

fn of<S: Clone + Send + Sync + 'static>(path: &str, about: &Arc<About>, show: Shown) -> Route<S> {
    let about = Arc::clone(about);
    Route::get(path, async move |Query(asked): Query<Asked>| show(&about, asked)).own("gin_worker::system")
}

/// For the supervisor and the operators: all of them, whatever the application has at these paths.
pub(crate) fn private(about: &Arc<About>) -> Router {
    let shown = |show: Shown| {
        let about = Arc::clone(about);
        get(async move |Query(asked): Query<Asked>| show(&about, asked))
    };
    let metrics = || {
        let about = Arc::clone(about);
        get(async move |Query(scrape): Query<Scrape>, headers: HeaderMap| about.metrics(scrape, &headers).await)
    };
    let mut router = Router::new()
        .route("/health", shown(|about, _| Json(about.health()).into_response()))
        .route("/livez", shown(|_, _| "ok\n".into_response()))
        .route("/readyz", shown(|about, asked| serving(about, &asked).unwrap_or_else(Error::into_refusal)))
        .route("/info", shown(|about, _| Json(about.info()).into_response()))
        .route("/metrics", metrics());
    for path in ROUTES {
        router = router.route(path, shown(|about, asked| about.routes(&asked)));
    }
    let own = ["/health", "/livez", "/readyz", "/info", "/metrics"];
    if !own.contains(&about.metrics_path.as_str()) && !ROUTES.contains(&about.metrics_path.as_str()) {
        router = router.route(&about.metrics_path, metrics());
    }
    router
}

fn ready(about: &About, asked: &Asked) -> Result<&'static str> {
    let counts_parts = asked.counts_parts()?;
    let unavailable = |why: String| Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, why));
    if !about.life.is_ready() {
        return unavailable("stopping".to_owned());
    }
    about.parts.away().filter(|_| counts_parts).map_or(Ok("ready\n"), unavailable)
}

/// Tells whether this worker is ready, with all its parts. The host may be ready for requests while this worker is on its way out.
fn serving(about: &About, asked: &Asked) -> Result<Response> {
    let counts_parts = asked.counts_parts()?;
    let why = match about.life.phase() {
        Phase::Waiting | Phase::Serving => about.parts.away().filter(|_| counts_parts),
        Phase::LameDuck | Phase::Draining | Phase::Cut => Some("draining".to_owned()),
    };
    let status = if why.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok(match why {
        None if about.parts.is_empty() => "ready\n".into_response(),
        None => Json(json!({ "status": "ready", "parts": about.parts.details() })).into_response(),
        Some(why) if about.parts.is_empty() => Error::new(status, why).into_refusal(),
        Some(why) => (status, Json(json!({ "error": why, "parts": about.parts.details() }))).into_response(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_printed_as_go_does() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (80, "1m20s"), (3600, "1h0m0s"), (9015, "2h30m15s"), (360_000, "100h0m0s")]
        {
            assert_eq!(as_go_prints(Duration::from_secs(seconds)), text);
        }
    }
}

//! Everything that answers becomes one router: routes, axum's own routers, and the answers to unknown paths. What excludes something else
//! is found here, before axum would panic, and told with the places at which the application has added both.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, any, on};

use super::Late;
use crate::StartError;
use crate::middleware::tried;
use crate::router::{Built, Place, Record, Redirects, Registry, RoutePath, Routes, SessionKind};
use crate::websocket::KnownSessions;

/// Something that answers, and where it was added.
struct Piece<S> {
    /// For people.
    what: String,
    place: Place,
    router: Router<S>,
}

/// Routers of axum's and answers to unknown paths, in the order in which they were added.
pub(super) struct Pieces<S> {
    all: Vec<Piece<S>>,
    /// Those that cannot be added.
    wrong: Vec<String>,
}

impl<S> Default for Pieces<S> {
    fn default() -> Self {
        Self { all: Vec::new(), wrong: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Pieces<S> {
    pub(super) fn merge(&mut self, router: Router<S>, place: Place) {
        self.all.push(Piece { what: "the merged router".to_owned(), place, router });
    }

    pub(super) fn fallback(&mut self, router: Router<S>, place: Place) {
        self.all.push(Piece { what: "the fallback".to_owned(), place, router });
    }

    /// Adds a router below a path, in Gin's words or in axum's.
    pub(super) fn nest(&mut self, path: &str, router: Router<S>, place: Place) {
        let at = match RoutePath::parse(path) {
            Ok(at) => at,
            Err(error) => return self.wrong.push(format!("{place}: {error}")),
        };
        if at.as_str() == "/" {
            return self.merge(router, place);
        }
        match tried(|| Router::new().nest(at.as_str(), router)) {
            Ok(router) => self.all.push(Piece { what: format!("the router nested under {path}"), place, router }),
            Err(_) => self.wrong.push(format!(
                "{place}: no router can be nested under \"{path}\": it has a catch-all, or a parameter that the router has, too"
            )),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Piece<S> {
    /// Stands for one of our routes where it is compared.
    fn of(record: &Record) -> Self {
        let probe = async || StatusCode::NO_CONTENT;
        let method = Method::from_bytes(record.method.as_bytes()).ok();
        let answers = match method.and_then(|method| MethodFilter::try_from(method).ok()) {
            Some(filter) => on(filter, probe),
            None => any(probe),
        };
        Self {
            what: format!("{} {}", record.method, record.path),
            place: record.place,
            router: Router::new().route(&record.template, answers),
        }
    }

    fn with_state(self, state: S) -> Piece<()> {
        Piece { what: self.what, place: self.place, router: self.router.with_state(state) }
    }

    /// Says that this one excludes another one, if it does.
    fn excludes(&self, other: &Self) -> Option<String> {
        let panic = tried(|| other.router.clone().merge(self.router.clone())).err()?;
        let without_fallbacks = || other.router.clone().reset_fallback().merge(self.router.clone().reset_fallback());
        let at = match tried(without_fallbacks) {
            Ok(_) => " (for unknown paths)".to_owned(),
            Err(_) => named_by(&*panic)
                .filter(|named| !self.what.contains(named))
                .map(|named| format!(" ({named})"))
                .unwrap_or_default(),
        };
        let (own, others) = (self.place, other.place);
        Some(format!("{own}: {}{at} excludes {}, registered at {others}", self.what, other.what))
    }
}

/// The path, with its method, that axum names where it panics.
fn named_by(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied())?;
    text.split(['`', '"']).nth(1).filter(|named| named.contains('/'))
}

/// A line for each of the earlier ones that this one excludes.
fn excluded<S: Clone + Send + Sync + 'static>(routes: &Routes, pieces: &[Piece<S>], by: &Piece<S>) -> Vec<String> {
    let of_routes = routes.iter().filter_map(|record| by.excludes(&Piece::of(record)));
    of_routes.chain(pieces.iter().filter_map(|piece| by.excludes(piece))).collect()
}

/// Routes that share a state, and what was added beside them.
pub(super) struct Part {
    router: Router,
    pub(super) routes: Arc<Routes>,
    redirects: Redirects,
    kinds: Vec<SessionKind>,
    /// Everything in the router but `routes`.
    pieces: Vec<Piece<()>>,
    wrong: Vec<String>,
}

impl Part {
    /// `traces`: handlers are traced.
    pub(super) fn new<S: Clone + Send + Sync + 'static>(
        registry: Registry<S>,
        pieces: Pieces<S>,
        late: Vec<Late<S>>,
        state: &S,
        traces: bool,
    ) -> Self {
        let Built { mut router, routes, redirects, kinds, mut wrong } = registry.build(state, traces);
        wrong.extend(pieces.wrong);
        let mut earlier = Vec::new();
        for piece in pieces.all {
            match tried(|| router.clone().merge(piece.router.clone())) {
                Ok(with) => router = with,
                Err(_) => wrong.extend(excluded(&routes, &earlier, &piece)),
            }
            earlier.push(piece);
        }
        let router = late.into_iter().fold(router, |router, add| add(router)).with_state(state.clone());
        let pieces = earlier.into_iter().map(|piece| piece.with_state(state.clone())).collect();
        Self { router, routes, redirects, kinds, pieces, wrong }
    }

    /// A line for everything here that a later part excludes.
    fn excluded_by(&self, later: &Self) -> Vec<String> {
        let by = |piece: &Piece<()>| excluded(&self.routes, &self.pieces, piece);
        let of_routes = later.routes.iter().flat_map(|record| by(&Piece::of(record)));
        of_routes.chain(later.pieces.iter().flat_map(by)).collect()
    }
}

/// All parts as one.
pub(super) struct Joined {
    pub(super) router: Router,
    pub(super) routes: Vec<Arc<Routes>>,
    pub(super) redirects: Vec<Redirects>,
    pub(super) sessions: KnownSessions,
}

/// Joins all parts.
///
/// # Errors
/// Everything that excludes something else, behind what is known to be `wrong`.
pub(super) fn joined(parts: Vec<Part>, mut wrong: Vec<String>) -> Result<Joined, StartError> {
    let mut router = Router::new();
    for (number, part) in parts.iter().enumerate() {
        wrong.extend_from_slice(&part.wrong);
        match tried(|| router.clone().merge(part.router.clone())) {
            Ok(with) => router = with,
            Err(_) => wrong.extend(parts[..number].iter().flat_map(|earlier| earlier.excluded_by(part))),
        }
    }
    let (mut routes, mut redirects, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        routes.push(part.routes);
        redirects.push(part.redirects);
        kinds.extend(part.kinds);
    }
    let sessions = sessions(kinds, &mut wrong);
    checked(&wrong)?;
    Ok(Joined { router, routes, redirects, sessions })
}

/// # Errors
/// If anything is wrong: all of it.
pub(super) fn checked(wrong: &[String]) -> Result<(), StartError> {
    if wrong.is_empty() { Ok(()) } else { Err(StartError::Routes(wrong.join("\n"))) }
}

/// Every kind of session by its name. A name that is there already is wrong.
fn sessions(kinds: Vec<SessionKind>, wrong: &mut Vec<String>) -> KnownSessions {
    let (mut known, mut places) = (KnownSessions::default(), HashMap::<Arc<str>, Place>::new());
    for SessionKind { name, sessions, place } in kinds {
        if let Some(first) = places.get(&name) {
            wrong.push(format!(
                "{place}: another WebSocket is named {name:?}, registered at {first}; each needs its own name"
            ));
            continue;
        }
        places.insert(Arc::clone(&name), place);
        known.add(name, sessions);
    }
    known
}

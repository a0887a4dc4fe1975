//! Routes and groups become one router; those that exclude one another are named with both places.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;

use super::catch_all;
use super::group::{Group, Middleware, Route};
use super::names::HandlerName;
use super::path::{RoutePath, join};
use super::place::Place;
use super::record::{ANY, Record, Routes};
use super::redirect::Redirects;
use super::session::SessionKind;
use crate::route_name;
use crate::traces::HandlerLayer;

/// What is registered so far.
#[derive(Debug)]
pub struct Registry<S>(Group<S>);

/// The router, and what is known of its routes.
pub struct Built<S> {
    pub router: Router<S>,
    pub routes: Arc<Routes>,
    pub redirects: Redirects,
    /// Kinds of sessions that its routes open.
    pub kinds: Vec<SessionKind>,
    /// Paths that are none, and routes that exclude one another: all of them. Those are left out of the router.
    pub wrong: Vec<String>,
}

impl<S: Clone + Send + Sync + 'static> Default for Registry<S> {
    fn default() -> Self {
        Self(Group::new(""))
    }
}

/// A route among its groups.
struct Placed<S> {
    route: Route<S>,
    path: RoutePath,
    /// As it was written.
    written: String,
    chain: Vec<Middleware<S>>,
    tags: Vec<String>,
}

impl<S: Clone + Send + Sync + 'static> Registry<S> {
    pub fn route(&mut self, route: Route<S>) {
        self.0.routes.push(route);
    }

    pub fn group(&mut self, group: Group<S>) {
        self.0.groups.push(group);
    }

    /// Whether somebody answers this already, as far as its path can be read.
    pub fn answers(&self, method: &Method, path: &str) -> bool {
        fn any<S>(group: &Group<S>, prefix: &str, is: &dyn Fn(&Route<S>, &str) -> bool) -> bool {
            let prefix = if group.prefix.is_empty() { prefix.to_owned() } else { join(prefix, &group.prefix) };
            group.routes.iter().any(|route| is(route, &join(&prefix, &route.path)))
                || group.groups.iter().any(|inner| any(inner, &prefix, is))
        }
        let Ok(wanted) = RoutePath::parse(path) else { return false };
        let answers = |route: &Route<S>| route.method.as_ref().is_none_or(|own| own == method);
        any(&self.0, "", &|route, at| answers(route) && RoutePath::parse(at).is_ok_and(|at| at == wanted))
    }

    /// Makes the router. Middleware, and sessions of routes, get this state. `traces`: handlers have spans, but for those of this library.
    pub fn build(self, state: &S, traces: bool) -> Built<S> {
        let (mut placed, mut groups, mut wrong) = (Vec::new(), BTreeMap::new(), Vec::new());
        place(self.0, "", &[], &[], &mut placed, &mut groups, &mut wrong);
        let created_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let mut paths = Paths::default();
        let (mut all, mut kinds) = (Vec::new(), Vec::new());
        for Placed { route, path, written, chain, tags } in placed {
            let template = path.as_str().to_owned();
            if let Err(other) = paths.check(&template, route.method.as_ref(), route.place) {
                wrong.push(format!("{}: {} {written} excludes {other}", route.place, name(route.method.as_ref())));
                continue;
            }
            let is_any = route.method.is_none();
            let handler =
                if traces && !route.is_own { traced(route.answers, &route.handler, is_any) } else { route.answers };
            // What was added first runs first: it is put around last.
            let mut answers = chain.iter().rev().fold(handler, |answers, link| (link.apply)(answers, is_any, state));
            if !route.is_own {
                answers = catch_all::in_gins_words(&path, &written, answers, is_any);
            }
            all.push(Record {
                method: name(route.method.as_ref()).to_owned(),
                path: written,
                handler: route.handler.told,
                middleware: chain.iter().map(|link| link.name.clone()).collect(),
                description: route.description,
                tags,
                params: params(&path),
                created_at: created_at.clone(),
                operation: route.operation,
                template: template.clone(),
                csrf_exempt: route.is_csrf_exempt,
                place: route.place,
            });
            kinds.extend(route.session.map(|session| session.bound(state, route.place)));
            paths.add(&template, answers);
        }
        route_name::remember(all.iter().map(|record| (record.template.as_str(), record.path.as_str())));
        let routes = Arc::new(Routes { all, groups });
        let redirects = Redirects::of(&routes);
        Built { router: paths.router(), routes, redirects, kinds, wrong }
    }
}

/// Puts the span of a handler around it. It is no middleware that `/routes` names.
fn traced<S: Clone + Send + Sync + 'static>(
    answers: MethodRouter<S>,
    name: &HandlerName,
    is_any: bool,
) -> MethodRouter<S> {
    let layer = HandlerLayer::new(name.told.as_str().into(), name.function);
    // To axum a route for every method is a fallback.
    if is_any { answers.layer(layer) } else { answers.route_layer(layer) }
}

/// Each parameter's name, and how Gin writes it.
fn params(path: &RoutePath) -> BTreeMap<String, String> {
    let catch_all = path.catch_all().map(|(_, name)| name);
    let written =
        |name: &String| if catch_all == Some(name.as_str()) { format!("*{name}") } else { format!(":{name}") };
    path.params().iter().map(|name| (name.clone(), written(name))).collect()
}

fn name(method: Option<&Method>) -> &str {
    method.map_or(ANY, Method::as_str)
}

fn place<S: Clone + Send + Sync + 'static>(
    group: Group<S>,
    prefix: &str,
    outer: &[Middleware<S>],
    tags: &[String],
    placed: &mut Vec<Placed<S>>,
    groups: &mut BTreeMap<String, usize>,
    wrong: &mut Vec<String>,
) {
    let prefix = if group.prefix.is_empty() { prefix.to_owned() } else { join(prefix, &group.prefix) };
    let chain: Vec<Middleware<S>> = outer.iter().chain(&group.middleware).cloned().collect();
    let tags: Vec<String> = tags.iter().chain(&group.tags).cloned().collect();
    if !prefix.is_empty() {
        *groups.entry(prefix.clone()).or_default() += group.routes.len();
    }
    for mut route in group.routes {
        route.is_csrf_exempt |= group.is_csrf_exempt;
        let written = join(&prefix, &route.path);
        match RoutePath::parse(&written) {
            Ok(path) => {
                let chain = chain.iter().chain(&route.middleware).cloned().collect();
                let tags = tags.iter().chain(&route.tags).cloned().collect();
                placed.push(Placed { route, path, written, chain, tags });
            }
            Err(error) => wrong.push(format!("{}: {error}", route.place)),
        }
    }
    for mut inner in group.groups {
        inner.is_csrf_exempt |= group.is_csrf_exempt;
        place(inner, &prefix, &chain, &tags, placed, groups, wrong);
    }
}

/// Paths that exclude one another are found here, before axum's router would panic.
struct Paths<S> {
    tree: matchit::Router<()>,
    /// Who answers, and from where each method of a path is.
    answers: HashMap<String, MethodRouter<S>>,
    places: HashMap<String, Vec<(Option<Method>, Place)>>,
    order: Vec<String>,
}

impl<S> Default for Paths<S> {
    fn default() -> Self {
        Self { tree: matchit::Router::new(), answers: HashMap::new(), places: HashMap::new(), order: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Paths<S> {
    /// Gives the other one, if it excludes this one.
    fn check(&mut self, path: &str, method: Option<&Method>, place: Place) -> Result<(), String> {
        let known = self.places.get(path);
        if known.is_none()
            && let Err(error) = self.tree.insert(path, ())
        {
            let other = match &error {
                matchit::InsertError::Conflict { with } => self.places.get(with).and_then(|all| all.first()),
                _ => None,
            };
            return Err(match (error, other) {
                (matchit::InsertError::Conflict { with }, Some((_, other))) => format!("{with}, registered at {other}"),
                (error, _) => error.to_string(),
            });
        }
        let same = |(other, _): &&(Option<Method>, _)| other.is_none() || method.is_none() || other.as_ref() == method;
        if let Some((other, at)) = known.into_iter().flatten().find(same) {
            return Err(format!("{} {path}, registered at {at}", name(other.as_ref())));
        }
        self.places.entry(path.to_owned()).or_default().push((method.cloned(), place));
        Ok(())
    }

    fn add(&mut self, path: &str, answers: MethodRouter<S>) {
        match self.answers.remove(path) {
            Some(known) => self.answers.insert(path.to_owned(), known.merge(answers)),
            None => {
                self.order.push(path.to_owned());
                self.answers.insert(path.to_owned(), answers)
            }
        };
    }

    fn router(mut self) -> Router<S> {
        let all = self.order.iter().filter_map(|path| Some((path, self.answers.remove(path)?)));
        all.fold(Router::new(), |router, (path, answers)| router.route(path, answers))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_traced_handler_answers_and_its_span_is_no_middleware() {
        let mut registry = Registry::<()>::default();
        registry.route(Route::get("/one", async || "one"));
        registry.route(Route::any("/any", async || "any"));
        let built = registry.build(&(), true);
        assert_eq!(built.wrong, [""; 0]);
        for path in ["/one", "/any"] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            assert_eq!(built.router.clone().oneshot(request).await.unwrap().status(), 200, "{path}");
        }
        assert!(built.routes.iter().all(|record| record.middleware.is_empty()));
    }
}

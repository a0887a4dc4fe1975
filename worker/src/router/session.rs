//! Kinds of sessions that routes open: a route carries the kind of its WebSockets to the worker, so that nothing has to be registered
//! twice.
//!
//! A router knows nothing of WebSockets. A kind is a name, and someone who goes on with a session of it.

use std::sync::Arc;

use super::place::Place;
use crate::connections::Sessions;

/// Makes the kind from the application's state.
type Bind<S> = Box<dyn FnOnce(&S) -> Arc<dyn Sessions> + Send + Sync>;

/// The kind of session of one route, before the state is known.
pub(crate) struct RouteSession<S> {
    name: Arc<str>,
    bind: Bind<S>,
}

/// A kind of session: its name, and who takes up one that another worker has left.
pub(crate) struct SessionKind {
    pub(crate) name: Arc<str>,
    pub(crate) sessions: Arc<dyn Sessions>,
    /// Where the application has registered it.
    pub(crate) place: Place,
}

impl<S> RouteSession<S> {
    /// Sessions of this name are taken up by what `bind` makes of the application's state.
    pub(crate) fn new(name: Arc<str>, bind: impl FnOnce(&S) -> Arc<dyn Sessions> + Send + Sync + 'static) -> Self {
        Self { name, bind: Box::new(bind) }
    }

    /// The kind with its state.
    pub(super) fn bound(self, state: &S, place: Place) -> SessionKind {
        SessionKind { name: self.name, sessions: (self.bind)(state), place }
    }
}

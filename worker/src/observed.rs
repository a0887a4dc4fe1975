//! Observing of requests: a request is followed from its head to its answer.
//!
//! The layer that is around everything is generic over its [`Observer`]. A server chooses one when it is built: [`Unobserved`], which
//! compiles to nothing, or `&'static` [`Observed`].

pub(crate) mod doing;
pub(crate) mod ids;
mod request;
#[cfg(feature = "profile")]
pub(crate) mod requests;
mod task;

use std::fmt;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;

use crate::traces::Tracer;
#[cfg(not(feature = "profile"))]
pub(crate) use crate::without::requests;
pub(crate) use ids::Ids;
use requests::Requests;
pub(crate) use task::task;

/// Follows a request from its head to its answer.
pub(crate) trait Observer: Copy + fmt::Debug + Send + Sync + 'static {
    /// A request that is followed. If it is dropped before [`Self::answered`], the client has gone.
    type Watched: Send + 'static;
    /// Facts for the request's own lines. Those of [`Unobserved`] are `()`, which no call passes.
    type Told: Copy + Send;

    /// Begins. May add extensions to the request.
    fn begin(self, request: &mut Request, began: Instant) -> Self::Watched;

    /// Begins where nobody has read the clock yet.
    #[inline(always)]
    fn begin_now(self, request: &mut Request) -> Self::Watched {
        self.begin(request, Instant::now())
    }

    /// Runs one poll. A panic leaves it.
    fn within<T>(watched: &mut Self::Watched, f: impl FnOnce() -> T) -> T;

    /// Facts for the request's own lines.
    fn told(watched: &Self::Watched) -> Self::Told;

    /// Ids for the request's own lines.
    fn ids(told: Self::Told) -> Option<Ids>;

    /// Ends with the answer.
    fn answered(watched: &mut Self::Watched, response: &Response);
}

/// Follows nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unobserved;

impl Observer for Unobserved {
    type Watched = ();
    type Told = ();

    #[inline(always)]
    fn begin(self, _: &mut Request, _: Instant) {}

    #[inline(always)]
    fn begin_now(self, _: &mut Request) {}

    #[inline(always)]
    fn within<T>(_: &mut (), f: impl FnOnce() -> T) -> T {
        f()
    }

    #[inline(always)]
    fn told(_: &()) {}

    #[inline(always)]
    fn ids(_: ()) -> Option<Ids> {
        None
    }

    #[inline(always)]
    fn answered(_: &mut (), _: &Response) {}
}

/// Observing that a server has switched on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Observing(pub(crate) Option<&'static Observed>);

/// Follows requests by traces, by the list of those that are alive, or by both.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) traces: Option<&'static Tracer>,
    pub(crate) requests: Option<&'static Requests>,
}

//! The two functions of a route that opens WebSockets: one makes a session of a request, the other serves it.

use std::future::Future;
use std::pin::Pin;

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::websocket::socket::Socket;

/// Serves a WebSocket until it is closed or left.
pub type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a session of the request that asks for a WebSocket: an `async fn` whose arguments are extractors, up to eight. It returns the
/// session, or a `Result` of it: its error is the answer to the request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot open WebSockets with sessions of type `{Session}`",
    note = "the third argument of `Route::websocket` is an `async fn` that takes extractors and returns the session, or a `Result` of it",
    note = "the session is the type of the last argument of the function that serves"
)]
pub trait Open<S, Session, T>: Clone + Send + Sync + 'static {
    /// The session, or the answer that refuses the WebSocket.
    fn open(&self, parts: &mut Parts, state: &S) -> impl Future<Output = Result<Session, Response>> + Send;
}

/// Serves a session: an `async fn(Socket, Session)`, or, with the application's state, an `async fn(State<App>, Socket, Session)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot serve WebSockets",
    note = "the last argument of `Route::websocket` is an `async fn(Socket, Session)` or an `async fn(State<App>, Socket, Session)`"
)]
pub trait Serve<S, Session, M>: Clone + Send + Sync + 'static {
    /// Serves a socket with its session, a new one or one that another worker has left.
    fn serve(&self, state: &S, socket: Socket, session: Session) -> Served;
}

/// A session, or a `Result` of one.
pub trait IntoSession<Session> {
    /// The session, or the answer that refuses the WebSocket.
    fn into_session(self) -> Result<Session, Box<Response>>;
}

impl<Session> IntoSession<Session> for Session {
    fn into_session(self) -> Result<Session, Box<Response>> {
        Ok(self)
    }
}

impl<Session, E: IntoResponse> IntoSession<Session> for Result<Session, E> {
    fn into_session(self) -> Result<Session, Box<Response>> {
        self.map_err(|error| Box::new(error.into_response()))
    }
}

impl<F, R, S, Session> Serve<S, Session, ()> for F
where
    F: Fn(Socket, Session) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    fn serve(&self, _: &S, socket: Socket, session: Session) -> Served {
        Box::pin(self(socket, session))
    }
}

impl<F, R, S, App, Session> Serve<S, Session, (App,)> for F
where
    F: Fn(State<App>, Socket, Session) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
    App: FromRef<S>,
{
    fn serve(&self, state: &S, socket: Socket, session: Session) -> Served {
        Box::pin(self(State(App::from_ref(state)), socket, session))
    }
}

macro_rules! open {
    ($($extractor:ident)*) => {
        impl<F, Answer, Out, S, Session, $($extractor,)*> Open<S, Session, ($($extractor,)*)> for F
        where
            F: Fn($($extractor),*) -> Answer + Clone + Send + Sync + 'static,
            Answer: Future<Output = Out> + Send,
            Out: IntoSession<Session>,
            S: Send + Sync,
            $($extractor: FromRequestParts<S> + Send,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "a value has the name of its type; there may be none")]
            async fn open(&self, parts: &mut Parts, state: &S) -> Result<Session, Response> {
                $(
                    let $extractor = match $extractor::from_request_parts(parts, state).await {
                        Ok(value) => value,
                        Err(rejection) => return Err(rejection.into_response()),
                    };
                )*
                self($($extractor),*).await.into_session().map_err(|answer| *answer)
            }
        }
    };
}

open! {}
open! { A }
open! { A B }
open! { A B C }
open! { A B C D }
open! { A B C D E }
open! { A B C D E G }
open! { A B C D E G H }
open! { A B C D E G H I }

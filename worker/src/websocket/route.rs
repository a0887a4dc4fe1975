//! A route that opens WebSockets. It carries their kind to the worker, which takes up with it what another worker has left.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::response::IntoResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::connections::Sessions;
use crate::router::{Route, RouteSession};
use crate::websocket::handler::{Open, Serve};
use crate::websocket::kind::WebSockets;
use crate::websocket::sessions::Kind;
use crate::websocket::upgrade::Upgrade;

impl<S: Clone + Send + Sync + 'static> Route<S> {
    /// Opens WebSockets that outlive the worker, under `name`, which no other route has. `open` makes a session of the request: an
    /// `async fn` that takes extractors, `State` among them, and returns the session, or a `Result` whose error is the answer. `serve`
    /// has the connection from then on: an `async fn(Socket, Session)` or an `async fn(State<App>, Socket, Session)`. It is called in the
    /// next worker, too, with the session that this one has left.
    ///
    /// ```
    /// use gin_worker::axum::extract::Query;
    /// use gin_worker::websocket::{Received, Socket};
    /// use gin_worker::{Config, Error, Result, Route, Server};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Echo {
    ///     name: String,
    /// }
    ///
    /// async fn open(Query(echo): Query<Echo>) -> Result<Echo> {
    ///     if echo.name.is_empty() { Err(Error::bad_request("a name is missing")) } else { Ok(echo) }
    /// }
    ///
    /// async fn echo(mut socket: Socket, session: Echo) {
    ///     loop {
    ///         match socket.receive().await {
    ///             Received::Message(message) => drop(socket.send(message).await),
    ///             Received::Leaving => return socket.leave(&session).await,
    ///             Received::Closed => return,
    ///             _ => {}
    ///         }
    ///     }
    /// }
    ///
    /// let server: Server =
    ///     Server::new(&Config::<()>::default()).route(Route::websocket("/echo", "echo", open, echo).describe("Repeats"));
    /// ```
    ///
    /// Limits of its own: `WebSockets::new("echo").message_max(1 << 16)` in place of `"echo"`. A page of another origin than the host's own
    /// is refused with 403 and the code `ORIGIN_REFUSED`, unless [`WebSockets::allow_origins`] or `websocket.allow_origins` names it:
    /// browsers send the user's cookies whichever page asks.
    #[track_caller]
    pub fn websocket<Session, O, T, F, M>(path: &str, name: impl Into<WebSockets>, open: O, serve: F) -> Self
    where
        Session: Serialize + DeserializeOwned + Send + 'static,
        O: Open<S, Session, T>,
        F: Serve<S, Session, M>,
        T: 'static,
        M: 'static,
    {
        let sockets = Arc::new(name.into());
        let (kind, resume) = (Arc::clone(&sockets), serve.clone());
        let session = RouteSession::new(Arc::clone(&sockets.name), move |state: &S| -> Arc<dyn Sessions> {
            let state = state.clone();
            Arc::new(Kind::new(kind, move |socket, session: Session| resume.serve(&state, socket, session)))
        });
        let answer = move |State(state): State<S>, request: Request| {
            let (sockets, open, serve) = (Arc::clone(&sockets), open.clone(), serve.clone());
            async move {
                let (mut parts, _) = request.into_parts();
                let upgrade = match Upgrade::from_request_parts(&mut parts, &()).await {
                    Ok(upgrade) => upgrade,
                    Err(refusal) => return refusal,
                };
                if !upgrade.may_open(&sockets) {
                    let text = "this page's origin may not open a WebSocket here";
                    return Error::forbidden(text).code("ORIGIN_REFUSED").into_response();
                }
                match open.open(&mut parts, &state).await {
                    Ok(session) => upgrade.answer(&sockets, move |socket| serve.serve(&state, socket, session)),
                    Err(refusal) => refusal,
                }
            }
        };
        Self::get(path, answer).opens::<F>(session)
    }
}

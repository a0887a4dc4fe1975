//! The request that asks for a WebSocket, and its answer.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Error;
use crate::connections::{Connection, Io};
use crate::middleware::client_ip;
use crate::websocket::origin;
use crate::websocket::sessions::WebSockets;
use crate::websocket::socket::Socket;

/// Extractor of a request that asks for a WebSocket (RFC 6455, section 4.2).
#[derive(Debug)]
pub struct WebSocketUpgrade {
    on_upgrade: OnUpgrade,
    accept: HeaderValue,
    connection: Connection,
    origin: Option<HeaderValue>,
    host: Option<String>,
}

impl WebSocketUpgrade {
    /// Answers with 101. From then on the connection is served by `sockets`.
    ///
    /// A page of another origin than the host's own is refused with 403, unless [`WebSockets::allow_origins`] or
    /// `websocket.allow_origins` names it: browsers send the user's cookies whichever page asks.
    pub fn serve<S: Send + 'static>(self, sockets: &WebSockets<S>, session: S) -> Response {
        let Self { on_upgrade, accept, connection, origin, host } = self;
        let config = &connection.context().websocket;
        let origin = origin.as_ref().map(HeaderValue::as_bytes);
        if !origin::is_allowed(origin, host.as_deref(), sockets.limits.origins(config)) {
            return Error::forbidden("this page's origin may not open a WebSocket here").into_response();
        }
        let limits = sockets.limits.or(config);
        let sockets = sockets.clone();
        tokio::spawn(async move {
            let upgraded = match on_upgrade.await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<Io>>) {
                Ok(Ok(upgraded)) => upgraded,
                Ok(Err(_)) => return tracing::error!("cannot upgrade a connection that this server did not accept"),
                Err(error) => return tracing::debug!("connection: {error}"),
            };
            let mut io = upgraded.io.into_inner();
            io.send_no_close_frame();
            let socket = Socket::upgraded(io, &upgraded.read_buf, Arc::clone(&sockets.name), &connection, limits).await;
            (sockets.serve)(socket, session).await;
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

impl<A: Send + Sync> FromRequestParts<A> for WebSocketUpgrade {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &A) -> Result<Self, Self::Rejection> {
        let refuse = |text| {
            let version = (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            (StatusCode::UPGRADE_REQUIRED, [version], text).into_response()
        };
        let malformed = |text| (StatusCode::BAD_REQUEST, text).into_response();
        if parts.method != Method::GET || !has(&parts.headers, &header::CONNECTION, "upgrade") {
            return Err(refuse("a WebSocket is asked for by GET, with Connection: upgrade\n"));
        }
        if !has(&parts.headers, &header::UPGRADE, "websocket") {
            return Err(refuse("a WebSocket is asked for with Upgrade: websocket\n"));
        }
        if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(refuse("Sec-WebSocket-Version must be 13\n"));
        }
        let Some(key) = parts.headers.get(header::SEC_WEBSOCKET_KEY) else {
            return Err(malformed("Sec-WebSocket-Key is missing\n"));
        };
        if !is_key(key.as_bytes()) {
            return Err(malformed("Sec-WebSocket-Key must be 16 bytes in base64\n"));
        }
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64");
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let connection = parts.extensions.get::<Connection>().cloned();
        let (Some(on_upgrade), Some(connection)) = (on_upgrade, connection) else {
            return Err(refuse("this connection cannot become a WebSocket\n"));
        };
        let origin = parts.headers.get(header::ORIGIN).cloned();
        let host = client_ip::host(&parts.extensions, &parts.headers);
        Ok(Self { on_upgrade, accept, connection, origin, host })
    }
}

/// True for 16 bytes in base64 (RFC 6455, section 4.1).
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else { return false };
    digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
}

/// True if a header that is a list has this word.
fn has(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

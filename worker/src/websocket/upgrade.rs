//! The request that asks for a WebSocket, and its answer.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::connections::{Connection, Io};
use crate::middleware::{client_ip, origin};
use crate::websocket::handler::Served;
use crate::websocket::kind::WebSockets;
use crate::websocket::socket::Socket;

/// A request that asks for a WebSocket (RFC 6455, section 4.2).
#[derive(Debug)]
pub(super) struct Upgrade {
    on_upgrade: OnUpgrade,
    accept: HeaderValue,
    connection: Connection,
    origin: Option<HeaderValue>,
    host: Option<String>,
}

impl Upgrade {
    /// True if the page that asks may open a WebSocket of this kind.
    pub(super) fn may_open(&self, sockets: &WebSockets) -> bool {
        let origin = self.origin.as_ref().map(HeaderValue::as_bytes);
        let listed = sockets.limits.origins(&self.connection.context().websocket);
        origin::is_allowed(origin, self.host.as_deref(), listed)
    }

    /// Answers with 101. From then on `serve` has the connection.
    pub(super) fn answer(
        self,
        sockets: &WebSockets,
        serve: impl FnOnce(Socket) -> Served + Send + 'static,
    ) -> Response {
        let Self { on_upgrade, accept, connection, .. } = self;
        let (name, limits) = (Arc::clone(&sockets.name), sockets.limits.or(&connection.context().websocket));
        tokio::spawn(async move {
            let upgraded = match on_upgrade.await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<Io>>) {
                Ok(Ok(upgraded)) => upgraded,
                Ok(Err(_)) => return tracing::error!("cannot upgrade a connection that this server did not accept"),
                Err(error) => return tracing::debug!("connection: {error}"),
            };
            let mut io = upgraded.io.into_inner();
            io.send_no_close_frame();
            serve(Socket::upgraded(io, &upgraded.read_buf, name, &connection, limits).await).await;
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

impl<A: Send + Sync> FromRequestParts<A> for Upgrade {
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

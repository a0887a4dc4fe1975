//! A line a request.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, Uri, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use super::client_ip;
use super::request_id;
use crate::Connection;
use crate::current_request;
use crate::error::Cause;
#[cfg(feature = "logging")]
use crate::logging::{self, Direct};
use crate::observed::{Observed, Observer};
use crate::request_id::{Name, RequestId};
use crate::request_path::AsSent;
use crate::route_name;
use crate::tls::TlsFacts;
use crate::traces;

/// The target of its lines, for filters.
pub(super) const TARGET: &str = crate::request_id::ACCESS;

/// Logs each request when its answer is ready (Gin's `Logger`): client, method, path, protocol, status, latency, user agent, the version of
/// TLS and the name in the client's certificate where there are any, the user if somebody is logged in, and what was wrong, unless that
/// has a line of its own, as a 5xx has. The query string is not logged: secrets stand there.
pub async fn access_log(request: Request, next: Next) -> Response {
    let line = Line::begin(&request, Instant::now());
    let response = next.run(request).await;
    // Whoever observes the request has it as the thread's current one.
    line.end::<&'static Observed>(&response, traces::ids());
    response
}

/// What is known before the answer.
pub(super) struct Line {
    began: Instant,
    client: Option<IpAddr>,
    method: Method,
    /// As the client has sent it.
    uri: Uri,
    version: Version,
    user_agent: Option<header::HeaderValue>,
    name: Option<Name>,
    /// Of those that are registered.
    route: Option<MatchedPath>,
    taken_over: bool,
    tls: Option<Arc<TlsFacts>>,
}

impl Line {
    /// `None`, if nobody would read it.
    pub(super) fn begin(request: &Request, began: Instant) -> Option<Box<Self>> {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return None;
        }
        let connection = request.extensions().get::<Connection>();
        Some(Box::new(Self {
            began,
            client: client_ip::of(request.extensions(), request.headers()),
            method: request.method().clone(),
            uri: request
                .extensions()
                .get::<AsSent>()
                .map_or_else(|| request.uri().clone(), |AsSent(sent)| sent.clone()),
            version: request.version(),
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
            name: request_id::of(request.extensions()),
            route: request.extensions().get().cloned(),
            taken_over: connection.is_some_and(Connection::is_taken_over),
            tls: connection.and_then(|connection| connection.info().tls.clone()),
        }))
    }
}

/// `1.234ms`
#[derive(Clone, Copy)]
struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let digit = |unit: u128| char::from(b'0' + u8::try_from(micros / unit % 10).unwrap_or(0));
        write!(f, "{}.", micros / 1000)?;
        for unit in [100, 10, 1] {
            f.write_char(digit(unit))?;
        }
        f.write_str("ms")
    }
}

/// The version of TLS, and the name in the client's certificate.
#[cfg(feature = "tls")]
fn handshake(tls: Option<&TlsFacts>) -> (Option<&'static str>, Option<String>) {
    (tls.map(|tls| tls.version().word()), tls.and_then(TlsFacts::client).and_then(crate::tls::ClientCertificate::name))
}

/// Nobody has shaken hands.
#[cfg(not(feature = "tls"))]
fn handshake(_: Option<&TlsFacts>) -> (Option<&'static str>, Option<String>) {
    (None, None)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP",
    }
}

/// Ends it.
pub(super) trait End {
    fn end<O: Observer>(self, response: &Response, told: O::Told);
}

impl End for Option<Box<Line>> {
    fn end<O: Observer>(self, response: &Response, told: O::Told) {
        let Some(line) = self else { return };
        let latency = Milliseconds(line.began.elapsed());
        let user_agent = line.user_agent.as_ref().and_then(|agent| agent.to_str().ok());
        let route = line.route.as_ref().map(|route| route_name::of(route.as_str()));
        let error = response.extensions().get::<Cause>().map(|cause| cause.0.as_str());
        let (status, path) = (response.status().as_u16(), line.uri.path());
        let id = line.name.as_ref().map(Name::id);
        let id = id.as_ref().map(RequestId::as_str);
        let user = current_request::user();
        let user = user.as_deref();
        let (tls, client_name) = handshake(line.tls.as_deref());
        let client_name = client_name.as_deref();
        #[cfg(feature = "logging")]
        if let Some(lines) = logging::lines() {
            let direct = Direct::info(format_args!("{} {path} {status}", line.method))
                .field("method", line.method.as_str())
                .field("path", path)
                .field("protocol", protocol(line.version))
                .bare("status", status)
                .plain("latency", latency)
                .some("user_agent", user_agent)
                .some("error", error)
                .some("route", route)
                .some("request_id", id);
            // Constant where nobody observes. Other formats than this one ask the current span.
            let direct = match O::ids(told) {
                Some(ids) => direct.plain("trace_id", ids.trace).plain("span_id", ids.span),
                None => direct,
            };
            let direct = direct.some("user_id", user).some("tls", tls).some("client_name", client_name);
            let direct = match line.client {
                Some(ip) => direct.plain("client_ip", ip),
                None => direct,
            };
            let direct = if line.taken_over { direct.bare("taken_over", true) } else { direct };
            return lines.put_direct(direct);
        }
        #[cfg(not(feature = "logging"))]
        let _ = told;
        // Somebody else's subscriber, or another form.
        let (client, latency) = (line.client.map(|ip| ip.to_string()), latency.to_string());
        tracing::info!(
            target: TARGET,
            client_ip = client,
            method = line.method.as_str(),
            path,
            protocol = protocol(line.version),
            status,
            latency,
            user_agent,
            error,
            route,
            request_id = id,
            user_id = user,
            tls,
            client_name,
            taken_over = line.taken_over.then_some(true),
            "{} {path} {status}",
            line.method
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_milliseconds() {
        for (micros, text) in [(0, "0.000ms"), (7, "0.007ms"), (1234, "1.234ms"), (60_000_050, "60000.050ms")] {
            assert_eq!(Milliseconds(Duration::from_micros(micros)).to_string(), text);
        }
    }
}

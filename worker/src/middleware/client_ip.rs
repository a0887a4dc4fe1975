//! Who asks: the address of the connection, or, behind proxies that are trusted, the one that they tell.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::Connection;
use crate::api::Argument;
use crate::live::Snapshot;

// Looked up by name, each would be read letter by letter for each request.
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The client's address (Gin's `c.ClientIP()`); `None` over a Unix socket without a trusted proxy before it.
///
/// `X-Forwarded-For` is read from the right, hop by hop, as far as `server.trusted_proxies` reach: what stands left of the first
/// hop that is not one of these is whatever the client likes to say.
///
/// ```
/// use gin_worker::testing::TestServer;
/// use gin_worker::{ClientIp, Config, Server};
///
/// async fn who(ClientIp(address): ClientIp) -> String {
///     address.map_or_else(|| "nobody knows".to_owned(), |address| address.to_string())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = TestServer::start(Server::new(&Config::<()>::default()).get("/who", who)).await;
/// app.get("/who").send().await.assert_text("127.0.0.1");
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp(pub Option<IpAddr>);

impl Argument for ClientIp {}

impl<S: Sync> FromRequestParts<S> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(of(&parts.extensions, &parts.headers)))
    }
}

/// The client's address, as [`ClientIp`] has it.
pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    client(peer(extensions), headers, trusted(extensions))
}

/// True if the client's connection is over TLS: ours, or that to the outermost proxy, if a trusted proxy says so in `X-Forwarded-Proto`.
/// Where several words stand there, the last one is that of the nearest proxy.
pub(super) fn speaks_tls(extensions: &Extensions, headers: &HeaderMap) -> bool {
    let is_own = extensions.get::<Connection>().is_some_and(|connection| connection.info().tls.is_some());
    is_own || proxy_speaks_tls(extensions, headers)
}

/// The same of a trusted proxy alone.
pub(super) fn proxy_speaks_tls(extensions: &Extensions, headers: &HeaderMap) -> bool {
    let Some(told) = headers.get_all(&PROTO).iter().next_back() else { return false };
    let last = told.to_str().ok().and_then(|told| told.rsplit(',').next());
    last.is_some_and(|last| last.trim().eq_ignore_ascii_case("https"))
        && is_trusted_proxy(peer(extensions), trusted(extensions))
}

/// The host that the client has asked, with its port if that is told: `X-Forwarded-Host` of a trusted proxy, else `Host`.
pub(crate) fn host(extensions: &Extensions, headers: &HeaderMap) -> Option<String> {
    let told = headers
        .get_all(&FORWARDED_HOST)
        .iter()
        .next_back()
        .filter(|_| is_trusted_proxy(peer(extensions), trusted(extensions)));
    let host = told.or_else(|| headers.get(HOST))?.to_str().ok()?;
    host.rsplit(',').next().map(|host| host.trim().to_owned())
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<Connection>().and_then(Connection::peer)
}

fn trusted(extensions: &Extensions) -> &[IpNet] {
    extensions.get::<Snapshot>().map_or(&[][..], |snapshot| &snapshot.0.config.server.trusted_proxies)
}

/// True if the other end of a connection is a proxy whose word about its client counts. The other end of a Unix socket is one, if any are
/// trusted: it is on this machine, and the socket's mode says who may connect.
fn is_trusted_proxy(peer: Option<SocketAddr>, trusted: &[IpNet]) -> bool {
    !trusted.is_empty() && peer.is_none_or(|peer| is_among(peer.ip().to_canonical(), trusted))
}

fn is_among(ip: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

fn client(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    // ::ffff:10.0.0.1 is 10.0.0.1.
    let mut last = peer.map(|peer| peer.ip().to_canonical());
    if !is_trusted_proxy(peer, trusted) {
        return last;
    }
    let told = headers.get_all(&FOR).iter().map(HeaderValue::as_bytes);
    let hops: Vec<&[u8]> = told.flat_map(|value| value.split(|byte| *byte == b',')).collect();
    for hop in hops.iter().rev() {
        // Whatever a client has put to the left of a proxy's word is no reason not to hear that.
        let Some(ip) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else { return last };
        last = Some(ip);
        if !is_among(ip, trusted) {
            return last;
        }
    }
    last
}

/// With or without a port, and IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(ip, _)| ip);
    let ip = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_is_believed_if_it_is_named_or_a_unix_socket_with_proxies() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (peer, networks, is) in [
            (Some("10.0.0.1:5"), &trusted[..], true),
            (Some("[::ffff:10.0.0.1]:5"), &trusted[..], true),
            (Some("1.2.3.4:5"), &trusted[..], false),
            (Some("10.0.0.1:5"), &[][..], false),
            (None, &trusted[..], true),
            (None, &[][..], false),
        ] {
            assert_eq!(is_trusted_proxy(peer.map(|peer| peer.parse().unwrap()), networks), is, "{peer:?}");
        }
    }

    #[test]
    fn nobody_is_believed_but_those_that_are_named() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (peer, forwarded, client_is) in [
            (Some("1.2.3.4:5"), "9.9.9.9", Some("1.2.3.4")),
            (Some("10.0.0.1:5"), "", Some("10.0.0.1")),
            (Some("10.0.0.1:5"), "9.9.9.9", Some("9.9.9.9")),
            (Some("[::ffff:10.0.0.1]:5"), "9.9.9.9:80", Some("9.9.9.9")),
            (Some("10.0.0.1:5"), "6.6.6.6, 9.9.9.9, 10.0.0.2", Some("9.9.9.9")),
            (Some("10.0.0.1:5"), "evil, 9.9.9.9", Some("9.9.9.9")),
            (Some("10.0.0.1:5"), "9.9.9.9, evil", Some("10.0.0.1")),
            (Some("10.0.0.1:5"), "10.0.0.3, 10.0.0.2", Some("10.0.0.3")),
            (Some("[fd00::1]:5"), "[2001:db8::1]:80", Some("2001:db8::1")),
            (None, "9.9.9.9", Some("9.9.9.9")),
            (None, "", None),
        ] {
            let mut headers = HeaderMap::new();
            if !forwarded.is_empty() {
                headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            }
            let peer = peer.map(|peer| peer.parse().unwrap());
            assert_eq!(
                client(peer, &headers, &trusted),
                client_is.map(|ip| ip.parse().unwrap()),
                "{peer:?} {forwarded}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_bytes(b"\xff, 9.9.9.9").unwrap());
        assert_eq!(client(Some("10.0.0.1:5".parse().unwrap()), &headers, &trusted), Some("9.9.9.9".parse().unwrap()));
        headers.insert("x-forwarded-for", "9.9.9.9".parse().unwrap());
        assert_eq!(client(Some("10.0.0.1:5".parse().unwrap()), &headers, &[]), Some("10.0.0.1".parse().unwrap()));
        // Several lines are one list (RFC 9110, section 5.3).
        headers.append("x-forwarded-for", "8.8.8.8, 10.1.1.1".parse().unwrap());
        assert_eq!(client(Some("10.0.0.1:5".parse().unwrap()), &headers, &trusted), Some("8.8.8.8".parse().unwrap()));
    }
}

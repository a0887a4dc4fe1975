//! Redirect of all requests of a listener to the one that speaks TLS. The application's router does not see them.

use axum::body::Body;
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use gin_shared::config::listen::Redirect;

use crate::Error;
use crate::connections::connection::ListenerFacts;
use crate::request_path::AsSent;

/// The answer, if the listener redirects: 308, which keeps the method and the body; 400 to a client that names no host.
pub(super) fn answer<B>(listener: &ListenerFacts, request: &Request<B>) -> Option<Response<Body>> {
    let Redirect { port } = listener.redirect?;
    let response = match location(request, port) {
        Some(location) => redirected(location),
        None => Error::bad_request("the request names no host to be redirected to").into_refusal(),
    };
    let (method, path, status) = (request.method().as_str(), request.uri().path(), response.status().as_u16());
    // A line as that of any request.
    tracing::info!(target: "gin_worker::access", method, path, status, "{method} {path} {status}");
    Some(response)
}

fn redirected(location: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// The same resource over TLS; its path is as the client has sent it.
fn location<B>(request: &Request<B>, port: Option<u16>) -> Option<HeaderValue> {
    let of_header = || Authority::try_from(request.headers().get(header::HOST)?.as_bytes()).ok();
    let authority = request.uri().authority().cloned().or_else(of_header)?;
    let host = authority.host();
    if host.is_empty() {
        return None;
    }
    let uri = request.extensions().get::<AsSent>().map_or_else(|| request.uri(), |AsSent(sent)| sent);
    // `OPTIONS *` is about the server as a whole.
    let path = uri.path_and_query().map(PathAndQuery::as_str).filter(|path| path.starts_with('/')).unwrap_or("/");
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_path;

    fn to(port: Option<u16>) -> ListenerFacts {
        ListenerFacts { redirect: Some(Redirect { port }), ..ListenerFacts::named("http") }
    }

    fn request(uri: &str, host: Option<&str>) -> Request<()> {
        let request = Request::get(uri);
        let request = host.into_iter().fold(request, |request, host| request.header(header::HOST, host));
        let mut request = request.body(()).unwrap();
        request_path::normalize(&mut request).unwrap();
        request
    }

    fn told(port: Option<u16>, uri: &str, host: Option<&str>) -> (u16, Option<String>) {
        let response = answer(&to(port), &request(uri, host)).unwrap();
        let location = response.headers().get(header::LOCATION).map(|location| location.to_str().unwrap().to_owned());
        (response.status().as_u16(), location)
    }

    #[test]
    fn the_host_stays_and_the_port_is_the_listeners() {
        for (port, uri, host, location) in [
            (None, "/", Some("shop.test"), "https://shop.test/"),
            (None, "/a/b?c=d&e", Some("shop.test:8080"), "https://shop.test/a/b?c=d&e"),
            (Some(8443), "/a", Some("shop.test:8080"), "https://shop.test:8443/a"),
            (Some(8443), "/", Some("[::1]:80"), "https://[::1]:8443/"),
            (None, "/", Some("[::1]"), "https://[::1]/"),
            (None, "/", Some("127.0.0.1:80"), "https://127.0.0.1/"),
            // The target's host goes before, as in HTTP/2.
            (None, "http://shop.test:80/a", Some("other.test"), "https://shop.test/a"),
            // As it was sent.
            (None, "/%61//b", Some("shop.test"), "https://shop.test/%61//b"),
            (None, "//other.test/a", Some("shop.test"), "https://shop.test//other.test/a"),
        ] {
            assert_eq!(told(port, uri, host), (308, Some(location.to_owned())), "{uri} {host:?}");
        }
    }

    #[test]
    fn without_a_host_nobody_knows_where_to() {
        for host in [None, Some(""), Some("a b")] {
            assert_eq!(told(None, "/a", host), (400, None), "{host:?}");
        }
    }

    #[test]
    fn another_listener_redirects_nobody() {
        assert!(answer(&ListenerFacts::named("http"), &request("/", Some("shop.test"))).is_none());
    }

    #[test]
    fn a_question_about_the_whole_server_is_redirected_to_its_root() {
        let request = Request::options("*").header(header::HOST, "shop.test").body(()).unwrap();
        let response = answer(&to(None), &request).unwrap();
        assert_eq!(response.headers()[header::LOCATION], "https://shop.test/");
    }
}

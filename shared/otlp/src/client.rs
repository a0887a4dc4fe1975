//! Exports to one receiver, over a connection that is kept.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use gin_shared::trace_endpoint::{Endpoint, Protocol};
use http::header::{CONTENT_TYPE, HOST, HeaderName, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use tokio::time::{Instant, sleep_until};

use crate::batch::{Batch, Payload};
use crate::connection::{Connect, Driver};
use crate::machine::Answer;
use crate::{grpc, http as over_http};

/// Longest time of a connection without an export.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Name of this program in its requests.
const AGENT: &str = concat!("gin-otlp/", env!("CARGO_PKG_VERSION"));

/// Longest time that a header `grpc-timeout` can name: eight digits.
const GRPC_TIMEOUT_MAX: u128 = 99_999_999;

/// Headers that belong to the protocols: a configuration cannot set them.
const OWN: [&str; 12] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "grpc-timeout",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Sends exports.
pub(crate) struct Client {
    endpoint: Endpoint,
    headers: HeaderMap,
    connect: Arc<dyn Connect>,
    open: Option<Open>,
}

/// An open connection.
struct Open {
    sender: Sender,
    driver: Driver,
    used: Instant,
}

enum Sender {
    Http(over_http::Sender),
    Grpc(grpc::Sender),
}

impl Client {
    /// Makes a client. `headers` are sent with each export.
    pub(crate) fn new(endpoint: Endpoint, headers: HeaderMap, timeout: Duration, connect: Arc<dyn Connect>) -> Self {
        let headers = all_headers(headers, &endpoint, timeout);
        Self { endpoint, headers, connect, open: None }
    }

    /// Sends a batch. A connection that was kept may have died meanwhile: then another one is tried at once.
    pub(crate) async fn export(&mut self, batch: &Batch) -> Answer {
        if let Some(open) = self.open.take()
            && let Ok(answer) = self.exchange(open, batch).await
        {
            return answer;
        }
        let open = match connect(&*self.connect, &self.endpoint).await {
            Ok(open) => open,
            Err(why) => return Answer::away(why),
        };
        self.exchange(open, batch).await.unwrap_or_else(Answer::away)
    }

    /// Runs the connection while there is nothing to send. Returns when it has ended, or was closed after [`IDLE_MAX`].
    pub(crate) async fn idle(&mut self) {
        let Some(open) = &mut self.open else { return pending().await };
        tokio::select! {
            () = open.driver.until_end() => {}
            () = sleep_until(open.used + IDLE_MAX) => {}
        }
        self.open = None;
    }

    /// Sends a batch over a connection. It is kept only after a whole answer: a try that is given up closes it.
    async fn exchange(&mut self, mut open: Open, batch: &Batch) -> Result<Answer, String> {
        let request = match self.request(batch) {
            Ok(request) => request,
            Err(error) => return Ok(Answer::Refused { why: format!("no request can be made: {error}") }),
        };
        let answer = match &mut open.sender {
            Sender::Http(sender) => open.driver.beside(sender.export(request)).await,
            Sender::Grpc(sender) => open.driver.beside(sender.export(request)).await,
        };
        let answer = answer.unwrap_or_else(|| Err("the connection was closed".to_owned()))?;
        open.used = Instant::now();
        self.open = Some(open);
        Ok(answer)
    }

    fn request(&self, batch: &Batch) -> Result<Request<Payload>, http::Error> {
        let Endpoint { protocol, is_tls, path, .. } = &self.endpoint;
        let (uri, version, payload) = match protocol {
            Protocol::Http => (path.parse::<Uri>()?, Version::HTTP_11, batch.payload(&[])),
            Protocol::Grpc => {
                let scheme = if *is_tls { "https" } else { "http" };
                let uri =
                    Uri::builder().scheme(scheme).authority(self.endpoint.authority()).path_and_query(path.as_str());
                (uri.build()?, Version::HTTP_2, batch.payload(&grpc::prefix(batch.len())))
            }
        };
        let mut request = Request::new(payload);
        (*request.method_mut(), *request.uri_mut(), *request.version_mut()) = (Method::POST, uri, version);
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

async fn connect(to: &dyn Connect, endpoint: &Endpoint) -> Result<Open, String> {
    let stream = to.connect(endpoint).await.map_err(|error| over_http::reason(&error))?;
    let (sender, driver) = match endpoint.protocol {
        Protocol::Http => over_http::open(stream).await.map(|(sender, driver)| (Sender::Http(sender), driver))?,
        Protocol::Grpc => grpc::open(stream).await.map(|(sender, driver)| (Sender::Grpc(sender), driver))?,
    };
    Ok(Open { sender, driver, used: Instant::now() })
}

/// Headers of each request: those of the configuration, but for the protocol's own.
fn all_headers(mut headers: HeaderMap, endpoint: &Endpoint, timeout: Duration) -> HeaderMap {
    for name in OWN {
        headers.remove(name);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    match endpoint.protocol {
        Protocol::Http => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(over_http::PROTOBUF));
            // A host that is no header's value is none of a URL: then there is no connection either.
            if let Ok(host) = HeaderValue::from_str(&endpoint.authority()) {
                headers.insert(HOST, host);
            }
        }
        Protocol::Grpc => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::GRPC));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            let timeout = format!("{}m", timeout.as_millis().min(GRPC_TIMEOUT_MAX));
            if let Ok(timeout) = HeaderValue::from_str(&timeout) {
                headers.insert(HeaderName::from_static("grpc-timeout"), timeout);
            }
        }
    }
    headers
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

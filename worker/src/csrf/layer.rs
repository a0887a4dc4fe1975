//! Layer around all routes of a server with `security.enable_csrf`: it judges each request, and gives handlers their tokens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use super::token::{Slot, Tokens};
use super::verdict::{Verdict, is_safe, judge};
use super::{Exempt, refused, sent};
use crate::config::Origin;
use crate::middleware::client_ip;
use crate::parts::Parts;
use crate::{Error, Result};

/// Refuses requests of foreign pages.
#[derive(Debug, Clone)]
pub(crate) struct CsrfLayer(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    /// Other origins whose pages may send requests.
    listed: Vec<Origin>,
    exempt: Exempt,
}

impl CsrfLayer {
    pub(super) fn new(listed: Vec<Origin>, exempt: Exempt) -> Self {
        Self(Arc::new(Rules { listed, exempt }))
    }
}

impl<S> Layer<S> for CsrfLayer {
    type Service = WithoutForeign<S>;

    fn layer(&self, inner: S) -> WithoutForeign<S> {
        WithoutForeign { rules: Arc::clone(&self.0), inner }
    }
}

/// A service without requests of foreign pages.
#[derive(Debug, Clone)]
pub(crate) struct WithoutForeign<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl Rules {
    fn judge(&self, request: &Request) -> Verdict {
        let (method, headers) = (request.method(), request.headers());
        if is_safe(method) {
            return Verdict::GoOn;
        }
        // HTTP/2 names the host in the URI.
        let authority = || request.uri().authority().map(|authority| authority.as_str().to_owned());
        let host = client_ip::host(request.extensions(), headers).or_else(authority);
        match judge(method, headers, host.as_deref(), &self.listed) {
            Verdict::Refuse(_) | Verdict::NeedsToken if self.is_exempt(request) => Verdict::GoOn,
            verdict => verdict,
        }
    }

    fn is_exempt(&self, request: &Request) -> bool {
        let Some(path) = request.extensions().get::<MatchedPath>().filter(|_| !self.exempt.is_empty()) else {
            return false;
        };
        let methods = [None, Some(request.method().clone())];
        methods.into_iter().any(|method| self.exempt.contains(&(method, path.as_str().to_owned())))
    }
}

impl<S> Service<Request> for WithoutForeign<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Answering<S::Future> {
        let tokens = request.extensions().get::<Parts>().and_then(Parts::lent::<Tokens>).cloned();
        let Some(tokens) = tokens else {
            return Answering::with(Error::internal("the part that keeps the secret of CSRF tokens is not there"));
        };
        let (slot, verdict) = (Slot::new(tokens), self.rules.judge(&request));
        request.extensions_mut().insert(slot.clone());
        match verdict {
            Verdict::GoOn => {
                Answering { answer: Answer::Handlers { inner: self.inner.call(request) }, slot: Some(slot) }
            }
            Verdict::Refuse(why) => Answering::with(refused(why)),
            Verdict::NeedsToken => {
                // The copy waits for its own turn; this one is ready.
                let copy = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, copy);
                let other = Box::pin(answered(inner, slot.clone(), request));
                Answering { answer: Answer::Other { other }, slot: Some(slot) }
            }
        }
    }
}

/// The answer to a request that needs a token.
async fn answered<S>(mut inner: S, slot: Slot, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    match proven(slot.tokens(), request).await {
        Ok(request) => match inner.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Err(error) => error.into_response(),
    }
}

/// The request, if it brings a token.
async fn proven(tokens: &Tokens, request: Request) -> Result<Request> {
    let (token, request) = sent::token(request).await?;
    let Some(token) = token else { return Err(refused("it has a cookie, and no Origin, Sec-Fetch-Site or token")) };
    if tokens.is_good(&token, request.headers())? {
        return Ok(request);
    }
    Err(refused("its token is another browser's, or another session's"))
}

pin_project_lite::pin_project! {
    /// An answer on its way.
    pub(crate) struct Answering<F> {
        #[pin]
        answer: Answer<F>,
        // What the handler takes. `None`: there is no handler.
        slot: Option<Slot>,
    }
}

pin_project_lite::pin_project! {
    #[project = Step]
    enum Answer<F> {
        Handlers {
            #[pin]
            inner: F,
        },
        // Of a request that is refused, or proves itself first.
        Other {
            other: BoxFuture<'static, Response>,
        },
    }
}

impl<F> Answering<F> {
    /// A refusal.
    fn with(error: Error) -> Self {
        let response = error.into_response();
        Self { answer: Answer::Other { other: Box::pin(async { response }) }, slot: None }
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.answer.project() {
            Step::Handlers { inner } => match ready!(inner.poll(cx)) {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Step::Other { other } => ready!(other.as_mut().poll(cx)),
        };
        Poll::Ready(Ok(match this.slot {
            Some(slot) => slot.told(response),
            None => response,
        }))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn http2_names_the_host_in_the_uri() {
        let rules = Rules { listed: Vec::new(), exempt: Exempt::default() };
        let of = |origin: &str| {
            let request = Request::post("https://shop.test/order").header("origin", origin);
            rules.judge(&request.body(Body::empty()).unwrap())
        };
        assert_eq!(of("https://shop.test"), Verdict::GoOn);
        assert!(matches!(of("https://evil.test"), Verdict::Refuse(_)));
    }
}
